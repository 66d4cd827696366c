//! SHELL: carries out the moves of a plan: fences silent workers, writes leases, announces and marks what was changed.

use std::{
    collections::{HashMap, HashSet},
    mem,
    time::Instant,
};

use futures::{StreamExt as _, stream};
use tokio::sync::watch;

use crate::{
    context::Context,
    coordination::helm::Reign,
    logic::assign::{
        assignment::{How, Move},
        fleet_view::FleetView,
    },
    model::{Conditional, Mark, WorkerId, WorkerItem},
    time,
};

/// Writes under way at a time: one that the table's limit holds up for seconds leaves the others room.
const CONCURRENT_WRITES: usize = 64;
/// Part of a lease duration for which moves whose writes failed are repeated without a new plan.
const PATIENCE_PART: u32 = 3;
/// Passes in a row without a success after which they are left to the next plan.
const VAIN_PASSES: u32 = 2;

/// Fate of a move.
enum Fate {
    Made,
    /// The lease's owner changed since the scan; the next cycle sees how.
    Outdated,
    /// It failed, or has not begun in time.
    Failed,
}

/// The writes of one cycle. Those that have not begun a lease duration later are left to the next plan: many thousands take
/// a table longer than that, and until then the leader sees no death, and nothing else that changes.
pub(super) struct Mover<'a> {
    pub(super) context: &'a Context,
    pub(super) view: &'a FleetView,
    pub(super) reign: &'a watch::Receiver<Reign>,
    /// Workers may rely on heartbeats.
    pub(super) by_beats: bool,
}

impl Mover<'_> {
    /// Returns the number of moves that were not made.
    pub(super) async fn carry_out(&self, moves: Vec<Move>) -> usize {
        let announce = || self.context.bulletin.send_modify(|bulletin| bulletin.moves = bulletin.moves.wrapping_add(1));
        let to_me = moves.iter().any(|planned| planned.to == self.context.settings.worker_id);
        // Many writes take time: the first new owners begin meanwhile.
        announce();
        let (mut outdated, mut left, mut touched) = (0, moves, HashSet::new());
        let (begun, lease_duration) = (time::now(), self.context.settings.lease_duration);
        let (until, end) = (begun + lease_duration / PATIENCE_PART, begun + lease_duration);
        let mut vain = 0;
        while !left.is_empty() && vain < VAIN_PASSES && time::now() < until {
            let planned = left.len();
            outdated += self.write_all(&mut left, &mut touched, end).await;
            vain = if left.len() < planned { 0 } else { vain + 1 };
        }
        announce();
        if to_me {
            self.context.nudges.discover.notify_one();
        }
        if self.by_beats {
            self.mark(touched).await;
        }
        if !left.is_empty() && time::now() >= end {
            self.context.nudges.assign.notify_one();
        }
        outdated + left.len()
    }

    /// Writes all moves and leaves those whose writes failed, or had not begun at `end`; the number of outdated ones. Adds
    /// the workers concerned to `touched`.
    async fn write_all(&self, moves: &mut Vec<Move>, touched: &mut HashSet<WorkerId>, end: Instant) -> usize {
        let write = async |planned: Move| (self.write(&planned, end).await, planned);
        let writes = stream::iter(mem::take(moves)).map(write).buffer_unordered(CONCURRENT_WRITES);
        let written: Vec<(Fate, Move)> = writes.collect().await;
        let mut outdated = 0;
        for (fate, planned) in written {
            match fate {
                Fate::Made => touched.extend(planned.lease.actual_owner().cloned().into_iter().chain([planned.to])),
                Fate::Outdated => outdated += 1,
                Fate::Failed => moves.push(planned),
            }
        }
        outdated
    }

    /// Has these workers compare their leases with the table.
    async fn mark(&self, workers: HashSet<WorkerId>) {
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

    async fn write(&self, planned: &Move, end: Instant) -> Fate {
        let now = time::now();
        if !self.reign.borrow().leads(now) {
            return Fate::Outdated;
        }
        if now >= end {
            return Fate::Failed;
        }
        let Move { lease, to, how } = planned;
        let written = match how {
            How::Seize => self.context.table.seize(lease, to).await,
            How::Assign => self.context.table.assign(lease, to).await,
            How::HandOff => self.context.table.begin_handoff(lease, to).await,
        };
        match written {
            Ok(Conditional::Applied) => {
                tracing::info!(lease = %lease.key, %to, ?how, "lease assigned");
                Fate::Made
            }
            Ok(Conditional::Conflict(_)) => {
                tracing::debug!(lease = %lease.key, %to, ?how, "lease changed meanwhile");
                Fate::Outdated
            }
            Err(error) => {
                self.context.table_failed(&error);
                Fate::Failed
            }
        }
    }
}
