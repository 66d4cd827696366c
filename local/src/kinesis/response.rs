//! Answers on the wire.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::error::Error;
use super::hash_key::HashKeyRange;
use super::sequence::SequenceNumber;
use super::shard::{Record, Shard, ShardId};
use crate::timestamp::Millis;

macro_rules! responses {
    ($($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Serialize, Debug)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name $(<$life>)? {
            $($(#[$attr])* pub(super) $field: $type,)*
        }
    )*};
}

responses! {
    /// Operations that answer nothing.
    Empty {}
    /// PutRecord.
    PutRecord {
        shard_id: ShardId,
        sequence_number: SequenceNumber,
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_type: Option<&'static str>,
    }
    /// PutRecords: as many results as the request had records, in their order.
    PutRecords {
        failed_record_count: usize,
        records: Vec<PutResult>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_type: Option<&'static str>,
    }
    /// GetShardIterator.
    GetShardIterator {
        shard_iterator: String,
    }
    /// GetRecords. Without an iterator, and with child shards, at the end of a closed shard.
    GetRecords {
        records: Vec<Record>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_shard_iterator: Option<String>,
        millis_behind_latest: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        child_shards: Option<Vec<ChildShard>>,
    }
    /// A shard that continues the one that was read.
    ChildShard {
        shard_id: ShardId,
        parent_shards: Vec<ShardId>,
        hash_key_range: HashKeyRange,
    }
    /// ListShards.
    ListShards {
        shards: Vec<ShardDescription>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
    }
    /// A shard in ListShards and DescribeStream.
    ShardDescription {
        shard_id: ShardId,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent_shard_id: Option<ShardId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        adjacent_parent_shard_id: Option<ShardId>,
        hash_key_range: HashKeyRange,
        sequence_number_range: SequenceNumberRange,
    }
    /// From the opening of a shard to its end, when it has one.
    SequenceNumberRange {
        starting_sequence_number: SequenceNumber,
        #[serde(skip_serializing_if = "Option::is_none")]
        ending_sequence_number: Option<SequenceNumber>,
    }
    /// ListStreams.
    ListStreams {
        stream_names: Vec<String>,
        has_more_streams: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
        stream_summaries: Vec<StreamSummary>,
    }
    /// A stream in ListStreams.
    StreamSummary {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        stream_status: &'static str,
        stream_mode_details: StreamModeDetails,
        stream_creation_timestamp: Millis,
    }
    /// PROVISIONED or ON_DEMAND.
    StreamModeDetails {
        stream_mode: &'static str,
    }
    /// The shard-level metrics that are on.
    EnhancedMetrics {
        shard_level_metrics: Vec<&'static str>,
    }
    /// EnableEnhancedMonitoring and DisableEnhancedMonitoring: before and after.
    EnhancedMonitoring {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        current_shard_level_metrics: Vec<&'static str>,
        desired_shard_level_metrics: Vec<&'static str>,
    }
    /// ListTagsForStream.
    ListTagsForStream {
        tags: Vec<Tag>,
        has_more_tags: bool,
    }
    /// ListTagsForResource.
    ListTagsForResource {
        tags: Vec<Tag>,
    }
    /// A tag.
    Tag {
        key: String,
        value: String,
    }
    /// GetResourcePolicy.
    ResourcePolicy {
        policy: String,
    }
    /// DescribeLimits.
    DescribeLimits {
        shard_limit: usize,
        open_shard_count: usize,
        on_demand_stream_count: usize,
        on_demand_stream_count_limit: usize,
    }
    /// DescribeStream.
    DescribeStream {
        stream_description: StreamDescription,
    }
    /// A stream with its shards.
    StreamDescription {
        #[serde(flatten)]
        stream: StreamSummary,
        shards: Vec<ShardDescription>,
        has_more_shards: bool,
        retention_period_hours: u32,
        enhanced_monitoring: [EnhancedMetrics; 1],
        encryption_type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
    }
    /// DescribeStreamSummary.
    DescribeStreamSummary {
        stream_description_summary: StreamDescriptionSummary,
    }
    /// A stream without its shards.
    StreamDescriptionSummary {
        #[serde(flatten)]
        stream: StreamSummary,
        stream_id: String,
        retention_period_hours: u32,
        enhanced_monitoring: [EnhancedMetrics; 1],
        encryption_type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
        open_shard_count: usize,
        consumer_count: usize,
        #[serde(rename = "MaxRecordSizeInKiB")]
        max_record_size_in_kib: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        record_distribution_strategy: Option<&'static str>,
    }
    /// RegisterStreamConsumer.
    RegisterStreamConsumer {
        consumer: Consumer,
    }
    /// DescribeStreamConsumer.
    DescribeStreamConsumer {
        consumer_description: ConsumerDescription,
    }
    /// ListStreamConsumers.
    ListStreamConsumers {
        consumers: Vec<Consumer>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
    }
    /// A registered consumer.
    Consumer {
        consumer_name: String,
        #[serde(rename = "ConsumerARN")]
        consumer_arn: String,
        consumer_status: &'static str,
        consumer_creation_timestamp: Millis,
    }
    /// A registered consumer and its stream.
    ConsumerDescription {
        #[serde(flatten)]
        consumer: Consumer,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
    }
    /// One event of a subscription. Without a continuation, and with child shards, at the end of a closed shard.
    SubscribeToShardEvent {
        records: Vec<Record>,
        #[serde(skip_serializing_if = "Option::is_none")]
        continuation_sequence_number: Option<SequenceNumber>,
        millis_behind_latest: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        child_shards: Option<Vec<ChildShard>>,
    }
    /// UpdateShardCount.
    UpdateShardCount {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        current_shard_count: usize,
        target_shard_count: u32,
    }
}

/// The outcome of one record of PutRecords.
#[derive(Serialize, Debug)]
#[serde(untagged)]
pub(crate) enum PutResult {
    Stored(PutRecord),
    #[serde(rename_all = "PascalCase")]
    Failed {
        error_code: &'static str,
        error_message: Cow<'static, str>,
    },
}

/// The only encryption there is. What is not encrypted says nothing.
pub(super) const KMS: &str = "KMS";

impl From<(&String, &String)> for Tag {
    fn from((key, value): (&String, &String)) -> Self {
        Self { key: key.clone(), value: value.clone() }
    }
}

impl From<Error> for PutResult {
    fn from(error: Error) -> Self {
        Self::Failed { error_code: error.code, error_message: error.message }
    }
}

impl PutRecords {
    pub(super) fn new(records: Vec<PutResult>, encryption_type: Option<&'static str>) -> Self {
        let failed = records.iter().filter(|result| matches!(result, PutResult::Failed { .. }));
        Self { failed_record_count: failed.count(), records, encryption_type }
    }
}

impl From<&Shard> for ShardDescription {
    fn from(shard: &Shard) -> Self {
        Self {
            shard_id: shard.id,
            parent_shard_id: shard.parents.first().copied(),
            adjacent_parent_shard_id: shard.parents.get(1).copied(),
            hash_key_range: shard.range,
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: shard.starting,
                ending_sequence_number: shard.closed.map(|closed| closed.ending),
            },
        }
    }
}

impl From<&Shard> for ChildShard {
    fn from(shard: &Shard) -> Self {
        Self { shard_id: shard.id, parent_shards: shard.parents.clone(), hash_key_range: shard.range }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Wire<'a> {
            sequence_number: SequenceNumber,
            approximate_arrival_timestamp: Millis,
            data: Binary<'a>,
            #[serde(skip_serializing_if = "str::is_empty")]
            partition_key: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            encryption_type: Option<&'static str>,
        }

        Wire {
            sequence_number: self.sequence_number,
            approximate_arrival_timestamp: self.sequence_number.arrival(),
            data: Binary(&self.data),
            partition_key: &self.partition_key,
            encryption_type: self.is_encrypted.then_some(KMS),
        }
        .serialize(serializer)
    }
}

struct Binary<'a>(&'a Bytes);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}
