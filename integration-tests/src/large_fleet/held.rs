//! Shards that the workers of a fleet process, counted.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use kcl::{Checkpointer, RecordBatch, RecordProcessor, ShardContext, WorkerId};

/// Number of shards that each worker processes.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashMap<WorkerId, usize>>>);

impl Held {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<WorkerId, usize>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }

    /// Forgets a worker that died; the number of its shards.
    pub(super) fn forget(&self, worker: &str) -> usize {
        self.lock().remove(&WorkerId::from(worker)).unwrap_or_default()
    }

    pub(super) fn summary(&self) -> String {
        let held = self.lock();
        let (total, max): (usize, _) = (held.values().sum(), held.values().max());
        format!("{total} shards are processed by {} workers, {max:?} by one", held.len())
    }
}

/// A processor that only counts as one.
#[derive(Debug)]
pub(super) struct Holder {
    held: Held,
    worker: WorkerId,
}

impl Holder {
    pub(super) fn new(held: &Held, shard: &ShardContext) -> Self {
        *held.lock().entry(shard.worker_id.clone()).or_default() += 1;
        Self { held: held.clone(), worker: shard.worker_id.clone() }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(shards) = self.held.lock().get_mut(&self.worker) {
            *shards = shards.saturating_sub(1);
        }
    }
}

impl RecordProcessor for Holder {
    type Error = Infallible;

    async fn process_records(&mut self, _batch: RecordBatch, _checkpointer: &Checkpointer) -> Result<(), Infallible> {
        Ok(())
    }
}
