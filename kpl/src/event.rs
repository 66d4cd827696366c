//! What happens inside of the producer, for logs, metrics and tests.

use std::{sync::Arc, time::Duration};

use crate::{config::Aggregation, id::ShardId};

/// What a producer has to do, at some instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Number of records that were accepted and are not resolved.
    pub outstanding_records: usize,
    /// Bytes, data and partition keys, of these records.
    pub outstanding_bytes: usize,
    /// How long the oldest of them has been waiting, or up to ten milliseconds more; until a backlog is resolved, up to one
    /// part in 128 of its age more. `None` if there is none.
    pub oldest_record_age: Option<Duration>,
}

/// Something worth knowing about the producer. The same is logged through `tracing`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The stream's open shards were listed, for the first time or with changes.
    ShardMapUpdated {
        /// Number of open shards.
        open_shards: usize,
    },
    /// The stream's shards could not be listed. Records go by the map known before; without one, or if access is denied
    /// and nothing was stored for some seconds, they are not aggregated. Sent once, until a listing succeeds.
    ShardMapUnavailable {
        /// The service's error code.
        code: Arc<str>,
        /// The service's error message.
        message: Arc<str>,
        /// When the next listing is tried.
        retry_in: Duration,
    },
    /// The stream could not be described. Until it is, it is taken for one that places records by their keys, and if access
    /// is denied, for one that accepts records of 1 MiB, or of what is configured. Sent once, until it could. While records
    /// are put, it is tried again after a second, later up to two minutes; where access is denied, after ten minutes.
    StreamNotDescribed {
        /// The service's error code.
        code: Arc<str>,
        /// The service's error message.
        message: Arc<str>,
    },
    /// The stream places records by itself (record distribution strategy `AUTO`): a partition key decides neither shard
    /// nor order, and records are not aggregated, because a KCL discards aggregates in shards that do not own their keys.
    PartitionKeysIgnored {
        /// What is configured and has no effect.
        aggregation: Aggregation,
    },
    /// A setting has no or less effect because of another one. Sent when the producer is built.
    SettingDefeated {
        /// The builder's method.
        setting: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A whole PutRecords call failed.
    CallFailed {
        /// Kinesis records of the call.
        kinesis_records: usize,
        /// The service's error code.
        code: Arc<str>,
        /// The service's error message.
        message: Arc<str>,
    },
    /// One Kinesis record of a PutRecords call failed.
    EntryFailed {
        /// The shard it was meant for, if known.
        shard_id: Option<ShardId>,
        /// User records in the Kinesis record.
        user_records: usize,
        /// The service's error code.
        code: Arc<str>,
        /// The service's error message.
        message: Arc<str>,
    },
    /// An aggregate was stored in a shard that does not own all of its records, or is not known to; it is sent again.
    WrongShard {
        /// The shard it was meant for.
        predicted: ShardId,
        /// The shard that took it.
        actual: ShardId,
        /// User records in the aggregate.
        user_records: usize,
    },
    /// Records outlived `record_ttl`.
    RecordsExpired {
        /// Number of user records.
        user_records: usize,
    },
}
