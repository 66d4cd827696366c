//! The seam to Kinesis.

use std::{future::Future, time::Duration};

use futures::{future::BoxFuture, stream::BoxStream};
use kpl::{SequenceNumber, ShardId};
use tokio::time::sleep;

use crate::{
    error::KinesisError,
    event::chain,
    logic::backoff::Backoff,
    model::{ChildShard, InitialPosition, KinesisRecord, Shard, StartAt, StreamIdentity},
};

mod answer;
mod fan_out;
mod noted;
mod records;
mod sdk;

pub(crate) use noted::NotedKinesis;
pub(crate) use sdk::SdkKinesis;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamDescription {
    /// True if it can be read; not while it is being created or deleted.
    pub(crate) active: bool,
    pub(crate) identity: StreamIdentity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    /// In order; may be empty although more are behind them.
    pub(crate) records: Vec<KinesisRecord>,
    /// The next iterator; None at the end of a closed shard.
    pub(crate) next_iterator: Option<String>,
    /// The shards that follow; empty unless at the end of a closed shard, where some emulators leave them out.
    pub(crate) children: Vec<ChildShard>,
    pub(crate) behind_latest: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FanOutConsumer {
    pub(crate) arn: String,
    /// True if it can subscribe to shards; not while it is being created or deleted.
    pub(crate) active: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionEvent {
    /// In order; none in a sign of life.
    pub(crate) records: Vec<KinesisRecord>,
    /// The next subscription starts after it; None at the end of a closed shard.
    pub(crate) continuation: Option<SequenceNumber>,
    /// The shards that follow; empty unless at the end of a closed shard.
    pub(crate) children: Vec<ChildShard>,
    pub(crate) behind_latest: Option<Duration>,
}

/// Events of one subscription. Ends without an error after 5 minutes, and nothing follows an error.
pub(crate) type Subscription = BoxStream<'static, Result<SubscriptionEvent, KinesisError>>;

pub(crate) type Call<'a, T> = BoxFuture<'a, Result<T, KinesisError>>;

impl KinesisError {
    /// The same error for somebody else, its source as text.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(self.kind, self.action, chain(self.source.as_ref()));
        Self { code: self.code.clone(), message: self.message.clone(), ..copy }
    }
}

/// Kinesis as a consumer of one stream sees it. Futures may be dropped at any time; only the calls that register and
/// deregister consumers write.
pub(crate) trait Kinesis: Send + Sync + 'static {
    fn describe(&self) -> Call<'_, StreamDescription>;

    /// Lists shards: all that are retained, or those that matter for an initial position.
    fn list_shards<'a>(&'a self, position: Option<&'a InitialPosition>) -> Call<'a, Vec<Shard>>;

    /// Gets an iterator, good for 5 minutes.
    fn shard_iterator<'a>(&'a self, shard: &'a ShardId, start: &'a StartAt) -> Call<'a, String>;

    /// Reads what lies at the iterator: at most `limit` records, which is at most 10,000.
    fn get_records<'a>(&'a self, iterator: &'a str, limit: i32) -> Call<'a, Records>;

    /// Looks a registered consumer up by its name; None if there is none.
    fn find_consumer<'a>(&'a self, stream_arn: &'a str, name: &'a str) -> Call<'a, Option<FanOutConsumer>>;

    /// Registers a consumer; [`KinesisErrorKind::InUse`] if one of this name exists.
    fn register_consumer<'a>(&'a self, stream_arn: &'a str, name: &'a str) -> Call<'a, FanOutConsumer>;

    fn deregister_consumer<'a>(&'a self, consumer_arn: &'a str) -> Call<'a, ()>;

    fn subscribe<'a>(&'a self, consumer_arn: &'a str, shard: &'a ShardId, start: &'a StartAt)
    -> Call<'a, Subscription>;
}

/// Repeats a call after failures that may pass, with pauses.
pub(crate) async fn retried<T, F>(backoff: Backoff, retries: u32, call: impl Fn() -> F) -> Result<T, KinesisError>
where
    F: Future<Output = Result<T, KinesisError>>,
{
    let mut failures = 0;
    loop {
        match call().await {
            Err(error) if error.may_pass() && failures < retries => failures += 1,
            outcome => return outcome,
        }
        sleep(backoff.pause(failures, fastrand::f64())).await;
    }
}
