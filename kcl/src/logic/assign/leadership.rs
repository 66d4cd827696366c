//! The leader's lock: its protocol. Pure.
//!
//! (A) A lock that was seen unchanged for longer than the duration it carries is stale and may be seized; its age is
//!     measured by our own monotonic clock, never against the writer's.
//! (B) A leader whose last confirmed heartbeat is older than its lock's duration no longer counts itself as leader,
//!     whatever the table says: somebody else may have seized the lock.
//! (C) When a leader of many workers is suspected to be gone, some of them watch the leases, and may seize the lock a moment
//!     before the others.
//! (D) While a fleet lives by heartbeats, or turns back from it, the leader's own heartbeat counts beside its lock, and
//!     [`SILENCE`] of both is enough: the lock carries a long duration then, for those that do not know of heartbeats.

use std::time::{Duration, Instant};

use super::{fleet_view::MISSED_REPORTS, renewing::MAX_TURN};
use crate::model::{Bulletin, LockItem, REPORT_INTERVAL, Regime, WorkerId, WorkerItem};

/// The lock's life as a part of a lease's, so that a new leader is there before leases expire.
const LOCK_PART: f64 = 0.4;
/// Part of a lock's duration without a change after which its owner is suspected to be gone: one heartbeat and a half, of
/// this library's (a quarter of the duration) as of Java's (30 s of 120 s).
const SUSPICION: f64 = 0.375;
/// Part of a lease duration after which a leader that lives by heartbeats is taken for gone: a heartbeat may fail once.
const SILENCE: f64 = 0.6;
/// Part of a lease duration after which it is suspected: heartbeats are a third apart.
const SUSPICIOUS_SILENCE: f64 = 0.4;

/// Expected number of workers that read the whole table when the leader is suspected to be gone. Chance picks them: a
/// thousand that read 100,000 leases once would take what a new table's limit gives in seven minutes.
const WATCHERS: f64 = 16.0;
/// Time in which those alone may seize the lock: as a part of a lease duration. They know which leases expire.
const HEAD_START: f64 = 0.1;

/// Pause between two writes of the lock in a fleet that lives by heartbeats. Java's leaders: 30 s.
const LOCK_INTERVAL: Duration = Duration::from_secs(30);

/// The next step towards the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contention {
    /// Write our lock, on condition that it does not exist (None) or is still the one seen.
    Acquire(Option<LockItem>),
    Wait,
}

/// The lock of another worker.
#[derive(Debug)]
struct Seen {
    lock: LockItem,
    /// Its owner's item, if it was read.
    owner: Option<WorkerItem>,
    /// Both are unchanged since then.
    since: Instant,
    /// Choice of this worker to watch the leases in case it will lead; None while the owner is not suspected.
    watches: Option<bool>,
}

#[derive(Debug)]
pub(crate) struct Leadership {
    me: WorkerId,
    lease_duration: Duration,
    seen: Option<Seen>,
    /// Our lock, and when we began the write that last confirmed it.
    held: Option<(LockItem, Instant)>,
}

impl Leadership {
    pub(crate) fn new(me: WorkerId, lease_duration: Duration) -> Self {
        Self { me, lease_duration, seen: None, held: None }
    }

    /// End of our leadership, unless the lock or a heartbeat, the last of which began at `beat`, is confirmed before.
    pub(crate) fn leading_until(&self, beat: Option<Instant>, now: Instant) -> Option<Instant> {
        let (lock, confirmed) = self.held.as_ref()?;
        let until = match lock.regime {
            Regime::EachLease => *confirmed + lock.duration,
            _ => beat.map_or(*confirmed, |beat| beat.max(*confirmed)) + self.patience(lock),
        };
        (now < until).then_some(until)
    }

    /// Life of a lock of ours. While leases are not renewed singly, that which workers of Java wait for.
    pub(crate) fn duration(&self, regime: Regime) -> Duration {
        match regime {
            Regime::EachLease => self.lease_duration.mul_f64(LOCK_PART),
            Regime::Heartbeats | Regime::TurningBack => MAX_TURN,
        }
    }

    /// Time without a change after which a lock may be seized.
    fn patience(&self, lock: &LockItem) -> Duration {
        if lock.regime == Regime::EachLease { lock.duration } else { self.lease_duration.mul_f64(SILENCE) }
    }

    /// Renewal of leases as the lock had it last.
    pub(crate) fn regime(&self) -> Regime {
        let seen = self.seen.as_ref().map(|seen| seen.lock.regime);
        self.held().map(|lock| lock.regime).or(seen).unwrap_or_default()
    }

    /// The worker that leads, as far as we saw.
    pub(crate) fn leader(&self) -> Option<&WorkerId> {
        self.held().or(self.seen.as_ref().map(|seen| &seen.lock)).map(|lock| &lock.owner)
    }

    /// The item of another leader, and since when it and the lock have stood still.
    pub(crate) fn silent(&self) -> Option<(WorkerItem, Instant)> {
        self.seen.as_ref().and_then(|seen| Some((seen.owner.clone()?, seen.since)))
    }

    /// True if the leader seems to have stopped: it is silent for longer than usual, though not for as long as it may be.
    pub(crate) fn suspects(&self, now: Instant) -> bool {
        let Some(seen) = self.seen.as_ref().filter(|_| self.held.is_none()) else { return false };
        let usual = match seen.lock.regime {
            Regime::EachLease => seen.lock.duration.mul_f64(SUSPICION),
            Regime::Heartbeats | Regime::TurningBack => self.lease_duration.mul_f64(SUSPICIOUS_SILENCE),
        };
        now >= seen.since + usual
    }

    /// True if this worker should watch the leases, as the leader may be gone. `random` is from 0 to 1.
    pub(crate) fn is_heir(&mut self, now: Instant, random: f64) -> bool {
        let is_suspected = self.suspects(now);
        let Some(seen) = self.seen.as_mut().filter(|_| is_suspected) else { return false };
        let workers = seen.lock.bulletin.map_or(0, |bulletin| bulletin.workers);
        *seen.watches.get_or_insert(f64::from(workers) * random < WATCHERS)
    }

    /// Moment until which a foreign lock is respected unless it, or a heartbeat of its owner, changes.
    pub(crate) fn stale_at(&self) -> Option<Instant> {
        let seen = self.seen.as_ref().filter(|_| self.held.is_none())?;
        Some(seen.since + self.patience(&seen.lock))
    }

    /// Our lock, to be confirmed by the next heartbeat.
    pub(crate) fn held(&self) -> Option<&LockItem> {
        self.held.as_ref().map(|(lock, _)| lock)
    }

    /// True if our lock must be written now, to say this; else a look, whether it is still ours, is enough.
    pub(crate) fn is_write_due(&self, regime: Regime, bulletin: Bulletin, now: Instant) -> bool {
        let Some((lock, confirmed)) = &self.held else { return false };
        regime != Regime::Heartbeats
            || lock.regime != regime
            || lock.bulletin != Some(bulletin)
            || now.saturating_duration_since(*confirmed) >= LOCK_INTERVAL
    }

    /// Decides after reading the lock and, if it is known, its owner's item.
    pub(crate) fn consider(&mut self, found: Option<LockItem>, owner: Option<WorkerItem>, now: Instant) -> Contention {
        let Some(found) = found else {
            self.seen = None;
            return Contention::Acquire(None);
        };
        // A lock of our own id that we do not hold is left from an earlier run of this worker, or was passed to us.
        if found.released || found.owner == self.me {
            return Contention::Acquire(Some(found));
        }
        let owner = owner.filter(|item| item.id == found.owner);
        let patience = self.patience(&found);
        match &mut self.seen {
            Some(seen) if seen.lock.version == found.version && is_still(seen.owner.as_ref(), owner.as_ref()) => {
                // At first sight the item may have been written a moment ago.
                if seen.owner.is_none() && owner.is_some() {
                    seen.since = now;
                }
                seen.owner = owner.or(seen.owner.take());
                let others_first = if seen.watches == Some(false) { HEAD_START } else { 0.0 };
                if now > seen.since + patience + self.lease_duration.mul_f64(others_first) {
                    return Contention::Acquire(Some(found));
                }
            }
            _ => self.seen = Some(Seen { lock: found, owner, since: now, watches: None }),
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

    pub(crate) fn lock(&self, version: String, regime: Regime) -> LockItem {
        let duration = self.duration(regime);
        LockItem { owner: self.me.clone(), version, duration, released: false, bulletin: None, regime }
    }
}

/// False if the item shows that its worker wrote in between and may lead. One that was not read shows nothing, and one that
/// leaves leads no more, however long it goes on to write.
fn is_still(before: Option<&WorkerItem>, now: Option<&WorkerItem>) -> bool {
    before.zip(now).is_none_or(|(before, now)| now.leaving || before.is_same_report(now))
}

/// True if the lock may be passed to this worker while leases are not renewed singly.
pub(crate) fn may_inherit(worker: &WorkerItem) -> bool {
    worker.beat.is_some() && !worker.leaving
}

/// The worker to pass the lock to, by one look at all: that which reported last, by the services' time.
pub(crate) fn successor(workers: Vec<WorkerItem>, me: &WorkerId, wall_seconds: u64) -> Option<WorkerId> {
    let is_alive = |worker: &WorkerItem| {
        wall_seconds.saturating_sub(worker.last_update_seconds) < (REPORT_INTERVAL * MISSED_REPORTS).as_secs()
    };
    let others = workers.into_iter().filter(|worker| worker.id != *me && may_inherit(worker) && is_alive(worker));
    others.max_by_key(|worker| worker.last_update_seconds).map(|worker| worker.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(10);

    fn start() -> Instant {
        crate::tests::some_time()
    }

    fn lock(owner: &str, version: &str) -> LockItem {
        let (owner, version, regime) = (owner.into(), version.to_owned(), Regime::EachLease);
        LockItem { owner, version, duration: DURATION, released: false, bulletin: None, regime }
    }

    fn me() -> Leadership {
        Leadership::new("me".into(), DURATION)
    }

    #[test]
    fn a_missing_lock_is_acquired() {
        assert_eq!(me().consider(None, None, start()), Contention::Acquire(None));
    }

    #[test]
    fn a_foreign_lock_that_keeps_changing_is_respected_for_ever() {
        let (mut me, start) = (me(), start());

        for beat in 0..100 {
            let found = lock("other", &beat.to_string());
            assert_eq!(me.consider(Some(found), None, start + DURATION.mul_f32(0.9) * beat), Contention::Wait);
        }
    }

    #[test]
    fn a_foreign_lock_unchanged_for_longer_than_its_own_duration_is_seized() {
        let (mut me, start) = (me(), start());
        let stale = lock("other", "v1");

        assert_eq!(me.consider(Some(stale.clone()), None, start), Contention::Wait);
        assert_eq!(me.consider(Some(stale.clone()), None, start + DURATION), Contention::Wait);
        let late = start + DURATION + Duration::from_millis(1);
        assert_eq!(me.consider(Some(stale.clone()), None, late), Contention::Acquire(Some(stale)));
    }

    #[test]
    fn a_leader_is_suspected_before_its_lock_is_stale() {
        let (mut me, start, silence) = (me(), start(), DURATION.mul_f64(SUSPICION));
        assert!(!me.suspects(start), "nothing was seen yet");

        me.consider(Some(lock("other", "v1")), None, start);
        assert!(!me.suspects(start + silence - Duration::from_millis(1)));
        assert!(me.suspects(start + silence));
        assert_eq!(me.stale_at(), Some(start + DURATION));
        me.consider(Some(lock("other", "v2")), None, start + silence);
        assert!(!me.suspects(start + silence));
    }

    #[test]
    fn of_many_some_watch_the_leases_and_may_lead_a_moment_before_the_others() {
        let late = DURATION + Duration::from_millis(1);
        for (workers, random, watches) in [(0, 0.9, true), (16, 0.9, true), (1_000, 0.015, true), (1_000, 0.017, false)]
        {
            let (mut me, start) = (me(), start());
            let bulletin = Some(Bulletin { workers, ..Bulletin::default() });
            let stale = LockItem { bulletin, ..lock("other", "v1") };
            me.consider(Some(stale.clone()), None, start);
            assert!(!me.is_heir(start, random), "nobody is suspected");
            assert_eq!(me.is_heir(start + DURATION / 2, random), watches, "{workers}");
            assert_eq!(me.is_heir(start + DURATION / 2, 1.0 - random), watches, "chance is asked once");

            let seizes = |at| me.consider(Some(stale.clone()), None, start + at) != Contention::Wait;
            let [first, then] = [late, late + DURATION.mul_f64(HEAD_START)].map(seizes);
            assert!(then && first == watches, "{workers}");
        }
    }

    #[test]
    fn a_java_leader_is_not_suspected_between_its_heartbeats() {
        let (mut me, start) = (me(), start());
        let java = LockItem { duration: Duration::from_secs(120), ..lock("java", "v1") };

        me.consider(Some(java), None, start);

        assert!(!me.suspects(start + Duration::from_secs(31)));
    }

    #[test]
    fn a_released_lock_and_one_of_our_own_earlier_run_are_taken_at_once() {
        let released = LockItem { released: true, ..lock("other", "v1") };
        assert_eq!(me().consider(Some(released.clone()), None, start()), Contention::Acquire(Some(released)));

        let ours = lock("me", "v1");
        assert_eq!(me().consider(Some(ours.clone()), None, start()), Contention::Acquire(Some(ours)));
    }

    /// The item of the worker that leads, with this heartbeat.
    fn leader(beat: u64) -> WorkerItem {
        WorkerItem { instance: Some("run".to_owned()), beat: Some(beat), ..WorkerItem::new("other".into()) }
    }

    #[test]
    fn a_leader_that_lives_by_heartbeats_is_followed_while_its_item_changes() {
        for regime in [Regime::Heartbeats, Regime::TurningBack] {
            let (mut me, start) = (me(), start());
            let stale = LockItem { duration: DURATION * 12, regime, ..lock("other", "v1") };

            for beat in 0..100_u32 {
                let now = start + DURATION.mul_f64(0.5) * beat;
                assert_eq!(me.consider(Some(stale.clone()), Some(leader(beat.into())), now), Contention::Wait);
            }
            let last = start + DURATION.mul_f64(0.5) * 99;
            assert_eq!(me.silent(), Some((leader(99), last)));
            assert_eq!(me.stale_at(), Some(last + DURATION.mul_f64(SILENCE)));
            let unusual = last + DURATION.mul_f64(SUSPICIOUS_SILENCE);
            assert!(!me.suspects(unusual - Duration::from_millis(1)) && me.suspects(unusual));
            let marked = WorkerItem { mark: Some(crate::model::Mark::Look), ..leader(99) };
            let late = last + DURATION.mul_f64(SILENCE);
            assert_eq!(me.consider(Some(stale.clone()), Some(marked.clone()), late), Contention::Wait);
            let late = late + Duration::from_millis(1);
            assert_eq!(me.consider(Some(stale.clone()), Some(marked), late), Contention::Acquire(Some(stale)));
        }
    }

    #[test]
    fn the_lock_is_passed_to_the_marked_worker_that_reported_last_and_stays() {
        let item = |id: &str, at| WorkerItem { id: id.into(), last_update_seconds: at, ..leader(1) };
        let workers = vec![
            item("dead", 70),
            item("earlier", 95),
            item("later", 98),
            WorkerItem { leaving: true, ..item("leaving", 99) },
            WorkerItem { beat: None, ..item("java", 99) },
            item("me", 100),
        ];

        assert_eq!(successor(workers.clone(), &"me".into(), 100), Some("later".into()));
        assert_eq!(successor(vec![workers[0].clone()], &"me".into(), 100), None);
    }

    #[test]
    fn a_leader_that_is_leaving_shows_no_life_by_its_item() {
        let (mut me, start) = (me(), start());
        let lock = LockItem { duration: DURATION * 12, regime: Regime::Heartbeats, ..lock("other", "v1") };
        let leaving = |beat| Some(WorkerItem { leaving: true, ..leader(beat) });
        me.consider(Some(lock.clone()), Some(leader(1)), start);

        assert_eq!(me.consider(Some(lock.clone()), leaving(2), start + DURATION / 2), Contention::Wait);

        let late = start + DURATION.mul_f64(SILENCE) + Duration::from_millis(1);
        assert_eq!(me.consider(Some(lock.clone()), leaving(3), late), Contention::Acquire(Some(lock)));
    }

    #[test]
    fn the_silence_of_a_leader_is_counted_from_the_first_sight_of_its_item() {
        let (mut me, start) = (me(), start());
        let lock = LockItem { duration: DURATION * 12, regime: Regime::Heartbeats, ..lock("other", "v1") };
        me.consider(Some(lock.clone()), None, start);
        let first = start + DURATION / 4;

        assert_eq!(me.consider(Some(lock.clone()), Some(leader(1)), first), Contention::Wait);

        let silence = DURATION.mul_f64(SILENCE);
        assert_eq!(me.stale_at(), Some(first + silence), "it may have beaten just before");
        assert_eq!(me.consider(Some(lock), Some(leader(1)), first + silence), Contention::Wait);
    }

    #[test]
    fn a_leader_that_lives_by_heartbeats_leads_as_long_as_others_wait() {
        let (mut me, start) = (me(), start());
        let held = LockItem { duration: DURATION * 12, regime: Regime::Heartbeats, ..lock("me", "v1") };
        me.confirmed(held, start);

        let (beat, silence) = (start + DURATION, DURATION.mul_f64(SILENCE));
        assert_eq!(me.leading_until(None, start), Some(start + silence));
        assert_eq!(me.leading_until(Some(beat), beat), Some(beat + silence));
        assert_eq!(me.leading_until(Some(beat), beat + silence), None);
    }

    #[test]
    fn a_lock_is_written_each_turn_or_by_heartbeats_when_it_says_something_new_or_each_half_minute() {
        let (start, said, news) = (start(), Bulletin::default(), Bulletin { moves: 1, ..Bulletin::default() });
        let due = |held, regime, bulletin, seconds| {
            let mut me = me();
            me.confirmed(LockItem { regime: held, bulletin: Some(said), ..lock("me", "v1") }, start);
            me.is_write_due(regime, bulletin, start + Duration::from_secs(seconds))
        };
        use Regime::{EachLease, Heartbeats, TurningBack};

        assert!(due(EachLease, EachLease, said, 1) && due(TurningBack, TurningBack, said, 1));
        assert!(!due(Heartbeats, Heartbeats, said, 29) && due(Heartbeats, Heartbeats, said, 30));
        assert!(due(Heartbeats, Heartbeats, news, 1) && due(Heartbeats, TurningBack, said, 1));
        assert!(due(EachLease, Heartbeats, said, 1));
        assert!(!me().is_write_due(EachLease, said, start), "it has none");
    }

    #[test]
    fn a_leader_without_confirmed_heartbeats_demotes_itself() {
        let (mut me, start) = (me(), start());
        me.confirmed(lock("me", "v1"), start);

        let until = start + DURATION;
        assert_eq!(me.leading_until(None, until - Duration::from_millis(1)), Some(until));
        assert_eq!(me.leading_until(None, until), None);
    }
}
