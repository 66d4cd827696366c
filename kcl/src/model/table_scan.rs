//! The lease table as a whole.

use kpl::{HashKeyRange, ShardId};

use super::{lease::Lease, worker_item::WorkerItem};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TableScan {
    pub(crate) leases: Vec<Lease>,
    /// The fleet's workers, dead ones included.
    pub(crate) workers: Vec<WorkerItem>,
    /// Keys of items that claim to be leases and cannot be read.
    pub(crate) malformed: Vec<String>,
}

/// Generation of KCL that the application's workers belong to, from the item `Migration3.0`.
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

/// An attribute that a lease lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Addition {
    HashKeyRange(HashKeyRange),
    Children(Vec<ShardId>),
}
