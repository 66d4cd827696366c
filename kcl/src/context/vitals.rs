//! Notes of this worker's tasks by which its health is judged.

use std::sync::Mutex;

use crate::{locked::locked, logic::health::Vitals as Notes, model::WorkerId, time::now};

#[derive(Debug)]
pub(crate) struct Vitals {
    /// Changed at each turn of the leader's task and each failed call to the lease table, for a few lines.
    notes: Mutex<Notes>,
}

impl Default for Vitals {
    fn default() -> Self {
        let now = now();
        Self {
            notes: Mutex::new(Notes {
                turned: now,
                answered: now,
                failure: None,
                leader: None,
                led: now,
                is_listed: false,
            }),
        }
    }
}

impl Vitals {
    /// The worker has joined.
    pub(crate) fn begin(&self) {
        *locked(&self.notes) = Self::default().notes();
    }

    pub(crate) fn notes(&self) -> Notes {
        locked(&self.notes).clone()
    }

    /// The leader's task came round, and knows this leader; the lease table answered it, or did not.
    pub(crate) fn turned(&self, leader: Option<&WorkerId>, is_answered: bool) {
        let mut notes = locked(&self.notes);
        notes.turned = now();
        if is_answered {
            (notes.answered, notes.failure) = (notes.turned, None);
        }
        if leader.is_some() {
            notes.led = notes.turned;
        }
        if notes.leader.as_ref() != leader {
            notes.leader = leader.cloned();
        }
    }

    /// The shards were listed by this worker as the leader, or another leads.
    pub(crate) fn listed(&self) {
        locked(&self.notes).is_listed = true;
    }

    /// A call to the lease table failed.
    pub(crate) fn failed(&self, error: &str) {
        locked(&self.notes).failure = Some(error.to_owned());
    }
}
