//! A shard: as it is listed, positions to read it from, and its status on a worker.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use kpl::{HashKeyRange, SequenceNumber, ShardId};

use super::{checkpoint::Checkpoint, id::StreamShard};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    /// The shards it was split or merged from; they may be trimmed and no longer listed.
    pub(crate) parents: Vec<ShardId>,
    pub(crate) hash_key_range: HashKeyRange,
    /// Sequence numbers in the shard are greater than this one.
    pub(crate) starting_sequence_number: SequenceNumber,
    /// Set once the shard is closed.
    pub(crate) ending_sequence_number: Option<SequenceNumber>,
}

impl Shard {
    pub(crate) fn is_open(&self) -> bool {
        self.ending_sequence_number.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildShard {
    pub(crate) id: ShardId,
    pub(crate) parents: Vec<ShardId>,
    pub(crate) hash_key_range: HashKeyRange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartAt {
    TrimHorizon,
    Latest,
    /// At the first record that arrived at this time or later.
    Timestamp(SystemTime),
    /// At the record with this sequence number.
    At(SequenceNumber),
    /// At the first record after this sequence number.
    After(SequenceNumber),
}

/// Phase of a shard's life on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// All records are processed; processor and lease table are informed of the end.
    Ending,
    /// Processed to its end. The lease is kept until the leader deletes it.
    Ended,
    /// Stopped by the [`ErrorPolicy`](crate::ErrorPolicy), as the processor kept failing.
    Stopped,
    /// The lease is being given up, or is lost.
    Leaving,
}

/// Reason why a shard makes no progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stall {
    /// The shards that it was split or merged from are not processed yet.
    #[non_exhaustive]
    WaitingForParents {
        /// Those that are known to be unfinished.
        #[serde(serialize_with = "as_texts")]
        parents: Vec<ShardId>,
    },
    /// A call into the processor has not returned.
    ProcessorBusy,
    /// Processors keep failing.
    #[non_exhaustive]
    ProcessorFailing {
        /// Failures in a row.
        failures: u32,
    },
    /// Reads are refused because of the shard's limits; others may be reading it.
    Throttled,
    /// Reads fail.
    #[non_exhaustive]
    ReadFailing {
        /// The last error.
        error: String,
    },
    /// Reads are not answered.
    ReadUnanswered,
    /// Nothing is read, because other shards of this worker hold its
    /// [`memory_budget`](crate::WorkerBuilder::memory_budget): their processors do not keep up, or hang.
    WaitingForMemory,
    /// All records are processed, and the lease table does not take in the shard's end, or its children.
    EndNotStored,
    /// Stopped by the [`ErrorPolicy`](crate::ErrorPolicy).
    Stopped,
    /// No worker has the lease, or may take it, perhaps by [`max_leases`](crate::WorkerBuilder::max_leases). Reported
    /// by the leader, in [`Event::ShardStalled`](crate::Event::ShardStalled).
    NoLease,
}

fn as_texts<S: Serializer>(ids: &[ShardId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(ShardId::as_str))
}

/// A shard whose lease this worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// Shard.
    pub shard: StreamShard,
    /// Phase of its life.
    pub phase: ShardPhase,
    /// The last checkpoint that this worker knows to be stored, as of the last batch.
    pub checkpoint: Checkpoint,
    /// Lag behind the newest record; None before the first batch. While a batch is in hand: the age of its first record
    /// by the services' clock, or the lag of its read if that is more. Afterwards: the read's lag.
    pub behind_latest: Option<Duration>,
    /// Failures of processors in a row.
    pub failures: u32,
    /// Reason why it makes no progress, once it has made none for [`WorkerBuilder::warn_after`].
    ///
    /// [`WorkerBuilder::warn_after`]: crate::WorkerBuilder::warn_after
    pub stall: Option<Stall>,
}
