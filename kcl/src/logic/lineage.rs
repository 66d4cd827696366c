//! Lineage: which leases must exist, and which may go.

pub(crate) mod audit;
pub(crate) mod cleanup;
pub(crate) mod coverage;
pub(crate) mod former_streams;
pub(crate) mod lookup;
pub(crate) mod reset;
pub(crate) mod shard_sync;
