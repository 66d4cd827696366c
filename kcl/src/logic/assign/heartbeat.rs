//! Heartbeats that renew a worker's leases: when a worker relies on its own, when a fleet lives by them. Pure.
//!
//! (A) A worker relies on its heartbeat only while a look at the lock, begun less than half a lease duration ago, allowed
//!     it, and its last accepted heartbeat is not older either; else it renews each lease.
//! (B) It relies on it for a lease only once it has written that lease since it may: what happened to the lease before, in
//!     a suspension say, is found out by that write.
//! (C) A worker that was suspended for a lease duration, when its monotonic clock stood still, drops its leases.
//! (D) A fleet lives by heartbeats only while every lease's owner and every worker is marked, for a lease duration at
//!     least; an unmarked worker counts until its item has stood still for an hour and it has no lease.
//! (E) It is back at single renewals when each lease was written since, a lease duration later at the earliest.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant, SystemTime},
};

use crate::model::{Lease, Regime, Renewals, TableScan, WorkerId, WorkerItem};

/// Time in which the item of a live worker of any kind changes many times. Java's: 30 s.
const GONE: Duration = Duration::from_secs(60 * 60);
/// Maximum time of a turn back: after it the lock is no longer held on to.
pub(crate) const MAX_TURN: Duration = Duration::from_secs(120);

/// A worker's reliance on its heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Reliance {
    /// Since when it may, and how long.
    may: Option<(Instant, Instant)>,
    /// Begin of the last accepted heartbeat, by both clocks.
    beat: Option<(Instant, SystemTime)>,
}

impl Reliance {
    /// A look at the lock that began at `begun` ended at `now`. True: from now on it may.
    pub(crate) fn looked(&mut self, allowed: bool, begun: Instant, now: Instant, lease_duration: Duration) -> bool {
        let since = self.may.filter(|(_, until)| now < *until).map(|(since, _)| since);
        self.may = allowed.then(|| (since.unwrap_or(now), begun + lease_duration / 2));
        allowed && since.is_none()
    }

    pub(crate) fn beaten(&mut self, begun: Instant, wall: SystemTime) {
        self.beat = Some((begun, wall));
    }

    /// Begin of the last heartbeat that was accepted.
    pub(crate) fn last_beat(&self) -> Option<Instant> {
        self.beat.map(|(begun, _)| begun)
    }

    /// True if the worker should send heartbeats that renew.
    pub(crate) fn may(&self, now: Instant) -> bool {
        self.may.is_some_and(|(_, until)| now < until)
    }

    /// True if the last look at the lock allowed it, however long ago.
    pub(crate) fn is_allowed(&self) -> bool {
        self.may.is_some()
    }

    /// The heartbeat that renews a lease that was written last at `written`.
    pub(crate) fn covers(&self, written: Instant, now: Instant, lease_duration: Duration) -> Option<Instant> {
        let (since, until) = self.may?;
        let (beat, _) = self.beat?;
        (now < until && written >= since && now < beat + lease_duration / 2).then_some(beat)
    }

    /// True if others may have taken the leases meanwhile, as the wall clock shows.
    pub(crate) fn has_overslept(&self, wall: SystemTime, lease_duration: Duration) -> bool {
        let Some((_, beat)) = self.beat.filter(|_| self.may.is_some()) else { return false };
        wall.duration_since(beat).is_ok_and(|age| age >= lease_duration)
    }

    /// True if the last heartbeat is younger than a lease duration by both clocks.
    pub(crate) fn is_current(&self, now: Instant, wall: SystemTime, lease_duration: Duration) -> bool {
        self.beat.is_some_and(|(begun, at)| {
            now < begun + lease_duration && wall.duration_since(at).is_ok_and(|age| age < lease_duration)
        })
    }

    /// Nothing of what was is known to hold.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Renewal of leases under a new leader that lives by `renewals`, after a lock that said `before`; None if there was none.
pub(crate) fn inherited(before: Option<Regime>, renewals: Renewals) -> Regime {
    match before.unwrap_or_default() {
        Regime::EachLease if renewals == Renewals::EachLease => Regime::EachLease,
        Regime::Heartbeats if renewals == Renewals::Automatic => Regime::Heartbeats,
        // Perhaps a leader before lived by heartbeats, and somebody else led since.
        _ => Regime::TurningBack,
    }
}

/// The leader's decision how its fleet renews leases.
#[derive(Debug)]
pub(crate) struct Renewing {
    lease_duration: Duration,
    regime: Regime,
    since: Instant,
    /// All have been marked since then.
    fit_since: Option<Instant>,
    /// Items of workers that live by each lease, and since when they stand still.
    unmarked: HashMap<WorkerId, (WorkerItem, Instant)>,
}

impl Renewing {
    /// As a leader finds it in the lock.
    pub(crate) fn new(regime: Regime, lease_duration: Duration, now: Instant) -> Self {
        Self { lease_duration, regime, since: now, fit_since: None, unmarked: HashMap::new() }
    }

    /// Decides after a scan. `written_since` tells whether a lease was written since a time, as far as the leader saw.
    pub(crate) fn decide(
        &mut self,
        scan: &TableScan,
        allowed: bool,
        now: Instant,
        written_since: impl Fn(&Lease, Instant) -> bool,
    ) -> Regime {
        let fit = self.are_marked(scan, now) && allowed;
        self.fit_since = fit.then(|| self.fit_since.unwrap_or(now));
        let is_fit_for_long = self.fit_since.is_some_and(|since| now - since >= self.lease_duration);
        let in_turn = now - self.since;
        match self.regime {
            Regime::EachLease if is_fit_for_long => self.turn(Regime::Heartbeats, now),
            Regime::Heartbeats if !fit => self.turn(Regime::TurningBack, now),
            Regime::TurningBack if in_turn >= self.lease_duration => {
                let mut owned = scan.leases.iter().filter(|lease| lease.actual_owner().is_some());
                if in_turn >= MAX_TURN || owned.all(|lease| written_since(lease, self.since)) {
                    self.turn(Regime::EachLease, now);
                }
            }
            _ => {}
        }
        self.regime
    }

    fn turn(&mut self, regime: Regime, now: Instant) {
        (self.regime, self.since) = (regime, now);
        self.fit_since = None;
    }

    fn are_marked(&mut self, scan: &TableScan, now: Instant) -> bool {
        let TableScan { leases, workers, .. } = scan;
        self.unmarked.retain(|id, _| workers.iter().any(|worker| worker.id == *id && worker.beat.is_none()));
        for worker in workers.iter().filter(|worker| worker.beat.is_none()) {
            let known = self.unmarked.entry(worker.id.clone()).or_insert_with(|| (worker.clone(), now));
            if !known.0.is_same_report(worker) {
                *known = (worker.clone(), now);
            }
        }
        let marked: HashSet<&WorkerId> =
            workers.iter().filter(|worker| worker.beat.is_some()).map(|worker| &worker.id).collect();
        let mut owners = leases.iter().flat_map(|lease| [&lease.owner, &lease.checkpoint_owner]).flatten();
        owners.all(|owner| marked.contains(owner)) && self.unmarked.values().all(|(_, since)| now - *since >= GONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Checkpoint;

    const LEASE: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn wall(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn relies_on_a_heartbeat_for_half_a_lease_duration() {
        let (mut reliance, start) = (Reliance::default(), crate::tests::some_time());
        assert!(reliance.looked(true, start, start, LEASE), "that is news");
        reliance.beaten(start, wall(0));

        let late = start + LEASE / 2;
        assert_eq!(reliance.covers(start, late - Duration::from_millis(1), LEASE), Some(start));
        assert_eq!(reliance.covers(start, late, LEASE), None, "neither look nor heartbeat");
        reliance.beaten(late, wall(5));
        assert_eq!(reliance.covers(start, late, LEASE), None, "no look");
        assert!(reliance.looked(true, late, late, LEASE), "it has begun anew");
        assert_eq!(reliance.covers(start, late, LEASE), None, "the lease was not written since");
        assert_eq!(reliance.covers(late, late, LEASE), Some(late));
    }

    #[test]
    fn relies_on_nothing_once_the_lock_says_nothing() {
        let (mut reliance, start) = (Reliance::default(), crate::tests::some_time());
        reliance.looked(true, start, start, LEASE);
        reliance.beaten(start, wall(0));

        assert!(!reliance.looked(false, start + SECOND, start + SECOND, LEASE));

        assert_eq!(reliance.covers(start, start + SECOND, LEASE), None);
        assert!(!reliance.may(start + SECOND));
    }

    #[test]
    fn a_look_that_took_long_allows_for_less() {
        let (mut reliance, start) = (Reliance::default(), crate::tests::some_time());

        reliance.looked(true, start, start + 4 * SECOND, LEASE);

        assert!(reliance.may(start + 4 * SECOND));
        assert!(!reliance.may(start + 5 * SECOND));
    }

    #[test]
    fn a_suspension_shows_by_the_wall_clock_alone() {
        let (mut reliance, start) = (Reliance::default(), crate::tests::some_time());
        reliance.beaten(start, wall(0));
        assert!(!reliance.has_overslept(wall(100), LEASE), "each lease is renewed");

        reliance.looked(true, start, start, LEASE);
        assert!(!reliance.has_overslept(wall(9), LEASE));
        assert!(reliance.has_overslept(wall(10), LEASE));

        reliance.forget();
        assert!(!reliance.has_overslept(wall(10), LEASE));
    }

    #[test]
    fn a_new_leader_goes_on_with_what_the_lock_said_or_turns_back() {
        use Regime::{EachLease, Heartbeats, TurningBack};
        for (before, renewals, after) in [
            (Some(Heartbeats), Renewals::Automatic, Heartbeats),
            (Some(Heartbeats), Renewals::EachLease, TurningBack),
            (Some(TurningBack), Renewals::Automatic, TurningBack),
            (Some(TurningBack), Renewals::EachLease, TurningBack),
            (Some(EachLease), Renewals::Automatic, TurningBack),
            (Some(EachLease), Renewals::EachLease, EachLease),
            (None, Renewals::Automatic, TurningBack),
            (None, Renewals::EachLease, EachLease),
        ] {
            assert_eq!(inherited(before, renewals), after, "{before:?} {renewals:?}");
        }
    }

    fn worker(id: &str, beat: Option<u64>) -> WorkerItem {
        WorkerItem {
            id: id.into(),
            last_update_seconds: 0,
            instance: Some(id.to_owned()),
            started_at_millis: 0,
            leaving: false,
            beat,
            mark: None,
            metrics: Default::default(),
            usage: None,
        }
    }

    fn owned_by(owner: &str) -> Vec<Lease> {
        let lease = Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon);
        vec![Lease { owner: Some(owner.into()), ..lease }]
    }

    struct Leader {
        renewing: Renewing,
        start: Instant,
    }

    impl Leader {
        fn of(regime: Regime) -> Self {
            let start = crate::tests::some_time();
            Self { renewing: Renewing::new(regime, LEASE, start), start }
        }

        fn sees(&mut self, seconds: u64, leases: &[Lease], workers: &[WorkerItem]) -> Regime {
            let now = self.start + Duration::from_secs(seconds);
            let (leases, workers) = (leases.to_vec(), workers.to_vec());
            let scan = TableScan { leases, workers, malformed: Vec::new() };
            self.renewing.decide(&scan, true, now, |lease, _| lease.counter > 0)
        }
    }

    #[test]
    fn turns_to_heartbeats_when_all_have_been_marked_for_a_lease_duration() {
        let mut leader = Leader::of(Regime::EachLease);
        let (leases, workers) = (owned_by("a"), [worker("a", Some(1)), worker("b", Some(1))]);

        assert_eq!(leader.sees(0, &leases, &workers), Regime::EachLease);
        assert_eq!(leader.sees(9, &leases, &workers), Regime::EachLease);
        assert_eq!(leader.sees(10, &leases, &workers), Regime::Heartbeats);
    }

    #[test]
    fn never_turns_while_an_unmarked_worker_or_an_unknown_owner_is_there() {
        let cases = [
            (owned_by("a"), vec![worker("a", Some(1)), worker("java", None)]),
            (owned_by("unknown"), vec![worker("a", Some(1))]),
            (owned_by("java"), vec![worker("a", Some(1)), worker("java", None)]),
        ];
        for (leases, workers) in cases {
            let mut leader = Leader::of(Regime::EachLease);
            for seconds in 0..100 {
                assert_eq!(leader.sees(seconds, &leases, &workers), Regime::EachLease, "{leases:?}");
            }
        }
    }

    #[test]
    fn an_unmarked_worker_is_gone_when_its_item_stood_still_for_an_hour() {
        let mut leader = Leader::of(Regime::EachLease);
        let (leases, mut java) = (owned_by("a"), worker("java", None));
        leader.sees(0, &leases, &[worker("a", Some(1)), java.clone()]);
        java.last_update_seconds = 30;
        leader.sees(30, &leases, &[worker("a", Some(1)), java.clone()]);
        assert_eq!(leader.sees(3_629, &leases, &[worker("a", Some(1)), java.clone()]), Regime::EachLease);

        leader.sees(3_630, &leases, &[worker("a", Some(1)), java.clone()]);
        assert_eq!(leader.sees(3_640, &leases, &[worker("a", Some(1)), java.clone()]), Regime::Heartbeats);

        java.last_update_seconds = 9_000;
        assert_eq!(leader.sees(3_641, &leases, &[worker("a", Some(1)), java]), Regime::TurningBack, "it is back");
    }

    #[test]
    fn is_back_when_each_lease_was_written_and_a_lease_duration_has_passed() {
        let mut leader = Leader::of(Regime::Heartbeats);
        let workers = [worker("a", Some(1)), worker("java", None)];
        assert_eq!(leader.sees(0, &owned_by("a"), &workers), Regime::TurningBack);
        let written: Vec<Lease> = owned_by("a").into_iter().map(|lease| Lease { counter: 1, ..lease }).collect();

        assert_eq!(leader.sees(9, &written, &workers), Regime::TurningBack);
        assert_eq!(leader.sees(11, &owned_by("a"), &workers), Regime::TurningBack, "one was not written");
        assert_eq!(leader.sees(12, &written, &workers), Regime::EachLease);
    }

    #[test]
    fn a_turn_back_ends_after_two_minutes_in_any_case() {
        let mut leader = Leader::of(Regime::TurningBack);

        assert_eq!(leader.sees(119, &owned_by("a"), &[]), Regime::TurningBack);
        assert_eq!(leader.sees(120, &owned_by("a"), &[]), Regime::EachLease);
    }
}
