//! Checks of the retention period: its bounds, and what it does to records.

use std::time::Duration;

use aws_sdk_kinesis::types::ShardIteratorType;
use tokio::time::sleep;

use super::check::{api, checks};
use super::expect::{Outcome, equal, holds, refused_with};
use super::peer::Peer;
use super::stream::{HALF, Stream};

const HOUR: Duration = Duration::from_secs(3600);

/// The limit of the field, or that of the operation.
const OUT_OF_BOUNDS: [&str; 2] = ["InvalidArgumentException", "ValidationException"];

checks! {
    Kinesis retention_can_be_increased: api!("IncreaseStreamRetentionPeriod");
    Kinesis retention_can_be_decreased: api!("DecreaseStreamRetentionPeriod");
    Kinesis increasing_retention_to_less_is_refused: api!("IncreaseStreamRetentionPeriod");
    Kinesis decreasing_retention_to_more_is_refused: api!("DecreaseStreamRetentionPeriod");
    Kinesis retention_is_8760_hours_at_most: api!("IncreaseStreamRetentionPeriod");
    Kinesis retention_is_24_hours_at_least: api!("DecreaseStreamRetentionPeriod");
    VirtualTime records_are_kept_for_the_retention_period: api!("IncreaseStreamRetentionPeriod");
    VirtualTime records_go_after_the_retention_period: api!("DecreaseStreamRetentionPeriod");
    VirtualTime longer_retention_keeps_records_longer: api!("IncreaseStreamRetentionPeriod");
    VirtualTime an_iterator_at_a_record_that_went_reads_the_oldest: api!("GetShardIterator");
    VirtualTime a_closed_shard_goes_after_the_retention_period: api!("ListShards");
}

async fn set(stream: &Stream, hours: i32) -> Outcome {
    let increase = stream.kinesis.increase_stream_retention_period().stream_name(&stream.name);
    increase.retention_period_hours(hours).send().await?;
    stream.active().await
}

async fn retention_can_be_increased(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    set(&stream, 8760).await?;
    equal("retention", stream.summary().await?.retention_period_hours(), 8760)
}

async fn retention_can_be_decreased(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    set(&stream, 48).await?;
    let decrease = stream.kinesis.decrease_stream_retention_period().stream_name(&stream.name);
    decrease.retention_period_hours(25).send().await?;
    stream.active().await?;
    equal("retention", stream.summary().await?.retention_period_hours(), 25)
}

async fn increase_refused(peer: &Peer, hours: i32, codes: &[&str]) -> Outcome {
    let stream = Stream::create(peer, 1).await?;
    set(&stream, 48).await?;
    let increase = stream.kinesis.increase_stream_retention_period().stream_name(&stream.name);
    refused_with(increase.retention_period_hours(hours).send().await, codes)
}

async fn decrease_refused(peer: &Peer, hours: i32, codes: &[&str]) -> Outcome {
    let stream = Stream::create(peer, 1).await?;
    set(&stream, 48).await?;
    let decrease = stream.kinesis.decrease_stream_retention_period().stream_name(&stream.name);
    refused_with(decrease.retention_period_hours(hours).send().await, codes)
}

async fn increasing_retention_to_less_is_refused(peer: Peer) -> Outcome {
    increase_refused(&peer, 47, &["InvalidArgumentException"]).await
}

async fn decreasing_retention_to_more_is_refused(peer: Peer) -> Outcome {
    decrease_refused(&peer, 49, &["InvalidArgumentException"]).await
}

async fn retention_is_8760_hours_at_most(peer: Peer) -> Outcome {
    increase_refused(&peer, 8761, &OUT_OF_BOUNDS).await
}

async fn retention_is_24_hours_at_least(peer: Peer) -> Outcome {
    decrease_refused(&peer, 23, &OUT_OF_BOUNDS).await
}

async fn records_are_kept_for_the_retention_period(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "x").await?;
    sleep(23 * HOUR).await;
    equal("records", stream.read_all(0).await?.texts(), ["x"])
}

async fn records_go_after_the_retention_period(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "old").await?;
    sleep(23 * HOUR).await;
    stream.put("k", "new").await?;
    sleep(2 * HOUR).await;
    equal("records", stream.read_all(0).await?.texts(), ["new"])
}

async fn longer_retention_keeps_records_longer(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    set(&stream, 48).await?;
    stream.put("k", "x").await?;
    sleep(47 * HOUR).await;
    equal("records", stream.read_all(0).await?.texts(), ["x"])
}

async fn an_iterator_at_a_record_that_went_reads_the_oldest(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let old = stream.put("k", "old").await?;
    sleep(25 * HOUR).await;
    stream.put("k", "new").await?;
    let kind = ShardIteratorType::AtSequenceNumber;
    let iterator = stream.iterator_by_number(0, kind, old.sequence_number()).await?;
    equal("records", stream.read(&iterator).await?.texts(), ["new"])
}

async fn a_closed_shard_goes_after_the_retention_period(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.split(0, HALF).await?;
    equal("shards before", stream.shards().await?.len(), 3)?;
    sleep(25 * HOUR).await;
    let shards = stream.shards().await?;
    holds(shards.len() == 2, format!("{shards:?} are the open ones"))
}
