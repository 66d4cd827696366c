//! What a worker does with its shards right now, for those who want to look.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kpl::ShardId;
use tokio::time::Instant;

use crate::{checkpoint::Checkpoint, lease::LeaseKey, logic::stall::Activity, stream::StreamId};

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

/// Why a shard makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stall {
    /// The shards that it was split or merged from are not processed yet.
    WaitingForParents {
        /// Those that are known to be unfinished.
        parents: Vec<ShardId>,
    },
    /// A call into the processor has not returned.
    ProcessorBusy,
    /// Processors keep failing.
    ProcessorFailing {
        /// Failures in a row.
        failures: u32,
    },
    /// Reads are refused because of the shard's limits; others may be reading it.
    Throttled,
    /// Reads fail.
    ReadFailing {
        /// The last error.
        error: String,
    },
    /// Reads are not answered.
    ReadUnanswered,
    /// All records are processed, and the lease table does not take in the shard's end, or its children.
    EndNotStored,
    /// The [`ErrorPolicy`](crate::ErrorPolicy) said to stop.
    Stopped,
    /// No worker has the lease: there is none that may take it, by [`max_leases`](crate::WorkerBuilder::max_leases) perhaps.
    /// Only told by the leader, in [`Event::ShardStalled`](crate::Event::ShardStalled).
    NoLease,
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
    /// How far the processing is behind; None before the first batch. While a batch is in hand, tried again perhaps: the age
    /// of its first record, by the services' clock, or the distance of what was read with it from the newest record of
    /// the shard, if that is more. Once all that was read is processed: that distance, 0 at the newest record.
    pub behind_latest: Option<Duration>,
    /// Failures of processors in a row.
    pub failures: u32,
    /// Why it makes no progress, if it has made none for as long as [`WorkerBuilder::warn_after`] says.
    ///
    /// [`WorkerBuilder::warn_after`]: crate::WorkerBuilder::warn_after
    pub stall: Option<Stall>,
}

/// A shard, and what it takes to tell whether it moves.
#[derive(Debug)]
struct Entry {
    status: ShardStatus,
    activity: Activity,
}

impl Entry {
    fn stall(&self, now: Instant, patience: Duration) -> Option<Stall> {
        self.activity.stall(self.status.phase, self.status.failures, now, patience)
    }

    fn status(&self, now: Instant, stall: Option<Stall>) -> ShardStatus {
        let in_hand =
            self.activity.in_hand.map(|(behind, at)| behind.saturating_add(now.saturating_duration_since(at)));
        ShardStatus { stall, behind_latest: in_hand.or(self.status.behind_latest), ..self.status.clone() }
    }
}

/// The shards of one worker.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Changed by each shard's task, a line at a time.
    shards: Mutex<BTreeMap<LeaseKey, Entry>>,
}

impl Board {
    fn shards(&self) -> MutexGuard<'_, BTreeMap<LeaseKey, Entry>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All shards, by stream and id.
    pub(crate) fn all(&self, now: Instant, patience: Duration) -> Vec<ShardStatus> {
        let status = |entry: &Entry| entry.status(now, entry.stall(now, patience));
        self.shards().values().map(status).collect()
    }

    /// Those that make no progress, and since when.
    pub(crate) fn stalled(&self, now: Instant, patience: Duration) -> Vec<(LeaseKey, ShardStatus, Duration)> {
        let shards = self.shards();
        let stalled = shards.iter().filter_map(|(key, entry)| {
            let stall = entry.stall(now, patience)?;
            let since = entry.activity.failing_since.unwrap_or(entry.activity.moved);
            Some((key.clone(), entry.status(now, Some(stall)), now.saturating_duration_since(since)))
        });
        stalled.collect()
    }

    pub(crate) fn add(&self, key: LeaseKey, stream_id: StreamId, shard_id: ShardId, checkpoint: Checkpoint) {
        let phase = ShardPhase::WaitingForParents;
        let status =
            ShardStatus { stream_id, shard_id, phase, checkpoint, behind_latest: None, failures: 0, stall: None };
        self.shards().insert(key, Entry { status, activity: Activity::beginning(Instant::now()) });
    }

    pub(crate) fn change(&self, key: &LeaseKey, change: impl FnOnce(&mut ShardStatus)) {
        if let Some(entry) = self.shards().get_mut(key) {
            change(&mut entry.status);
        }
    }

    /// The shard enters a phase.
    pub(crate) fn enter(&self, key: &LeaseKey, phase: ShardPhase) {
        self.note(key, |activity| activity.moved = Instant::now());
        self.change(key, |status| status.phase = phase);
    }

    /// Something happened in the shard.
    pub(crate) fn note(&self, key: &LeaseKey, note: impl FnOnce(&mut Activity)) {
        if let Some(entry) = self.shards().get_mut(key) {
            note(&mut entry.activity);
        }
    }

    pub(crate) fn remove(&self, key: &LeaseKey) {
        self.shards().remove(key);
    }
}
