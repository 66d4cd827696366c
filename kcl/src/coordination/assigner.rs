//! SHELL: the leader's cycle. Scans the table, gives leases to workers, passes the scan to the
//! [`auditor`](super::auditor). Decided by [`logic::assign`](crate::logic::assign). Only scans before it leads.
//!
//! All its writes are conditional on the owners it saw, so two leaders, should there be two for a moment, do no harm.

use std::{
    collections::HashSet,
    mem::discriminant,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    auditor::{Auditor, Sighting},
    helm::{Helm, Reign},
};
use crate::{
    context::Context,
    error::TableError,
    event::Event,
    locked::locked,
    logic::{
        assign::{
            assignment::{self, Candidate, How, Move, is_orphan},
            fleet_view::FleetView,
            lock_pace::{max_pause_by_beats, stands_for_look},
            reliance::relied_for,
            renewing::{Renewing, Sight},
            unrest::first_expiry,
            utilization,
        },
        lineage::shard_sync::untouched_streams,
        pace::{Pace, TICK},
    },
    metrics::Cycle,
    model::{Assignment, Lease, LeaseKey, Regime, Renewals, StreamId, TableScan, WorkerId, WorkerItem},
    time,
};
use mover::Mover;
use term::Term;

mod mover;
mod term;

/// Pause between two scans, for each lease of the table; bounded below by the assignment interval.
const TIME_PER_LEASE: Duration = Duration::from_millis(1);
/// Pause between two scans while nothing changes: as a part of a lease's life, so that a dead worker is noticed in time,
/// and in any case, so that one that joins or stops is.
const REST_PART: f64 = 0.28;
const MAX_REST: Duration = Duration::from_millis(2_800);
/// Scans within the usual pause between two, at the most, when leases expire one after the other.
const SCANS_AT_EXPIRY: u32 = 4;
/// Pause between two balancings by utilization, so that the workers' metrics can follow.
/// Source: KCL `varianceBalancingFrequency` times `leaseAssignmentIntervalMillis`.
const BALANCE_INTERVAL: Duration = Duration::from_secs(60);
/// Age at which the item of a silent worker is deleted. Source: KCL `staleWorkerMetricsEntryCleanupDuration`.
const STALE_WORKER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct Assigner {
    context: Arc<Context>,
    reign: watch::Receiver<Reign>,
    helm: Arc<Helm>,
    /// Kept from when the leader is suspected to be gone, so that an heir knows which leases expire.
    view: FleetView,
    /// Input of the auditor; None while this worker does not lead.
    sightings: watch::Sender<Option<Arc<Sighting>>>,
    /// Streams that the auditor has found to have all leases that they need.
    complete: watch::Receiver<HashSet<StreamId>>,
    pace: Pace,
    term: Term,
}

impl Assigner {
    pub(crate) fn new(context: Arc<Context>, reign: watch::Receiver<Reign>, helm: Arc<Helm>) -> (Self, Auditor) {
        let ((sightings, observer), (completed, complete)) = (watch::channel(None), watch::channel(HashSet::new()));
        let auditor = Auditor::new(Arc::clone(&context), observer, completed);
        let (view, pace, term) = (FleetView::default(), Pace::default(), Term::default());
        (Self { context, reign, helm, view, sightings, complete, pace, term }, auditor)
    }

    /// Handles: changes of leadership, time for a cycle, a nudge, cancellation.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let reign = *self.reign.borrow_and_update();
            let done = match reign {
                Reign::Follower => {
                    self.view = FleetView::default();
                    self.end_term();
                    Ok(())
                }
                Reign::Heir => self.watch().await,
                Reign::Leader(_) => self.recorded_cycle().await,
            };
            self.context.reported(done);
            let follows = reign == Reign::Follower;
            let interval = self.interval();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(interval), if !follows => {}
                () = self.context.nudges.assign.notified(), if !follows => self.pace.sign(),
                changed = self.reign.wait_for(|now| discriminant(now) != discriminant(&reign)) => {
                    if changed.is_err() {
                        return;
                    }
                    self.pace.sign();
                }
            }
        }
    }

    /// Large tables are scanned less often, but often enough to notice a dead worker in time; a lease that has fallen
    /// silent is looked at when it expires.
    fn interval(&mut self) -> Duration {
        let settings = &self.context.settings;
        let by_size = TIME_PER_LEASE.saturating_mul(u32::try_from(self.view.leases()).unwrap_or(u32::MAX));
        let fast = by_size
            .clamp(settings.assignment_interval, (settings.lease_duration / 3).max(settings.assignment_interval));
        let slow = if self.is_look() {
            max_pause_by_beats(settings.lease_duration)
        } else {
            settings.lease_duration.mul_f64(REST_PART).min(MAX_REST)
        };
        let pause = self.pace.pause(fast, slow, fastrand::f64());
        let until_expiry = |at: Instant| at.saturating_duration_since(time::now()) + TICK;
        self.term.expiry.map_or(pause, |at| pause.min(until_expiry(at).max(fast / SCANS_AT_EXPIRY)))
    }

    fn end_term(&mut self) {
        self.sightings.send_replace(None);
        self.context.metrics.term_ended();
        self.term = Term::default();
        self.announce(false);
    }

    /// Announces whether leases may be given away soon.
    fn announce(&self, alert: bool) {
        self.context.bulletin.send_if_modified(|bulletin| std::mem::replace(&mut bulletin.alert, alert) != alert);
    }

    /// Announces the number of workers.
    fn announce_size(&self, workers: usize) {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        self.context.bulletin.send_if_modified(|bulletin| std::mem::replace(&mut bulletin.workers, workers) != workers);
    }

    /// A scan reads the lock, too: the leader's task need not look at it.
    fn is_look(&self) -> bool {
        stands_for_look(self.helm.regime(), self.view.leases())
    }

    /// Compares the leases that this worker holds with a scan that began then, as its looks at the index would.
    fn note_own_leases(&self, scan: &TableScan, begun: Instant) {
        if !self.context.pulse.may() {
            return;
        }
        let me = Some(&self.context.settings.worker_id);
        let named = || scan.leases.iter().filter(|lease| lease.owner.as_ref() == me);
        let unreadable = scan.malformed.iter().map(|key| LeaseKey::from(key.as_str()));
        let keys: Vec<LeaseKey> = named().map(|lease| lease.key.clone()).chain(unreadable).collect();
        self.context.doubts.compare_keys(&keys);
        let owned = named().filter(|lease| !lease.in_handoff()).map(|lease| lease.key.clone());
        *locked(&self.context.seen.owned) = Some((begun, owned.collect()));
    }

    async fn scan(&self) -> Result<TableScan, TableError> {
        let begun = time::now();
        let is_look = self.is_look() && self.reign.borrow().leads(begun);
        let table = &self.context.table;
        let mut scan = if is_look { table.scan_strongly().await? } else { table.scan().await? };
        if is_look {
            self.helm.sight(scan.lock.clone(), begun);
        }
        let foreign = scan.leases.extract_if(.., |lease| !self.context.catalog.fits(lease));
        scan.malformed.extend(foreign.map(|lease| lease.key.as_str().to_owned()));
        let own_item = scan.workers.iter().find(|worker| worker.id == self.context.settings.worker_id);
        self.context.seen.own_item.send_replace((begun, own_item.cloned()));
        Ok(scan)
    }

    /// Observes the leases' ages before this worker leads.
    async fn watch(&mut self) -> Result<(), TableError> {
        self.end_term();
        self.pace.sign();
        let scan = self.scan().await?;
        self.view.remember(self.helm.silent(), relied_for(self.context.settings.lease_duration));
        self.view.observe(&scan, time::now(), self.context.clock.seconds());
        Ok(())
    }

    async fn recorded_cycle(&mut self) -> Result<(), TableError> {
        let begun = time::now();
        let cycle = self.cycle(begun).await;
        self.context.metrics.cycle(cycle.as_ref().ok().copied(), time::now() - begun);
        cycle.map(|_| ())
    }

    async fn cycle(&mut self, begun: Instant) -> Result<Cycle, TableError> {
        let scan = self.scan().await?;
        self.note_own_leases(&scan, begun);
        self.context.metrics.scanned(time::now() - begun);
        self.report_malformed(&scan);
        let now = time::now();
        self.view.remember(self.helm.silent(), relied_for(self.context.settings.lease_duration));
        self.view.observe(&scan, now, self.context.clock.seconds());
        self.report_vanished_streams(&scan.leases);
        let Term { unowned, vanished, .. } = &mut self.term;
        unowned.observe(&self.context, scan.leases.iter().filter(|lease| may_be_read(lease, vanished)), now);
        let candidates = self.candidates(&scan, now);
        for lease in candidates.iter().filter(|candidate| candidate.expired).map(|candidate| &candidate.lease) {
            lease.actual_owner().into_iter().for_each(|owner| self.view.lapsed(owner));
        }
        let workers = self.view.active_workers(now);
        self.announce_size(workers.len());
        self.decide_renewals(&scan, &workers, now);
        let moves = self.plan(&candidates, &workers, now);
        self.context.metrics.planned(time::now() - now);
        self.note_unrest(&scan, !moves.is_empty(), now);
        let orphans = candidates.iter().filter(|candidate| is_orphan(candidate)).count();
        let assigned = moves.iter().filter(|planned| planned.how != How::HandOff).count();
        let mut cycle = Cycle {
            leases: scan.leases.len(),
            workers: workers.len(),
            failing_workers: scan.workers.iter().filter(|worker| worker.is_failing()).count(),
            malformed: scan.malformed.len(),
            expired: orphans,
            spillover: orphans.saturating_sub(assigned),
            moves: moves.len(),
            failed_moves: 0,
        };
        let stale = self.view.stale_workers(STALE_WORKER_AGE, now, self.context.clock.seconds());
        self.sightings.send_replace(Some(Arc::new(Sighting { at: begun, leases: scan.leases, stale })));
        cycle.failed_moves = self.carry_out(moves).await;
        Ok(cycle)
    }

    /// Looks more often, and has the others look more often, while something moves or is about to.
    fn note_unrest(&mut self, scan: &TableScan, moves: bool, now: Instant) {
        let changed = self.term.unrest.observe(scan);
        let ages = scan.leases.iter().map(|lease| (lease, self.age(lease, now)));
        self.term.expiry = first_expiry(ages, self.context.settings.lease_duration, now);
        if changed || moves || self.term.expiry.is_some() {
            self.pace.sign();
        }
        self.announce(self.term.expiry.is_some());
    }

    /// Decides how the fleet renews leases, and which workers may lead after this one.
    fn decide_renewals(&mut self, scan: &TableScan, active: &[WorkerItem], now: Instant) {
        let Context { settings, table, is_v3, clock, .. } = &*self.context;
        let allowed =
            settings.renewals == Renewals::Automatic && is_v3.load(Ordering::Relaxed) && table.is_only_table();
        let renewing =
            self.term.renewing.get_or_insert_with(|| Renewing::new(self.helm.regime(), settings.lease_duration, now));
        let (view, vanished) = (&self.view, &self.term.vanished);
        let sight = Sight {
            leases: scan.leases.iter().filter(|lease| may_be_read(lease, vanished)).collect(),
            workers: &scan.workers,
            now,
            wall_seconds: clock.seconds(),
            stated: self.helm.stated(),
        };
        let written_since = |lease: &Lease, since| view.is_written_since(&lease.key, since);
        let regime = renewing.decide(&sight, allowed, written_since);
        if self.helm.decide(regime, view.heirs(active, &settings.worker_id)) {
            self.context.events.emit(Event::RenewalsChanged { by_heartbeat: regime == Regime::Heartbeats });
        }
    }

    /// Time since the lease was renewed, as far as this worker saw.
    fn age(&self, lease: &Lease, now: Instant) -> Duration {
        if self.helm.is_by_beats() { self.view.age_by_beats(lease, now) } else { self.view.age(&lease.key, now) }
    }

    fn report_vanished_streams(&mut self, leases: &[Lease]) {
        let vanished = self.context.catalog.vanished_streams(leases);
        for stream in vanished.difference(&self.term.vanished) {
            let error = "the stream of these leases was deleted, or deleted and created again; they are left alone";
            let (stream, error) = (stream.to_string(), error.to_owned());
            self.context.events.emit(Event::StreamUnavailable { stream, error });
        }
        self.term.vanished = vanished;
    }

    fn report_malformed(&mut self, scan: &TableScan) {
        if scan.malformed != self.term.malformed {
            self.term.malformed.clone_from(&scan.malformed);
            if !scan.malformed.is_empty() {
                self.context.events.emit(Event::LeasesMalformed { keys: scan.malformed.clone() });
            }
        }
    }

    fn candidates(&self, scan: &TableScan, now: Instant) -> Vec<Candidate> {
        let settings = &self.context.settings;
        let patience = settings.handoff_timeout + settings.lease_duration;
        let by_beats = self.helm.is_by_beats();
        let candidate = |lease: &Lease| Candidate {
            lease: lease.clone(),
            expired: !lease.is_ended()
                && lease.actual_owner().is_some()
                && (self.age(lease, now) > settings.lease_duration || by_beats && self.view.is_owner_fenced(lease)),
            handoff_overdue: self.view.handoff_age(&lease.key, now).is_some_and(|age| age > patience),
        };
        let incomplete = self.incomplete_streams(&scan.leases);
        let to_give = scan.leases.iter().filter(|lease| {
            !lease.is_ended()
                && may_be_read(lease, &self.term.vanished)
                && !incomplete.contains(&self.context.catalog.id_of(lease))
        });
        to_give.map(candidate).collect()
    }

    /// Streams whose first leases are not known to be all there.
    fn incomplete_streams(&self, leases: &[Lease]) -> HashSet<StreamId> {
        let (catalog, complete) = (&self.context.catalog, self.complete.borrow());
        let mut incomplete = untouched_streams(leases.iter().map(|lease| (catalog.id_of(lease), lease)));
        incomplete.retain(|id| !complete.contains(id) && catalog.lists(id));
        incomplete
    }

    fn plan(&mut self, candidates: &[Candidate], workers: &[WorkerItem], now: Instant) -> Vec<Move> {
        let max_leases = self.context.settings.max_leases;
        match self.context.settings.assignment {
            Assignment::LeaseCount => {
                let ids: Vec<WorkerId> = workers.iter().map(|worker| worker.id.clone()).collect();
                assignment::plan(candidates, &ids, max_leases)
            }
            Assignment::Utilization => {
                let balance = self.term.balanced.is_none_or(|balanced| now - balanced >= BALANCE_INTERVAL);
                if balance {
                    self.term.balanced = Some(now);
                }
                utilization::plan(candidates, workers, max_leases, balance)
            }
        }
    }

    /// Returns the number of failed writes.
    async fn carry_out(&mut self, mut moves: Vec<Move>) -> usize {
        if moves.is_empty() {
            return 0;
        }
        let (planned, begun, by_beats) = (moves.len(), time::now(), self.helm.is_by_beats());
        let mover = Mover { context: &self.context, view: &self.view, reign: &self.reign, by_beats };
        if by_beats {
            let fenced = mover.fence(&mut moves).await;
            for worker_id in self.term.note_fenced(fenced, &self.view) {
                self.context.events.emit(Event::WorkerFenced { worker_id });
            }
        }
        let unfenced = planned - moves.len();
        let failed = unfenced + mover.carry_out(moves).await;
        self.context.metrics.assigned(failed == 0, time::now() - begun);
        failed
    }
}

fn may_be_read(lease: &Lease, vanished: &HashSet<StreamId>) -> bool {
    lease.stream.as_ref().is_none_or(|stream| !vanished.contains(stream))
}
