//! What a worker does with its shards right now, for those who want to look.

use std::time::Duration;

use kpl::ShardId;

use super::{checkpoint::Checkpoint, stream_id::StreamId};

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
