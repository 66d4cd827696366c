//! The operations by name: from the body of a request to the body of the answer.

mod consumers;
mod get;
mod listing;
mod policies;
mod position;
mod put;
mod resharding;
mod settings;
mod streams;
mod subscribe;
mod tags;

use serde::{Deserialize, Serialize};

pub(crate) use self::subscribe::Next;
use super::consumer::Subscription;
use super::{Error, Kinesis, request};
use crate::faults::RecordFaults;
use crate::timestamp::Millis;
use crate::wire::Format;

/// The operations that are answered.
pub(crate) const OPERATIONS: [&str; 37] = [
    "AddTagsToStream",
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteResourcePolicy",
    "DeleteStream",
    "DeregisterStreamConsumer",
    "DescribeLimits",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "GetRecords",
    "GetResourcePolicy",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "ListTagsForResource",
    "ListTagsForStream",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "PutResourcePolicy",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateMaxRecordSize",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
];

/// One request: the name of the operation, and the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a str,
    pub(crate) format: Format,
    pub(crate) body: &'a [u8],
    /// Records of PutRecords that are to fail.
    pub(crate) record_faults: Option<RecordFaults>,
}

/// The answer of an operation: a body, or events from now on.
#[derive(Debug)]
pub(crate) enum Reply {
    Body(Vec<u8>),
    Events(Box<Subscription>),
}

impl Call<'_> {
    /// Performs the call. `step` runs one step of the state under its lock; reading and writing bodies, which is most
    /// of the work, happens outside.
    pub(crate) fn perform<S: Step>(self, step: S) -> Result<Reply, Error> {
        if self.operation == "SubscribeToShard" {
            let request = request::parse(self.format, self.body)?;
            let subscription = step.run(|kinesis, now| kinesis.subscribe_to_shard(request, now))?;
            return Ok(Reply::Events(Box::new(subscription)));
        }
        self.answer(step).map(Reply::Body)
    }

    fn answer<S: Step>(self, step: S) -> Result<Vec<u8>, Error> {
        match self.operation {
            "CreateStream" => self.run(step, Kinesis::create_stream),
            "DeleteStream" => self.run(step, Kinesis::delete_stream),
            "DescribeStream" => self.run(step, Kinesis::describe_stream),
            "DescribeStreamSummary" => self.run(step, Kinesis::describe_stream_summary),
            "ListStreams" => self.run(step, Kinesis::list_streams),
            "ListShards" => self.run(step, Kinesis::list_shards),
            "PutRecord" => self.run(step, Kinesis::put_record),
            "PutRecords" => {
                self.run(step, |kinesis, request, now| kinesis.put_records(request, self.record_faults, now))
            }
            "GetShardIterator" => self.run(step, Kinesis::get_shard_iterator),
            "GetRecords" => self.run(step, Kinesis::get_records),
            "SplitShard" => self.run(step, Kinesis::split_shard),
            "MergeShards" => self.run(step, Kinesis::merge_shards),
            "UpdateShardCount" => self.run(step, Kinesis::update_shard_count),
            "IncreaseStreamRetentionPeriod" => self.run(step, Kinesis::increase_retention),
            "DecreaseStreamRetentionPeriod" => self.run(step, Kinesis::decrease_retention),
            "UpdateMaxRecordSize" => self.run(step, Kinesis::update_max_record_size),
            "RegisterStreamConsumer" => self.run(step, Kinesis::register_consumer),
            "DescribeStreamConsumer" => self.run(step, Kinesis::describe_consumer),
            "ListStreamConsumers" => self.run(step, Kinesis::list_consumers),
            "DeregisterStreamConsumer" => self.run(step, Kinesis::deregister_consumer),
            "AddTagsToStream" => self.run(step, Kinesis::add_tags),
            "RemoveTagsFromStream" => self.run(step, Kinesis::remove_tags),
            "ListTagsForStream" => self.run(step, Kinesis::list_tags),
            "TagResource" => self.run(step, Kinesis::tag_resource),
            "UntagResource" => self.run(step, Kinesis::untag_resource),
            "ListTagsForResource" => self.run(step, Kinesis::list_resource_tags),
            "PutResourcePolicy" => self.run(step, Kinesis::put_resource_policy),
            "GetResourcePolicy" => self.run(step, Kinesis::get_resource_policy),
            "DeleteResourcePolicy" => self.run(step, Kinesis::delete_resource_policy),
            "StartStreamEncryption" => self.run(step, Kinesis::start_encryption),
            "StopStreamEncryption" => self.run(step, Kinesis::stop_encryption),
            "UpdateStreamMode" => self.run(step, Kinesis::update_stream_mode),
            "UpdateStreamRecordDistributionStrategy" => self.run(step, Kinesis::update_distribution),
            "EnableEnhancedMonitoring" => self.run(step, Kinesis::enable_monitoring),
            "DisableEnhancedMonitoring" => self.run(step, Kinesis::disable_monitoring),
            "DescribeLimits" => self.run(step, Kinesis::describe_limits),
            _ => Err(Error::unknown_operation()),
        }
    }

    fn run<'a, Q, A>(
        self,
        step: impl Step,
        operation: impl FnOnce(&mut Kinesis, Q, Millis) -> Result<A, Error>,
    ) -> Result<Vec<u8>, Error>
    where
        Self: 'a,
        Q: Deserialize<'a>,
        A: Serialize,
    {
        let request = request::parse(self.format, self.body)?;
        let answer = step.run(|kinesis, now| {
            kinesis.admit(self.operation, now)?;
            operation(kinesis, request, now)
        })?;
        Ok(self.format.encode(&answer))
    }
}

/// Access to the state: one step at a time, with the time of the step.
pub(crate) trait Step {
    fn run<A>(self, step: impl FnOnce(&mut Kinesis, Millis) -> A) -> A;
}
