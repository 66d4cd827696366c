//! SHELL: the shards at the tip of this worker, and when they are read, by [`logic::read::ticks`](crate::logic::read::ticks).

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    locked::locked,
    logic::read::ticks::{Seat, Ticks},
    model::Polling,
    time::now,
};

/// Shards at the tip of a worker.
#[derive(Debug)]
pub(crate) struct Tip {
    /// Locked for a few lines. None: each shard is read at its own time.
    ticks: Option<Mutex<Ticks>>,
}

impl Tip {
    pub(crate) fn new(polling: &Polling, idle: Duration) -> Self {
        let ticks = || Mutex::new(Ticks::new(idle, now(), fastrand::f64()));
        Self { ticks: polling.is_in_step().then(ticks) }
    }
}

/// One shard's part; it leaves with it.
#[derive(Debug)]
pub(crate) struct AtTip {
    tip: Arc<Tip>,
    seat: Seat,
}

impl AtTip {
    pub(crate) fn new(tip: &Arc<Tip>) -> Self {
        Self { tip: Arc::clone(tip), seat: Seat::default() }
    }

    /// Time of the next read of the shard, which is at the tip.
    pub(crate) fn next(&mut self, begun: Instant, pause: Duration) -> Instant {
        match &self.tip.ticks {
            Some(ticks) => locked(ticks).next(&mut self.seat, begun, pause),
            None => begun + pause,
        }
    }

    /// The shard is not at the tip.
    pub(crate) fn leave(&mut self) {
        if let Some(ticks) = self.tip.ticks.as_ref().filter(|_| self.seat != Seat::Away) {
            locked(ticks).leave(&mut self.seat);
        }
    }
}

impl Drop for AtTip {
    fn drop(&mut self) {
        self.leave();
    }
}
