//! A shard as it is listed, and positions to read it from.

use std::time::SystemTime;

use kpl::{HashKeyRange, SequenceNumber, ShardId};

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
