//! SHELL: facts about a stream: its description, its consumers, its shards.

use std::time::SystemTime;

use aws_sdk_kinesis::types::{Shard as SdkShard, StreamDescriptionSummary};
use kpl::HashKeyRange;
use serde::Serialize;

use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    reading::shards,
    text,
};

/// A stream.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamFacts {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) status: String,
    /// `PROVISIONED` or `ON_DEMAND`.
    pub(super) mode: String,
    pub(super) created: Option<String>,
    pub(super) retention_hours: i32,
    /// None: not encrypted.
    pub(super) encryption_key: Option<String>,
    pub(super) max_record_kib: Option<i32>,
    pub(super) open_shards: i32,
    /// None: they may not be listed.
    pub(super) consumers: Option<Vec<ConsumerFacts>>,
    pub(super) shards: Vec<ShardFacts>,
}

/// A consumer that is registered for enhanced fan-out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConsumerFacts {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) created: Option<String>,
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardFacts {
    pub(super) id: String,
    pub(super) starting_hash_key: String,
    pub(super) ending_hash_key: String,
    pub(super) parents: Vec<String>,
    pub(super) is_open: bool,
    pub(super) starting_sequence_number: Option<String>,
    pub(super) ending_sequence_number: Option<String>,
}

impl ShardFacts {
    pub(super) fn of(shard: &SdkShard) -> Self {
        let (keys, numbers) = (shard.hash_key_range.as_ref(), shard.sequence_number_range.as_ref());
        let key = |key: Option<&String>| key.cloned().unwrap_or_default();
        let ending_sequence_number = numbers.and_then(|numbers| numbers.ending_sequence_number.clone());
        Self {
            id: shard.shard_id.clone(),
            starting_hash_key: key(keys.map(|keys| &keys.starting_hash_key)),
            ending_hash_key: key(keys.map(|keys| &keys.ending_hash_key)),
            parents: [&shard.parent_shard_id, &shard.adjacent_parent_shard_id].into_iter().flatten().cloned().collect(),
            is_open: ending_sequence_number.is_none(),
            starting_sequence_number: numbers.map(|numbers| numbers.starting_sequence_number.clone()),
            ending_sequence_number,
        }
    }

    pub(super) fn range(&self) -> Option<HashKeyRange> {
        Some(HashKeyRange { start: self.starting_hash_key.parse().ok()?, end: self.ending_hash_key.parse().ok()? })
    }
}

/// Describes the stream alone.
pub(super) async fn summary(aws: &Aws, stream: &StreamName) -> Result<StreamDescriptionSummary, Failure> {
    let request = aws.kinesis().describe_stream_summary();
    let answer = request.set_stream_name(stream.name()).set_stream_arn(stream.arn()).send().await;
    let target = format!("stream {stream}");
    let answer = answer.map_err(|error| aws.explain("kinesis:DescribeStreamSummary", &target, error))?;
    answer
        .stream_description_summary
        .ok_or_else(|| Failure::new(format!("{target} is described by nothing"), "try again"))
}

/// Reads all facts.
pub(super) async fn read(aws: &Aws, stream: &StreamName) -> Result<StreamFacts, Failure> {
    let summary = summary(aws, stream).await?;
    let listed = shards::all_shards(aws, stream).await?;
    let consumers = consumers(aws, &summary.stream_arn).await;
    let mode = summary.stream_mode_details.as_ref().map_or("PROVISIONED", |details| details.stream_mode.as_str());
    Ok(StreamFacts {
        mode: mode.to_owned(),
        created: SystemTime::try_from(summary.stream_creation_timestamp).ok().map(text::time),
        retention_hours: summary.retention_period_hours,
        encryption_key: summary.key_id,
        max_record_kib: summary.max_record_size_in_kib,
        open_shards: summary.open_shard_count,
        consumers,
        shards: listed.iter().map(ShardFacts::of).collect(),
        name: summary.stream_name,
        arn: summary.stream_arn,
        status: summary.stream_status.to_string(),
    })
}

async fn consumers(aws: &Aws, arn: &str) -> Option<Vec<ConsumerFacts>> {
    let mut pages = aws.kinesis().list_stream_consumers().stream_arn(arn).into_paginator().send();
    let mut consumers = Vec::new();
    while let Some(page) = pages.next().await {
        consumers.extend(page.ok()?.consumers.unwrap_or_default().into_iter().map(|consumer| ConsumerFacts {
            name: consumer.consumer_name,
            status: consumer.consumer_status.to_string(),
            created: SystemTime::try_from(consumer.consumer_creation_timestamp).ok().map(text::time),
        }));
    }
    Some(consumers)
}
