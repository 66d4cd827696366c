//! SHELL: carries out the moves of a plan: fences silent workers, writes leases, announces and marks what was changed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{StreamExt as _, stream};
use tokio::sync::watch;

use crate::{
    context::Context,
    coordination::helm::Reign,
    locked::locked,
    logic::assign::{
        assignment::{How, Move},
        fleet_view::FleetView,
    },
    model::{Conditional, Mark, WorkerId, WorkerItem},
    time,
};

const CONCURRENT_WRITES: usize = 16;

/// The writes of one cycle.
pub(super) struct Mover<'a> {
    pub(super) context: &'a Context,
    pub(super) view: &'a FleetView,
    pub(super) reign: &'a watch::Receiver<Reign>,
    /// Workers may rely on heartbeats.
    pub(super) by_beats: bool,
}

impl Mover<'_> {
    /// Returns the number of failed writes.
    pub(super) async fn carry_out(&self, moves: Vec<Move>) -> usize {
        let announce = || self.context.bulletin.send_modify(|bulletin| bulletin.moves = bulletin.moves.wrapping_add(1));
        let to_me = moves.iter().any(|planned| planned.to == self.context.settings.worker_id);
        // Many writes take time: the first new owners begin meanwhile.
        announce();
        let (failed, touched) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
        let write = async |planned: Move| {
            if self.write(&planned).await {
                locked(&touched).extend(planned.lease.actual_owner().cloned().into_iter().chain([planned.to]));
            } else {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        };
        stream::iter(moves).for_each_concurrent(CONCURRENT_WRITES, write).await;
        announce();
        if to_me {
            self.context.nudges.discover.notify_one();
        }
        if self.by_beats {
            let touched: Vec<WorkerId> = locked(&touched).drain().collect();
            self.mark(touched).await;
        }
        failed.into_inner()
    }

    /// Has these workers compare their leases with the table.
    async fn mark(&self, workers: Vec<WorkerId>) {
        let look = async |worker: WorkerId| {
            if let Some(item) = self.view.worker(&worker) {
                self.context.reported(self.context.table.mark_worker(item, Mark::Look).await);
            }
        };
        stream::iter(workers).for_each_concurrent(CONCURRENT_WRITES, look).await;
    }

    /// Fences the silent workers from which leases are to be taken. Leaves out the moves from one that is not silent after
    /// all, or cannot be fenced. Returns the fenced ones.
    pub(super) async fn fence(&self, moves: &mut Vec<Move>) -> Vec<WorkerItem> {
        let silent = |planned: &Move| self.view.heart_of(&planned.lease).filter(|_| planned.how == How::Seize);
        let hearts: HashMap<&WorkerId, &WorkerItem> =
            moves.iter().filter_map(silent).map(|worker| (&worker.id, worker)).collect();
        let fence = async |worker: &WorkerItem| {
            let is_fenced = worker.is_fenced()
                || self.reign.borrow().leads(time::now())
                    && self.context.reported(self.context.table.mark_worker(worker, Mark::Fenced).await) == Some(true);
            is_fenced.then(|| worker.clone())
        };
        let fences: Vec<_> = hearts.into_values().map(fence).collect();
        let outcomes: Vec<_> = stream::iter(fences).buffer_unordered(CONCURRENT_WRITES).collect().await;
        let fenced: Vec<WorkerItem> = outcomes.into_iter().flatten().collect();
        let ids: HashSet<&WorkerId> = fenced.iter().map(|worker| &worker.id).collect();
        moves.retain(|planned| silent(planned).is_none_or(|worker| ids.contains(&worker.id)));
        fenced
    }

    async fn write(&self, planned: &Move) -> bool {
        if !self.reign.borrow().leads(time::now()) {
            return false;
        }
        let written = match planned.how {
            How::Seize => self.context.table.seize(&planned.lease, &planned.to).await,
            How::Assign => self.context.table.assign(&planned.lease, &planned.to).await,
            How::HandOff => self.context.table.begin_handoff(&planned.lease, &planned.to).await,
        };
        let Move { lease, to, how } = planned;
        match written {
            Ok(Conditional::Applied) => {
                tracing::info!(lease = %lease.key, %to, ?how, "lease assigned");
                return true;
            }
            // Its owner changed since the scan; the next cycle sees how.
            Ok(Conditional::Conflict(_)) => tracing::debug!(lease = %lease.key, %to, ?how, "lease changed meanwhile"),
            Err(error) => self.context.table_failed(&error),
        }
        false
    }
}
