//! Plain data that every floor speaks of: leases, shards, records, workers, policies, status words.

pub(crate) use adoption::{OldLease, OldTable};
pub use checkpoint::{Checkpoint, PendingCheckpoint, Position};
pub(crate) use fleet::{
    ACTIVE_WINDOW, Addition, Beat, Bulletin, CPU, FAILED, LegacyTables, LockItem, Look, Mark, Metric, REPORT_INTERVAL,
    Regime, TableScan, VERSION_3, WorkerItem,
};
pub use health::{Health, HealthProblem, ShardHealth};
pub(crate) use id::{LeaseKey, StreamIdentity, is_name_or_arn};
pub use id::{StreamId, StreamShard, WorkerId};
pub(crate) use lease::{CheckpointWrite, Conditional, Lease};
pub(crate) use policies::MAX_DURATION;
pub use policies::{Assignment, CheckpointEvery, Copies, Deaggregation, FormerStreams, InitialPosition, Renewals};
pub(crate) use record::KinesisRecord;
pub use record::{Record, RecordBatch};
pub(crate) use retrieval::Prefetch;
pub use retrieval::{FanOut, Polling, Retrieval};
pub(crate) use shard::{ChildShard, Shard, StartAt};
pub use shard::{ShardPhase, ShardStatus, Stall};
pub use sink::{ParseSinkMarkError, SinkKey, SinkMark};
pub use usage::{TableUsage, UsageRate};

mod adoption;
mod checkpoint;
mod fleet;
mod health;
mod id;
mod lease;
mod policies;
mod record;
mod retrieval;
mod shard;
mod sink;
mod usage;
