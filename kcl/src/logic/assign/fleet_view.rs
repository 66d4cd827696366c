//! The leader's memory of leases and workers, from repeated scans of the table. Pure.
//!
//! (A) A lease expires by how long we saw its counter unchanged, never by anybody's clock.
//! (B) A worker is active while we see its item change; only at first sight does the time written in it count, as a hint:
//!     one that has missed a report by then counts from the next on, as it may have died before we led.
//! (C) A worker that let a lease expire counts for nothing until its item changes: it may be dead for long before its item
//!     shows it. Only if all are like this, all are active.
//! (D) Only to forget a worker for good its time and the services' are compared, as no leader may see a whole day.
//! (E) A worker that leaves, or has not yet made sure of its id, or is fenced, is not active.
//! (F) While a fleet lives by heartbeats, or turns back from it, a lease is as old as the last heartbeat of the run that
//!     wrote it last, if that is younger than its last write. One that was given to a worker which is fenced since has
//!     expired: nobody will take it.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::model::{ACTIVE_WINDOW, Lease, LeaseKey, REPORT_INTERVAL, TableScan, WorkerId, WorkerItem};

/// Reports that a worker of this library may miss before it counts as gone.
pub(super) const MISSED_REPORTS: u32 = 3;

/// Owner and checkpoint owner of a lease.
type Owners = (Option<WorkerId>, Option<WorkerId>);

#[derive(Debug)]
struct SeenLease {
    counter: u64,
    changed: Instant,
    /// The handoff going on, and since when we know of it.
    handoff: Option<(Owners, Instant)>,
}

#[derive(Debug)]
struct SeenWorker {
    item: WorkerItem,
    /// First sight of the item in this state.
    seen: Instant,
    changed: Instant,
    /// First sight of its last heartbeat.
    beaten: Instant,
    /// Let a lease expire since then.
    lapsed: bool,
}

/// The leader's memory between scans. Forget it on losing leadership.
#[derive(Debug, Default)]
pub(crate) struct FleetView {
    leases: HashMap<LeaseKey, SeenLease>,
    workers: HashMap<WorkerId, SeenWorker>,
    /// Runs whose item is gone, and since when.
    gone: HashMap<String, Instant>,
    /// The item of the leader before, and since when it has stood still, if this worker knew before it led.
    silent: Option<(WorkerItem, Instant)>,
    /// Maximum time before our first sight for which a lease of that leader counts as unchanged.
    unseen: Duration,
}

impl FleetView {
    /// Takes in what this worker saw of the leader's item before it began to watch the fleet. A worker whose heartbeats
    /// fail writes each lease within `unseen`.
    pub(crate) fn remember(&mut self, silent: Option<(WorkerItem, Instant)>, unseen: Duration) {
        (self.silent, self.unseen) = (silent, unseen);
    }

    /// Takes in a scan made at `now`; `wall_seconds` is the services' time, for workers never seen before.
    pub(crate) fn observe(&mut self, scan: &TableScan, now: Instant, wall_seconds: u64) {
        let present: HashSet<&LeaseKey> = scan.leases.iter().map(|lease| &lease.key).collect();
        self.leases.retain(|key, _| present.contains(key));
        for lease in &scan.leases {
            self.observe_lease(lease, now);
        }
        let present: HashMap<&WorkerId, &WorkerItem> = scan.workers.iter().map(|worker| (&worker.id, worker)).collect();
        for (id, seen) in &self.workers {
            let run = seen.item.instance.as_ref();
            if let Some(run) = run.filter(|_| present.get(id).is_none_or(|item| item.instance != seen.item.instance)) {
                self.gone.insert(run.clone(), now);
            }
        }
        self.workers.retain(|id, _| present.contains_key(id));
        for worker in &scan.workers {
            self.observe_worker(worker, now, wall_seconds);
        }
        let runs: HashSet<&str> = scan.leases.iter().filter_map(|lease| lease.instance.as_deref()).collect();
        self.gone.retain(|run, _| runs.contains(run.as_str()));
    }

    fn observe_lease(&mut self, lease: &Lease, now: Instant) {
        let known = self.silent.as_ref().filter(|(item, _)| {
            lease.actual_owner() == Some(&item.id)
                && item.beat.is_some()
                && item.instance.as_deref() == lease.instance.as_deref()
        });
        let since = known.map_or(now, |(_, since)| (*since).max(now.checked_sub(self.unseen).unwrap_or(now)));
        let seen = self.leases.entry(lease.key.clone()).or_insert(SeenLease {
            counter: lease.counter,
            changed: since,
            handoff: None,
        });
        if seen.counter != lease.counter {
            seen.counter = lease.counter;
            seen.changed = now;
        }
        let pair = (lease.owner.clone(), lease.checkpoint_owner.clone());
        let known = seen.handoff.as_ref().is_some_and(|(known, _)| *known == pair);
        if !lease.in_handoff() {
            seen.handoff = None;
        } else if !known {
            seen.handoff = Some((pair, now));
        }
    }

    fn observe_worker(&mut self, worker: &WorkerItem, now: Instant, wall_seconds: u64) {
        match self.workers.get_mut(&worker.id) {
            Some(seen) if seen.item.is_same_report(worker) => {
                (seen.item.mark, seen.item.drained) = (worker.mark, worker.drained);
            }
            Some(seen) => {
                *seen = SeenWorker { item: worker.clone(), seen: now, changed: now, beaten: now, lapsed: false };
            }
            None => {
                let age = Duration::from_secs(wall_seconds.saturating_sub(worker.last_update_seconds));
                let interval = if worker.instance.is_some() { REPORT_INTERVAL } else { ACTIVE_WINDOW / 2 };
                let age = if age > interval * 3 / 2 { ACTIVE_WINDOW } else { age };
                let changed = now.checked_sub(age).unwrap_or(now);
                let known = self.silent.as_ref().filter(|(item, _)| item.is_same_report(worker));
                let beaten = known.map_or(now, |(_, since)| *since);
                let seen = SeenWorker { item: worker.clone(), seen: now, changed, beaten, lapsed: false };
                self.workers.insert(worker.id.clone(), seen);
            }
        }
    }

    pub(crate) fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Time since the lease's counter changed.
    pub(crate) fn age(&self, key: &LeaseKey, now: Instant) -> Duration {
        self.leases.get(key).map_or(Duration::ZERO, |seen| now.duration_since(seen.changed))
    }

    /// Time since the lease was renewed, where a worker's heartbeat may renew it.
    pub(crate) fn age_by_beats(&self, lease: &Lease, now: Instant) -> Duration {
        let Some(run) = lease.instance.as_deref() else { return self.age(&lease.key, now) };
        let beaten = self.life_of(lease).map(|seen| seen.beaten).or_else(|| self.gone.get(run).copied());
        let age = self.age(&lease.key, now);
        beaten.map_or(age, |beaten| age.min(now.saturating_duration_since(beaten)))
    }

    /// The worker whose heartbeat renews the lease.
    fn life_of(&self, lease: &Lease) -> Option<&SeenWorker> {
        let seen = self.workers.get(lease.actual_owner()?)?;
        (seen.item.beat.is_some()
            && seen.item.instance.is_some()
            && seen.item.instance.as_deref() == lease.instance.as_deref())
        .then_some(seen)
    }

    /// The item of the worker whose heartbeat renews the lease, which must be fenced before the lease is taken.
    pub(crate) fn heart_of(&self, lease: &Lease) -> Option<&WorkerItem> {
        self.life_of(lease).map(|seen| &seen.item)
    }

    /// True if the lease's owner is fenced, and no other run has come under its id since.
    pub(crate) fn is_owner_fenced(&self, lease: &Lease) -> bool {
        lease.actual_owner().and_then(|owner| self.worker(owner)).is_some_and(WorkerItem::is_fenced)
    }

    pub(crate) fn worker(&self, id: &WorkerId) -> Option<&WorkerItem> {
        self.workers.get(id).map(|seen| &seen.item)
    }

    /// True if the lease's counter changed after `since`.
    pub(crate) fn is_written_since(&self, key: &LeaseKey, since: Instant) -> bool {
        self.leases.get(key).is_some_and(|seen| seen.changed > since)
    }

    /// Time since the lease's present handoff began.
    pub(crate) fn handoff_age(&self, key: &LeaseKey, now: Instant) -> Option<Duration> {
        let (_, since) = self.leases.get(key)?.handoff.as_ref()?;
        Some(now.duration_since(*since))
    }

    pub(crate) fn lapsed(&mut self, worker: &WorkerId) {
        if let Some(seen) = self.workers.get_mut(worker) {
            seen.lapsed = true;
        }
    }

    /// Workers that report and are not drained, and have let no lease expire since they did.
    pub(crate) fn active_workers(&self, now: Instant) -> Vec<WorkerItem> {
        let reports = |seen: &&SeenWorker| {
            let window = if seen.item.instance.is_some() { REPORT_INTERVAL * MISSED_REPORTS } else { ACTIVE_WINDOW };
            !seen.item.leaving
                && !seen.item.drained
                && !seen.item.is_fenced()
                && now.duration_since(seen.changed) < window
        };
        let (lapsed, active): (Vec<_>, Vec<_>) = self.workers.values().filter(reports).partition(|seen| seen.lapsed);
        // Somebody has to do the work.
        let active = if active.is_empty() { lapsed } else { active };
        active.into_iter().map(|seen| seen.item.clone()).collect()
    }

    /// Those of the active workers that may lead while heartbeats renew leases, but for `me`: the one that reported last, as
    /// this worker saw it, first.
    pub(crate) fn heirs(&self, active: &[WorkerItem], me: &WorkerId) -> Vec<WorkerId> {
        let mut heirs: Vec<_> = active.iter().filter(|worker| worker.beat.is_some() && worker.id != *me).collect();
        heirs.sort_by_key(|worker| Reverse(self.workers.get(&worker.id).map(|seen| seen.changed)));
        heirs.into_iter().map(|worker| worker.id.clone()).collect()
    }

    /// Workers silent for longer than `age`, by the time written in their items and before our eyes: a clock may be wrong.
    pub(crate) fn stale_workers(&self, age: Duration, now: Instant, wall_seconds: u64) -> Vec<WorkerItem> {
        let stale = |seen: &&SeenWorker| {
            wall_seconds.saturating_sub(seen.item.last_update_seconds) > age.as_secs()
                && now.duration_since(seen.seen) >= ACTIVE_WINDOW
        };
        self.workers.values().filter(stale).map(|seen| seen.item.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Checkpoint;

    fn scan(counter: u64) -> TableScan {
        let lease = Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon);
        TableScan { leases: vec![Lease { owner: Some("w".into()), counter, ..lease }], ..TableScan::default() }
    }

    fn reported_at(seconds: u64, instance: Option<&str>) -> TableScan {
        let worker = WorkerItem {
            last_update_seconds: seconds,
            instance: instance.map(str::to_owned),
            ..WorkerItem::new("w".into())
        };
        TableScan { workers: vec![worker], ..TableScan::default() }
    }

    #[test]
    fn a_leases_age_counts_from_the_last_change_of_its_counter() {
        let (mut view, start, key) =
            (FleetView::default(), crate::tests::some_time(), LeaseKey::from("shardId-000000000000"));
        let second = Duration::from_secs(1);

        view.observe(&scan(1), start, 0);
        view.observe(&scan(1), start + 5 * second, 0);
        assert_eq!(view.age(&key, start + 5 * second), 5 * second);

        view.observe(&scan(2), start + 6 * second, 0);
        assert_eq!(view.age(&key, start + 7 * second), second);
    }

    #[test]
    fn a_worker_whose_clock_is_wrong_is_active_once_its_item_changes() {
        let (mut view, start) = (FleetView::default(), crate::tests::some_time() + 10 * ACTIVE_WINDOW);

        view.observe(&reported_at(1_000, Some("a")), start, 9_000);
        assert!(view.active_workers(start).is_empty());

        view.observe(&reported_at(1_005, Some("a")), start + REPORT_INTERVAL, 9_005);
        assert_eq!(view.active_workers(start + REPORT_INTERVAL).len(), 1);
    }

    #[test]
    fn a_new_leader_counts_no_worker_that_has_missed_a_report_until_the_next() {
        let start = crate::tests::some_time() + 10 * ACTIVE_WINDOW;
        for (instance, interval) in [(Some("a"), 10), (None, 30)] {
            let active = |age: u64| {
                let mut view = FleetView::default();
                view.observe(&reported_at(1_000, instance), start, 1_000 + age);
                !view.active_workers(start).is_empty()
            };
            assert!(active(interval * 3 / 2), "{instance:?}: late, as reports may be");
            assert!(!active(interval * 3 / 2 + 1), "{instance:?}");
        }
    }

    /// A worker with this heartbeat, and a lease that its run `a` wrote last.
    fn beaten(beat: u64, instance: &str) -> TableScan {
        let mut scan = TableScan { leases: scan(1).leases, ..reported_at(1_000, Some(instance)) };
        scan.workers[0].beat = Some(beat);
        scan.leases[0].instance = Some("a".into());
        scan
    }

    #[test]
    fn a_lease_is_as_old_as_the_last_heartbeat_of_the_run_that_wrote_it() {
        let (start, second) = (crate::tests::some_time(), Duration::from_secs(1));
        let age = |second_scan: &TableScan| {
            let mut view = FleetView::default();
            view.observe(&beaten(1, "a"), start, 1_000);
            view.observe(second_scan, start + 5 * second, 1_005);
            let is_fenceable = view.heart_of(&second_scan.leases[0]).is_some();
            (view.age_by_beats(&second_scan.leases[0], start + 6 * second), is_fenceable)
        };

        assert_eq!(age(&beaten(2, "a")), (second, true));
        assert_eq!(age(&beaten(1, "a")), (6 * second, true));
        assert_eq!(age(&beaten(2, "b")), (second, false), "another run has the id since then");
        let gone = TableScan { workers: Vec::new(), ..beaten(2, "a") };
        assert_eq!(age(&gone), (second, false), "its item is gone since then");
        let mut marked = beaten(1, "a");
        marked.workers[0].mark = Some(crate::model::Mark::Fenced);
        assert_eq!(age(&marked), (6 * second, true), "a leader's mark is no heartbeat");
        let mut untaken = beaten(2, "a");
        untaken.leases[0].instance = None;
        assert_eq!(age(&untaken), (6 * second, false), "the run has not written the lease");
        let mut unmarked = beaten(2, "a");
        unmarked.workers[0].beat = None;
        assert!(!age(&unmarked).1, "it renews each lease");
    }

    #[test]
    fn a_new_leader_knows_how_long_its_predecessor_has_been_silent() {
        let (mut view, start, second) = (FleetView::default(), crate::tests::some_time(), Duration::from_secs(1));
        let (scan, now) = (beaten(1, "a"), start + 7 * second);

        view.remember(Some((scan.workers[0].clone(), start)), 5 * second);
        view.observe(&scan, now, 1_000);

        assert_eq!(view.age_by_beats(&scan.leases[0], now), 5 * second, "it may have been written before");
        assert_eq!(view.age_by_beats(&scan.leases[0], now + 4 * second), 9 * second);
        let other = Lease { owner: Some("other".into()), ..scan.leases[0].clone() };
        let mut view = FleetView::default();
        view.remember(Some((scan.workers[0].clone(), start)), 5 * second);
        view.observe(&TableScan { leases: vec![other.clone()], ..scan }, now, 1_000);
        assert_eq!(view.age_by_beats(&other, now), Duration::ZERO, "of a worker never seen");
    }

    #[test]
    fn gives_nothing_to_a_drained_worker_until_it_is_let() {
        let (mut view, start) = (FleetView::default(), crate::tests::some_time());
        let mut scan = reported_at(1_000, Some("a"));
        scan.workers[0].drained = true;

        view.observe(&scan, start, 1_000);
        assert!(view.active_workers(start).is_empty());

        scan.workers[0].drained = false;
        view.observe(&scan, start, 1_000);
        assert_eq!(view.active_workers(start).len(), 1);
    }

    #[test]
    fn counts_a_worker_that_leaves_for_nothing() {
        let (mut view, start) = (FleetView::default(), crate::tests::some_time());
        let mut scan = reported_at(1_000, Some("a"));
        scan.workers[0].leaving = true;

        view.observe(&scan, start, 1_000);

        assert!(view.active_workers(start).is_empty());
    }

    #[test]
    fn a_worker_that_let_a_lease_expire_is_active_again_when_its_item_changes() {
        let (mut view, start, second) = (FleetView::default(), crate::tests::some_time(), Duration::from_secs(1));
        let reported = |w, v| {
            let of = |id: &str, seconds| {
                let worker = reported_at(seconds, Some(id)).workers.remove(0);
                WorkerItem { id: id.into(), ..worker }
            };
            TableScan { workers: vec![of("w", w), of("v", v)], ..TableScan::default() }
        };
        let active = |view: &FleetView, now| {
            let mut ids: Vec<String> = view.active_workers(now).iter().map(|item| item.id.to_string()).collect();
            ids.sort();
            ids.concat()
        };
        view.observe(&reported(1_000, 1_000), start, 1_000);
        assert_eq!(active(&view, start), "vw");

        view.lapsed(&"w".into());
        assert_eq!(active(&view, start), "v");
        view.lapsed(&"v".into());
        assert_eq!(active(&view, start), "vw", "somebody has to do the work");

        view.observe(&reported(1_001, 1_000), start + second, 1_001);
        assert_eq!(active(&view, start + second), "w");
    }

    #[test]
    fn the_heir_is_the_worker_that_reported_last_before_our_eyes_whatever_its_clock_says() {
        let (mut view, start, second) = (FleetView::default(), crate::tests::some_time(), Duration::from_secs(1));
        let item = |id: &str, seconds, beat| {
            let worker = reported_at(seconds, Some(id)).workers.remove(0);
            WorkerItem { id: id.into(), beat, ..worker }
        };
        let workers = |first, second| {
            let rest = [item("me", 1_000, Some(1)), item("unmarked", 9_000, None)];
            TableScan { workers: [first, second].into_iter().chain(rest).collect(), ..TableScan::default() }
        };
        view.observe(&workers(item("ahead", 5_000, Some(1)), item("behind", 1_000, Some(1))), start, 1_000);
        let now = start + second;
        view.observe(&workers(item("ahead", 5_000, Some(1)), item("behind", 1_001, Some(2))), now, 1_001);

        assert_eq!(view.heirs(&view.active_workers(now), &"me".into()), ["behind".into(), "ahead".into()]);
    }

    #[test]
    fn a_worker_is_stale_after_a_day_by_its_item_and_a_minute_of_silence() {
        let (mut view, start) = (FleetView::default(), crate::tests::some_time());
        let day = Duration::from_secs(24 * 60 * 60);
        let stale = |view: &FleetView, now, wall_seconds| view.stale_workers(day, now, wall_seconds).len();
        let (day_later, a_minute_on) = (1_000 + day.as_secs() + 1, start + ACTIVE_WINDOW);

        view.observe(&reported_at(1_000, None), start, day_later);
        assert_eq!(stale(&view, start, day_later), 0, "it may report any moment");
        assert_eq!(stale(&view, a_minute_on, day_later + 60), 1);
        assert_eq!(stale(&view, a_minute_on, day_later - 1), 0);

        view.observe(&reported_at(1_010, None), a_minute_on, day_later + 60);
        assert_eq!(stale(&view, a_minute_on + ACTIVE_WINDOW / 2, day_later + 90), 0, "its clock is wrong");
    }

    #[test]
    fn a_silent_worker_stops_being_active_and_a_java_worker_has_a_minute() {
        let start = crate::tests::some_time();
        let silence = REPORT_INTERVAL * MISSED_REPORTS;
        for (instance, active) in [(Some("a"), 0), (None, 1)] {
            let mut view = FleetView::default();
            view.observe(&reported_at(1_000, instance), start, 1_000);

            assert_eq!(view.active_workers(start).len(), 1);
            assert_eq!(view.active_workers(start + silence).len(), active, "{instance:?}");
        }
    }
}
