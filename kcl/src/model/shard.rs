//! A shard as it is listed, and where to begin reading it.

use std::time::SystemTime;

use kpl::{HashKeyRange, SequenceNumber, ShardId};

/// One shard of the stream, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Its id.
    pub(crate) id: ShardId,
    /// The shards it was split or merged from; they may be trimmed and no longer listed.
    pub(crate) parents: Vec<ShardId>,
    /// Its part of the hash key space.
    pub(crate) hash_key_range: HashKeyRange,
    /// Sequence numbers in the shard are greater than this one.
    pub(crate) starting_sequence_number: SequenceNumber,
    /// Set once the shard is closed.
    pub(crate) ending_sequence_number: Option<SequenceNumber>,
}

impl Shard {
    /// Whether the shard takes records.
    pub(crate) fn is_open(&self) -> bool {
        self.ending_sequence_number.is_none()
    }
}

/// A shard that follows one that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildShard {
    /// Its id.
    pub(crate) id: ShardId,
    /// The shards it was split or merged from.
    pub(crate) parents: Vec<ShardId>,
    /// Its part of the hash key space.
    pub(crate) hash_key_range: HashKeyRange,
}

/// Where to begin reading a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// At the oldest retained record.
    TrimHorizon,
    /// After the newest record.
    Latest,
    /// At the first record that arrived at this time or later.
    Timestamp(SystemTime),
    /// At the record with this sequence number.
    At(SequenceNumber),
    /// At the first record after this sequence number.
    After(SequenceNumber),
}
