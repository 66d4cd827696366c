//! The place of a record that is stored, and its attempts.

use std::sync::Arc;

use crate::{
    error::Attempt,
    id::{SequenceNumber, ShardId},
};

/// Where a Kinesis record was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The shard that took the record.
    pub shard_id: ShardId,
    /// The record's place in that shard.
    pub sequence_number: SequenceNumber,
}

/// A record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Shared by the user records of an aggregate.
    stored: Arc<Stored>,
    sub_sequence_number: Option<u32>,
    /// `None`: the first attempt succeeded.
    retried: Option<Box<Retried>>,
}

/// How a record fared before it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retried {
    pub(crate) attempts: u32,
    pub(crate) failed: Vec<Attempt>,
}

impl Delivered {
    pub(crate) fn new(stored: Arc<Stored>, sub_sequence_number: Option<u32>, retried: Option<Box<Retried>>) -> Self {
        Self { stored, sub_sequence_number, retried }
    }

    /// The shard that took the record.
    pub fn shard_id(&self) -> &ShardId {
        &self.stored.shard_id
    }

    /// Place of the Kinesis record in the shard. All user records of an aggregate have the same.
    pub fn sequence_number(&self) -> &SequenceNumber {
        &self.stored.sequence_number
    }

    /// Place of the user record in its aggregate, from 0; `None` if it is a Kinesis record of its own.
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number.map(u64::from)
    }

    /// How often the record was sent, the time that succeeded included.
    pub fn attempts(&self) -> u32 {
        self.retried.as_ref().map_or(1, |retried| retried.attempts)
    }

    /// Attempts that failed, the earliest first. Of more than 16, the first one and the last 15 are kept.
    pub fn failed_attempts(&self) -> &[Attempt] {
        self.retried.as_ref().map_or(&[], |retried| &retried.failed)
    }
}
