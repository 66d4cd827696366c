//! What happens inside of the producer, for logs, metrics and tests.

use std::{sync::Arc, time::Duration};

use crate::ShardId;

/// Something worth knowing about the producer. The same is logged through `tracing`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The stream's open shards were listed, for the first time or with changes.
    ShardMapUpdated {
        /// Number of open shards.
        open_shards: usize,
    },
    /// The stream's shards could not be listed. Records go by the map known before; without one they are not
    /// aggregated. Sent once, until a listing succeeds.
    ShardMapUnavailable {
        /// The service's error code.
        code: Arc<str>,
        /// The service's error message.
        message: Arc<str>,
        /// When the next listing is tried.
        retry_in: Duration,
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
