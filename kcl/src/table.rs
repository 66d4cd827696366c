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

use crate::{
    error::StoreError,
    model::{
        checkpoint_write::CheckpointWrite,
        lease::{Conditional, Lease, LeaseKey, WorkerId},
        lock_item::LockItem,
        stream_id::StreamIdentity,
        table_scan::{Addition, FleetVersion, TableScan},
        worker_item::WorkerItem,
    },
};

pub(crate) mod dynamodb;
pub(crate) mod item;
pub(crate) mod memory;
#[cfg(test)]
pub(crate) mod tests;

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
