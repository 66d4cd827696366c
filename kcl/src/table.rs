//! The lease table: what each operation writes, and under which condition.
//!
//! The conditions are those of Java KCL 3.x, so that workers of both kinds can share a table:
//! (A) no write changes attributes it does not name, so unknown ones survive;
//! (B) renewals and checkpoints require the counter that the caller saw last, and raise it: a worker that lost its lease
//!     cannot write any more;
//! (C) changes of owner require the owners that the caller saw last, and the same run of the one that holds the lease, and
//!     raise the counter, which fences the old owner;
//! (D) a condition that does not hold is [`Conditional::Conflict`], never an error.

use crate::{
    error::TableError,
    model::{
        Addition, CheckpointWrite, Conditional, FleetVersion, Lease, LeaseKey, LockItem, StreamIdentity, TableScan,
        WorkerId, WorkerItem,
    },
};
use dynamodb::DynamoDbLeaseTable;
use memory::MemoryLeaseTable;

pub(crate) mod dynamodb;
pub(crate) mod item;
pub(crate) mod memory;
#[cfg(test)]
pub(crate) mod tests;

/// The lease table. Calls may fail at any time, before or after their effect.
///
/// Futures may be dropped; the write may then have taken place or not. Those of calls to DynamoDB are large, so each is in
/// a box of its own: the tasks that wait for it stay small.
#[derive(Debug)]
pub(crate) enum LeaseTable {
    /// Shared with the other workers.
    DynamoDb(Box<DynamoDbLeaseTable>),
    /// In this process.
    Memory(MemoryLeaseTable),
}

impl From<DynamoDbLeaseTable> for LeaseTable {
    fn from(table: DynamoDbLeaseTable) -> Self {
        Self::DynamoDb(Box::new(table))
    }
}

impl From<MemoryLeaseTable> for LeaseTable {
    fn from(table: MemoryLeaseTable) -> Self {
        Self::Memory(table)
    }
}

/// The table itself, and the fleet that it belongs to.
impl LeaseTable {
    /// Finds out in which tables the fleet keeps leader, workers and migration state. The first call of all.
    pub(crate) async fn find_layout(&self) -> Result<(), TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.find_layout()).await,
            Self::Memory(table) => table.ignore(()).await,
        }
    }

    /// Goes over to one table when the fleet's migration is complete. True: it is, since this call.
    pub(crate) async fn follow_migration(&self) -> Result<bool, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.follow_migration()).await,
            Self::Memory(table) => table.ignore(false).await,
        }
    }

    /// Creates table and owner index if they are missing and that is allowed; waits until the table can be used.
    pub(crate) async fn prepare(&self) -> Result<(), TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.prepare()).await,
            Self::Memory(table) => table.ignore(()).await,
        }
    }

    /// The generation of the fleet.
    pub(crate) async fn fleet_version(&self) -> Result<FleetVersion, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.fleet_version()).await,
            Self::Memory(table) => table.fleet_version().await,
        }
    }

    /// Declares the application to be of KCL 3.x; false if somebody else declared something first.
    pub(crate) async fn declare_v3(&self, me: &WorkerId, now_millis: u64) -> Result<bool, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.declare_v3(me, now_millis)).await,
            Self::Memory(table) => table.declare_v3().await,
        }
    }

    /// Notes the application's stream unless one is noted; returns the noted one. The application must be declared.
    pub(crate) async fn claim_stream(&self, stream: &StreamIdentity) -> Result<StreamIdentity, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.claim_stream(stream)).await,
            Self::Memory(table) => table.claim_stream(stream).await,
        }
    }

    /// Reads all leases and worker items. Eventually consistent.
    pub(crate) async fn scan(&self) -> Result<TableScan, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.scan()).await,
            Self::Memory(table) => table.scan().await,
        }
    }
}

/// Leases.
impl LeaseTable {
    /// Some leases, if there are any: enough to see what kind of application they belong to.
    pub(crate) async fn sample(&self) -> Result<Vec<Lease>, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.sample()).await,
            Self::Memory(table) => table.sample().await,
        }
    }

    /// Reads one lease. Strongly consistent.
    pub(crate) async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.get(key)).await,
            Self::Memory(table) => table.get(key).await,
        }
    }

    /// Keys of the leases whose `owner` is this worker. Eventually consistent.
    pub(crate) async fn keys_owned_by(&self, owner: &WorkerId) -> Result<Vec<LeaseKey>, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.keys_owned_by(owner)).await,
            Self::Memory(table) => table.keys_owned_by(owner).await,
        }
    }

    /// Creates the lease; [`Conditional::Conflict`] if it exists.
    pub(crate) async fn create(&self, lease: &Lease) -> Result<Conditional, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.create(lease)).await,
            Self::Memory(table) => table.create(lease).await,
        }
    }

    /// Raises the counter, writes throughput and instance, if counter and handoff are those that `lease` knows.
    pub(crate) async fn renew(&self, lease: &Lease) -> Result<Conditional, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.renew(lease)).await,
            Self::Memory(table) => table.renew(lease).await,
        }
    }

    /// Stores progress, or a reset, and raises the counter by one if it is still `lease.counter`. Legal during a handoff.
    pub(crate) async fn checkpoint(&self, lease: &Lease, write: &CheckpointWrite) -> Result<Conditional, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.checkpoint(lease, write)).await,
            Self::Memory(table) => table.checkpoint(lease, write).await,
        }
    }

    /// Gives the lease to `to` and ends a handoff, if both owners are still those of `lease`. Raises the counter.
    pub(crate) async fn assign(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.assign(lease, to)).await,
            Self::Memory(table) => table.assign(lease, to).await,
        }
    }

    /// Begins a handoff to `to` if the owner is still that of `lease` and none is going on. Leaves the counter.
    pub(crate) async fn begin_handoff(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.begin_handoff(lease, to)).await,
            Self::Memory(table) => table.begin_handoff(lease, to).await,
        }
    }

    /// Takes the owner away if both owners are still those of `lease`. Raises the counter.
    pub(crate) async fn release(&self, lease: &Lease) -> Result<Conditional, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.release(lease)).await,
            Self::Memory(table) => table.release(lease).await,
        }
    }

    /// Adds something to a lease if it exists, whoever owns it. Leaves the counter.
    pub(crate) async fn add_to(&self, key: &LeaseKey, addition: &Addition) -> Result<(), TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.add_to(key, addition)).await,
            Self::Memory(table) => table.add_to(key, addition).await,
        }
    }

    /// Deletes the lease if its shard is still ended, whoever owns it; [`Conditional::Conflict`] if it was reset meanwhile.
    pub(crate) async fn delete_ended(&self, key: &LeaseKey) -> Result<Conditional, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.delete_ended(key)).await,
            Self::Memory(table) => table.delete_ended(key).await,
        }
    }

    /// Deletes the lease, whoever owns it.
    pub(crate) async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.delete(key)).await,
            Self::Memory(table) => table.delete(key).await,
        }
    }
}

/// Workers.
impl LeaseTable {
    /// Reads a worker's item. Strongly consistent.
    pub(crate) async fn get_worker(&self, id: &WorkerId) -> Result<Option<WorkerItem>, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.get_worker(id)).await,
            Self::Memory(table) => table.get_worker(id).await,
        }
    }

    /// Writes this worker's item, the sign of its membership, and returns what stood there before.
    pub(crate) async fn put_worker(&self, worker: &WorkerItem) -> Result<Option<WorkerItem>, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.put_worker(worker)).await,
            Self::Memory(table) => table.put_worker(worker).await,
        }
    }

    /// Deletes a worker's item if it has not been written, nor by another run, since it was read as `worker`.
    pub(crate) async fn delete_worker(&self, worker: &WorkerItem) -> Result<bool, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.delete_worker(worker)).await,
            Self::Memory(table) => table.delete_worker(worker).await,
        }
    }
}

/// The leader's lock.
impl LeaseTable {
    /// Reads the lock. Strongly consistent.
    pub(crate) async fn get_lock(&self) -> Result<Option<LockItem>, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.get_lock()).await,
            Self::Memory(table) => table.get_lock().await,
        }
    }

    /// Writes the lock if it does not exist (`seen` is None) or still has the version of `seen`. True: written.
    pub(crate) async fn put_lock(&self, lock: &LockItem, seen: Option<&LockItem>) -> Result<bool, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.put_lock(lock, seen)).await,
            Self::Memory(table) => table.put_lock(lock, seen).await,
        }
    }

    /// Deletes the lock if it still has this version and owner. True: deleted.
    pub(crate) async fn delete_lock(&self, lock: &LockItem) -> Result<bool, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.delete_lock(lock)).await,
            Self::Memory(table) => table.delete_lock(lock).await,
        }
    }
}
