//! SHELL: the leases held by this worker that may not be as their keepers know them: a keeper in doubt writes its lease.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    locked::locked,
    model::{Lease, LeaseKey, WorkerId},
};

#[derive(Debug, Default)]
struct Known {
    counter: AtomicU64,
    doubt: Notify,
}

/// The leases held, changed by a keeper at its begin and end.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    held: Arc<Mutex<HashMap<LeaseKey, Arc<Known>>>>,
}

/// A keeper's place among the leases held, until it is dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    key: LeaseKey,
    known: Arc<Known>,
    held: Arc<Mutex<HashMap<LeaseKey, Arc<Known>>>>,
}

impl Doubts {
    pub(crate) fn hold(&self, key: LeaseKey) -> Holding {
        let known = Arc::<Known>::default();
        locked(&self.held).insert(key.clone(), Arc::clone(&known));
        Holding { key, known, held: Arc::clone(&self.held) }
    }

    pub(crate) fn keys(&self) -> Vec<LeaseKey> {
        locked(&self.held).keys().cloned().collect()
    }

    /// Doubts the leases that an index no longer shows among this worker's.
    pub(crate) fn compare_keys(&self, ours: &[LeaseKey]) {
        let ours: HashSet<&LeaseKey> = ours.iter().collect();
        let held = locked(&self.held);
        held.iter().filter(|(key, _)| !ours.contains(key)).for_each(|(_, known)| known.doubt.notify_one());
    }

    /// Doubts those of `asked` that were not found, or are not as their keepers wrote them last.
    pub(crate) fn compare(&self, asked: &[LeaseKey], found: &[Lease], me: &WorkerId) {
        let found: HashMap<&LeaseKey, &Lease> = found.iter().map(|lease| (&lease.key, lease)).collect();
        let held = locked(&self.held);
        for (key, known) in asked.iter().filter_map(|key| Some((key, held.get(key)?))) {
            let is_known = |lease: &&Lease| {
                lease.owner.as_ref() == Some(me) && lease.counter == known.counter.load(Ordering::Relaxed)
            };
            if !found.get(key).is_some_and(is_known) {
                known.doubt.notify_one();
            }
        }
    }
}

impl Holding {
    pub(crate) fn note(&self, counter: u64) {
        self.known.counter.store(counter, Ordering::Relaxed);
    }

    pub(crate) async fn doubted(&self) {
        self.known.doubt.notified().await;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut held = locked(&self.held);
        // Another keeper may hold the lease again by now.
        if held.get(&self.key).is_some_and(|known| Arc::ptr_eq(known, &self.known)) {
            held.remove(&self.key);
        }
    }
}
