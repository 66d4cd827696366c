//! A call to Kinesis that failed.

use super::BoxError;

/// Kind of a failed call to Kinesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KinesisErrorKind {
    /// The stream or the shard does not exist.
    NotFound,
    /// The credentials lack a permission.
    AccessDenied,
    /// The credentials are unknown to the service, or their signature is wrong.
    Credentials,
    /// Beyond a limit of the shard, the stream or the account.
    Throttled,
    /// The iterator is too old or not accepted; get a new one.
    IteratorInvalid,
    /// Another subscription to the shard is active, or a consumer of this name exists or is not active.
    InUse,
    /// Network, time-out, service failure and the rest.
    Other,
}

/// A call to Kinesis that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} failed")]
pub struct KinesisError {
    pub(crate) kind: KinesisErrorKind,
    pub(crate) action: &'static str,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) source: BoxError,
}

impl KinesisError {
    /// With the kind for a code and the source's text for a message.
    pub(crate) fn new(kind: KinesisErrorKind, action: &'static str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        Self { kind, action, code: format!("{kind:?}"), message: source.to_string(), source }
    }

    /// A failure of no special kind.
    pub(crate) fn other(action: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(KinesisErrorKind::Other, action, source)
    }

    /// True if the same call may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.kind, KinesisErrorKind::Throttled | KinesisErrorKind::Other)
    }

    /// Kind of the failure.
    pub fn kind(&self) -> KinesisErrorKind {
        self.kind
    }

    /// IAM action of the call, for example `kinesis:GetRecords`.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// Error code of the service, for example `ExpiredIteratorException`; the kind if there was no answer.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Text of the service or of the SDK.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// True if AWS refuses the credentials themselves with this code; expired ones are renewed and may pass. So does a wrong
/// signature: often the machine's clock is wrong, and the next is made by the time of the refusal.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
pub(crate) fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
    )
}
