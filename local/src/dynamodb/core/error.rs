//! Refusals of the core, by kind, and their form on the wire.

use serde_json::{Map, Value as Json, json};

use super::value::Item;
use crate::refusal::Refusal;

/// Reason for which a request, or a part of one, is refused.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::dynamodb) struct Error {
    pub(super) kind: Kind,
    pub(super) message: String,
    /// The item that a condition failed on, if it was asked for.
    pub(super) item: Option<Item>,
    /// Write units that the refused request consumed.
    pub(super) write_units: f64,
    /// Of a canceled transaction: an outcome for each of its items.
    pub(super) reasons: Vec<Option<Error>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Validation,
    Serialization,
    ConditionalCheckFailed,
    DuplicateItem,
    IdempotentParameterMismatch,
    ItemTooLarge,
    LimitExceeded,
    ResourceInUse,
    ResourceNotFound,
    /// Of a provisioned table.
    ThroughputExceeded,
    /// Of an on-demand table.
    Throttling,
    TransactionCanceled,
    UnknownOperation,
}

impl Error {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), item: None, write_units: 0.0, reasons: Vec::new() }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(Kind::Validation, message)
    }

    /// Parameters that contradict each other or the table.
    pub(super) fn invalid(detail: impl std::fmt::Display) -> Self {
        Self::validation(format!("One or more parameter values were invalid: {detail}"))
    }

    pub(super) fn serialization(message: impl Into<String>) -> Self {
        Self::new(Kind::Serialization, message)
    }

    /// A feature of the service that is missing here.
    pub(super) fn unsupported(feature: impl std::fmt::Display) -> Self {
        Self::validation(format!("kinesis-local's DynamoDB does not support {feature}"))
    }

    pub(super) fn no_table() -> Self {
        Self::new(Kind::ResourceNotFound, "Requested resource not found")
    }

    /// A write whose condition failed, which consumed these units; with the item if it was asked for.
    pub(super) fn condition_failed(item: Option<Item>, write_units: f64) -> Self {
        Self { item, write_units, ..Self::new(Kind::ConditionalCheckFailed, "The conditional request failed") }
    }

    /// A transaction that was canceled for these reasons; `None` is an item without fault.
    pub(super) fn canceled(reasons: Vec<Option<Error>>) -> Self {
        let codes: Vec<_> = reasons.iter().map(|reason| reason.as_ref().map_or("None", Error::part_code)).collect();
        Self { message: Refusal::canceled_because(&codes), reasons, ..Self::new(Kind::TransactionCanceled, "") }
    }

    /// The code of a part of a transaction or a batch of statements.
    pub(super) fn part_code(&self) -> &'static str {
        match self.kind {
            Kind::ConditionalCheckFailed => "ConditionalCheckFailed",
            Kind::DuplicateItem => "DuplicateItem",
            Kind::ResourceNotFound => "ResourceNotFound",
            _ => "ValidationError",
        }
    }

    /// The part of a batch of statements or of a canceled transaction that this error is.
    pub(super) fn part(&self) -> Json {
        let mut part = json!({ "Code": self.part_code(), "Message": self.message });
        if let Some(item) = &self.item {
            part["Item"] = super::value::item_json(item);
        }
        part
    }

    fn error_type(&self) -> &'static str {
        match self.kind {
            Kind::Validation | Kind::ItemTooLarge => "com.amazon.coral.validate#ValidationException",
            Kind::Serialization => "com.amazon.coral.service#SerializationException",
            Kind::UnknownOperation => "com.amazon.coral.service#UnknownOperationException",
            Kind::ConditionalCheckFailed => "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            Kind::DuplicateItem => "com.amazonaws.dynamodb.v20120810#DuplicateItemException",
            Kind::IdempotentParameterMismatch => {
                "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException"
            }
            Kind::LimitExceeded => "com.amazonaws.dynamodb.v20120810#LimitExceededException",
            Kind::ResourceInUse => "com.amazonaws.dynamodb.v20120810#ResourceInUseException",
            Kind::ResourceNotFound => "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            Kind::ThroughputExceeded => "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            Kind::Throttling => "com.amazonaws.dynamodb.v20120810#ThrottlingException",
            Kind::TransactionCanceled => "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let mut body = Map::new();
        body.insert("__type".to_owned(), error.error_type().into());
        let key = if error.kind == Kind::TransactionCanceled { "Message" } else { "message" };
        if !error.message.is_empty() {
            body.insert(key.to_owned(), error.message.clone().into());
        }
        if let Some(item) = &error.item {
            body.insert("Item".to_owned(), super::value::item_json(item));
        }
        if error.kind == Kind::TransactionCanceled {
            let reason =
                |reason: &Option<Error>| reason.as_ref().map_or_else(|| json!({ "Code": "None" }), Error::part);
            body.insert("CancellationReasons".to_owned(), error.reasons.iter().map(reason).collect());
        }
        Refusal::json(400, Json::Object(body).to_string().into_bytes())
    }
}
