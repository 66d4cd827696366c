//! Reads a shard's records, ahead of its processor by a bounded amount.

use crate::kinesis::{ChildShard, KinesisRecord};

pub(crate) mod polling;

/// What a shard gives.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// Records in order, never none.
    Records { records: Vec<KinesisRecord>, behind_latest: Option<std::time::Duration> },
    /// The shard is closed and everything in it was fetched.
    End { children: Vec<ChildShard> },
}
