//! Hash keys of shards, which events do not have.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_kinesis::{Client, error::SdkError, operation::list_shards::ListShardsError, types::Shard};
use kpl::{HashKeyRange, ShardId};

use super::KinesisRecord;

/// Knowledge of the shards' hash keys, by which aggregates of other shards are left out.
#[derive(Debug, Default)]
pub enum Ranges {
    /// None: every aggregate is delivered. One that was stored while its shard was split is delivered twice, because its producer
    /// stores it again.
    #[default]
    Unchecked,
    /// Those of these shards. Aggregates of others are delivered.
    Given(HashMap<ShardId, HashKeyRange>),
    /// Those that ListShards returns, asked when a shard is met for the first time. Needs `kinesis:ListShards`.
    Listed(Listing),
}

/// Shards that were listed.
#[derive(Debug)]
pub struct Listing {
    client: Client,
    /// Ranges by stream and shard, which never change. Locked to look a shard up, or to add those of a stream.
    known: Mutex<HashMap<(String, ShardId), Option<HashKeyRange>>>,
}

/// The shards of a stream cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("the shards of {stream_arn} cannot be listed")]
pub struct RangesError {
    stream_arn: String,
    source: Box<SdkError<ListShardsError>>,
}

impl Ranges {
    /// Ranges by ListShards.
    pub fn listed(client: Client) -> Self {
        Self::Listed(Listing { client, known: Mutex::default() })
    }

    /// The records with what is known of their shards.
    pub(super) async fn complete(&self, mut records: Vec<KinesisRecord>) -> Result<Vec<KinesisRecord>, RangesError> {
        for record in &mut records {
            record.range = match self {
                Self::Unchecked => None,
                Self::Given(ranges) => ranges.get(&record.shard_id).copied(),
                Self::Listed(listing) => listing.range(record.stream_arn(), &record.shard_id).await?,
            };
        }
        Ok(records)
    }
}

impl Listing {
    async fn range(&self, stream_arn: &str, shard_id: &ShardId) -> Result<Option<HashKeyRange>, RangesError> {
        let key = (stream_arn.to_owned(), shard_id.clone());
        if let Some(known) = self.known().get(&key) {
            return Ok(*known);
        }
        let found = self.list(stream_arn).await?;
        let mut known = self.known();
        known.extend(found.into_iter().map(|(shard_id, range)| ((stream_arn.to_owned(), shard_id), Some(range))));
        // A shard that is listed no more is not asked for again.
        Ok(*known.entry(key).or_default())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(String, ShardId), Option<HashKeyRange>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn list(&self, stream_arn: &str) -> Result<Vec<(ShardId, HashKeyRange)>, RangesError> {
        let failed = |source| RangesError { stream_arn: stream_arn.to_owned(), source: Box::new(source) };
        let mut found = Vec::new();
        let mut page = self.client.list_shards().stream_arn(stream_arn).send().await.map_err(failed)?;
        loop {
            found.extend(page.shards().iter().filter_map(range_of));
            let Some(token) = page.next_token() else { return Ok(found) };
            page = self.client.list_shards().next_token(token).send().await.map_err(failed)?;
        }
    }
}

fn range_of(shard: &Shard) -> Option<(ShardId, HashKeyRange)> {
    let range = shard.hash_key_range()?;
    let range =
        HashKeyRange { start: range.starting_hash_key().parse().ok()?, end: range.ending_hash_key().parse().ok()? };
    Some((ShardId::from(shard.shard_id()), range))
}
