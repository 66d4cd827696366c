//! The state that the leader's task and the assigner share: who leads, and how the fleet renews leases.

use std::{sync::Mutex, time::Instant};

use tokio::sync::watch;

use crate::{
    locked::locked,
    model::{LockItem, Regime, WorkerId, WorkerItem},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reign {
    Follower,
    /// The leader is silent: if it is gone, this worker may lead soon and should know the leases by then.
    Heir,
    /// We lead until then, unless a heartbeat is confirmed before.
    Leader(Instant),
}

impl Reign {
    pub(super) fn leads(self, now: Instant) -> bool {
        matches!(self, Self::Leader(until) if now < until)
    }
}

/// State that the leader's task and the assigner share.
#[derive(Debug)]
pub(crate) struct Helm {
    /// Renewal of leases as the assigner has decided; for a new leader as its predecessor had.
    regime: watch::Sender<Regime>,
    /// Heartbeats renew leases, as the assigner decided last, or the lock of the leader before said. Changed by both, for a
    /// line.
    by_heartbeat: Mutex<bool>,
    /// Renewal of leases as this worker's lock has it, and when it was confirmed that it does. Changed by the leader's
    /// task, for a line; None while this worker does not lead.
    stated: Mutex<Option<(Regime, Instant)>>,
    /// Workers that may lead next, the best first; None before the first cycle. Changed by the assigner, once a cycle.
    heirs: Mutex<Option<Vec<WorkerId>>>,
    /// The leader before, and since when it is silent. Changed by the leader's task, at each look.
    silent: Mutex<Option<(WorkerItem, Instant)>>,
    /// The lock in a scan that is strongly consistent, and when that began. Changed by the assigner.
    sighted: watch::Sender<Option<(LockItem, Instant)>>,
}

impl Helm {
    pub(super) fn new() -> Self {
        Self {
            regime: watch::Sender::default(),
            by_heartbeat: Mutex::default(),
            stated: Mutex::default(),
            heirs: Mutex::default(),
            silent: Mutex::default(),
            sighted: watch::Sender::default(),
        }
    }

    pub(super) fn regime(&self) -> Regime {
        *self.regime.borrow()
    }

    /// Renewal of leases as this worker's lock has it, and since when at the latest.
    pub(super) fn stated(&self) -> Option<(Regime, Instant)> {
        *locked(&self.stated)
    }

    /// True if workers may rely on heartbeats: unless that is over by decision and by the lock, which may be out of step.
    pub(super) fn is_by_beats(&self) -> bool {
        let is_by_each = |regime| regime == Regime::EachLease;
        !(is_by_each(self.regime()) && self.stated().is_none_or(|(stated, _)| is_by_each(stated)))
    }

    /// The lock was written so, as an answer at `now` says.
    pub(super) fn state(&self, regime: Regime, now: Instant) {
        let mut stated = locked(&self.stated);
        if stated.is_none_or(|(before, _)| before != regime) {
            *stated = Some((regime, now));
        }
    }

    /// A decision of the assigner. True: heartbeats renew leases from now on, or do so no longer.
    pub(super) fn decide(&self, regime: Regime, heirs: Vec<WorkerId>) -> bool {
        *locked(&self.heirs) = Some(heirs);
        self.regime.send_if_modified(|before| std::mem::replace(before, regime) != regime);
        let by_heartbeat = regime == Regime::Heartbeats;
        std::mem::replace(&mut *locked(&self.by_heartbeat), by_heartbeat) != by_heartbeat
    }

    /// Begins with `regime`, after a leader whose lock said `before`.
    pub(super) fn inherit(&self, before: Option<Regime>, regime: Regime) {
        *locked(&self.by_heartbeat) = before == Some(Regime::Heartbeats);
        self.regime.send_replace(regime);
    }

    pub(super) fn silent(&self) -> Option<(WorkerItem, Instant)> {
        locked(&self.silent).clone()
    }

    /// Decisions of the assigner, as they come.
    pub(super) fn decisions(&self) -> watch::Receiver<Regime> {
        self.regime.subscribe()
    }

    /// A scan that began then, strongly consistent, has read the lock, too.
    pub(super) fn sight(&self, lock: Option<LockItem>, begun: Instant) {
        self.sighted.send_replace(lock.map(|lock| (lock, begun)));
    }

    /// The lock in scans, as they come.
    pub(super) fn sightings(&self) -> watch::Receiver<Option<(LockItem, Instant)>> {
        self.sighted.subscribe()
    }

    /// Takes in how long the leader before is silent.
    pub(super) fn note_silence(&self, silent: Option<(WorkerItem, Instant)>) {
        *locked(&self.silent) = silent;
    }

    /// Workers that may lead next; None before the first cycle, and from now on.
    pub(super) fn take_heirs(&self) -> Option<Vec<WorkerId>> {
        locked(&self.heirs).take()
    }

    /// This worker does not lead.
    pub(super) fn resign(&self) {
        *locked(&self.stated) = None;
        *locked(&self.heirs) = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time;

    #[test]
    fn leases_are_judged_by_heartbeats_until_decision_and_lock_say_each_lease() {
        use Regime::{EachLease, Heartbeats, TurningBack};
        let (helm, now) = (Helm::new(), time::now());
        helm.state(EachLease, now);
        assert!(!helm.is_by_beats());

        helm.decide(Heartbeats, Vec::new());
        assert!(helm.is_by_beats(), "the lock may say so already, by a write without an answer");
        helm.state(TurningBack, now);
        helm.decide(EachLease, Vec::new());
        assert!(helm.is_by_beats(), "the lock does not say so yet");
        helm.state(EachLease, now);
        assert!(!helm.is_by_beats());
    }

    #[test]
    fn a_turn_is_reported_once_by_the_leader_that_decides_it() {
        use Regime::{EachLease, Heartbeats, TurningBack};
        let helm = Helm::new();
        let decide = |regime| helm.decide(regime, Vec::new());

        assert_eq!(
            [TurningBack, EachLease, Heartbeats, TurningBack, EachLease].map(decide),
            [false, false, true, true, false]
        );
        helm.inherit(Some(Heartbeats), Heartbeats);
        assert!(!decide(Heartbeats));
        helm.inherit(Some(Heartbeats), TurningBack);
        assert!(decide(TurningBack), "it has another setting");
    }

    #[test]
    fn a_lock_written_again_has_said_what_it_says_since_the_first_time() {
        let (helm, first) = (Helm::new(), time::now());
        for seconds in 0..3 {
            helm.state(Regime::TurningBack, first + Duration::from_secs(seconds));
        }
        assert_eq!(helm.stated(), Some((Regime::TurningBack, first)));
    }
}
