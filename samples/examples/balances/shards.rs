//! Shards that are split and merged while records are put.

use aws_sdk_kinesis::{Client, types::Shard};

use crate::chaos::STREAM;

/// Open shards above which two are merged.
const MAX_SHARDS: usize = 4;

/// Splits a shard, or merges two. False: the stream was busy.
pub(crate) async fn reshard(kinesis: &Client, random: &mut fastrand::Rng) -> anyhow::Result<bool> {
    let mut shards = open(kinesis).await?;
    shards.sort_by_key(first_hash);
    if shards.len() > MAX_SHARDS {
        let first = random.usize(..shards.len() - 1);
        let merge = kinesis.merge_shards().stream_name(STREAM).shard_to_merge(shards[first].shard_id());
        let merged = merge.adjacent_shard_to_merge(shards[first + 1].shard_id()).send().await;
        return done(merged.map(drop).map_err(Into::into));
    }
    let Some(shard) = random.choice(&shards) else { anyhow::bail!("stream {STREAM} has no open shard") };
    let last: u128 = shard.hash_key_range().map_or(Ok(0), |range| range.ending_hash_key().parse())?;
    let middle = first_hash(shard) + (last - first_hash(shard)) / 2;
    let split = kinesis.split_shard().stream_name(STREAM).shard_to_split(shard.shard_id());
    done(split.new_starting_hash_key(middle.to_string()).send().await.map(drop).map_err(Into::into))
}

fn done(outcome: Result<(), aws_sdk_kinesis::Error>) -> anyhow::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(aws_sdk_kinesis::Error::ResourceInUseException(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn first_hash(shard: &Shard) -> u128 {
    shard.hash_key_range().and_then(|range| range.starting_hash_key().parse().ok()).unwrap_or_default()
}

/// Shards that take records; fewer than a page.
async fn open(kinesis: &Client) -> anyhow::Result<Vec<Shard>> {
    let listed = kinesis.list_shards().stream_name(STREAM).send().await?;
    let is_open =
        |shard: &Shard| shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none());
    Ok(listed.shards.unwrap_or_default().into_iter().filter(is_open).collect())
}
