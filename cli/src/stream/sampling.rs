//! SHELL: samples the tip of all open shards for a while.

use std::time::Duration;

use aws_sdk_kinesis::types::Record;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kpl::{HashKey, HashKeyRange, aggregated::Deaggregator};
use tokio::time::{Instant, sleep_until};

use super::hot::{Sample, ShardLoad};
use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    reading::{
        position::Position,
        shards::{self, Shard},
    },
};

/// Pause between two reads of a shard: one of the five reads a second that all its readers share.
const PAUSE: Duration = Duration::from_secs(1);
/// Shards that are read side by side.
const SHARDS: usize = 200;

/// Load of each open shard, the most loaded first.
pub(super) async fn sample(aws: &Aws, stream: &StreamName, time: Duration) -> Result<Vec<ShardLoad>, Failure> {
    let open = shards::open_at(aws, stream, &Position::Latest).await?;
    let samples = stream::iter(open).map(|shard| sample_shard(aws, stream, shard, time));
    let mut loads: Vec<ShardLoad> = samples.buffer_unordered(SHARDS).try_collect().await?;
    loads.sort_by(|a, b| b.percent_of_limit.total_cmp(&a.percent_of_limit).then_with(|| a.shard_id.cmp(&b.shard_id)));
    Ok(loads)
}

async fn sample_shard(aws: &Aws, stream: &StreamName, shard: Shard, time: Duration) -> Result<ShardLoad, Failure> {
    let (client, target) = (aws.kinesis(), format!("{} of stream {stream}", shard.id));
    let mut iterator = shards::iterator(aws, stream, &shard.id, &Position::Latest).await?;
    let (begun, mut sample) = (Instant::now(), Sample::new(shard.range));
    while begun.elapsed() < time {
        let next = (Instant::now() + PAUSE).min(begun + time);
        sleep_until(next).await;
        let answer = client.get_records().shard_iterator(&iterator).send().await;
        let answer = answer.map_err(|error| aws.explain("kinesis:GetRecords", &target, error))?;
        answer.records.into_iter().for_each(|record| count(&mut sample, record));
        match answer.next_shard_iterator {
            Some(next) => iterator = next,
            None => break,
        }
    }
    Ok(sample.load(shard.id.as_str(), begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)))
}

fn count(sample: &mut Sample, record: Record) {
    let (key, data) = (record.partition_key.unwrap_or_default(), Bytes::from(record.data.into_inner()));
    sample.record(data.len() + key.len());
    for record in Deaggregator::new().within(HashKeyRange::FULL).deaggregate(&key, &data).records {
        let hash_key = record.explicit_hash_key.unwrap_or_else(|| HashKey::of_partition_key(&record.partition_key));
        sample.user_record(&record.partition_key, hash_key, record.data.len() + record.partition_key.len());
    }
}
