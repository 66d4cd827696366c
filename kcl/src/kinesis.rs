//! What a consumer needs of Kinesis: the seam, and the words of the service that the rest of the library speaks.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use kpl::{HashKeyRange, SequenceNumber, ShardId};

use crate::{BoxError, config::InitialPosition};

mod fan_out;
mod sdk;

pub(crate) use sdk::SdkKinesis;

/// Most records of one GetRecords call. Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
pub(crate) const GET_RECORDS_LIMIT: i32 = 10_000;

/// Which stream it is: one deleted and created again under its name is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamIdentity {
    pub(crate) arn: String,
    /// When it was created, in seconds since 1970.
    pub(crate) created_seconds: u64,
}

/// A stream's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamDescription {
    /// Whether it can be read; not while it is being created or deleted.
    pub(crate) active: bool,
    pub(crate) identity: StreamIdentity,
}

/// One shard of the stream, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Its id.
    pub(crate) id: ShardId,
    /// The shards it was split or merged from; they may be trimmed and no longer listed.
    pub(crate) parents: Vec<ShardId>,
    /// Its part of the hash key space.
    pub(crate) hash_key_range: HashKeyRange,
    /// Sequence numbers in the shard are greater than this one.
    pub(crate) starting_sequence_number: SequenceNumber,
    /// Set once the shard is closed.
    pub(crate) ending_sequence_number: Option<SequenceNumber>,
}

impl Shard {
    /// Whether the shard takes records.
    pub(crate) fn is_open(&self) -> bool {
        self.ending_sequence_number.is_none()
    }
}

/// A shard that follows one that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildShard {
    /// Its id.
    pub(crate) id: ShardId,
    /// The shards it was split or merged from.
    pub(crate) parents: Vec<ShardId>,
    /// Its part of the hash key space.
    pub(crate) hash_key_range: HashKeyRange,
}

/// Where to begin reading a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// At the oldest retained record.
    TrimHorizon,
    /// After the newest record.
    Latest,
    /// At the first record that arrived at this time or later.
    Timestamp(SystemTime),
    /// At the record with this sequence number.
    At(SequenceNumber),
    /// At the first record after this sequence number.
    After(SequenceNumber),
}

/// A Kinesis record as it is stored, aggregated or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KinesisRecord {
    /// Its sequence number.
    pub(crate) sequence_number: SequenceNumber,
    /// Its partition key, as the processor is given it.
    pub(crate) partition_key: Arc<str>,
    /// Its bytes.
    pub(crate) data: Bytes,
    /// When Kinesis took it in.
    pub(crate) approximate_arrival: Option<SystemTime>,
}

/// The answer to one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    /// In order; may be empty although more are behind them.
    pub(crate) records: Vec<KinesisRecord>,
    /// Where to go on; None at the end of a closed shard.
    pub(crate) next_iterator: Option<String>,
    /// The shards that follow; empty unless at the end of a closed shard, where some emulators leave them out.
    pub(crate) children: Vec<ChildShard>,
    /// Distance to the newest record of the shard.
    pub(crate) behind_latest: Option<Duration>,
}

/// A consumer registered for enhanced fan-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FanOutConsumer {
    pub(crate) arn: String,
    /// Whether it can subscribe to shards; not while it is being created or deleted.
    pub(crate) active: bool,
}

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionEvent {
    /// In order; none in a sign of life.
    pub(crate) records: Vec<KinesisRecord>,
    /// The next subscription starts after it; None at the end of a closed shard.
    pub(crate) continuation: Option<SequenceNumber>,
    /// The shards that follow; empty unless at the end of a closed shard.
    pub(crate) children: Vec<ChildShard>,
    /// Distance to the newest record of the shard.
    pub(crate) behind_latest: Option<Duration>,
}

/// Events of one subscription. Ends without an error after 5 minutes, and nothing follows an error.
pub(crate) type Subscription = BoxStream<'static, Result<SubscriptionEvent, KinesisError>>;

/// Kinds of failure that a consumer tells apart.
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
    /// What failed.
    pub kind: KinesisErrorKind,
    /// IAM action of the call, for example `kinesis:GetRecords`.
    pub action: &'static str,
    /// What the SDK or the service said.
    pub source: BoxError,
}

/// Whether AWS refuses the credentials themselves with this code; expired ones are renewed and may pass. So does a wrong
/// signature: often the machine's clock is wrong, and the next is made by the time that the refusal tells.
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

/// Kinesis as a consumer of one stream sees it.
///
/// Futures may be dropped at any time; all calls but those that register consumers only read.
pub(crate) trait Kinesis: Send + Sync + 'static {
    /// What the service says of the stream.
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, KinesisError>>;

    /// Lists shards: all that are retained, or those that matter for an initial position.
    fn list_shards<'a>(
        &'a self,
        position: Option<&'a InitialPosition>,
    ) -> BoxFuture<'a, Result<Vec<Shard>, KinesisError>>;

    /// Gets an iterator, good for 5 minutes.
    fn shard_iterator<'a>(
        &'a self,
        shard: &'a ShardId,
        start: &'a StartAt,
    ) -> BoxFuture<'a, Result<String, KinesisError>>;

    /// Reads what lies at the iterator: at most `limit` records, of at most [`GET_RECORDS_LIMIT`].
    fn get_records<'a>(&'a self, iterator: &'a str, limit: i32) -> BoxFuture<'a, Result<Records, KinesisError>>;

    /// Looks a registered consumer up by its name; None if there is none.
    fn find_consumer<'a>(
        &'a self,
        stream_arn: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<FanOutConsumer>, KinesisError>>;

    /// Registers a consumer; [`KinesisErrorKind::InUse`] if one of this name exists.
    fn register_consumer<'a>(
        &'a self,
        stream_arn: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<FanOutConsumer, KinesisError>>;

    /// Removes a consumer; its subscriptions end.
    fn deregister_consumer<'a>(&'a self, consumer_arn: &'a str) -> BoxFuture<'a, Result<(), KinesisError>>;

    /// Subscribes a consumer to a shard.
    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        start: &'a StartAt,
    ) -> BoxFuture<'a, Result<Subscription, KinesisError>>;
}
