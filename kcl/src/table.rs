//! The lease table: what each operation writes, and under which condition.
//!
//! The conditions are those of Java KCL 3.x, so that workers of both kinds can share a table:
//! (A) no write changes attributes it does not name, so unknown ones survive;
//! (B) renewals and checkpoints require the counter that the caller saw last, and raise it: a worker that lost its lease
//!     cannot write any more;
//! (C) changes of owner require the owners that the caller saw last, and the same run of the one that holds the lease, and
//!     raise the counter, which fences the old owner;
//! (D) a condition that does not hold is [`Conditional::Conflict`], never an error.

use std::{pin::Pin, time::Instant};

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::future::Either;

use crate::{
    error::{
        TableError,
        TransactionError::{self, NotInDynamoDb},
    },
    model::{
        Addition, Beat, CheckpointWrite, Conditional, Lease, LeaseKey, LockItem, Look, Mark, StreamIdentity, TableScan,
        TableUsage, WorkerId, WorkerItem,
    },
};
use dynamodb::{
    DynamoDbLeaseTable,
    transactions::{Transacted, Transaction},
};
use memory::MemoryLeaseTable;

pub(crate) mod dynamodb;
pub(crate) mod item;
pub(crate) mod memory;
#[cfg(test)]
pub(crate) mod tests;

/// The lease table. Calls may fail, or be dropped, before or after their effect.
#[derive(Debug)]
pub(crate) enum LeaseTable {
    DynamoDb(Box<DynamoDbLeaseTable>),
    Memory(MemoryLeaseTable),
}

impl LeaseTable {
    /// Either call. One to DynamoDB is large, so it is boxed: tasks that wait for it stay small.
    fn either<'a, D, M>(
        &'a self,
        dynamodb: impl FnOnce(&'a DynamoDbLeaseTable) -> D,
        memory: impl FnOnce(&'a MemoryLeaseTable) -> M,
    ) -> Either<Pin<Box<D>>, M> {
        match self {
            Self::DynamoDb(table) => Either::Left(Box::pin(dynamodb(table))),
            Self::Memory(table) => Either::Right(memory(table)),
        }
    }

    /// The table if it is one of DynamoDB's, which alone can be of an older version.
    pub(crate) fn in_dynamodb(&self) -> Option<&DynamoDbLeaseTable> {
        match self {
            Self::DynamoDb(table) => Some(table),
            Self::Memory(_) => None,
        }
    }

    /// Requests and capacity units so far; none for a table in memory.
    pub(crate) fn usage(&self) -> TableUsage {
        match self {
            Self::DynamoDb(table) => table.usage(),
            Self::Memory(_) => TableUsage::default(),
        }
    }

    /// Finds out in which tables the fleet keeps leader, workers and migration state. The first call of all.
    pub(crate) async fn find_layout(&self) -> Result<(), TableError> {
        self.either(|dynamodb| dynamodb.find_layout(), |memory| memory.ignore(())).await
    }

    /// Refuses a table that is no lease table, before anything else is asked of it; one that is missing passes.
    pub(crate) async fn check_shape(&self) -> Result<(), TableError> {
        self.either(|dynamodb| dynamodb.check_shape(), |memory| memory.ignore(())).await
    }

    /// Goes over to one table when the fleet's migration is complete. True: it is, since this call.
    pub(crate) async fn follow_migration(&self) -> Result<bool, TableError> {
        self.either(|dynamodb| dynamodb.follow_migration(), |memory| memory.ignore(false)).await
    }

    /// True if leader, workers and migration state are in the lease table too.
    pub(crate) fn is_only_table(&self) -> bool {
        match self {
            Self::DynamoDb(table) => table.is_only_table(),
            Self::Memory(_) => true,
        }
    }

    /// Creates table and owner index if they are missing and that is allowed; waits until the table can be used.
    pub(crate) async fn prepare(&self) -> Result<(), TableError> {
        self.either(|dynamodb| dynamodb.prepare(), |memory| memory.ignore(())).await
    }

    /// State of the fleet's migration from KCL 2.x; None for a new fleet, or one of KCL 2.x.
    pub(crate) async fn fleet_version(&self) -> Result<Option<String>, TableError> {
        self.either(|dynamodb| dynamodb.fleet_version(), |memory| memory.fleet_version()).await
    }

    /// Declares the application to be of KCL 3.x; false if somebody else declared something first.
    pub(crate) async fn declare_v3(&self, me: &WorkerId, now_millis: u64) -> Result<bool, TableError> {
        self.either(|dynamodb| dynamodb.declare_v3(me, now_millis), |memory| memory.declare_v3()).await
    }

    /// Notes the application's stream unless one is noted; returns the noted one. The application must be declared.
    pub(crate) async fn claim_stream(&self, stream: &StreamIdentity) -> Result<StreamIdentity, TableError> {
        self.either(|dynamodb| dynamodb.claim_stream(stream), |memory| memory.claim_stream(stream)).await
    }

    /// Reads all leases, worker items and the lock. Eventually consistent.
    pub(crate) async fn scan(&self) -> Result<TableScan, TableError> {
        self.either(|dynamodb| dynamodb.scan(), |memory| memory.scan()).await
    }

    /// Reads all leases, worker items and the lock, each as it is from now on, at twice the price of [`scan`](Self::scan).
    /// Strongly consistent.
    pub(crate) async fn scan_strongly(&self) -> Result<TableScan, TableError> {
        self.either(|dynamodb| dynamodb.scan_strongly(), |memory| memory.scan()).await
    }

    /// Some leases, if there are any: enough to see what kind of application they belong to.
    pub(crate) async fn sample(&self) -> Result<Vec<Lease>, TableError> {
        self.either(|dynamodb| dynamodb.sample(), |memory| memory.sample()).await
    }

    /// Reads one lease. Strongly consistent.
    pub(crate) async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        self.either(|dynamodb| dynamodb.get(key), |memory| memory.get(key)).await
    }

    /// Reads several leases; those that do not exist, or cannot be read, are left out. Eventually consistent.
    pub(crate) async fn get_all(&self, keys: &[LeaseKey]) -> Result<Vec<Lease>, TableError> {
        self.either(|dynamodb| dynamodb.get_all(keys), |memory| memory.get_all(keys)).await
    }

    /// Keys of the leases whose `owner` is this worker. Eventually consistent.
    pub(crate) async fn keys_owned_by(&self, owner: &WorkerId) -> Result<Vec<LeaseKey>, TableError> {
        self.either(|dynamodb| dynamodb.keys_owned_by(owner), |memory| memory.keys_owned_by(owner)).await
    }

    /// Leases whose `owner` is this worker, in a small table without the lag of an index. Eventually consistent.
    pub(crate) async fn owned_by(&self, owner: &WorkerId) -> Result<Vec<Lease>, TableError> {
        self.either(|dynamodb| dynamodb.owned_by(owner), |memory| memory.owned_by(owner)).await
    }

    /// Creates the lease; [`Conditional::Conflict`] if it exists.
    pub(crate) async fn create(&self, lease: &Lease) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.create(lease), |memory| memory.create(lease)).await
    }

    /// Raises the counter, writes throughput and instance, if counter and handoff are those that `lease` knows.
    pub(crate) async fn renew(&self, lease: &Lease) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.renew(lease), |memory| memory.renew(lease)).await
    }

    /// Stores progress, or a reset, and raises the counter by one if it is still `lease.counter`. Legal during a handoff.
    pub(crate) async fn checkpoint(&self, lease: &Lease, write: &CheckpointWrite) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.checkpoint(lease, write), |memory| memory.checkpoint(lease, write)).await
    }

    /// A transaction that is the [`checkpoint`](Self::checkpoint) of `lease` and writes items of the application's.
    pub(crate) fn transaction(
        &self,
        lease: &Lease,
        write: &CheckpointWrite,
        items: Vec<TransactWriteItem>,
    ) -> Result<Transaction, TransactionError> {
        match self {
            Self::DynamoDb(table) => table.transaction(lease, write, items),
            Self::Memory(_) => Err(NotInDynamoDb),
        }
    }

    /// Tries a transaction, until a time. May be repeated: it takes place once. An error leaves open what becomes of it.
    pub(crate) async fn transact(&self, transaction: &Transaction, until: Instant) -> Result<Transacted, TableError> {
        match self {
            Self::DynamoDb(table) => Box::pin(table.transact(transaction, until)).await,
            // None is made for this table.
            Self::Memory(_) => Ok(Transacted::Refused { code: String::new(), source: NotInDynamoDb.into() }),
        }
    }

    /// Gives the lease to `to` and ends a handoff, if both owners are still those of `lease`. Raises the counter.
    pub(crate) async fn assign(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.assign(lease, to), |memory| memory.assign(lease, to)).await
    }

    /// [`assign`](Self::assign) of a lease that nobody renews: only if the counter, too, is still that of `lease`.
    pub(crate) async fn seize(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.seize(lease, to), |memory| memory.seize(lease, to)).await
    }

    /// Begins a handoff to `to` if the owner is still that of `lease` and none is going on. Leaves the counter.
    pub(crate) async fn begin_handoff(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.begin_handoff(lease, to), |memory| memory.begin_handoff(lease, to)).await
    }

    /// Takes the owner away if both owners are still those of `lease`. Raises the counter.
    pub(crate) async fn release(&self, lease: &Lease) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.release(lease), |memory| memory.release(lease)).await
    }

    /// Adds something to a lease if it exists, whoever owns it. Leaves the counter.
    pub(crate) async fn add_to(&self, key: &LeaseKey, addition: &Addition) -> Result<(), TableError> {
        self.either(|dynamodb| dynamodb.add_to(key, addition), |memory| memory.add_to(key, addition)).await
    }

    /// Deletes the lease if its shard is still ended, whoever owns it; [`Conditional::Conflict`] if it was reset meanwhile.
    pub(crate) async fn delete_ended(&self, key: &LeaseKey) -> Result<Conditional, TableError> {
        self.either(|dynamodb| dynamodb.delete_ended(key), |memory| memory.delete_ended(key)).await
    }

    /// Deletes the lease, whoever owns it.
    pub(crate) async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        self.either(|dynamodb| dynamodb.delete(key), |memory| memory.delete(key)).await
    }

    /// Reads a worker's item. Strongly consistent.
    pub(crate) async fn get_worker(&self, id: &WorkerId) -> Result<Option<WorkerItem>, TableError> {
        self.either(|dynamodb| dynamodb.get_worker(id), |memory| memory.get_worker(id)).await
    }

    /// Writes this worker's item, the sign of its membership, and returns what stood there before.
    pub(crate) async fn put_worker(&self, worker: &WorkerItem) -> Result<Option<WorkerItem>, TableError> {
        self.either(|dynamodb| dynamodb.put_worker(worker), |memory| memory.put_worker(worker)).await
    }

    /// Writes this worker's item if it is its own, with the heartbeat `last` and no fence.
    pub(crate) async fn beat(&self, worker: &WorkerItem, last: u64) -> Result<Beat, TableError> {
        self.either(|dynamodb| dynamodb.beat(worker, last), |memory| memory.beat(worker, last)).await
    }

    /// Notes a mark in the item of the run that wrote `worker`, unless it is fenced; a fence only if `worker` has its last
    /// heartbeat. True: noted.
    pub(crate) async fn mark_worker(&self, worker: &WorkerItem, mark: Mark) -> Result<bool, TableError> {
        self.either(|dynamodb| dynamodb.mark_worker(worker, mark), |memory| memory.mark_worker(worker, mark)).await
    }

    /// Deletes a worker's item if it has not been written, nor by another run, since it was read as `worker`.
    pub(crate) async fn delete_worker(&self, worker: &WorkerItem) -> Result<bool, TableError> {
        self.either(|dynamodb| dynamodb.delete_worker(worker), |memory| memory.delete_worker(worker)).await
    }

    /// Reads the lock. Strongly consistent.
    pub(crate) async fn get_lock(&self) -> Result<Option<LockItem>, TableError> {
        self.either(|dynamodb| dynamodb.get_lock(), |memory| memory.get_lock()).await
    }

    /// Reads the lock, this worker's item and, if one is named, the leader's together. Strongly consistent with a leader,
    /// else eventually, at half the price: who acts on it does so by a conditional write, or looks again.
    pub(crate) async fn look(&self, me: &WorkerId, leader: Option<&WorkerId>) -> Result<Look, TableError> {
        self.either(|dynamodb| dynamodb.look(me, leader), |memory| memory.look(me, leader)).await
    }

    /// Writes the lock if it does not exist (`seen` is None) or still has the version of `seen`. True: written.
    pub(crate) async fn put_lock(&self, lock: &LockItem, seen: Option<&LockItem>) -> Result<bool, TableError> {
        self.either(|dynamodb| dynamodb.put_lock(lock, seen), |memory| memory.put_lock(lock, seen)).await
    }

    /// Deletes the lock if it still has this version and owner. True: deleted.
    pub(crate) async fn delete_lock(&self, lock: &LockItem) -> Result<bool, TableError> {
        self.either(|dynamodb| dynamodb.delete_lock(lock), |memory| memory.delete_lock(lock)).await
    }
}
