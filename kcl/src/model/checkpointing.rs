//! Checkpoints that the worker makes by itself; the treatment of aggregates.

use std::time::Duration;

/// Interval of the worker's own checkpoints, in records and time, whichever ends first. Processing goes on
/// beside the writes. What is processed and not covered is stored, too, before a processor is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointEvery {
    /// User records of a shard. Default 10,000, at least 1. Counted at the end of each batch, by closures at each record.
    pub records: u32,
    /// Time since the oldest processed record that is not covered. Default 5 s; best effort. Zero: as soon as the
    /// checkpoint before is stored; `Duration::MAX`: by count alone.
    pub interval: Duration,
}

impl CheckpointEvery {
    /// After so many records or so much time.
    pub const fn new(records: u32, interval: Duration) -> Self {
        Self { records, interval }
    }
}

impl Default for CheckpointEvery {
    fn default() -> Self {
        Self { records: 10_000, interval: Duration::from_secs(5) }
    }
}

/// Treatment of aggregates of the Kinesis Producer Library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Deaggregation {
    /// Delivers their user records. An aggregate with a user record that does not belong to the shard by its hash key
    /// is dropped whole, as Java does, with [`Event::AggregateOfOtherShard`](crate::Event::AggregateOfOtherShard): it was
    /// written during a resharding, and the KPL sends its records again where they belong.
    #[default]
    DropForeign,
    /// Delivers all user records, those of other shards too. For producers that aggregate without regard to shards; those
    /// that do have regard may cause duplicates across a resharding.
    KeepForeign,
    /// Delivers aggregates as they are stored, one record each, which has the position of the aggregate's last user record.
    /// An aggregate that a checkpoint covers in part is delivered whole.
    Off,
}
