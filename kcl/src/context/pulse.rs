//! SHELL: this worker's heartbeat, as its membership sends it, its leader's task allows it, and its leases' keepers rely on
//! it. Decided by [`Reliance`].

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{clock::ServiceClock, locked::locked, logic::assign::reliance::Reliance, time::now};

#[derive(Debug)]
pub(crate) struct Pulse {
    clock: ServiceClock,
    lease_duration: Duration,
    /// Changed by membership and leader's task, asked by keepers, each for a line.
    reliance: Mutex<Reliance>,
    /// Cancelled, and replaced, when every lease held is dropped.
    tenure: Mutex<CancellationToken>,
    /// A heartbeat is due at once.
    pub(crate) due: Notify,
    /// A heartbeat was confirmed.
    pub(crate) beaten: Notify,
}

impl Pulse {
    pub(super) fn new(clock: ServiceClock, lease_duration: Duration) -> Self {
        let (reliance, tenure) = (Mutex::default(), Mutex::default());
        Self { clock, lease_duration, reliance, tenure, due: Notify::new(), beaten: Notify::new() }
    }

    /// The lock, looked at from `begun` on, allows heartbeats to renew leases, or does not. True: from now on it does.
    pub(crate) fn looked(&self, allowed: bool, begun: Instant) -> bool {
        let is_news = locked(&self.reliance).looked(allowed, begun, now(), self.lease_duration);
        if is_news {
            self.due.notify_one();
        }
        is_news
    }

    /// A heartbeat that began at `begun` was accepted.
    pub(crate) fn beaten(&self, begun: Beginning) {
        locked(&self.reliance).beaten(begun.at, begun.wall);
        self.beaten.notify_one();
    }

    pub(crate) fn begin(&self) -> Beginning {
        Beginning { at: now(), wall: self.clock.machine_now() }
    }

    /// True while heartbeats may renew leases.
    pub(crate) fn may(&self) -> bool {
        locked(&self.reliance).may(now())
    }

    pub(crate) fn last_beat(&self) -> Option<Instant> {
        locked(&self.reliance).last_beat()
    }

    /// Begin of the heartbeat that renews a lease written last at `written`; None if the lease must be renewed itself.
    pub(crate) fn covers(&self, written: Instant) -> Option<Instant> {
        locked(&self.reliance).covers(written, now(), self.lease_duration)
    }

    /// Resolves, and stays so, when what is held now is dropped.
    pub(crate) fn tenure(&self) -> CancellationToken {
        locked(&self.tenure).clone()
    }

    /// Drops every lease held: others may have them.
    pub(crate) fn drop_all(&self) {
        let mut reliance = locked(&self.reliance);
        reliance.forget();
        self.end_tenure(&reliance);
    }

    /// Under the lock of the reliance: who finds nothing to rely on any more finds the tenure ended.
    fn end_tenure(&self, _locked: &Reliance) {
        std::mem::take(&mut *locked(&self.tenure)).cancel();
    }

    /// True if nobody can have taken leases because of silence.
    pub(crate) fn is_current(&self) -> bool {
        locked(&self.reliance).is_current(now(), self.clock.machine_now(), self.lease_duration)
    }

    /// True, for the first who asks, if the machine was suspended for so long that others may have the leases. They are
    /// dropped then.
    pub(super) fn drop_if_overslept(&self) -> bool {
        let mut reliance = locked(&self.reliance);
        let overslept = reliance.forget_if_overslept(self.clock.machine_now(), self.lease_duration);
        if overslept {
            self.end_tenure(&reliance);
        }
        overslept
    }
}

impl Beginning {
    pub(crate) fn at(self) -> Instant {
        self.at
    }
}

/// Begin of a heartbeat, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    at: Instant,
    wall: std::time::SystemTime,
}
