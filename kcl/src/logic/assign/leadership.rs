//! The leader's lock: its protocol. Pure.
//!
//! (A) A lock that was seen unchanged for longer than the duration it carries is stale and may be seized; its age is
//!     measured by our own monotonic clock, never against the writer's.
//! (B) A leader whose last confirmed heartbeat is older than its lock's duration no longer counts itself as leader,
//!     whatever the table says: somebody else may have seized the lock.

use std::time::{Duration, Instant};

use crate::model::{LockItem, WorkerId};

/// Part of a lock's duration without a change after which its owner is suspected to be gone: one heartbeat and a half, of
/// this library's (a quarter of the duration) as of Java's (30 s of 120 s).
const SUSPICION: f64 = 0.375;

/// The next step towards the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contention {
    /// Write our lock, on condition that it does not exist (None) or is still the one seen.
    Acquire(Option<LockItem>),
    Wait,
}

#[derive(Debug)]
pub(crate) struct Leadership {
    me: WorkerId,
    /// The foreign lock seen last, and since when it is unchanged.
    seen: Option<(LockItem, Instant)>,
    /// Our lock, and when we began the write that last confirmed it.
    held: Option<(LockItem, Instant)>,
}

impl Leadership {
    pub(crate) fn new(me: WorkerId) -> Self {
        Self { me, seen: None, held: None }
    }

    /// End of our leadership, unless a heartbeat is confirmed before.
    pub(crate) fn leading_until(&self, now: Instant) -> Option<Instant> {
        let until = self.held.as_ref().map(|(lock, confirmed)| *confirmed + lock.duration);
        until.filter(|until| now < *until)
    }

    /// True if the leader seems to have stopped: its lock is unchanged for a part of its duration, though not stale yet.
    pub(crate) fn suspects(&self, now: Instant) -> bool {
        let is_silent = |(lock, since): &(LockItem, Instant)| now >= *since + lock.duration.mul_f64(SUSPICION);
        self.held.is_none() && self.seen.as_ref().is_some_and(is_silent)
    }

    /// Moment until which a foreign lock is respected unless it changes.
    pub(crate) fn stale_at(&self) -> Option<Instant> {
        self.seen.as_ref().filter(|_| self.held.is_none()).map(|(lock, since)| *since + lock.duration)
    }

    /// Our lock, to be confirmed by the next heartbeat.
    pub(crate) fn held(&self) -> Option<&LockItem> {
        self.held.as_ref().map(|(lock, _)| lock)
    }

    /// Decides after reading the lock.
    pub(crate) fn consider(&mut self, found: Option<LockItem>, now: Instant) -> Contention {
        let Some(found) = found else {
            self.seen = None;
            return Contention::Acquire(None);
        };
        // A lock of our own id that we do not hold is left from an earlier run of this worker.
        if found.released || found.owner == self.me {
            return Contention::Acquire(Some(found));
        }
        match &self.seen {
            Some((seen, since)) if seen.version == found.version => {
                if now > *since + found.duration {
                    return Contention::Acquire(Some(found));
                }
            }
            _ => self.seen = Some((found, now)),
        }
        Contention::Wait
    }

    /// Our lock was written; the write began at `since`.
    pub(crate) fn confirmed(&mut self, lock: LockItem, since: Instant) {
        self.seen = None;
        self.held = Some((lock, since));
    }

    pub(crate) fn drop_lock(&mut self) {
        self.held = None;
    }

    pub(crate) fn lock(&self, version: String, duration: Duration) -> LockItem {
        LockItem { owner: self.me.clone(), version, duration, released: false, bulletin: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(10);

    fn start() -> Instant {
        crate::tests::some_time()
    }

    fn lock(owner: &str, version: &str) -> LockItem {
        let (owner, version) = (owner.into(), version.to_owned());
        LockItem { owner, version, duration: DURATION, released: false, bulletin: None }
    }

    fn me() -> Leadership {
        Leadership::new("me".into())
    }

    #[test]
    fn a_missing_lock_is_acquired() {
        assert_eq!(me().consider(None, start()), Contention::Acquire(None));
    }

    #[test]
    fn a_foreign_lock_that_keeps_changing_is_respected_for_ever() {
        let (mut me, start) = (me(), start());

        for beat in 0..100 {
            let found = lock("other", &beat.to_string());
            assert_eq!(me.consider(Some(found), start + DURATION.mul_f32(0.9) * beat), Contention::Wait);
        }
    }

    #[test]
    fn a_foreign_lock_unchanged_for_longer_than_its_own_duration_is_seized() {
        let (mut me, start) = (me(), start());
        let stale = lock("other", "v1");

        assert_eq!(me.consider(Some(stale.clone()), start), Contention::Wait);
        assert_eq!(me.consider(Some(stale.clone()), start + DURATION), Contention::Wait);
        let late = start + DURATION + Duration::from_millis(1);
        assert_eq!(me.consider(Some(stale.clone()), late), Contention::Acquire(Some(stale)));
    }

    #[test]
    fn a_leader_is_suspected_before_its_lock_is_stale() {
        let (mut me, start, silence) = (me(), start(), DURATION.mul_f64(SUSPICION));
        assert!(!me.suspects(start), "nothing was seen yet");

        me.consider(Some(lock("other", "v1")), start);
        assert!(!me.suspects(start + silence - Duration::from_millis(1)));
        assert!(me.suspects(start + silence));
        assert_eq!(me.stale_at(), Some(start + DURATION));
        me.consider(Some(lock("other", "v2")), start + silence);
        assert!(!me.suspects(start + silence));
    }

    #[test]
    fn a_java_leader_is_not_suspected_between_its_heartbeats() {
        let (mut me, start) = (me(), start());
        let java = LockItem { duration: Duration::from_secs(120), ..lock("java", "v1") };

        me.consider(Some(java), start);

        assert!(!me.suspects(start + Duration::from_secs(31)));
    }

    #[test]
    fn a_released_lock_and_one_of_our_own_earlier_run_are_taken_at_once() {
        let released = LockItem { released: true, ..lock("other", "v1") };
        assert_eq!(me().consider(Some(released.clone()), start()), Contention::Acquire(Some(released)));

        let ours = lock("me", "v1");
        assert_eq!(me().consider(Some(ours.clone()), start()), Contention::Acquire(Some(ours)));
    }

    #[test]
    fn a_leader_without_confirmed_heartbeats_demotes_itself() {
        let (mut me, start) = (me(), start());
        me.confirmed(lock("me", "v1"), start);

        let until = start + DURATION;
        assert_eq!(me.leading_until(until - Duration::from_millis(1)), Some(until));
        assert_eq!(me.leading_until(until), None);
    }
}
