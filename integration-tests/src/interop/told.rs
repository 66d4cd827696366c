//! Reports of a consumer or producer, a line of JSON each.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Told {
    /// The worker takes part in its fleet.
    Started,
    /// A processor starts after this checkpoint.
    Initialized {
        /// The shard.
        shard: String,
        /// Sequence number, or a sentinel of the lease table.
        checkpoint: String,
        /// Sub-sequence number.
        sub: u64,
    },
    /// Records were processed.
    Records {
        /// Their shard.
        shard: String,
        /// In their order.
        records: Vec<Read>,
    },
    /// As many records of the shard are processed as were asked for; no more will be.
    Limit {
        /// The shard.
        shard: String,
    },
    /// The lease belongs to another worker.
    LeaseLost {
        /// The shard.
        shard: String,
    },
    /// The shard is processed to its end.
    ShardEnded {
        /// The shard.
        shard: String,
    },
    /// The lease is about to be given up.
    ShutdownRequested {
        /// The shard.
        shard: String,
    },
    /// A checkpoint came too late: the lease was lost.
    CheckpointRefused {
        /// The shard.
        shard: String,
    },
    /// An aggregate was dropped because it belongs to another shard.
    ForeignAggregate {
        /// The shard.
        shard: String,
        /// Number of its user records.
        records: usize,
    },
    /// Items of the lease table cannot be read.
    LeasesMalformed {
        /// Their keys.
        keys: Vec<String>,
    },
    /// A record could not be stored.
    Failed {
        /// Its number.
        id: u64,
        /// Why.
        error: String,
    },
    /// All that was to be put is stored or failed.
    Done {
        /// Records stored.
        stored: u64,
        /// Records that are not.
        failed: u64,
    },
    /// The worker has ended.
    Stopped {
        /// As it should.
        orderly: bool,
    },
    /// Something that must not happen.
    Error {
        /// What.
        error: String,
    },
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Number of the record, which its data begin with.
    pub id: u64,
    /// Of partition key and data.
    pub digest: String,
    /// Explicit hash key; empty if there is none. Kinesis keeps it for aggregated records alone.
    pub hash_key: String,
    /// True if it came in an aggregate.
    pub aggregated: bool,
}
