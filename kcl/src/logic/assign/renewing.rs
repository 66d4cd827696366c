//! The leader's decision how its fleet renews leases: each by a write, or all of a worker by its heartbeat. Pure.
//!
//! (A) A fleet lives by heartbeats only while every lease's owner and every worker is marked, for a lease duration at
//!     least; an unmarked worker counts until its item has stood still for an hour and it has no lease. Then an owner whose
//!     item is gone is waited for, a lease duration long. Leases of ended shards count for nothing, as nobody renews them.
//! (B) It is back at single renewals when each lease was written since the lock said so, a lease duration later at the
//!     earliest.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::model::{Lease, Regime, Renewals, WorkerId, WorkerItem};

/// Time in which the item of a live worker of any kind changes many times. Java's: 30 s.
const GONE: Duration = Duration::from_secs(60 * 60);
/// Maximum time of a turn back: after it the lock is no longer held on to.
pub(crate) const MAX_TURN: Duration = Duration::from_secs(120);

/// Renewal of leases under a new leader that lives by `renewals`, after a lock that said `before`; None if there was none.
pub(crate) fn inherited(before: Option<Regime>, renewals: Renewals) -> Regime {
    match before.unwrap_or_default() {
        Regime::EachLease if renewals == Renewals::EachLease => Regime::EachLease,
        Regime::Heartbeats if renewals == Renewals::Automatic => Regime::Heartbeats,
        // Perhaps a leader before lived by heartbeats, and somebody else led since.
        _ => Regime::TurningBack,
    }
}

/// A fleet as its leader sees it, to decide how it renews leases.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    /// Leases of streams that are there.
    pub(crate) leases: Vec<&'a Lease>,
    pub(crate) workers: &'a [WorkerItem],
    pub(crate) now: Instant,
    /// The services' time, for workers never seen before.
    pub(crate) wall_seconds: u64,
    /// Renewal of leases as the lock has it since then, by this leader's confirmed writes.
    pub(crate) stated: Option<(Regime, Instant)>,
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
    /// Owners of leases without an item, and since when.
    missing: HashMap<WorkerId, Instant>,
}

impl Renewing {
    /// As a leader finds it in the lock.
    pub(crate) fn new(regime: Regime, lease_duration: Duration, now: Instant) -> Self {
        let (unmarked, missing) = (HashMap::new(), HashMap::new());
        Self { lease_duration, regime, since: now, fit_since: None, unmarked, missing }
    }

    /// Decides after a scan. `written_since` tells whether a lease was written since a time, as far as the leader saw.
    pub(crate) fn decide(
        &mut self,
        sight: &Sight<'_>,
        allowed: bool,
        written_since: impl Fn(&Lease, Instant) -> bool,
    ) -> Regime {
        let now = sight.now;
        let fit = self.are_marked(sight) && allowed;
        self.fit_since = fit.then(|| self.fit_since.unwrap_or(now));
        let is_fit_for_long = self.fit_since.is_some_and(|since| now - since >= self.lease_duration);
        match self.regime {
            Regime::EachLease if is_fit_for_long => self.turn(Regime::Heartbeats, now),
            Regime::Heartbeats if !fit => self.turn(Regime::TurningBack, now),
            Regime::TurningBack if self.has_turned_back(sight, written_since) => self.turn(Regime::EachLease, now),
            _ => {}
        }
        self.regime
    }

    /// Counts from the write of the lock: until it says so, workers rely on heartbeats, however long ago that was decided.
    fn has_turned_back(&self, sight: &Sight<'_>, written_since: impl Fn(&Lease, Instant) -> bool) -> bool {
        let stated = sight.stated.filter(|(regime, _)| *regime == Regime::TurningBack);
        let Some(since) = stated.map(|(_, since)| since.max(self.since)) else { return false };
        let in_turn = sight.now.saturating_duration_since(since);
        let mut owned = sight.leases.iter().filter(|lease| !lease.is_ended() && lease.actual_owner().is_some());
        in_turn >= MAX_TURN || in_turn >= self.lease_duration && owned.all(|lease| written_since(lease, since))
    }

    fn turn(&mut self, regime: Regime, now: Instant) {
        (self.regime, self.since) = (regime, now);
        self.fit_since = None;
    }

    fn are_marked(&mut self, sight: &Sight<'_>) -> bool {
        self.observe_unmarked(sight);
        let leases = sight.leases.iter().filter(|lease| !lease.is_ended());
        let owners: HashSet<&WorkerId> =
            leases.flat_map(|lease| [&lease.owner, &lease.checkpoint_owner]).flatten().collect();
        self.observe_missing(sight, &owners);
        // One that stops deletes its item, and a leader that has not seen it may still give it a lease.
        let patience = if self.regime == Regime::Heartbeats { self.lease_duration } else { Duration::ZERO };
        !owners.iter().any(|owner| self.unmarked.contains_key(*owner))
            && self.missing.values().all(|since| sight.now - *since < patience)
            && self.unmarked.values().all(|(_, since)| sight.now - *since >= GONE)
    }

    fn observe_unmarked(&mut self, sight: &Sight<'_>) {
        let (workers, now) = (sight.workers, sight.now);
        self.unmarked.retain(|id, _| workers.iter().any(|worker| worker.id == *id && worker.beat.is_none()));
        for worker in workers.iter().filter(|worker| worker.beat.is_none()) {
            let at_first_sight = || {
                let age = Duration::from_secs(sight.wall_seconds.saturating_sub(worker.last_update_seconds));
                (worker.clone(), now.checked_sub(age).unwrap_or(now))
            };
            let known = self.unmarked.entry(worker.id.clone()).or_insert_with(at_first_sight);
            if !known.0.is_same_report(worker) {
                *known = (worker.clone(), now);
            }
        }
    }

    fn observe_missing(&mut self, sight: &Sight<'_>, owners: &HashSet<&WorkerId>) {
        let there: HashSet<&WorkerId> = sight.workers.iter().map(|worker| &worker.id).collect();
        self.missing.retain(|id, _| owners.contains(id) && !there.contains(id));
        for owner in owners.difference(&there) {
            self.missing.entry((*owner).clone()).or_insert(sight.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Checkpoint;

    const LEASE: Duration = Duration::from_secs(10);

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
        WorkerItem { instance: Some(id.to_owned()), beat, ..WorkerItem::new(id.into()) }
    }

    fn owned_by(owner: &str) -> Vec<Lease> {
        let lease = Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon);
        vec![Lease { owner: Some(owner.into()), ..lease }]
    }

    struct Leader {
        renewing: Renewing,
        start: Instant,
        /// The lock, as a leader writes it after each decision.
        stated: (Regime, Instant),
        /// The writes of the lock fail.
        is_mute: bool,
    }

    impl Leader {
        fn of(regime: Regime) -> Self {
            let start = crate::tests::some_time();
            Self { renewing: Renewing::new(regime, LEASE, start), start, stated: (regime, start), is_mute: false }
        }

        fn sees(&mut self, seconds: u64, leases: &[Lease], workers: &[WorkerItem]) -> Regime {
            let now = self.start + Duration::from_secs(seconds);
            let (leases, stated) = (leases.iter().collect(), Some(self.stated));
            let sight = Sight { leases, workers, now, wall_seconds: seconds, stated };
            let decided = self.renewing.decide(&sight, true, |lease, _| lease.counter > 0);
            if decided != self.stated.0 && !self.is_mute {
                self.stated = (decided, now);
            }
            decided
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

    #[test]
    fn an_unmarked_worker_that_died_long_ago_is_gone_for_a_new_leader_too() {
        let dead = worker("java", None);
        let workers = [worker("a", Some(1)), dead];
        for regime in [Regime::Heartbeats, Regime::EachLease] {
            let mut leader = Leader::of(regime);
            leader.sees(7_200, &owned_by("a"), &workers);
            assert_eq!(leader.sees(7_210, &owned_by("a"), &workers), Regime::Heartbeats, "from {regime:?}");
        }
        let mut leader = Leader::of(Regime::Heartbeats);
        assert_eq!(leader.sees(3_599, &owned_by("a"), &workers), Regime::TurningBack, "it may live");
    }

    #[test]
    fn an_ended_lease_whose_owner_died_is_left_out() {
        let ended = |owner: &str| {
            let lease = Lease { checkpoint: Checkpoint::ShardEnd, ..owned_by(owner).remove(0) };
            [owned_by("a"), vec![lease]].concat()
        };
        let workers = [worker("a", Some(1))];
        let mut leader = Leader::of(Regime::EachLease);
        leader.sees(0, &ended("dead"), &workers);
        assert_eq!(leader.sees(10, &ended("dead"), &workers), Regime::Heartbeats);
        assert_eq!(leader.sees(60, &ended("dead"), &workers), Regime::Heartbeats);

        let mut leader = Leader::of(Regime::TurningBack);
        let mut leases = ended("dead");
        leases[0].counter = 1;
        assert_eq!(leader.sees(11, &leases, &workers), Regime::EachLease, "nobody writes it any more");
    }

    #[test]
    fn an_owner_without_an_item_is_waited_for_for_a_lease_duration_while_on() {
        let mut leader = Leader::of(Regime::Heartbeats);
        let workers = [worker("a", Some(1))];
        assert_eq!(leader.sees(0, &owned_by("stopped"), &workers), Regime::Heartbeats);
        assert_eq!(leader.sees(9, &owned_by("stopped"), &workers), Regime::Heartbeats);
        assert_eq!(leader.sees(9, &owned_by("a"), &workers), Regime::Heartbeats, "its lease was given to another");
        assert_eq!(leader.sees(11, &owned_by("stopped"), &workers), Regime::Heartbeats);
        assert_eq!(leader.sees(21, &owned_by("stopped"), &workers), Regime::TurningBack);

        let mut leader = Leader::of(Regime::Heartbeats);
        let java = [worker("a", Some(1)), worker("java", None)];
        assert_eq!(leader.sees(0, &owned_by("java"), &java), Regime::TurningBack, "at once");
    }

    #[test]
    fn a_turn_back_is_timed_from_the_lock_that_says_so() {
        let written = vec![Lease { counter: 1, ..owned_by("a").remove(0) }];
        let workers = [worker("a", Some(1)), worker("java", None)];
        let mut leader = Leader { is_mute: true, ..Leader::of(Regime::Heartbeats) };
        for seconds in [0, 11, 121, 200] {
            assert_eq!(leader.sees(seconds, &written, &workers), Regime::TurningBack, "workers rely on heartbeats");
        }

        leader.is_mute = false;
        assert_eq!(leader.sees(201, &written, &workers), Regime::TurningBack);
        assert_eq!(leader.sees(210, &written, &workers), Regime::TurningBack);
        assert_eq!(leader.sees(211, &written, &workers), Regime::EachLease);
    }
}
