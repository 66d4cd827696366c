//! SHELL: the leader's lock in the lease table.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tokio::{sync::watch, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::helm::{Helm, Reign};
use crate::{
    context::Context,
    error::TableError,
    event::Event,
    logic::assign::{
        leadership::{Contention, Leadership, may_inherit, successor},
        lock_pace::LockPace,
        reliance::may_rely,
        renewing::inherited,
    },
    model::{LockItem, Look, Regime, WorkerId},
    time,
};

/// Workers that are asked whether they stop, too, before the lock is passed on; so many are a fleet that stops.
const ASKED_HEIRS: usize = 16;

pub(crate) struct Leader {
    context: Arc<Context>,
    leadership: Leadership,
    reign: watch::Sender<Reign>,
    helm: Arc<Helm>,
    decisions: watch::Receiver<Regime>,
    sightings: watch::Receiver<Option<(LockItem, Instant)>>,
    pace: LockPace,
    /// The lock's owner, and its moves, when last read.
    heard: Option<(WorkerId, Option<u64>)>,
}

impl Leader {
    pub(crate) fn new(context: Arc<Context>) -> (Self, watch::Receiver<Reign>, Arc<Helm>) {
        let (reign, observer) = watch::channel(Reign::Follower);
        let leadership = Leadership::new(context.settings.worker_id.clone(), context.settings.lease_duration);
        let helm = Arc::new(Helm::new());
        let (decisions, sightings, kept) = (helm.decisions(), helm.sightings(), Arc::clone(&helm));
        let pace = LockPace::new(context.settings.lease_duration);
        let leader = Self { context, leadership, reign, helm, decisions, sightings, pace, heard: None };
        (leader, observer, kept)
    }

    /// Contends until cancelled, then passes the lock on or releases it. Handles: time to look or to beat, something to
    /// announce, the assigner's decisions and scans, this worker's heartbeats, cancellation.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut bulletin = self.context.bulletin.subscribe();
        loop {
            bulletin.borrow_and_update(); // the turn announces it
            let turn = self.turn().await;
            let is_done = self.context.reported(turn).is_some();
            self.publish();
            self.context.vitals.turned(self.known_leader(), is_done);
            if self.leadership.held().is_none() && self.known_leader().is_some() {
                self.context.vitals.listed();
            }
            let now = time::now();
            let mut wake_at = now + self.pace.pause(&self.leadership, is_done, now, fastrand::f64());
            loop {
                let leads = self.leadership.held().is_some();
                tokio::select! {
                    () = stop.cancelled() => return self.release().await,
                    () = sleep_until(wake_at.into()) => break,
                    _ = bulletin.changed(), if leads => break,
                    _ = self.decisions.changed(), if leads => break,
                    _ = self.sightings.changed(), if leads => match self.sighted() {
                        Some(begun) => wake_at = self.pace.look_after_scan(begun),
                        None => break,
                    },
                    // Between two looks, the silence of another leader says nothing.
                    () = self.context.pulse.beaten.notified(), if leads => self.publish(),
                }
            }
        }
    }

    /// Takes a scan for a look if it shows this worker's lock, as it was written last, and nothing is to be written. Begin
    /// of the scan then.
    fn sighted(&mut self) -> Option<Instant> {
        let (lock, begun) = self.sightings.borrow_and_update().clone()?;
        self.leadership.held().filter(|held| held.version == lock.version)?;
        if self.leadership.is_write_due(*self.decisions.borrow(), *self.context.bulletin.borrow(), time::now()) {
            return None;
        }
        self.looked(may_rely(self.context.settings.renewals, Some(&lock)), begun);
        self.publish();
        self.context.vitals.turned(self.known_leader(), true);
        self.leadership.held().map(|_| begun)
    }

    /// The lock's owner, as far as this worker may rely on that.
    fn known_leader(&self) -> Option<&WorkerId> {
        if self.leadership.held().is_some() {
            return Some(&self.context.settings.worker_id);
        }
        let heard = self.heard.as_ref().map(|(owner, _)| owner);
        heard.filter(|owner| **owner != self.context.settings.worker_id && !self.leadership.suspects(time::now()))
    }

    async fn turn(&mut self) -> Result<(), TableError> {
        let begun = time::now();
        let Some(held) = self.leadership.held().cloned() else { return self.contend(begun).await };
        let regime = *self.decisions.borrow_and_update();
        if self.leadership.is_write_due(regime, *self.context.bulletin.borrow(), begun) {
            return self.write(Some(held), regime, begun).await;
        }
        let Look { lock, .. } = self.look(begun).await?;
        if lock.is_none_or(|lock| lock.version != held.version) {
            self.leadership.drop_lock();
        }
        Ok(())
    }

    /// Looks at the lock of another, and takes it if that is allowed.
    async fn contend(&mut self, begun: Instant) -> Result<(), TableError> {
        let look = self.look(begun).await?;
        self.note(&look);
        let contention = self.leadership.consider(look.lock, look.leader, time::now());
        self.helm.note_silence(self.leadership.silent());
        let Contention::Acquire(seen) = contention else { return Ok(()) };
        let before = seen.as_ref().map(|seen| seen.regime);
        let regime = inherited(before, self.context.settings.renewals);
        self.helm.inherit(before, regime);
        self.decisions.mark_unchanged();
        self.write(seen, regime, begun).await
    }

    /// Reads the lock, this worker's item, and the leader's where that is a sign of its life.
    async fn look(&self, begun: Instant) -> Result<Look, TableError> {
        let leader = self.leadership.leader().filter(|_| self.leadership.regime() != Regime::EachLease);
        let look = self.context.table.look(&self.context.settings.worker_id, leader).await?;
        self.context.seen.own_item.send_replace((begun, look.worker.clone()));
        // A look that does not know the leader yet may be out of date.
        let renewals = self.context.settings.renewals;
        self.looked(leader.is_some() && may_rely(renewals, look.lock.as_ref()), begun);
        Ok(look)
    }

    fn looked(&self, allowed: bool, begun: Instant) {
        if self.context.pulse.looked(allowed, begun) {
            // Its pauses are as short as a renewal interval from now on.
            self.context.nudges.discover.notify_one();
        }
    }

    async fn write(&mut self, seen: Option<LockItem>, regime: Regime, begun: Instant) -> Result<(), TableError> {
        let mut lock = self.leadership.lock(uuid::Uuid::new_v4().to_string(), regime);
        lock.bulletin = Some(*self.context.bulletin.borrow());
        let allowed = may_rely(self.context.settings.renewals, Some(&lock));
        if self.context.table.put_lock(&lock, seen.as_ref()).await? {
            self.leadership.confirmed(lock, begun);
            self.helm.state(regime, time::now());
            self.looked(allowed, begun);
        } else {
            self.leadership.drop_lock();
        }
        Ok(())
    }

    /// Wakes the loops that what was read concerns.
    fn note(&mut self, look: &Look) {
        let Some(lock) = &look.lock else {
            self.heard = None;
            return self.pace.sign();
        };
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
        let until = self.leadership.leading_until(self.context.pulse.last_beat(), now);
        if until.is_none() {
            // Not confirmed in time: others may lead by now, so contend from the beginning.
            self.leadership.drop_lock();
            self.helm.resign();
        }
        let reign = match until {
            Some(until) => Reign::Leader(until),
            None if self.leadership.is_heir(now, fastrand::f64()) => Reign::Heir,
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

    /// Passes the lock on, or deletes it. While leases are not renewed singly, another that knows of it must lead: a worker
    /// of Java would take them. The lock may have been passed to this worker a moment ago. It stays where the table does
    /// not answer.
    async fn release(mut self) {
        self.context.pulse.looked(false, time::now());
        let by_beats = self.leadership.regime() != Regime::EachLease;
        let (held, heirs) = (self.leadership.held().cloned(), self.helm.take_heirs());
        self.leadership.drop_lock();
        if held.is_some() {
            self.publish();
        }
        let lock = if held.is_none() && by_beats { self.passed_to_us().await } else { held };
        let Some(lock) = lock else { return };
        let heir = if lock.regime == Regime::EachLease { Ok(None) } else { self.heir(heirs).await };
        match self.context.reported(heir) {
            Some(Some(owner)) => {
                let passed = LockItem { owner, version: uuid::Uuid::new_v4().to_string(), ..lock.clone() };
                self.context.reported(self.context.table.put_lock(&passed, Some(&lock)).await);
            }
            Some(None) => {
                self.context.reported(self.context.table.delete_lock(&lock).await);
            }
            None => {}
        }
    }

    async fn passed_to_us(&self) -> Option<LockItem> {
        let lock = self.context.reported(self.context.table.get_lock().await).flatten();
        lock.filter(|lock| lock.owner == self.context.settings.worker_id && !lock.released)
    }

    /// The worker to pass the lock to. None: there is no other that lives by heartbeats and does not stop, too.
    async fn heir(&self, heirs: Option<Vec<WorkerId>>) -> Result<Option<WorkerId>, TableError> {
        let Context { table, clock, settings, .. } = &*self.context;
        let Some(heirs) = heirs else {
            return Ok(successor(table.scan().await?.workers, &settings.worker_id, clock.seconds()));
        };
        for (asked, heir) in heirs.into_iter().enumerate() {
            if asked == ASKED_HEIRS || table.get_worker(&heir).await?.as_ref().is_some_and(may_inherit) {
                return Ok(Some(heir));
            }
        }
        Ok(None)
    }
}
