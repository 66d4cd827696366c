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
    /// Kind of the failure.
    pub kind: KinesisErrorKind,
    /// IAM action of the call, for example `kinesis:GetRecords`.
    pub action: &'static str,
    /// Error of the SDK or the service.
    pub source: BoxError,
}

/// Whether AWS refuses the credentials themselves with this code; expired ones are renewed and may pass. So does a wrong
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

impl KinesisError {
    /// Whether the same call may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.kind, KinesisErrorKind::Throttled | KinesisErrorKind::Other)
    }
}
