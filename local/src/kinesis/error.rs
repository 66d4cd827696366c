//! Refusals, in the words of the service.

use std::borrow::Cow;
use std::fmt::Display;

use serde::Serialize;

use crate::wire::Format;
use crate::{ACCOUNT_ID, REGION};

/// A refusal: the code that clients classify by, and the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{code}: {message}")]
pub(crate) struct Error {
    #[serde(rename = "__type")]
    pub(super) code: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) message: Cow<'static, str>,
}

impl Error {
    fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The code by which clients classify it.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The text for people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The body of the answer in a format.
    pub(crate) fn encode(&self, format: Format) -> Vec<u8> {
        format.encode(self)
    }

    /// The body of the answer in JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("two strings always serialize")
    }

    pub(super) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidArgumentException", message)
    }

    pub(super) fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(super) fn limit_exceeded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("LimitExceededException", message)
    }

    /// A shard has used up its throughput.
    pub(super) fn rate_exceeded(shard: impl Display, stream: &str) -> Self {
        Self::new(
            "ProvisionedThroughputExceededException",
            format!("Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT_ID}."),
        )
    }

    pub(super) fn resource_in_use(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("ResourceInUseException", message)
    }

    pub(super) fn serialization(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("SerializationException", message)
    }

    pub(crate) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "")
    }

    pub(crate) fn access_denied(message: String) -> Self {
        Self::new("AccessDeniedException", message)
    }

    pub(super) fn dry_run() -> Self {
        Self::new("DryRunOperationException", "The request was rejected because the DryRun parameter was specified.")
    }

    pub(super) fn expired_iterator(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("ExpiredIteratorException", message)
    }

    pub(super) fn expired_token() -> Self {
        Self::new("ExpiredNextTokenException", "The pagination token passed to the operation is expired.")
    }

    pub(super) fn no_stream(name: &str, account: &str) -> Self {
        Self::new("ResourceNotFoundException", format!("Stream {name} under account {account} not found."))
    }

    /// A consumer, by its ARN or in words.
    pub(super) fn no_consumer(consumer: impl Display) -> Self {
        Self::new("ResourceNotFoundException", format!("Consumer {consumer} not found."))
    }

    pub(super) fn no_policy(arn: &str) -> Self {
        Self::new("ResourceNotFoundException", format!("No resource policy found for resource ARN {arn}."))
    }

    pub(super) fn no_shard(shard: impl Display, stream: &str) -> Self {
        Self::new(
            "ResourceNotFoundException",
            format!("Shard {shard} in stream {stream} under account {ACCOUNT_ID} does not exist"),
        )
    }

    pub(super) fn unknown_shard(shard: impl Display, stream: &str) -> Self {
        Self::new(
            "ResourceNotFoundException",
            format!("Could not find shard {shard} in stream {stream} under account {ACCOUNT_ID}."),
        )
    }

    pub(super) fn too_many_shards(limit: impl Display, more: impl Display) -> Self {
        Self::limit_exceeded(format!(
            "This request would exceed the shard limit of a stream of the account {ACCOUNT_ID} in {REGION}. \
             Limit: {limit}. Number of additional shards that would have resulted from this request: {more}."
        ))
    }
}
