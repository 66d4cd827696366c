//! What is read of the lease table as a whole.

use kpl::{HashKeyRange, ShardId};

use super::{lease::Lease, worker_item::WorkerItem};

/// Everything the coordination needs to know, from one scan of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TableScan {
    /// Leases that could be read.
    pub(crate) leases: Vec<Lease>,
    /// The fleet's workers, dead ones included.
    pub(crate) workers: Vec<WorkerItem>,
    /// Keys of items that claim to be leases and cannot be read.
    pub(crate) malformed: Vec<String>,
}

/// Which generation of KCL the application's workers may belong to, from the item `Migration3.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FleetVersion {
    /// No item: a new application, or one of KCL 2.x.
    Unknown,
    /// KCL 3.x for good.
    V3,
    /// KCL 3.x, and the operator may still go back to 2.x.
    V3WithRollback,
    /// Any other state, with the text of attribute `cv`.
    Other(String),
}

/// What is learned of a lease's shard from a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Addition {
    /// Its part of the hash key space.
    HashKeyRange(HashKeyRange),
    /// The shards that follow it.
    Children(Vec<ShardId>),
}
