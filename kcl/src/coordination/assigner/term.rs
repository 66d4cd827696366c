//! The state of a leader's term.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use crate::{
    coordination::watchdog::Unowned,
    logic::assign::{fleet_view::FleetView, renewing::Renewing, unrest::Unrest},
    model::{StreamId, WorkerId, WorkerItem},
};

/// Knowledge of the assigner while it leads.
#[derive(Default)]
pub(super) struct Term {
    pub(super) balanced: Option<Instant>,
    pub(super) renewing: Option<Renewing>,
    /// Workers fenced, as they last reported.
    fenced: HashMap<WorkerId, WorkerItem>,
    pub(super) malformed: Vec<String>,
    pub(super) unowned: Unowned,
    /// Streams with leases that nobody can read.
    pub(super) vanished: HashSet<StreamId>,
    pub(super) unrest: Unrest,
    /// The first moment at which a lease that has fallen silent expires.
    pub(super) expiry: Option<Instant>,
}

impl Term {
    /// Notes workers that were fenced. Returns those whose silence is news: a worker's leases may be taken one by one.
    pub(super) fn note_fenced(&mut self, fenced: Vec<WorkerItem>, view: &FleetView) -> Vec<WorkerId> {
        self.fenced.retain(|id, _| view.worker(id).is_some());
        let mut news = Vec::new();
        for worker in fenced {
            let before = self.fenced.insert(worker.id.clone(), worker.clone());
            if before.is_none_or(|before| !before.is_same_report(&worker)) {
                news.push(worker.id);
            }
        }
        news
    }
}
