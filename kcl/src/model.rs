//! Plain data that every floor speaks of: leases, shards, records, workers, policies, status words.

pub(crate) mod checkpoint;
pub(crate) mod checkpoint_write;
pub(crate) mod checkpointing;
pub(crate) mod lease;
pub(crate) mod legacy_tables;
pub(crate) mod lock_item;
pub(crate) mod policies;
pub(crate) mod record;
pub(crate) mod retrieval;
pub(crate) mod shard;
pub(crate) mod shard_status;
pub(crate) mod stream_id;
pub(crate) mod table_scan;
pub(crate) mod worker_item;
