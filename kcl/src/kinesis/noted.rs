//! SHELL: notes for a worker's health which calls to a stream fail that the worker cannot do without. Decides nothing.

use std::time::Duration;

use futures::future::FutureExt as _;
use kpl::ShardId;

use super::{Call, FanOutConsumer, Kinesis, Records, StreamDescription, Subscription};
use crate::{
    calls::Calls,
    error::{KinesisError, KinesisErrorKind},
    event::chain,
    logic::calls::Failure,
    model::{InitialPosition, Shard, StartAt},
};

const LIST: &str = "kinesis:ListShards";
/// Longer than any pause between two tries, with the time that a try may take.
const LIFE: Duration = Duration::from_secs(300);

/// Passes all calls on. Those of enhanced fan-out are not noted, as shards are polled instead.
pub(crate) struct NotedKinesis<K> {
    kinesis: K,
    /// The name or ARN that the application gave.
    stream: String,
    calls: Calls,
}

impl<K: Kinesis> NotedKinesis<K> {
    pub(crate) fn new(kinesis: K, stream: &str, calls: Calls) -> Self {
        Self { kinesis, stream: stream.to_owned(), calls }
    }

    fn noted<'a, T: Send + 'a>(&'a self, action: &'static str, call: Call<'a, T>) -> Call<'a, T> {
        async move {
            let outcome = call.await;
            match &outcome {
                Ok(_) => self.calls.succeeded((action, self.stream.as_str())),
                Err(error) => self.failed(action, error),
            }
            outcome
        }
        .boxed()
    }

    /// Limits of a shard and broken connections are the business of that shard's reader.
    fn failed(&self, action: &'static str, error: &KinesisError) {
        let is_refusal = matches!(error.kind, KinesisErrorKind::AccessDenied | KinesisErrorKind::Credentials);
        if is_refusal || action == LIST {
            self.calls.failed((action, self.stream.as_str()), Failure { error: chain(error), is_refusal, life: LIFE });
        }
    }
}

impl<K: Kinesis> Kinesis for NotedKinesis<K> {
    fn describe(&self) -> Call<'_, StreamDescription> {
        self.noted("kinesis:DescribeStreamSummary", self.kinesis.describe())
    }

    fn list_shards<'a>(&'a self, position: Option<&'a InitialPosition>) -> Call<'a, Vec<Shard>> {
        self.noted(LIST, self.kinesis.list_shards(position))
    }

    fn shard_iterator<'a>(&'a self, shard: &'a ShardId, start: &'a StartAt) -> Call<'a, String> {
        self.noted("kinesis:GetShardIterator", self.kinesis.shard_iterator(shard, start))
    }

    fn get_records<'a>(&'a self, iterator: &'a str, limit: i32) -> Call<'a, Records> {
        self.noted("kinesis:GetRecords", self.kinesis.get_records(iterator, limit))
    }

    fn find_consumer<'a>(&'a self, stream_arn: &'a str, name: &'a str) -> Call<'a, Option<FanOutConsumer>> {
        self.kinesis.find_consumer(stream_arn, name)
    }

    fn register_consumer<'a>(&'a self, stream_arn: &'a str, name: &'a str) -> Call<'a, FanOutConsumer> {
        self.kinesis.register_consumer(stream_arn, name)
    }

    fn deregister_consumer<'a>(&'a self, consumer_arn: &'a str) -> Call<'a, ()> {
        self.kinesis.deregister_consumer(consumer_arn)
    }

    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        start: &'a StartAt,
    ) -> Call<'a, Subscription> {
        self.kinesis.subscribe(consumer_arn, shard, start)
    }
}
