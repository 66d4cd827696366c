//! Work of the leader's without a fleet, for this crate's own benches. Not part of the API.

use std::collections::BTreeMap;

use crate::{
    logic::assign::{
        assignment::{self, Candidate},
        utilization,
    },
    model::{Checkpoint, Lease, WorkerId, WorkerItem},
};

/// A fleet that has just lost a third of its workers. Each lease of `leases` has an owner among `workers`.
#[derive(Debug)]
pub struct Fleet {
    candidates: Vec<Candidate>,
    living: Vec<WorkerItem>,
}

impl Fleet {
    /// Makes one up.
    pub fn after_deaths(workers: usize, leases: usize) -> Self {
        let id = |number: usize| WorkerId::new(format!("worker-{number:04}"));
        let is_dead = |number: usize| number.is_multiple_of(3);
        let candidate = |number: usize| {
            let owner = number % workers;
            let lease = Lease::unowned(format!("shardId-{number:012}").into(), Checkpoint::TrimHorizon);
            let lease = Lease { owner: Some(id(owner)), counter: 7, throughput_kbps: Some(100.0), ..lease };
            Candidate { lease, expired: is_dead(owner), handoff_overdue: false }
        };
        let item =
            |number: usize| WorkerItem { last_update_seconds: 1, started_at_millis: 1, ..WorkerItem::new(id(number)) };
        let candidates = (0..leases).map(candidate).collect();
        Self { candidates, living: (0..workers).filter(|number| !is_dead(*number)).map(item).collect() }
    }

    /// Plans by lease count; returns how many leases change hands.
    pub fn plan_by_count(&self) -> usize {
        let ids: Vec<WorkerId> = self.living.iter().map(|worker| worker.id.clone()).collect();
        assignment::plan(&self.candidates, &ids, usize::MAX).len()
    }

    /// Plans by utilization; returns how many leases change hands.
    pub fn plan_by_utilization(&self) -> usize {
        utilization::plan(&self.candidates, &self.living, usize::MAX, true).len()
    }
}
