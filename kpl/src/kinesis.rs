//! The seam to the service: [`SdkKinesis`] calls it through the AWS SDK, another [`Kinesis`] stands in for tests.

mod body;
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

/// A boxed future, which makes [`Kinesis`] a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The operations of Kinesis that a producer needs, without retries and time-outs, which are the producer's. Dropping a
/// returned future gives up the call; the service may have acted on it.
pub trait Kinesis: Send + Sync + 'static {
    /// PutRecords: one answer for each entry, in their order.
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>>;

    /// ListShards: all open shards of the stream.
    fn list_shards(&self, stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>>;

    /// DescribeStreamSummary: special properties of the stream; none by default.
    fn describe_stream(&self, _stream: Stream) -> BoxFuture<'_, Result<StreamSummary, KinesisError>> {
        Box::pin(ready(Ok(StreamSummary::default())))
    }
}

/// One PutRecords call.
#[derive(Debug)]
#[non_exhaustive]
pub struct PutRecordsRequest {
    /// The stream.
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
    /// The hash key is the partition key's: a service that hashes partition keys need not be sent it.
    pub(crate) is_implied: bool,
    /// An aggregate, or the user's data.
    pub data: Bytes,
}

/// The outcome of one entry.
pub type EntryResult = Result<Stored, KinesisError>;

/// An open shard.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shard {
    /// Names the shard within its stream.
    pub shard_id: ShardId,
    /// Hash keys that the shard owns.
    pub hash_key_range: HashKeyRange,
}

impl Shard {
    /// An open shard that owns `hash_key_range`.
    pub fn new(shard_id: impl Into<ShardId>, hash_key_range: HashKeyRange) -> Self {
        Self { shard_id: shard_id.into(), hash_key_range }
    }
}

/// Special properties of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StreamSummary {
    /// Maximum bytes of a Kinesis record, data and partition key together, if known.
    pub max_record_bytes: Option<usize>,
    /// Kinesis places records by itself: record distribution strategy `AUTO`.
    pub ignores_partition_keys: bool,
}

/// Error of a call or of an entry. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct KinesisError {
    kind: KinesisErrorKind,
    code: Arc<str>,
    message: Arc<str>,
}

/// Kind of a [`KinesisError`], by what may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KinesisErrorKind {
    /// The shard, the account or a KMS key is beyond its limit. Retry later.
    Throttled,
    /// A fault of the service or the network, or an expired token. Retry.
    Transient,
    /// A refusal that may pass within seconds: a signature by a wrong clock, a stream created just now. Retry shortly.
    Doubtful,
    /// A part of the request is not acceptable; without it the rest may be.
    Invalid,
    /// No retry can help.
    Permanent,
}

impl KinesisError {
    /// An error of a known kind. `code` is the service's, or a word for the place of the failure.
    pub fn new(kind: KinesisErrorKind, code: impl Into<Arc<str>>, message: impl Into<Arc<str>>) -> Self {
        Self { kind, code: code.into(), message: message.into() }
    }

    /// An error with a code of the service, which decides the kind.
    pub fn from_code(code: impl Into<Arc<str>>, message: impl Into<Arc<str>>, http_status: Option<u16>) -> Self {
        let code = code.into();
        Self { kind: KinesisErrorKind::of(&code, http_status), code, message: message.into() }
    }

    /// The kind.
    pub fn kind(&self) -> KinesisErrorKind {
        self.kind
    }

    /// The service's error code, for example `ProvisionedThroughputExceededException`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The service's error message.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn words(&self) -> (Arc<str>, Arc<str>) {
        (self.code.clone(), self.message.clone())
    }
}

/// Codes of the service and of AWS without `Exception`, by kind.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html#API_PutRecords_Errors> and
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
const THROTTLED: &str = "ProvisionedThroughputExceeded LimitExceeded KMSThrottling Throttling Throttled TooManyRequests \
    RequestLimitExceeded SlowDown";
const TRANSIENT: &str = "InternalFailure InternalServerError InternalServer ServiceUnavailable RequestTimeout \
    RequestExpired ResourceInUse ExpiredToken";
/// The SDK corrects its clock by a refused signature, and signs the next attempt by that.
const DOUBTFUL: &str =
    "InvalidSignature SignatureDoesNotMatch RequestTimeTooSkewed RequestInTheFuture ResourceNotFound";
const INVALID: &str = "InvalidArgument Validation ValidationError Serialization";
const PERMANENT: &str = "AccessDenied KMSAccessDenied KMSDisabled KMSInvalidState KMSNotFound KMSOptInRequired \
    OptInRequired UnrecognizedClient IncompleteSignature MissingAuthenticationToken InvalidClientTokenId NotAuthorized \
    DryRunOperation UnknownOperation InvalidAction";

impl KinesisErrorKind {
    /// The kind by code, or by HTTP status if the code is not known.
    fn of(code: &str, http_status: Option<u16>) -> Self {
        let is_one_of =
            |codes: &str| codes.split_ascii_whitespace().any(|known| known == code.trim_end_matches("Exception"));
        match http_status {
            _ if is_one_of(THROTTLED) => Self::Throttled,
            _ if is_one_of(TRANSIENT) => Self::Transient,
            _ if is_one_of(DOUBTFUL) => Self::Doubtful,
            _ if is_one_of(INVALID) => Self::Invalid,
            _ if is_one_of(PERMANENT) => Self::Permanent,
            Some(429) => Self::Throttled,
            Some(413) => Self::Invalid,
            Some(408 | 421 | 425) => Self::Transient,
            Some(400..=499) => Self::Permanent,
            _ => Self::Transient,
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
