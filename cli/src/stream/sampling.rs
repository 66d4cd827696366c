//! SHELL: samples the tip of all open shards for a while.

use std::time::Duration;

use aws_sdk_kinesis::types::Record;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kpl::{
    HashKey, HashKeyRange,
    aggregated::Deaggregator,
    compressed::{FrameReader, MAGIC},
};
use tokio::time::{Instant, sleep_until};

use super::hot::{Sample, ShardLoad};
use crate::{
    aws::{Aws, stream_name::StreamName},
    compressed::Unopened,
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

/// Load of each open shard, the most loaded first. Compressed records that `frames` cannot open count for their own partition key.
pub(super) async fn sample(
    aws: &Aws,
    stream: &StreamName,
    time: Duration,
    frames: &FrameReader,
) -> Result<Vec<ShardLoad>, Failure> {
    let open = shards::open_at(aws, stream, &Position::Latest).await?;
    let samples = stream::iter(open).map(|shard| sample_shard(aws, stream, shard, time, frames));
    let samples: Vec<(ShardLoad, Unopened)> = samples.buffer_unordered(SHARDS).try_collect().await?;
    let (mut loads, unopened): (Vec<_>, Vec<_>) = samples.into_iter().unzip();
    let mut all = Unopened::default();
    unopened.into_iter().for_each(|unopened| all.add(unopened));
    all.report("counted under their own partition keys");
    loads.sort_by(|a, b| b.percent_of_limit.total_cmp(&a.percent_of_limit).then_with(|| a.shard_id.cmp(&b.shard_id)));
    Ok(loads)
}

async fn sample_shard(
    aws: &Aws,
    stream: &StreamName,
    shard: Shard,
    time: Duration,
    frames: &FrameReader,
) -> Result<(ShardLoad, Unopened), Failure> {
    let (client, target) = (aws.kinesis(), format!("{} of stream {stream}", shard.id));
    let mut iterator = shards::iterator(aws, stream, &shard.id, &Position::Latest).await?;
    let (begun, mut sample, mut unopened) = (Instant::now(), Sample::new(shard.range), Unopened::default());
    while begun.elapsed() < time {
        let next = (Instant::now() + PAUSE).min(begun + time);
        sleep_until(next).await;
        let answer = client.get_records().shard_iterator(&iterator).send().await;
        let answer = answer.map_err(|error| aws.explain("kinesis:GetRecords", &target, error))?;
        answer.records.into_iter().for_each(|record| count(&mut sample, &mut unopened, frames, record));
        match answer.next_shard_iterator {
            Some(next) => iterator = next,
            None => break,
        }
    }
    let seconds = begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    Ok((sample.load(shard.id.as_str(), seconds), unopened))
}

fn count(sample: &mut Sample, unopened: &mut Unopened, frames: &FrameReader, record: Record) {
    let (key, data) = (record.partition_key.unwrap_or_default(), Bytes::from(record.data.into_inner()));
    sample.record(data.len() + key.len());
    let records =
        Deaggregator::new().within(HashKeyRange::FULL).opening_with(frames.clone()).deaggregate(&key, &data).records;
    let is_as_stored = data.starts_with(&MAGIC) && records.iter().all(|record| record.data == data);
    if is_as_stored && let Some(Err(error)) = frames.open(&data) {
        unopened.count(error);
    }
    for record in records {
        let hash_key = record.explicit_hash_key.unwrap_or_else(|| HashKey::of_partition_key(&record.partition_key));
        sample.user_record(&record.partition_key, hash_key, record.data.len() + record.partition_key.len());
    }
}
