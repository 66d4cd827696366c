//! Plans the owners of leases. Pure.
//!
//! (A) Every lease that nobody keeps alive gets an active worker, if there is one with room.
//! (B) Leases move one by one from the most to the least loaded worker until the loads differ by at most one.
//! (C) At balance nothing is planned, and a plan that is carried out is followed by an empty one.
//! (D) Ended leases are nobody's load and are never moved.
//! (E) A handoff that outlasts its deadline is ended for its workers.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::model::{Lease, WorkerId};

#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) lease: Lease,
    /// Its counter has not moved for longer than the lease duration.
    pub(crate) expired: bool,
    /// Its handoff has lasted too long.
    pub(crate) handoff_overdue: bool,
}

impl Candidate {
    /// The way in which an orphan is given away. Decided once, with the plan: who is fenced, and on which condition is written, follow.
    pub(super) fn way(&self) -> How {
        if self.expired { How::Seize } else { How::Assign }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Move {
    pub(crate) lease: Lease,
    pub(crate) to: WorkerId,
    pub(crate) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The lease has no owner, or its handoff is stuck: give it away at once.
    Assign,
    /// Its owner is silent: take it away, unless it is renewed meanwhile.
    Seize,
    /// The owner is alive: ask it to hand the lease over.
    HandOff,
}

/// Plans the moves for the leases and active workers seen; no worker gets more than `max_leases`.
pub(crate) fn plan(candidates: &[Candidate], active: &[WorkerId], max_leases: usize) -> Vec<Move> {
    let live: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.lease.is_ended()).collect();
    let mut loads = Loads::new(&live, active, max_leases);
    let mut moves = Vec::new();
    for candidate in live.iter().filter(|candidate| is_orphan(candidate)) {
        if let Some(to) = loads.owner_for(candidate) {
            loads.add(&to);
            if candidate.lease.actual_owner() != Some(&to) || candidate.lease.in_handoff() {
                moves.push(Move { lease: candidate.lease.clone(), to, how: candidate.way() });
            }
        }
    }
    balance(&live, &mut loads, &mut moves);
    moves
}

/// Nobody keeps this lease alive, or its handoff is stuck.
pub(crate) fn is_orphan(candidate: &Candidate) -> bool {
    candidate.expired || candidate.handoff_overdue || candidate.lease.actual_owner().is_none()
}

/// Leases that each active worker has or is about to get. A plan of many leases for many workers asks for the least and
/// the most loaded of them at each step, so workers are kept in the order of their loads.
struct Loads {
    of: BTreeMap<WorkerId, usize>,
    /// All workers by load.
    all: BTreeSet<(usize, WorkerId)>,
    /// The same without workers that let a lease expire: alive perhaps, but not to be trusted with more.
    able: BTreeSet<(usize, WorkerId)>,
    max_leases: usize,
}

impl Loads {
    fn new(live: &[&Candidate], active: &[WorkerId], max_leases: usize) -> Self {
        let mut of: BTreeMap<WorkerId, usize> = active.iter().map(|worker| (worker.clone(), 0)).collect();
        let mut suspects: HashSet<&WorkerId> = HashSet::new();
        for candidate in live {
            if is_orphan(candidate) {
                suspects.extend(candidate.expired.then(|| candidate.lease.actual_owner()).flatten());
            } else if let Some(load) = candidate.lease.owner.as_ref().and_then(|owner| of.get_mut(owner)) {
                *load += 1;
            }
        }
        // Somebody has to do the work.
        if of.keys().all(|worker| suspects.contains(worker)) {
            suspects.clear();
        }
        let all: BTreeSet<_> = of.iter().map(|(worker, load)| (*load, worker.clone())).collect();
        let able = all.iter().filter(|(_, worker)| !suspects.contains(worker)).cloned().collect();
        Self { of, all, able, max_leases }
    }

    fn owner_for(&self, candidate: &Candidate) -> Option<WorkerId> {
        let successor = candidate.lease.owner.as_ref().filter(|_| candidate.lease.in_handoff());
        match successor {
            Some(worker) if self.can_take(worker) => Some(worker.clone()),
            _ => self.least_loaded(),
        }
    }

    fn can_take(&self, worker: &WorkerId) -> bool {
        let load = self.of.get(worker).filter(|load| **load < self.max_leases);
        load.is_some_and(|load| self.able.contains(&(*load, worker.clone())))
    }

    /// The first of equals.
    fn least_loaded(&self) -> Option<WorkerId> {
        let least = self.able.first().filter(|(load, _)| *load < self.max_leases);
        least.map(|(_, worker)| worker.clone())
    }

    /// The last of equals, so that source and target of a move never are the same.
    fn most_loaded(&self) -> Option<WorkerId> {
        self.all.last().map(|(_, worker)| worker.clone())
    }

    fn add(&mut self, worker: &WorkerId) {
        self.change(worker, |load| load + 1);
    }

    fn remove(&mut self, worker: &WorkerId) {
        self.change(worker, |load| load - 1);
    }

    fn change(&mut self, worker: &WorkerId, change: impl FnOnce(usize) -> usize) {
        let Some(load) = self.of.get_mut(worker) else { return };
        let before = (*load, worker.clone());
        *load = change(*load);
        let after = (*load, worker.clone());
        self.all.remove(&before);
        if self.able.remove(&before) {
            self.able.insert(after.clone());
        }
        self.all.insert(after);
    }
}

fn balance(live: &[&Candidate], loads: &mut Loads, moves: &mut Vec<Move>) {
    let mut movable: BTreeMap<&WorkerId, Vec<&Lease>> = BTreeMap::new();
    for candidate in live.iter().filter(|candidate| !is_orphan(candidate) && !candidate.lease.in_handoff()) {
        if let Some(owner) = &candidate.lease.owner {
            movable.entry(owner).or_default().push(&candidate.lease);
        }
    }
    while let (Some(from), Some(to)) = (loads.most_loaded(), loads.least_loaded()) {
        if loads.of[&from] <= loads.of[&to] + 1 {
            return;
        }
        let Some(lease) = movable.get_mut(&from).and_then(Vec::pop) else { return };
        loads.remove(&from);
        loads.add(&to);
        moves.push(Move { lease: lease.clone(), to, how: How::HandOff });
    }
}

#[cfg(test)]
mod tests;
