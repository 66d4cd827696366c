//! SHELL: the leader's lock in the lease table.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    error::TableError,
    event::Event,
    logic::assign::leadership::{Contention, Leadership},
    time,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reign {
    Follower,
    /// The leader is silent: if it is gone, one of us will lead soon and should know the leases by then.
    Heir,
    /// We lead until then, unless a heartbeat is confirmed before.
    Leader(Instant),
}

/// The lock's life as a part of a lease's, so that a new leader is there before leases expire.
const LOCK_PART: f64 = 0.4;
/// Heartbeats within one lock duration.
const HEARTBEATS: u32 = 4;
/// Heartbeats that the leader may miss before it is suspected to be gone.
const MISSED: u32 = 2;

pub(crate) struct Leader {
    context: Arc<Context>,
    leadership: Leadership,
    reign: watch::Sender<Reign>,
}

impl Leader {
    pub(crate) fn new(context: Arc<Context>) -> (Self, watch::Receiver<Reign>) {
        let (reign, observer) = watch::channel(Reign::Follower);
        let leadership = Leadership::new(context.settings.worker_id.clone());
        (Self { context, leadership, reign }, observer)
    }

    /// Contends until cancelled, then releases the lock. Handles: time to look or to beat, cancellation.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let period = self.period();
        loop {
            let turn = self.turn().await;
            self.context.reported(turn);
            self.publish();
            // Spread over the period, so that workers started together do not contend in step.
            let pause = period.mul_f64(0.9 + 0.1 * fastrand::f64());
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return self.release().await;
            }
        }
    }

    fn duration(&self) -> Duration {
        self.context.settings.lease_duration.mul_f64(LOCK_PART)
    }

    fn period(&self) -> Duration {
        self.duration() / HEARTBEATS
    }

    async fn turn(&mut self) -> Result<(), TableError> {
        let seen = match self.leadership.held().cloned() {
            Some(held) => Some(held),
            None => match self.leadership.consider(self.context.table.get_lock().await?, time::now()) {
                Contention::Acquire(seen) => seen,
                Contention::Wait => return Ok(()),
            },
        };
        let lock = self.leadership.lock(uuid::Uuid::new_v4().to_string(), self.duration());
        let begun = time::now();
        if self.context.table.put_lock(&lock, seen.as_ref()).await? {
            self.leadership.confirmed(lock, begun);
        } else {
            self.leadership.drop_lock();
        }
        Ok(())
    }

    fn publish(&mut self) {
        let now = time::now();
        let until = self.leadership.leading_until(now);
        if until.is_none() {
            // Not confirmed in time: others may lead by now, so contend from the beginning.
            self.leadership.drop_lock();
        }
        let reign = match until {
            Some(until) => Reign::Leader(until),
            None if self.leadership.suspects(self.period() * MISSED, now) => Reign::Heir,
            None => Reign::Follower,
        };
        let before = self.reign.send_replace(reign);
        self.context.metrics.is_leader(until.is_some());
        match (matches!(before, Reign::Leader(_)), until.is_some()) {
            (false, true) => self.context.events.emit(Event::LeaderGained),
            (true, false) => self.context.events.emit(Event::LeaderLost),
            _ => {}
        }
    }

    async fn release(mut self) {
        let Some(lock) = self.leadership.held().cloned() else { return };
        self.leadership.drop_lock();
        self.publish();
        self.context.reported(self.context.table.delete_lock(&lock).await);
    }
}
