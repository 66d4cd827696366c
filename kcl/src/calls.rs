//! Notes of this worker's calls that fail again and again, by which its health is judged.

use std::sync::{Arc, Mutex};

use crate::{
    locked::locked,
    logic::calls::{Call, FailingCalls, Failure},
    model::HealthProblem,
    time::now,
};

/// Clones share the notes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    // Protects the notes for the length of one change.
    failing: Arc<Mutex<FailingCalls>>,
}

impl Calls {
    pub(crate) fn failed(&self, call: Call<'_>, failure: Failure) {
        locked(&self.failing).failed(call, failure, now());
    }

    pub(crate) fn succeeded(&self, call: Call<'_>) {
        locked(&self.failing).succeeded(call);
    }

    pub(crate) fn problems(&self) -> Vec<HealthProblem> {
        locked(&self.failing).problems(now())
    }
}
