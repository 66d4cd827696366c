//! The seam to the service: what the producer asks of Kinesis and what it hears back.
//!
//! [`SdkKinesis`] does it through the AWS SDK. Another implementation of [`Kinesis`] can stand in for tests.

mod sdk;

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;

pub use self::sdk::SdkKinesis;
pub use crate::{delivered::Stored, stream::Stream};
use crate::{
    hash_key::{HashKey, HashKeyRange},
    id::ShardId,
};

/// A future that is boxed, so that [`Kinesis`] can be used as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The operations of Kinesis that a producer needs.
///
/// The producer retries and times out: implementations do neither. Dropping a returned future gives up the call; the
/// service may have acted on it all the same.
pub trait Kinesis: Send + Sync + 'static {
    /// PutRecords: one answer for each entry, in their order.
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>>;

    /// ListShards: all open shards of the stream.
    fn list_shards(&self, stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>>;

    /// DescribeStreamSummary: what is special about the stream. Nothing is, unless implemented.
    fn describe_stream(&self, _stream: Stream) -> BoxFuture<'_, Result<StreamSummary, KinesisError>> {
        Box::pin(ready(Ok(StreamSummary::default())))
    }
}

/// What goes out in one PutRecords call.
#[derive(Debug)]
#[non_exhaustive]
pub struct PutRecordsRequest {
    /// Where to.
    pub stream: Stream,
    /// 1 to 500 entries.
    pub entries: Vec<Entry>,
}

/// One Kinesis record to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The user's; for an aggregate as configured, see [`AggregateKey`](crate::AggregateKey).
    pub partition_key: String,
    /// Hash key of the first user record.
    pub explicit_hash_key: HashKey,
    /// An aggregate, or the user's data.
    pub data: Bytes,
}

/// What became of one entry.
pub type EntryResult = Result<Stored, KinesisError>;

/// An open shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Names the shard within its stream.
    pub shard_id: ShardId,
    /// Hash keys that the shard owns.
    pub hash_key_range: HashKeyRange,
}

/// What is special about a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StreamSummary {
    /// Most bytes of a Kinesis record, data and partition key together, if told.
    pub max_record_bytes: Option<usize>,
    /// Kinesis places records by itself, whatever their keys: record distribution strategy `AUTO`.
    pub ignores_partition_keys: bool,
}

/// Why a call, or an entry of it, failed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct KinesisError {
    kind: KinesisErrorKind,
    code: Arc<str>,
    message: Arc<str>,
}

/// What to do about a [`KinesisError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KinesisErrorKind {
    /// More than the shard, the account or a key of KMS takes just now: try again later.
    Throttled,
    /// A fault of the service or of the way there, or a token that expired: try again.
    Transient,
    /// A refusal that may pass within seconds: a signature made by a wrong clock, a stream that was created just now. Try
    /// again for a short while.
    Doubtful,
    /// Something in the request is not acceptable; the same without it may be.
    Invalid,
    /// Trying again cannot help.
    Permanent,
}

impl KinesisError {
    /// An error of a known kind. `code` is the service's, or a word that tells where on the way it happened.
    pub fn new(kind: KinesisErrorKind, code: impl Into<Arc<str>>, message: impl Into<Arc<str>>) -> Self {
        Self { kind, code: code.into(), message: message.into() }
    }

    /// An error that the service gave a code, of the kind that follows from it.
    pub fn from_code(code: impl Into<Arc<str>>, message: impl Into<Arc<str>>, http_status: Option<u16>) -> Self {
        let code = code.into();
        Self { kind: KinesisErrorKind::of(&code, http_status), code, message: message.into() }
    }

    /// What to do about it.
    pub fn kind(&self) -> KinesisErrorKind {
        self.kind
    }

    /// The service's error code, for example `ProvisionedThroughputExceededException`.
    pub fn code(&self) -> &Arc<str> {
        &self.code
    }

    /// The service's error message.
    pub fn message(&self) -> &Arc<str> {
        &self.message
    }

    /// Whether there is no such stream.
    pub(crate) fn is_missing_stream(&self) -> bool {
        self.code.starts_with("ResourceNotFound")
    }
}

impl KinesisErrorKind {
    /// By the code; by the HTTP status where the code is not known.
    /// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html#API_PutRecords_Errors> and
    /// <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
    fn of(code: &str, http_status: Option<u16>) -> Self {
        match code.trim_end_matches("Exception") {
            "ProvisionedThroughputExceeded"
            | "LimitExceeded"
            | "KMSThrottling"
            | "Throttling"
            | "Throttled"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "SlowDown" => Self::Throttled,
            "InternalFailure"
            | "InternalServerError"
            | "InternalServer"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "RequestExpired"
            | "ResourceInUse"
            | "ExpiredToken" => Self::Transient,
            // The SDK corrects the clock by the refusal, and signs the next attempt by that.
            "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "RequestTimeTooSkewed"
            | "RequestInTheFuture"
            | "ResourceNotFound" => Self::Doubtful,
            "InvalidArgument" | "Validation" | "ValidationError" | "Serialization" => Self::Invalid,
            "AccessDenied"
            | "KMSAccessDenied"
            | "KMSDisabled"
            | "KMSInvalidState"
            | "KMSNotFound"
            | "KMSOptInRequired"
            | "OptInRequired"
            | "UnrecognizedClient"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "InvalidClientTokenId"
            | "NotAuthorized"
            | "DryRunOperation"
            | "UnknownOperation"
            | "InvalidAction" => Self::Permanent,
            _ => match http_status {
                Some(429) => Self::Throttled,
                Some(413) => Self::Invalid,
                Some(408 | 421 | 425) => Self::Transient,
                Some(400..=499) => Self::Permanent,
                _ => Self::Transient,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_code() {
        use KinesisErrorKind::{Doubtful, Invalid, Permanent, Throttled, Transient};
        for (code, kind) in [
            ("ProvisionedThroughputExceededException", Throttled),
            ("KMSThrottlingException", Throttled),
            ("LimitExceededException", Throttled),
            ("InternalFailure", Transient),
            ("InternalFailureException", Transient),
            ("ServiceUnavailable", Transient),
            ("ExpiredTokenException", Transient),
            ("ResourceInUseException", Transient),
            ("InvalidSignatureException", Doubtful),
            ("SignatureDoesNotMatch", Doubtful),
            ("RequestTimeTooSkewed", Doubtful),
            ("RequestInTheFuture", Doubtful),
            ("ResourceNotFoundException", Doubtful),
            ("InvalidArgumentException", Invalid),
            ("ValidationException", Invalid),
            ("AccessDeniedException", Permanent),
            ("KMSDisabledException", Permanent),
            ("UnrecognizedClientException", Permanent),
        ] {
            assert_eq!(KinesisErrorKind::of(code, Some(400)), kind, "{code}");
        }
    }

    #[test]
    fn an_unknown_code_is_judged_by_its_status() {
        assert_eq!(KinesisErrorKind::of("Odd", Some(503)), KinesisErrorKind::Transient);
        assert_eq!(KinesisErrorKind::of("Odd", Some(429)), KinesisErrorKind::Throttled);
        for (status, kind) in [
            (400, KinesisErrorKind::Permanent),
            (403, KinesisErrorKind::Permanent),
            (408, KinesisErrorKind::Transient),
            (413, KinesisErrorKind::Invalid),
            (425, KinesisErrorKind::Transient),
        ] {
            assert_eq!(KinesisErrorKind::of("Odd", Some(status)), kind, "{status}");
        }
        assert_eq!(KinesisErrorKind::of("", None), KinesisErrorKind::Transient);
    }
}
