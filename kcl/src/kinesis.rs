//! SHELL: the calls to Kinesis that a consumer needs. Translates; decides nothing.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    primitives::DateTime,
    types::{ShardFilter as SdkFilter, ShardFilterType, ShardIteratorType, StreamStatus},
};
use aws_types::SdkConfig;
use bytes::Bytes;
use futures::{
    future::{BoxFuture, FutureExt as _},
    stream::BoxStream,
};
use kpl::{HashKeyRange, SequenceNumber, ShardId};

use crate::{BoxError, config::InitialPosition};

mod fan_out;

/// Longest time for one call. Source: KCL `kinesisRequestTimeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Most records of one GetRecords call. Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const GET_RECORDS_LIMIT: i32 = 10_000;

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
    /// Its partition key.
    pub(crate) partition_key: String,
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
    /// The shards that follow; empty unless at the end of a closed shard.
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

    /// Reads what lies at the iterator.
    fn get_records<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Records, KinesisError>>;

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

/// The real service, or whatever the SDK's configuration points to.
#[derive(Debug)]
pub(crate) struct SdkKinesis {
    client: Client,
    stream: String,
}

impl SdkKinesis {
    /// SDK retries are off: how and when to try again is this library's business. The application's own time-outs win.
    pub(crate) fn new(aws: &SdkConfig, stream: String) -> Self {
        let timeouts = aws.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let timeouts = timeouts.take_unset_from(TimeoutConfig::builder().operation_timeout(REQUEST_TIMEOUT));
        let config = aws_sdk_kinesis::config::Builder::from(aws)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build())
            .build();
        Self { client: Client::from_conf(config), stream }
    }

    fn name(&self) -> Option<String> {
        (!self.is_arn()).then(|| self.stream.clone())
    }

    fn arn(&self) -> Option<String> {
        self.is_arn().then(|| self.stream.clone())
    }

    fn is_arn(&self) -> bool {
        self.stream.starts_with("arn:")
    }
}

/// For use in `map_err`.
fn failed<E, R>(action: &'static str) -> impl Fn(SdkError<E, R>) -> KinesisError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    move |error| {
        let kind = match error.as_service_error().and_then(ProvideErrorMetadata::code) {
            Some("ResourceNotFoundException") => KinesisErrorKind::NotFound,
            Some("ResourceInUseException") => KinesisErrorKind::InUse,
            Some("AccessDeniedException" | "UnrecognizedClientException") => KinesisErrorKind::AccessDenied,
            Some(
                "ProvisionedThroughputExceededException"
                | "LimitExceededException"
                | "ThrottlingException"
                | "KMSThrottlingException",
            ) => KinesisErrorKind::Throttled,
            Some("ExpiredIteratorException" | "InvalidArgumentException") => KinesisErrorKind::IteratorInvalid,
            _ => KinesisErrorKind::Other,
        };
        let source: BoxError = match error {
            SdkError::ServiceError(context) => Box::new(context.into_err()),
            other => Box::new(other),
        };
        KinesisError { kind, action, source }
    }
}

/// An answer that the service should not give.
fn malformed(action: &'static str, what: impl Into<BoxError>) -> KinesisError {
    KinesisError { kind: KinesisErrorKind::Other, action, source: what.into() }
}

fn filter(position: &InitialPosition) -> SdkFilter {
    let (kind, timestamp) = match position {
        InitialPosition::Latest => (ShardFilterType::AtLatest, None),
        InitialPosition::TrimHorizon => (ShardFilterType::AtTrimHorizon, None),
        InitialPosition::AtTimestamp(time) => (ShardFilterType::AtTimestamp, Some(DateTime::from(*time))),
    };
    SdkFilter::builder().r#type(kind).set_timestamp(timestamp).build().expect("filter has a type")
}

fn range(range: Option<&aws_sdk_kinesis::types::HashKeyRange>) -> Option<HashKeyRange> {
    let range = range?;
    Some(HashKeyRange { start: range.starting_hash_key().parse().ok()?, end: range.ending_hash_key().parse().ok()? })
}

fn shard(shard: &aws_sdk_kinesis::types::Shard) -> Option<Shard> {
    let sequence = shard.sequence_number_range()?;
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    Some(Shard {
        id: ShardId::from(shard.shard_id()),
        parents: parents.into_iter().flatten().map(ShardId::from).collect(),
        hash_key_range: range(shard.hash_key_range())?,
        starting_sequence_number: sequence.starting_sequence_number().parse().ok()?,
        ending_sequence_number: match sequence.ending_sequence_number() {
            Some(number) => Some(number.parse().ok()?),
            None => None,
        },
    })
}

fn child(child: &aws_sdk_kinesis::types::ChildShard) -> Option<ChildShard> {
    Some(ChildShard {
        id: ShardId::from(child.shard_id()),
        parents: child.parent_shards().iter().map(|id| ShardId::from(id.as_str())).collect(),
        hash_key_range: range(child.hash_key_range())?,
    })
}

fn record(record: aws_sdk_kinesis::types::Record) -> Option<KinesisRecord> {
    Some(KinesisRecord {
        sequence_number: record.sequence_number.parse().ok()?,
        // Streams that distribute records by themselves take records without a key.
        partition_key: record.partition_key.unwrap_or_default(),
        data: Bytes::from(record.data.into_inner()),
        approximate_arrival: record.approximate_arrival_timestamp.and_then(|time| SystemTime::try_from(time).ok()),
    })
}

impl Kinesis for SdkKinesis {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, KinesisError>> {
        const ACTION: &str = "kinesis:DescribeStreamSummary";
        let call = self.client.describe_stream_summary().set_stream_name(self.name()).set_stream_arn(self.arn());
        async move {
            let output = call.send().await.map_err(failed(ACTION))?;
            let summary =
                output.stream_description_summary().ok_or_else(|| malformed(ACTION, "answer without content"))?;
            let created = summary.stream_creation_timestamp().to_millis().ok().and_then(|ms| u64::try_from(ms).ok());
            Ok(StreamDescription {
                active: matches!(summary.stream_status(), StreamStatus::Active | StreamStatus::Updating),
                identity: StreamIdentity {
                    arn: summary.stream_arn().to_owned(),
                    // The service's own resolution; emulators differ below it from call to call.
                    created_seconds: created.map_or(0, |millis| millis / 1000),
                },
            })
        }
        .boxed()
    }

    fn list_shards<'a>(
        &'a self,
        position: Option<&'a InitialPosition>,
    ) -> BoxFuture<'a, Result<Vec<Shard>, KinesisError>> {
        const ACTION: &str = "kinesis:ListShards";
        async move {
            let mut shards = Vec::new();
            let first = self.client.list_shards().set_stream_name(self.name()).set_stream_arn(self.arn());
            let mut page = first.set_shard_filter(position.map(filter)).send().await.map_err(failed(ACTION))?;
            loop {
                for listed in page.shards() {
                    shards.push(shard(listed).ok_or_else(|| malformed(ACTION, "a listed shard cannot be read"))?);
                }
                let Some(token) = page.next_token().map(str::to_owned) else { return Ok(shards) };
                // With a token, the service accepts neither stream nor filter.
                page = self.client.list_shards().next_token(token).send().await.map_err(failed(ACTION))?;
            }
        }
        .boxed()
    }

    fn shard_iterator<'a>(
        &'a self,
        shard: &'a ShardId,
        start: &'a StartAt,
    ) -> BoxFuture<'a, Result<String, KinesisError>> {
        const ACTION: &str = "kinesis:GetShardIterator";
        let call = self.client.get_shard_iterator().set_stream_name(self.name()).set_stream_arn(self.arn());
        let call = call.shard_id(shard.as_str());
        let call = match start {
            StartAt::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            StartAt::Latest => call.shard_iterator_type(ShardIteratorType::Latest),
            StartAt::Timestamp(time) => {
                call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from(*time))
            }
            StartAt::At(number) => {
                call.shard_iterator_type(ShardIteratorType::AtSequenceNumber).starting_sequence_number(number.as_str())
            }
            StartAt::After(number) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.as_str()),
        };
        async move {
            let output = call.send().await.map_err(failed(ACTION))?;
            output.shard_iterator.ok_or_else(|| malformed(ACTION, "answer without an iterator"))
        }
        .boxed()
    }

    fn get_records<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Records, KinesisError>> {
        const ACTION: &str = "kinesis:GetRecords";
        let call = self.client.get_records().shard_iterator(iterator).limit(GET_RECORDS_LIMIT);
        let call = call.set_stream_arn(self.arn());
        async move {
            let output = call.send().await.map_err(failed(ACTION))?;
            let behind = output.millis_behind_latest.and_then(|millis| u64::try_from(millis).ok());
            let children: Option<Vec<ChildShard>> = output.child_shards().iter().map(child).collect();
            let next_iterator = output.next_shard_iterator;
            let records: Option<Vec<KinesisRecord>> = output.records.into_iter().map(record).collect();
            let records = records.ok_or_else(|| malformed(ACTION, "a record without a readable sequence number"))?;
            let children = children.ok_or_else(|| malformed(ACTION, "a child shard that cannot be read"))?;
            Ok(Records { records, next_iterator, children, behind_latest: behind.map(Duration::from_millis) })
        }
        .boxed()
    }

    fn find_consumer<'a>(
        &'a self,
        stream_arn: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<FanOutConsumer>, KinesisError>> {
        fan_out::find_consumer(&self.client, stream_arn, name).boxed()
    }

    fn register_consumer<'a>(
        &'a self,
        stream_arn: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<FanOutConsumer, KinesisError>> {
        fan_out::register_consumer(&self.client, stream_arn, name).boxed()
    }

    fn deregister_consumer<'a>(&'a self, consumer_arn: &'a str) -> BoxFuture<'a, Result<(), KinesisError>> {
        fan_out::deregister_consumer(&self.client, consumer_arn).boxed()
    }

    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        start: &'a StartAt,
    ) -> BoxFuture<'a, Result<Subscription, KinesisError>> {
        fan_out::subscribe(&self.client, consumer_arn, shard, start).boxed()
    }
}
