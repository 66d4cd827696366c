//! The lease table in memory: for replays, tests and simulations.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::time::{sleep, sleep_until};

use crate::{
    error::TableError,
    locked::locked,
    model::{
        Addition, Beat, CheckpointWrite, Conditional, Lease, LeaseKey, LockItem, Look, Mark, StreamIdentity, TableScan,
        VERSION_3, WorkerId, WorkerItem,
    },
    time::now,
};

#[derive(Debug, Default)]
struct State {
    leases: BTreeMap<LeaseKey, Lease>,
    workers: HashMap<WorkerId, WorkerItem>,
    lock: Option<LockItem>,
    declared_v3: bool,
    stream: Option<StreamIdentity>,
    writes: u64,
    /// Time from which on the next write may take place, where writes take time.
    writable: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLeaseTable {
    /// Changed by one operation at a time, each of a few lines.
    state: Arc<Mutex<State>>,
    /// Duration of a call, half of it before the effect. Zero unless a test asks for more.
    latency: Duration,
    /// Time of a write, in which there is no other. Zero unless a test asks for more.
    pace: Duration,
}

impl MemoryLeaseTable {
    /// Answers a call that means nothing here.
    pub(super) async fn ignore<T>(&self, answer: T) -> Result<T, TableError> {
        self.read(|_| answer).await
    }

    async fn read<T>(&self, operation: impl FnOnce(&mut State) -> T) -> Result<T, TableError> {
        self.pause().await;
        let answer = operation(&mut locked(&self.state));
        self.pause().await;
        Ok(answer)
    }

    async fn pause(&self) {
        if !self.latency.is_zero() {
            sleep(self.latency / 2).await;
        }
    }

    async fn write<T>(&self, operation: impl FnOnce(&mut State) -> T) -> Result<T, TableError> {
        if !self.pace.is_zero() {
            let now = now();
            let at = locked(&self.state).writable.filter(|at| *at > now).unwrap_or(now);
            locked(&self.state).writable = Some(at + self.pace);
            sleep_until(at.into()).await;
        }
        let counted = |state: &mut State| {
            state.writes += 1;
            operation(state)
        };
        self.read(counted).await
    }

    /// Changes a lease if it exists and `condition` holds.
    async fn update(
        &self,
        key: &LeaseKey,
        condition: impl FnOnce(&Lease) -> bool,
        change: impl FnOnce(&mut Lease),
    ) -> Result<Conditional, TableError> {
        let update = |state: &mut State| match state.leases.get_mut(key) {
            Some(lease) if condition(lease) => {
                change(lease);
                Conditional::Applied
            }
            found => Conditional::Conflict(found.map(|lease| Box::new(lease.clone()))),
        };
        self.write(update).await
    }

    pub(crate) async fn fleet_version(&self) -> Result<Option<String>, TableError> {
        self.read(|state| state.declared_v3.then(|| VERSION_3.to_owned())).await
    }

    pub(crate) async fn declare_v3(&self) -> Result<bool, TableError> {
        self.write(|state| !std::mem::replace(&mut state.declared_v3, true)).await
    }

    pub(crate) async fn claim_stream(&self, stream: &StreamIdentity) -> Result<StreamIdentity, TableError> {
        self.read(|state| state.stream.get_or_insert_with(|| stream.clone()).clone()).await
    }

    pub(crate) async fn scan(&self) -> Result<TableScan, TableError> {
        let scan = |state: &mut State| TableScan {
            leases: state.leases.values().cloned().collect(),
            workers: state.workers.values().cloned().collect(),
            lock: state.lock.clone(),
            malformed: Vec::new(),
        };
        self.read(scan).await
    }

    pub(crate) async fn sample(&self) -> Result<Vec<Lease>, TableError> {
        self.read(|state| state.leases.values().take(1).cloned().collect()).await
    }

    pub(crate) async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        self.read(|state| state.leases.get(key).cloned()).await
    }

    pub(crate) async fn get_all(&self, keys: &[LeaseKey]) -> Result<Vec<Lease>, TableError> {
        self.read(|state| keys.iter().filter_map(|key| state.leases.get(key).cloned()).collect()).await
    }

    pub(crate) async fn keys_owned_by(&self, owner: &WorkerId) -> Result<Vec<LeaseKey>, TableError> {
        let is_owned = |lease: &&Lease| lease.owner.as_ref() == Some(owner);
        self.read(|state| state.leases.values().filter(is_owned).map(|lease| lease.key.clone()).collect()).await
    }

    pub(crate) async fn owned_by(&self, owner: &WorkerId) -> Result<Vec<Lease>, TableError> {
        let is_owned = |lease: &&Lease| lease.owner.as_ref() == Some(owner);
        self.read(|state| state.leases.values().filter(is_owned).cloned().collect()).await
    }

    pub(crate) async fn create(&self, lease: &Lease) -> Result<Conditional, TableError> {
        let create = |state: &mut State| {
            let is_new = !state.leases.contains_key(&lease.key);
            if is_new {
                state.leases.insert(lease.key.clone(), lease.clone());
            }
            Conditional::without_item(is_new)
        };
        self.write(create).await
    }

    pub(crate) async fn renew(&self, lease: &Lease) -> Result<Conditional, TableError> {
        let unchanged = |found: &Lease| found.counter == lease.counter && (lease.in_handoff() || !found.in_handoff());
        let change = |found: &mut Lease| {
            found.counter += 1;
            found.throughput_kbps = lease.throughput_kbps.or(found.throughput_kbps);
            found.instance = lease.instance.clone().or_else(|| found.instance.clone());
        };
        self.update(&lease.key, unchanged, change).await
    }

    pub(crate) async fn checkpoint(&self, lease: &Lease, write: &CheckpointWrite) -> Result<Conditional, TableError> {
        let change = |found: &mut Lease| {
            found.counter += 1;
            found.throughput_kbps = lease.throughput_kbps.or(found.throughput_kbps);
            write.apply(found);
        };
        self.update(&lease.key, |found| found.counter == lease.counter, change).await
    }

    pub(crate) async fn assign(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        self.update(&lease.key, |found| found.has_owners_of(lease), |found| give(found, lease, to)).await
    }

    pub(crate) async fn seize(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        let unchanged = |found: &Lease| found.has_owners_of(lease) && found.counter == lease.counter;
        self.update(&lease.key, unchanged, |found| give(found, lease, to)).await
    }

    pub(crate) async fn begin_handoff(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        let unchanged = |found: &Lease| found.has_owners_of(lease) && found.owner.is_some() && !found.in_handoff();
        let change = |found: &mut Lease| found.checkpoint_owner = found.owner.replace(to.clone());
        self.update(&lease.key, unchanged, change).await
    }

    pub(crate) async fn release(&self, lease: &Lease) -> Result<Conditional, TableError> {
        let change = |found: &mut Lease| {
            if found.checkpoint_owner.take().is_none() {
                found.owner = None;
            }
            found.counter += 1;
        };
        self.update(&lease.key, |found| found.has_owners_of(lease), change).await
    }

    pub(crate) async fn add_to(&self, key: &LeaseKey, addition: &Addition) -> Result<(), TableError> {
        let change = |lease: &mut Lease| match addition {
            Addition::HashKeyRange(range) => lease.hash_key_range = Some(*range),
            Addition::Children(children) => lease.children.clone_from(children),
        };
        self.update(key, |_| true, change).await.map(|_| ())
    }

    pub(crate) async fn delete_ended(&self, key: &LeaseKey) -> Result<Conditional, TableError> {
        let delete = |state: &mut State| match state.leases.get(key).filter(|lease| !lease.is_ended()) {
            Some(found) => Conditional::Conflict(Some(Box::new(found.clone()))),
            None => {
                state.leases.remove(key);
                Conditional::Applied
            }
        };
        self.write(delete).await
    }

    pub(crate) async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        self.write(|state| drop(state.leases.remove(key))).await
    }

    pub(crate) async fn get_worker(&self, id: &WorkerId) -> Result<Option<WorkerItem>, TableError> {
        self.read(|state| state.workers.get(id).cloned()).await
    }

    pub(crate) async fn put_worker(&self, worker: &WorkerItem) -> Result<Option<WorkerItem>, TableError> {
        self.write(|state| state.workers.insert(worker.id.clone(), worker.clone())).await
    }

    pub(crate) async fn beat(&self, worker: &WorkerItem, last: u64) -> Result<Beat, TableError> {
        let beat = |state: &mut State| {
            let found = state.workers.get(&worker.id);
            let is_ours = |found: &&WorkerItem| {
                found.instance == worker.instance && found.beat == Some(last) && !found.is_fenced()
            };
            if found.is_some_and(|found| is_ours(&found)) {
                Beat::Confirmed(state.workers.insert(worker.id.clone(), worker.clone()).map(Box::new))
            } else {
                Beat::Refused(found.cloned().map(Box::new))
            }
        };
        self.write(beat).await
    }

    pub(crate) async fn mark_worker(&self, worker: &WorkerItem, mark: Mark) -> Result<bool, TableError> {
        let note = |state: &mut State| {
            let found = state.workers.get_mut(&worker.id);
            let unchanged = |found: &&mut WorkerItem| {
                let is_last = mark == Mark::Look || found.beat == worker.beat;
                found.instance == worker.instance && is_last && !found.is_fenced()
            };
            found.filter(unchanged).map(|found| found.mark = Some(mark)).is_some()
        };
        self.write(note).await
    }

    pub(crate) async fn delete_worker(&self, worker: &WorkerItem) -> Result<bool, TableError> {
        let version = |worker: &WorkerItem| (worker.last_update_seconds, worker.instance.clone());
        let delete = |state: &mut State| {
            let unchanged = state.workers.get(&worker.id).is_some_and(|found| version(found) == version(worker));
            unchanged && state.workers.remove(&worker.id).is_some()
        };
        self.write(delete).await
    }

    pub(crate) async fn get_lock(&self) -> Result<Option<LockItem>, TableError> {
        self.read(|state| state.lock.clone()).await
    }

    pub(crate) async fn look(&self, me: &WorkerId, leader: Option<&WorkerId>) -> Result<Look, TableError> {
        let worker = |state: &State, id: &WorkerId| state.workers.get(id).cloned();
        self.read(|state| Look {
            lock: state.lock.clone(),
            worker: worker(state, me),
            leader: leader.and_then(|leader| worker(state, leader)),
        })
        .await
    }

    pub(crate) async fn put_lock(&self, lock: &LockItem, seen: Option<&LockItem>) -> Result<bool, TableError> {
        let put = |state: &mut State| {
            let unchanged = state.lock.as_ref().map(|lock| &lock.version) == seen.map(|seen| &seen.version);
            if unchanged {
                state.lock = Some(lock.clone());
            }
            unchanged
        };
        self.write(put).await
    }

    pub(crate) async fn delete_lock(&self, lock: &LockItem) -> Result<bool, TableError> {
        let is_ours = |found: &mut LockItem| found.version == lock.version && found.owner == lock.owner;
        self.write(|state| state.lock.take_if(is_ours).is_some()).await
    }
}

fn give(found: &mut Lease, lease: &Lease, to: &WorkerId) {
    found.owner_switches += u64::from(lease.counts_as_switch(to));
    found.owner = Some(to.clone());
    found.checkpoint_owner = None;
    if lease.actual_owner() != Some(to) {
        found.instance = None;
    }
    found.counter += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    impl MemoryLeaseTable {
        /// The same table, with calls that take this long.
        pub(crate) fn slowed(&self, latency: Duration) -> Self {
            Self { latency, ..self.clone() }
        }

        /// The same table, which takes this number of writes a second.
        pub(crate) fn limited(&self, writes: u32) -> Self {
            Self { pace: Duration::from_secs(1) / writes, ..self.clone() }
        }

        /// Conditional and unconditional writes so far, refused ones included.
        pub(crate) fn writes(&self) -> u64 {
            locked(&self.state).writes
        }
    }
}
