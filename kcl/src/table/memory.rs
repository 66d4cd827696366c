//! The lease table in memory, under the contract of [`store`](super::store): for replays, tests and simulations.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::LeaseStore;
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

#[derive(Debug, Default)]
struct State {
    leases: BTreeMap<LeaseKey, Lease>,
    workers: HashMap<WorkerId, WorkerItem>,
    lock: Option<LockItem>,
    declared_v3: bool,
    stream: Option<StreamIdentity>,
    writes: u64,
}

/// A lease table of this process.
#[derive(Debug, Default)]
pub(crate) struct MemoryLeaseStore {
    /// Changed by one operation at a time, each of a few lines.
    state: Mutex<State>,
}

impl MemoryLeaseStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Conditional and unconditional writes so far, refused ones included.
    #[cfg(test)]
    pub(crate) fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Changes a lease if it exists and `condition` holds.
    fn update(
        &self,
        key: &LeaseKey,
        condition: impl FnOnce(&Lease) -> bool,
        change: impl FnOnce(&mut Lease),
    ) -> BoxFuture<'static, Result<Conditional, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        let outcome = match state.leases.get_mut(key) {
            Some(lease) if condition(lease) => {
                change(lease);
                Conditional::Applied
            }
            found => Conditional::Conflict(found.map(|lease| Box::new(lease.clone()))),
        };
        ready(Ok(outcome)).boxed()
    }
}

impl LeaseStore for MemoryLeaseStore {
    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn fleet_version(&self) -> BoxFuture<'_, Result<FleetVersion, StoreError>> {
        let version = if self.state().declared_v3 { FleetVersion::V3 } else { FleetVersion::Unknown };
        ready(Ok(version)).boxed()
    }

    fn find_layout(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn follow_migration(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        ready(Ok(false)).boxed()
    }

    fn declare_v3<'a>(&'a self, _me: &'a WorkerId, _now_millis: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        ready(Ok(!std::mem::replace(&mut state.declared_v3, true))).boxed()
    }

    fn claim_stream<'a>(&'a self, stream: &'a StreamIdentity) -> BoxFuture<'a, Result<StreamIdentity, StoreError>> {
        let noted = self.state().stream.get_or_insert_with(|| stream.clone()).clone();
        ready(Ok(noted)).boxed()
    }

    fn sample(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        ready(Ok(self.state().leases.values().take(1).cloned().collect())).boxed()
    }

    fn scan(&self) -> BoxFuture<'_, Result<TableScan, StoreError>> {
        let state = self.state();
        let leases = state.leases.values().cloned().collect();
        let workers = state.workers.values().cloned().collect();
        ready(Ok(TableScan { leases, workers, malformed: Vec::new() })).boxed()
    }

    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Lease>, StoreError>> {
        ready(Ok(self.state().leases.get(key).cloned())).boxed()
    }

    fn keys_owned_by<'a>(&'a self, owner: &'a WorkerId) -> BoxFuture<'a, Result<Vec<LeaseKey>, StoreError>> {
        let state = self.state();
        let owned = state.leases.values().filter(|lease| lease.owner.as_ref() == Some(owner));
        ready(Ok(owned.map(|lease| lease.key.clone()).collect())).boxed()
    }

    fn create<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        let outcome = if state.leases.contains_key(&lease.key) {
            Conditional::Conflict(None)
        } else {
            state.leases.insert(lease.key.clone(), lease.clone());
            Conditional::Applied
        };
        ready(Ok(outcome)).boxed()
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let unchanged = |found: &Lease| found.counter == lease.counter && (lease.in_handoff() || !found.in_handoff());
        let change = |found: &mut Lease| {
            found.counter += 1;
            found.throughput_kbps = lease.throughput_kbps.or(found.throughput_kbps);
            found.instance = lease.instance.clone().or_else(|| found.instance.clone());
        };
        self.update(&lease.key, unchanged, change)
    }

    fn checkpoint<'a>(
        &'a self,
        lease: &'a Lease,
        write: &'a CheckpointWrite,
    ) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let change = |found: &mut Lease| {
            found.counter += 1;
            write.apply(found);
        };
        self.update(&lease.key, |found| found.counter == lease.counter, change)
    }

    fn assign<'a>(&'a self, lease: &'a Lease, to: &'a WorkerId) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let change = |found: &mut Lease| {
            found.owner_switches += u64::from(lease.counts_as_switch(to));
            found.owner = Some(to.clone());
            found.checkpoint_owner = None;
            found.counter += 1;
        };
        self.update(&lease.key, |found| found.has_owners_of(lease), change)
    }

    fn begin_handoff<'a>(
        &'a self,
        lease: &'a Lease,
        to: &'a WorkerId,
    ) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let unchanged = |found: &Lease| found.has_owners_of(lease) && found.owner.is_some() && !found.in_handoff();
        let change = |found: &mut Lease| found.checkpoint_owner = found.owner.replace(to.clone());
        self.update(&lease.key, unchanged, change)
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let change = |found: &mut Lease| {
            if found.checkpoint_owner.take().is_none() {
                found.owner = None;
            }
            found.counter += 1;
        };
        self.update(&lease.key, |found| found.has_owners_of(lease), change)
    }

    fn add_to<'a>(&'a self, key: &'a LeaseKey, addition: &'a Addition) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        if let Some(lease) = state.leases.get_mut(key) {
            match addition {
                Addition::HashKeyRange(range) => lease.hash_key_range = Some(*range),
                Addition::Children(children) => lease.children.clone_from(children),
            }
        }
        ready(Ok(())).boxed()
    }

    fn delete_ended<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        let found = state.leases.get(key).filter(|lease| !lease.is_ended()).cloned();
        let outcome = match found {
            Some(found) => Conditional::Conflict(Some(Box::new(found))),
            None => {
                state.leases.remove(key);
                Conditional::Applied
            }
        };
        ready(Ok(outcome)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        state.leases.remove(key);
        ready(Ok(())).boxed()
    }

    fn report_worker<'a>(&'a self, worker: &'a WorkerItem) -> BoxFuture<'a, Result<Option<WorkerItem>, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        ready(Ok(state.workers.insert(worker.id.clone(), worker.clone()))).boxed()
    }

    fn get_worker<'a>(&'a self, id: &'a WorkerId) -> BoxFuture<'a, Result<Option<WorkerItem>, StoreError>> {
        ready(Ok(self.state().workers.get(id).cloned())).boxed()
    }

    fn delete_worker<'a>(&'a self, worker: &'a WorkerItem) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        let found = state.workers.get(&worker.id);
        let unchanged = found.is_some_and(|found| {
            (found.last_update_seconds, &found.instance) == (worker.last_update_seconds, &worker.instance)
        });
        if unchanged {
            state.workers.remove(&worker.id);
        }
        ready(Ok(unchanged)).boxed()
    }

    fn get_lock(&self) -> BoxFuture<'_, Result<Option<LockItem>, StoreError>> {
        ready(Ok(self.state().lock.clone())).boxed()
    }

    fn put_lock<'a>(
        &'a self,
        lock: &'a LockItem,
        seen: Option<&'a LockItem>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        let unchanged = state.lock.as_ref().map(|lock| &lock.version) == seen.map(|seen| &seen.version);
        if unchanged {
            state.lock = Some(lock.clone());
        }
        ready(Ok(unchanged)).boxed()
    }

    fn delete_lock<'a>(&'a self, lock: &'a LockItem) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut state = self.state();
        state.writes += 1;
        let ours = |found: &LockItem| found.version == lock.version && found.owner == lock.owner;
        let deleted = state.lock.as_ref().is_some_and(ours);
        if deleted {
            state.lock = None;
        }
        ready(Ok(deleted)).boxed()
    }
}
