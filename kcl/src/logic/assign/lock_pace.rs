//! Pauses of the leader's task: between two writes of its lock, or two looks at the lock of another. Pure.
//!
//! (A) While heartbeats renew leases, two looks are at most a quarter of a lease duration apart, but for (C), and one that
//!     failed is tried again after a twentieth: heartbeats may be relied on only while looks succeed.
//! (B) A lock that may become stale is looked at when it does.
//! (C) A leader whose scan has read the lock looks itself only if a third of a lease duration passes without another.

use std::time::{Duration, Instant};

use super::leadership::Leadership;
use crate::{
    logic::pace::{Pace, TICK},
    model::Regime,
};

/// Writes of the lock within its duration, where leases are renewed singly.
const LOCK_WRITES: u32 = 4;
/// Maximum pause between two looks of a worker that does not lead: as a part of a lease's life, and in any case. It bounds
/// how long a leader that stopped or gives leases away is not noticed.
const LOOK_PART: f64 = 0.2;
const MAX_LOOK: Duration = Duration::from_secs(2);
/// Looks at the lock within a lease duration while the fleet lives by heartbeats: everybody must see who seized it.
const LOOKS: u32 = 4;
const MAX_LOOK_BY_BEATS: Duration = Duration::from_millis(2_500);
/// The same of a leader whose scans, as often as others look, cease: long enough for one that is slow.
const LOOKS_BESIDE_SCANS: u32 = 3;

/// Maximum number of leases in a scan that stands for the leader's look at its lock. A look costs two read units; so many
/// leases, of a third of a kilobyte, cost as much more when they are read strongly.
const MAX_LOOKED_THROUGH: usize = 40;

/// Maximum pause between two looks, or scans that stand for them, of a fleet that lives by heartbeats.
pub(crate) fn max_pause_by_beats(lease_duration: Duration) -> Duration {
    (lease_duration / LOOKS).min(MAX_LOOK_BY_BEATS)
}

/// True if the leader's next scan should read the lock, too, strongly, in place of a look. `leases` is the number that the last
/// one found, 0 before the first.
pub(crate) fn stands_for_look(regime: Regime, leases: usize) -> bool {
    regime == Regime::Heartbeats && (1..=MAX_LOOKED_THROUGH).contains(&leases)
}

#[derive(Debug)]
pub(crate) struct LockPace {
    lease_duration: Duration,
    pace: Pace,
}

impl LockPace {
    pub(crate) fn new(lease_duration: Duration) -> Self {
        Self { lease_duration, pace: Pace::default() }
    }

    /// Something changed, or is about to.
    pub(crate) fn sign(&mut self) {
        self.pace.sign();
    }

    /// Moment of the leader's own look, after a scan that began at `begun` has read the lock.
    pub(crate) fn look_after_scan(&self, begun: Instant) -> Instant {
        begun + self.lease_duration / LOOKS_BESIDE_SCANS
    }

    /// Pause after a turn, which failed unless it `is_done`. `random`, from 0 to 1, spreads it over time, so that workers
    /// started together do not contend in step. Short after a failed turn: others wait for announcements, too.
    pub(crate) fn pause(&mut self, leadership: &Leadership, is_done: bool, now: Instant, random: f64) -> Duration {
        let by_beats = leadership.regime() != Regime::EachLease;
        let fast = leadership.duration(Regime::EachLease) / LOCK_WRITES;
        let in_time = self.lease_duration / LOOKS;
        if leadership.held().is_some() {
            let pause = match (by_beats, is_done) {
                (true, true) => in_time,
                (true, false) => fast / 2,
                (false, _) => fast,
            };
            return pause.mul_f64(0.9 + 0.1 * random);
        }
        if leadership.suspects(now) || by_beats && !is_done {
            self.pace.sign();
        }
        let slow = if by_beats {
            max_pause_by_beats(self.lease_duration)
        } else {
            self.lease_duration.mul_f64(LOOK_PART).min(MAX_LOOK)
        };
        let pause = self.pace.pause(fast / 2, slow, random);
        let stale_at = leadership.stale_at().filter(|at| *at > now);
        stale_at.map_or(pause, |at| pause.min(at - now + TICK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LockItem;

    const LEASE: Duration = Duration::from_secs(10);

    /// A lock of this worker, `me`, or of another.
    fn leadership(owner: &str, regime: Regime, now: Instant) -> Leadership {
        let mut leadership = Leadership::new("me".into(), LEASE);
        let lock = LockItem { owner: owner.into(), ..leadership.lock("v".to_owned(), regime) };
        match owner {
            "me" => leadership.confirmed(lock, now),
            _ => drop(leadership.consider(Some(lock), None, now)),
        }
        leadership
    }

    #[test]
    fn a_leader_writes_a_short_lock_often_and_looks_at_a_long_one_in_time() {
        let now = crate::tests::some_time();
        for (regime, is_done, millis) in [
            (Regime::EachLease, true, 1_000),
            (Regime::EachLease, false, 1_000),
            (Regime::Heartbeats, true, 2_500),
            (Regime::Heartbeats, false, 500),
            (Regime::TurningBack, true, 2_500),
        ] {
            let pause = LockPace::new(LEASE).pause(&leadership("me", regime, now), is_done, now, 1.0);
            assert_eq!(pause.as_millis(), millis, "{regime:?} {is_done}");
        }
    }

    #[test]
    fn a_follower_looks_in_time_for_its_heartbeats_and_again_soon_after_a_failure() {
        let now = crate::tests::some_time();
        for (regime, slowest) in [(Regime::EachLease, 2_000), (Regime::Heartbeats, 2_500)] {
            let mut pace = LockPace::new(LEASE);
            let pauses = [(); 9].map(|()| pace.pause(&leadership("other", regime, now), true, now, 0.0).as_millis());
            assert_eq!((pauses[0], pauses[8]), (500, slowest), "{regime:?}");
        }
        let (mut pace, other) = (LockPace::new(LEASE), leadership("other", Regime::Heartbeats, now));
        let pauses = [true, true, true, false, true].map(|is_done| pace.pause(&other, is_done, now, 0.0).as_millis());
        assert_eq!(pauses, [500, 750, 1_125, 500, 750]);
    }

    #[test]
    fn a_scan_stands_for_a_look_while_heartbeats_renew_few_leases() {
        let stands = |leases| stands_for_look(Regime::Heartbeats, leases);
        assert_eq!([0, 1, 40, 41].map(stands), [false, true, true, false]);
        assert!(!stands_for_look(Regime::TurningBack, 4) && !stands_for_look(Regime::EachLease, 4));
    }

    #[test]
    fn a_leader_looks_itself_well_before_it_may_no_longer_rely_on_its_last_scan() {
        let now = crate::tests::some_time();
        let look = LockPace::new(LEASE).look_after_scan(now) - now;
        assert!(look > LEASE / LOOKS && look < crate::logic::assign::reliance::relied_for(LEASE), "{look:?}");
    }

    #[test]
    fn a_follower_looks_when_the_lock_becomes_stale() {
        let (start, mut pace) = (crate::tests::some_time(), LockPace::new(LEASE));
        let other = leadership("other", Regime::EachLease, start);
        let late = other.stale_at().expect("it has seen the lock") - Duration::from_millis(200);

        assert_eq!(pace.pause(&other, true, late, 0.0), Duration::from_millis(200) + TICK);
    }
}
