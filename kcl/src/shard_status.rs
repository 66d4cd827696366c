//! What a worker does with its shards right now, for those who want to look.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kpl::ShardId;

use crate::{checkpoint::Checkpoint, lease::LeaseKey, stream::StreamId};

/// Where a shard is in its life on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShardPhase {
    /// The shards that it was split or merged from are still being processed.
    WaitingForParents,
    /// A processor is being initialized.
    Initializing,
    /// Records are read and processed.
    Processing,
    /// The processor failed; the next one starts after a pause.
    BackingOff,
    /// All records are processed; the end is being made known to processor and lease table.
    Ending,
    /// Processed to its end. The lease is kept until the leader deletes it.
    Ended,
    /// The processor kept failing, and the [`ErrorPolicy`](crate::ErrorPolicy) says to stop.
    Stopped,
    /// The lease is being given up, or is lost.
    Leaving,
}

/// A shard of which this worker holds the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// The stream of the shard.
    pub stream_id: StreamId,
    /// The shard.
    pub shard_id: ShardId,
    /// Where it is in its life.
    pub phase: ShardPhase,
    /// The last checkpoint that this worker knows to be stored, as of the last batch.
    pub checkpoint: Checkpoint,
    /// How far the last batch was behind the newest record of the shard; None before the first batch.
    pub behind_latest: Option<Duration>,
    /// Failures of processors in a row.
    pub failures: u32,
}

/// The shards of one worker.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Changed by each shard's task, a line at a time.
    shards: Mutex<BTreeMap<LeaseKey, ShardStatus>>,
}

impl Board {
    fn shards(&self) -> MutexGuard<'_, BTreeMap<LeaseKey, ShardStatus>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All shards, by stream and id.
    pub(crate) fn all(&self) -> Vec<ShardStatus> {
        self.shards().values().cloned().collect()
    }

    pub(crate) fn add(&self, key: LeaseKey, stream_id: StreamId, shard_id: ShardId, checkpoint: Checkpoint) {
        let phase = ShardPhase::WaitingForParents;
        let status = ShardStatus { stream_id, shard_id, phase, checkpoint, behind_latest: None, failures: 0 };
        self.shards().insert(key, status);
    }

    pub(crate) fn change(&self, key: &LeaseKey, change: impl FnOnce(&mut ShardStatus)) {
        if let Some(status) = self.shards().get_mut(key) {
            change(status);
        }
    }

    pub(crate) fn remove(&self, key: &LeaseKey) {
        self.shards().remove(key);
    }
}
