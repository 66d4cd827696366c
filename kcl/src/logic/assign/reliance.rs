//! A worker's reliance on its heartbeat, which renews its leases. Pure.
//!
//! (A) A worker relies on its heartbeat only while a look at the lock, begun less than half a lease duration ago, allowed
//!     it, and its last accepted heartbeat is not older either; else it renews each lease.
//! (B) It relies on it for a lease only once it has written that lease since it may: what happened to the lease before, in
//!     a suspension say, is found out by that write.
//! (C) A worker that was suspended for a lease duration, when its monotonic clock stood still, drops its leases.

use std::time::{Duration, Instant, SystemTime};

use crate::model::{LockItem, Regime, Renewals};

/// A worker's reliance on its heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Reliance {
    /// Since when it may, and how long.
    may: Option<(Instant, Instant)>,
    /// Begin of the last accepted heartbeat, by both clocks.
    beat: Option<(Instant, SystemTime)>,
    /// It began while leases could be renewed by it, and they can since.
    relied: bool,
}

impl Reliance {
    /// A look at the lock that began at `begun` ended at `now`. True: from now on it may.
    pub(crate) fn looked(&mut self, allowed: bool, begun: Instant, now: Instant, lease_duration: Duration) -> bool {
        let before = self.may.filter(|(_, until)| now < *until);
        let relied_until = begun + relied_for(lease_duration);
        // One that took long may have begun before the last.
        self.may =
            allowed.then(|| before.map_or((now, relied_until), |(since, until)| (since, until.max(relied_until))));
        self.relied &= allowed;
        allowed && before.is_none()
    }

    pub(crate) fn beaten(&mut self, begun: Instant, wall: SystemTime) {
        self.beat = Some((begun, wall));
        self.relied = self.may.is_some();
    }

    /// Begin of the last heartbeat that was accepted.
    pub(crate) fn last_beat(&self) -> Option<Instant> {
        self.beat.map(|(begun, _)| begun)
    }

    /// True if the worker should send heartbeats that renew.
    pub(crate) fn may(&self, now: Instant) -> bool {
        self.may.is_some_and(|(_, until)| now < until)
    }

    /// The heartbeat that renews a lease that was written last at `written`.
    pub(crate) fn covers(&self, written: Instant, now: Instant, lease_duration: Duration) -> Option<Instant> {
        let (since, until) = self.may?;
        let (beat, _) = self.beat?;
        (now < until && written >= since && now < beat + relied_for(lease_duration)).then_some(beat)
    }

    /// True if others may have taken the leases meanwhile, as the wall clock shows. Said once: they are dropped then.
    pub(crate) fn forget_if_overslept(&mut self, wall: SystemTime, lease_duration: Duration) -> bool {
        let Some((_, beat)) = self.beat.filter(|_| self.relied) else { return false };
        let overslept = wall.duration_since(beat).is_ok_and(|age| age >= lease_duration);
        if overslept {
            self.forget();
        }
        overslept
    }

    /// True if the last heartbeat is younger than a lease duration by both clocks.
    pub(crate) fn is_current(&self, now: Instant, wall: SystemTime, lease_duration: Duration) -> bool {
        self.beat.is_some_and(|(begun, at)| {
            now < begun + lease_duration && wall.duration_since(at).is_ok_and(|age| age < lease_duration)
        })
    }

    /// Forgets everything: nothing of it is known to hold any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Time that a look at the lock, and a heartbeat, may be relied on from its begin. Where either fails for as long, each
/// lease is written.
pub(crate) fn relied_for(lease_duration: Duration) -> Duration {
    lease_duration / 2
}

/// True if a worker that lives by `renewals` may rely on its heartbeat while this is the lock.
pub(crate) fn may_rely(renewals: Renewals, lock: Option<&LockItem>) -> bool {
    renewals == Renewals::Automatic && lock.is_some_and(|lock| lock.regime == Regime::Heartbeats && !lock.released)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_look_that_began_before_another_takes_nothing_back() {
        let (mut reliance, start) = (Reliance::default(), crate::tests::some_time());
        reliance.looked(true, start + 3 * SECOND, start + 3 * SECOND, LEASE);

        reliance.looked(true, start, start + 4 * SECOND, LEASE);

        assert!(reliance.may(start + 7 * SECOND));
        assert!(!reliance.may(start + 8 * SECOND));
    }

    #[test]
    fn a_suspension_shows_by_the_wall_clock_alone() {
        let (mut reliance, start) = (Reliance::default(), crate::tests::some_time());
        reliance.beaten(start, wall(0));
        assert!(!reliance.forget_if_overslept(wall(100), LEASE), "each lease is renewed");

        reliance.looked(true, start, start, LEASE);
        reliance.beaten(start, wall(0));
        assert!(!reliance.forget_if_overslept(wall(9), LEASE));
        assert!(reliance.forget_if_overslept(wall(10), LEASE));

        assert!(!reliance.forget_if_overslept(wall(10), LEASE), "it has forgotten the heartbeat");
    }

    #[test]
    fn the_report_before_a_turn_is_no_heartbeat_that_was_overslept() {
        let (mut reliance, start) = (Reliance::default(), crate::tests::some_time());
        reliance.beaten(start, wall(0));

        reliance.looked(true, start + 11 * SECOND, start + 11 * SECOND, LEASE);

        assert!(!reliance.forget_if_overslept(wall(11), LEASE), "each lease was renewed until now");
        reliance.beaten(start + 11 * SECOND, wall(11));
        assert!(reliance.forget_if_overslept(wall(21), LEASE));
    }

    #[test]
    fn only_a_lock_that_is_held_and_says_heartbeats_allows_them() {
        let lock = |regime, released| {
            let leadership = crate::logic::assign::leadership::Leadership::new("w".into(), LEASE);
            LockItem { released, ..leadership.lock("v".to_owned(), regime) }
        };
        for (renewals, lock, allowed) in [
            (Renewals::Automatic, Some(lock(Regime::Heartbeats, false)), true),
            (Renewals::EachLease, Some(lock(Regime::Heartbeats, false)), false),
            (Renewals::Automatic, Some(lock(Regime::TurningBack, false)), false),
            (Renewals::Automatic, Some(lock(Regime::EachLease, false)), false),
            (Renewals::Automatic, Some(lock(Regime::Heartbeats, true)), false),
            (Renewals::Automatic, None, false),
        ] {
            assert_eq!(may_rely(renewals, lock.as_ref()), allowed, "{renewals:?} {lock:?}");
        }
    }
}
