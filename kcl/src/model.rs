//! Plain data that every floor speaks of: leases, shards, records, workers, policies, status words.

pub use checkpoint::{Checkpoint, PendingCheckpoint, Position};
pub(crate) use checkpoint_write::CheckpointWrite;
pub use checkpointing::{CheckpointEvery, Deaggregation};
pub use lease::WorkerId;
pub(crate) use lease::{Conditional, Lease, LeaseKey};
pub(crate) use legacy_tables::LegacyTables;
pub(crate) use lock_item::LockItem;
pub(crate) use policies::LONGEST;
pub use policies::{Assignment, FormerStreams, InitialPosition};
pub(crate) use record::KinesisRecord;
pub use record::{Record, RecordBatch};
pub(crate) use retrieval::Prefetch;
pub use retrieval::{FanOut, Polling, Retrieval};
pub(crate) use shard::{ChildShard, Shard, StartAt};
pub use shard_status::{ShardPhase, ShardStatus, Stall};
pub(crate) use stream_id::StreamIdentity;
pub use stream_id::{StreamId, StreamShard};
pub(crate) use table_scan::{Addition, FleetVersion, TableScan};
pub(crate) use worker_item::{ACTIVE_WINDOW, CPU, FAILED, Metric, REPORT_INTERVAL, WorkerItem};

mod checkpoint;
mod checkpoint_write;
mod checkpointing;
mod lease;
mod legacy_tables;
mod lock_item;
mod policies;
mod record;
mod retrieval;
mod shard;
mod shard_status;
mod stream_id;
mod table_scan;
mod worker_item;
