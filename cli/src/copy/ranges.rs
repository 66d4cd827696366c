//! SHELL: hash keys that the shards of a stream own, listed again when an unknown shard is met.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::types::Shard as SdkShard;
use kpl::{HashKeyRange, ShardId};

use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    reading::shards,
};

/// Shards of one stream. Clones share what is known.
#[derive(Debug, Clone)]
pub(super) struct Ranges {
    aws: Aws,
    stream: StreamName,
    /// Locked to read or replace it.
    known: Arc<Mutex<Arc<[Known]>>>,
}

#[derive(Debug, Clone)]
struct Known {
    id: ShardId,
    range: HashKeyRange,
    is_open: bool,
}

impl Ranges {
    pub(super) async fn list(aws: &Aws, stream: &StreamName) -> Result<Self, Failure> {
        let known = Arc::new(Mutex::new(Arc::from([])));
        let ranges = Self { aws: aws.clone(), stream: stream.clone(), known };
        ranges.refresh().await?;
        Ok(ranges)
    }

    /// Hash keys of the shards that were open when they were listed.
    pub(super) fn open(&self) -> Vec<HashKeyRange> {
        self.known().iter().filter(|shard| shard.is_open).map(|shard| shard.range).collect()
    }

    /// Hash keys of a shard, which never change. None if the stream has forgotten it.
    pub(super) async fn of(&self, shard: &ShardId) -> Result<Option<HashKeyRange>, Failure> {
        let find = || self.known().iter().find(|known| known.id == *shard).map(|known| known.range);
        if let Some(range) = find() {
            return Ok(Some(range));
        }
        // A call of the SDK is large, and this is deep within a processor.
        Box::pin(self.refresh()).await?;
        Ok(find())
    }

    async fn refresh(&self) -> Result<(), Failure> {
        let listed = shards::all_shards(&self.aws, &self.stream).await?;
        let known = listed.iter().filter_map(|listed| {
            let shard = shards::shard(listed)?;
            Some(Known { id: shard.id, range: shard.range, is_open: is_open(listed) })
        });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known.collect();
        Ok(())
    }

    fn known(&self) -> Arc<[Known]> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_open(shard: &SdkShard) -> bool {
    shard.sequence_number_range.as_ref().is_none_or(|numbers| numbers.ending_sequence_number.is_none())
}
