//! SHELL: the leader's lock in the lease table.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    event::Event,
    lease::{WorkerId, store::StoreError},
    logic::leadership::{Leadership, Step},
};

/// The lock item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockItem {
    /// The leader.
    pub(crate) owner: WorkerId,
    /// Random text, new with each heartbeat.
    pub(crate) version: String,
    /// How long the lock may stand unchanged before others may seize it.
    pub(crate) duration: Duration,
    /// Given up by its owner.
    pub(crate) released: bool,
}

/// Until when this worker leads: others act only while `Instant::now()` is before it. None: it does not lead.
pub(crate) type LeadingUntil = watch::Receiver<Option<Instant>>;

/// Heartbeats within one lock duration.
const HEARTBEATS: u32 = 4;

/// Contends for the lock and keeps it.
pub(crate) struct Leader {
    context: Arc<Context>,
    leadership: Leadership,
    leading: watch::Sender<Option<Instant>>,
}

impl Leader {
    pub(crate) fn new(context: Arc<Context>) -> (Self, LeadingUntil) {
        let (leading, leading_until) = watch::channel(None);
        let leadership = Leadership::new(context.settings.worker_id.clone());
        (Self { context, leadership, leading }, leading_until)
    }

    /// Contends until cancelled, then releases the lock. Handles: time to look or to beat, cancellation.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let period = self.duration() / HEARTBEATS;
        loop {
            self.turn().await;
            self.publish();
            // Spread over the period, so that workers started together do not contend in step.
            let pause = period.mul_f64(0.8 + 0.2 * fastrand::f64());
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return self.release().await;
            }
        }
    }

    /// The lock lives as long as a lease does.
    fn duration(&self) -> Duration {
        self.context.settings.lease_duration
    }

    async fn turn(&mut self) {
        if let Err(error) = self.try_turn().await {
            self.context.table_failed(&error);
        }
    }

    async fn try_turn(&mut self) -> Result<(), StoreError> {
        let held = self.leadership.held().cloned();
        let seen = match held {
            Some(held) => Some(held),
            None => match self.leadership.consider(self.context.store.get_lock().await?, Instant::now()) {
                Step::Acquire(seen) => seen,
                Step::Wait => return Ok(()),
            },
        };
        let lock = self.leadership.lock(uuid::Uuid::new_v4().to_string(), self.duration());
        let begun = Instant::now();
        if self.context.store.put_lock(&lock, seen.as_ref()).await? {
            self.leadership.confirmed(lock, begun);
        } else {
            self.leadership.lost();
        }
        Ok(())
    }

    fn publish(&mut self) {
        let until = self.leadership.leading_until(Instant::now());
        if until.is_none() {
            // Not confirmed in time: others may lead by now, so contend from the beginning.
            self.leadership.lost();
        }
        let before = self.leading.send_replace(until);
        match (before, until) {
            (None, Some(_)) => self.context.events.emit(Event::LeaderGained),
            (Some(_), None) => self.context.events.emit(Event::LeaderLost),
            _ => {}
        }
    }

    async fn release(mut self) {
        let Some(lock) = self.leadership.held().cloned() else { return };
        self.leadership.lost();
        self.publish();
        if let Err(error) = self.context.store.delete_lock(&lock).await {
            self.context.table_failed(&error);
        }
    }
}
