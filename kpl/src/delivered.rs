//! The place of a record that is stored, and its attempts.

use std::sync::Arc;

use crate::{
    error::Attempt,
    id::{SequenceNumber, ShardId},
};

/// Place of a stored Kinesis record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The shard that stored it.
    pub shard_id: ShardId,
    /// Its sequence number.
    pub sequence_number: SequenceNumber,
}

impl Stored {
    /// The place `sequence_number` in a shard.
    pub fn new(shard_id: ShardId, sequence_number: SequenceNumber) -> Self {
        Self { shard_id, sequence_number }
    }
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Shared by the user records of an aggregate.
    pub(crate) stored: Arc<Stored>,
    pub(crate) sub_sequence_number: Option<u32>,
    /// `None`: the first attempt succeeded.
    pub(crate) retried: Option<Box<Retried>>,
}

/// Attempts of a record before it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retried {
    pub(crate) attempts: u32,
    pub(crate) failed: Vec<Attempt>,
}

impl Delivered {
    /// The shard that stored it.
    pub fn shard_id(&self) -> &ShardId {
        &self.stored.shard_id
    }

    /// Sequence number of the Kinesis record, the same for all user records of an aggregate.
    pub fn sequence_number(&self) -> &SequenceNumber {
        &self.stored.sequence_number
    }

    /// Position of the user record in its aggregate, from 0; `None` without one.
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number.map(u64::from)
    }

    /// Number of attempts, the successful one included.
    pub fn attempts(&self) -> u32 {
        self.retried.as_ref().map_or(1, |retried| retried.attempts)
    }

    /// Failed attempts, the earliest first. Of more than 16, the first and the last 15 are kept.
    pub fn failed_attempts(&self) -> &[Attempt] {
        self.retried.as_ref().map_or(&[], |retried| &retried.failed)
    }
}
