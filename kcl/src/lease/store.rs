//! The contract of the lease table: what each operation writes, and under which condition.
//!
//! The conditions are those of Java KCL 3.x, so that workers of both kinds can share a table:
//! (A) no write changes attributes it does not name, so unknown ones survive;
//! (B) renewals and checkpoints require the counter that the caller saw last, and raise it: a worker that lost its lease
//!     cannot write any more;
//! (C) changes of owner require the owners that the caller saw last, and the same run of the one that holds the lease, and
//!     raise the counter, which fences the old owner;
//! (D) a condition that does not hold is [`Conditional::Conflict`], never an error.

use futures::future::BoxFuture;
use kpl::{HashKeyRange, ShardId};

use crate::{
    BoxError,
    checkpoint::{Checkpoint, PendingCheckpoint},
    coordination::{leader::LockItem, membership::WorkerItem},
    event::chain,
    kinesis::StreamIdentity,
    lease::{Conditional, Lease, LeaseKey, WorkerId},
};

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

/// A call to the lease table that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The credentials lack a permission.
    #[error("access denied: IAM action {action} on table {table} is missing")]
    AccessDenied {
        /// The missing IAM action.
        action: &'static str,
        /// The table, or its index.
        table: String,
        /// What the service said.
        source: BoxError,
    },
    /// The credentials are unknown to the service, or their signature is wrong.
    #[error("credentials were not accepted in {action} on table {table}")]
    Credentials {
        /// The IAM action of the call.
        action: &'static str,
        /// The table, or its index.
        table: String,
        /// What the service said.
        source: BoxError,
    },
    /// DynamoDB refused because of the table's or the account's throughput.
    #[error("lease table {table} is throttled in {action}")]
    Throttled {
        /// The refused IAM action.
        action: &'static str,
        /// The table.
        table: String,
        /// What the service said.
        source: BoxError,
    },
    /// The table does not exist (any more).
    #[error("lease table {table} does not exist")]
    TableMissing {
        /// The table.
        table: String,
    },
    /// The table exists and cannot be used for what it should be.
    #[error("table {table} cannot be used: {reason}")]
    WrongTable {
        /// The table.
        table: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The item of a lease exists and cannot be read; it is left alone.
    #[error("lease {key} in table {table} cannot be read")]
    Unreadable {
        /// The table.
        table: String,
        /// The item's key.
        key: String,
    },
    /// Anything else: network, time-out, service failure.
    #[error("{action} on table {table} failed")]
    Call {
        /// The IAM action of the call.
        action: &'static str,
        /// The table.
        table: String,
        /// What the SDK or the service said.
        source: BoxError,
    },
}

impl StoreError {
    /// A call to another table, made for the sake of this lease table.
    pub(crate) fn while_looking_for(self, lease_table: &str) -> Self {
        let table = lease_table.to_owned();
        let why = |of: String, source: BoxError| -> BoxError {
            format!("looking for the table {of}, which a fleet of KCL 3.0 to 3.4 has: {}", chain(&*source)).into()
        };
        match self {
            Self::Throttled { action, table: of, source } => Self::Throttled { action, table, source: why(of, source) },
            Self::Call { action, table: of, source } => Self::Call { action, table, source: why(of, source) },
            other => other,
        }
    }

    /// Whether the same call may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Call { .. })
    }
}

/// What is learned of a lease's shard from a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Addition {
    /// Its part of the hash key space.
    HashKeyRange(HashKeyRange),
    /// The shards that follow it.
    Children(Vec<ShardId>),
}

/// What a checkpoint writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckpointWrite {
    /// A new checkpoint, at the end of a shard with its child shards. A pending one ends.
    Commit { checkpoint: Checkpoint, children: Vec<ShardId> },
    /// A pending checkpoint; the stored one stays.
    Prepare(PendingCheckpoint),
    /// Another checkpoint, before or after the stored one, from which whoever takes the lease next starts; at the end of a
    /// shard with its child shards. A pending one ends, and so does every ownership.
    Reset { checkpoint: Checkpoint, children: Vec<ShardId> },
    /// What the checkpoint LATEST stands for, in milliseconds since 1970.
    ResolveLatest { as_of_millis: u64 },
}

impl CheckpointWrite {
    /// A checkpoint that is not the end of a shard.
    pub(crate) fn commit(checkpoint: Checkpoint) -> Self {
        Self::Commit { checkpoint, children: Vec::new() }
    }

    /// Changes a lease as the table does, but for the counter.
    pub(crate) fn apply(&self, lease: &mut Lease) {
        if let Self::Reset { .. } = self {
            (lease.owner, lease.checkpoint_owner) = (None, None);
        }
        match self {
            Self::Commit { checkpoint, children } | Self::Reset { checkpoint, children } => {
                lease.checkpoint = checkpoint.clone();
                lease.owner_switches = 0;
                lease.pending = None;
                lease.latest_as_of_millis = None;
                if !children.is_empty() {
                    lease.children.clone_from(children);
                }
            }
            Self::Prepare(pending) => lease.pending = Some(pending.clone()),
            Self::ResolveLatest { as_of_millis } => lease.latest_as_of_millis = Some(*as_of_millis),
        }
    }

    /// Whether the lease holds this, or more: a checkpoint never moves back.
    pub(crate) fn is_done_in(&self, lease: &Lease) -> bool {
        match self {
            Self::Commit { checkpoint, .. } => *checkpoint <= lease.checkpoint,
            Self::Reset { checkpoint, .. } => {
                *checkpoint == lease.checkpoint && lease.pending.is_none() && lease.actual_owner().is_none()
            }
            Self::Prepare(pending) => lease.pending.as_ref() == Some(pending),
            Self::ResolveLatest { .. } => lease.latest_as_of_millis.is_some() || lease.checkpoint != Checkpoint::Latest,
        }
    }
}

/// The lease table. Calls may fail at any time, before or after their effect.
///
/// Futures may be dropped; the write may then have taken place or not.
pub(crate) trait LeaseStore: Send + Sync + 'static {
    /// Creates the table and its owner index if they do not exist and that is allowed, and waits until the table can be
    /// used.
    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Which fleet the table belongs to.
    fn fleet_version(&self) -> BoxFuture<'_, Result<FleetVersion, StoreError>>;

    /// Finds out in which tables the fleet keeps leader, workers and migration state. To be called first.
    fn find_layout(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Goes over to one table when the fleet's migration is complete. True: it is, since this call.
    fn follow_migration(&self) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Declares the application to be of KCL 3.x; false if somebody else declared something first.
    fn declare_v3<'a>(&'a self, me: &'a WorkerId, now_millis: u64) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Notes which stream the application reads, if nothing is noted, and returns what is noted then. The application
    /// must be declared.
    fn claim_stream<'a>(&'a self, stream: &'a StreamIdentity) -> BoxFuture<'a, Result<StreamIdentity, StoreError>>;

    /// Some leases of the table, if it has any: enough to see what kind of application it belongs to.
    fn sample(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>>;

    /// Reads all leases and worker items. Eventually consistent.
    fn scan(&self) -> BoxFuture<'_, Result<TableScan, StoreError>>;

    /// Reads one lease. Strongly consistent.
    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Lease>, StoreError>>;

    /// Keys of the leases whose `owner` is this worker. Eventually consistent.
    fn keys_owned_by<'a>(&'a self, owner: &'a WorkerId) -> BoxFuture<'a, Result<Vec<LeaseKey>, StoreError>>;

    /// Creates the lease; [`Conditional::Conflict`] if it exists.
    fn create<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>>;

    /// Raises the counter by one and writes throughput and instance, if the counter is still `lease.counter` and no handoff
    /// began that `lease` does not know of.
    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>>;

    /// Stores progress, or a reset, and raises the counter by one if it is still `lease.counter`. Legal during a handoff.
    fn checkpoint<'a>(
        &'a self,
        lease: &'a Lease,
        write: &'a CheckpointWrite,
    ) -> BoxFuture<'a, Result<Conditional, StoreError>>;

    /// Gives the lease to `to` and ends a handoff, if both owners are still those of `lease`. Raises the counter.
    fn assign<'a>(&'a self, lease: &'a Lease, to: &'a WorkerId) -> BoxFuture<'a, Result<Conditional, StoreError>>;

    /// Begins a handoff to `to` if the owner is still that of `lease` and none is going on. Leaves the counter.
    fn begin_handoff<'a>(
        &'a self,
        lease: &'a Lease,
        to: &'a WorkerId,
    ) -> BoxFuture<'a, Result<Conditional, StoreError>>;

    /// Takes the owner away if both owners are still those of `lease`. Raises the counter.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>>;

    /// Adds something to a lease if it exists, whoever owns it. Leaves the counter.
    fn add_to<'a>(&'a self, key: &'a LeaseKey, addition: &'a Addition) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Deletes the lease if its shard is still processed to its end, whoever owns it; [`Conditional::Conflict`] if the lease
    /// was reset meanwhile.
    fn delete_ended<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Conditional, StoreError>>;

    /// Deletes the lease, whoever owns it.
    fn delete<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Writes this worker's item, the sign of its membership, and returns what stood there before.
    fn report_worker<'a>(&'a self, worker: &'a WorkerItem) -> BoxFuture<'a, Result<Option<WorkerItem>, StoreError>>;

    /// Reads a worker's item. Strongly consistent.
    fn get_worker<'a>(&'a self, id: &'a WorkerId) -> BoxFuture<'a, Result<Option<WorkerItem>, StoreError>>;

    /// Deletes a worker's item if it has not been written, nor by another run, since it was read as `worker`.
    fn delete_worker<'a>(&'a self, worker: &'a WorkerItem) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Reads the leader's lock. Strongly consistent.
    fn get_lock(&self) -> BoxFuture<'_, Result<Option<LockItem>, StoreError>>;

    /// Writes the lock if it does not exist (`seen` is None) or still has the version of `seen`. True: written.
    fn put_lock<'a>(
        &'a self,
        lock: &'a LockItem,
        seen: Option<&'a LockItem>,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Deletes the lock if it still has this version and owner. True: deleted.
    fn delete_lock<'a>(&'a self, lock: &'a LockItem) -> BoxFuture<'a, Result<bool, StoreError>>;
}

#[cfg(test)]
pub(crate) mod tests;
