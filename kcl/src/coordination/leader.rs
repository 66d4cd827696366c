//! SHELL: the leader's lock in the lease table.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    error::TableError,
    event::Event,
    logic::{
        assign::leadership::{Contention, Leadership},
        pace::Pace,
    },
    model::{Look, WorkerId},
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
/// Maximum pause between two looks of a worker that does not lead: as a part of a lease's life, and in any case. It bounds
/// how long a leader that stopped or gives leases away is not noticed.
const LOOK_PART: f64 = 0.2;
const MAX_LOOK: Duration = Duration::from_secs(2);
/// Clocks of timers have whole milliseconds.
const TICK: Duration = Duration::from_millis(1);

pub(crate) struct Leader {
    context: Arc<Context>,
    leadership: Leadership,
    reign: watch::Sender<Reign>,
    pace: Pace,
    /// The lock's owner, and its moves, when last read.
    heard: Option<(WorkerId, Option<u64>)>,
}

impl Leader {
    pub(crate) fn new(context: Arc<Context>) -> (Self, watch::Receiver<Reign>) {
        let (reign, observer) = watch::channel(Reign::Follower);
        let leadership = Leadership::new(context.settings.worker_id.clone());
        (Self { context, leadership, reign, pace: Pace::default(), heard: None }, observer)
    }

    /// Contends until cancelled, then releases the lock. Handles: time to look or to beat, something to announce,
    /// cancellation.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut bulletin = self.context.bulletin.subscribe();
        loop {
            bulletin.borrow_and_update(); // the turn announces it
            let turn = self.turn().await;
            self.context.reported(turn);
            self.publish();
            let pause = self.pause();
            tokio::select! {
                () = stop.cancelled() => return self.release().await,
                () = sleep(pause) => {}
                _ = bulletin.changed(), if self.leadership.held().is_some() => {}
            }
        }
    }

    /// Spread over time, so that workers started together do not contend in step.
    fn pause(&mut self) -> Duration {
        let (period, now, random) = (self.period(), time::now(), fastrand::f64());
        if self.leadership.held().is_some() {
            return period.mul_f64(0.9 + 0.1 * random);
        }
        if self.leadership.suspects(now) {
            self.pace.sign();
        }
        let slow = self.context.settings.lease_duration.mul_f64(LOOK_PART).min(MAX_LOOK);
        let pause = self.pace.pause(period / 2, slow, random);
        let stale_at = self.leadership.stale_at().filter(|at| *at > now);
        stale_at.map_or(pause, |at| pause.min(at - now + TICK))
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
            None => {
                let begun = time::now();
                let look = self.context.table.look(&self.context.settings.worker_id).await?;
                self.note(&look, begun);
                match self.leadership.consider(look.lock, time::now()) {
                    Contention::Acquire(seen) => seen,
                    Contention::Wait => return Ok(()),
                }
            }
        };
        let mut lock = self.leadership.lock(uuid::Uuid::new_v4().to_string(), self.duration());
        lock.bulletin = Some(*self.context.bulletin.borrow());
        let begun = time::now();
        if self.context.table.put_lock(&lock, seen.as_ref()).await? {
            self.leadership.confirmed(lock, begun);
        } else {
            self.leadership.drop_lock();
        }
        Ok(())
    }

    /// Wakes the loops that what was read concerns.
    fn note(&mut self, look: &Look, begun: Instant) {
        self.context.seen.own_item.send_replace((begun, look.worker.clone()));
        let Some(lock) = &look.lock else { return self.pace.sign() };
        let heard = (lock.owner.clone(), lock.bulletin.map(|bulletin| bulletin.moves));
        self.context.seen.announced.store(lock.bulletin.is_some(), Ordering::Relaxed);
        let is_news = self.heard.as_ref() != Some(&heard);
        if is_news {
            // A leader that died may have given leases away without a word.
            self.context.nudges.discover.notify_one();
            self.heard = Some(heard);
        }
        if is_news || lock.bulletin.is_some_and(|bulletin| bulletin.alert) {
            self.pace.sign();
        }
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
            None if self.leadership.suspects(now) => Reign::Heir,
            None => Reign::Follower,
        };
        let before = self.reign.send_replace(reign);
        self.context.metrics.is_leader(until.is_some());
        match (matches!(before, Reign::Leader(_)), until.is_some()) {
            (false, true) => {
                self.context.seen.announced.store(true, Ordering::Relaxed);
                self.context.nudges.discover.notify_one();
                self.context.events.emit(Event::LeaderGained);
            }
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
