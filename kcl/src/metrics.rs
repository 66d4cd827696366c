//! Metrics of a worker and of the fleet's coordination, through the `metrics` facade. [`table`] declares them.

use std::{
    sync::{Mutex, OnceLock},
    time::Duration,
};

use kpl::metric::{Metric, Recording, Registry};
use metrics::{Counter, Gauge, Histogram, Label};

pub use self::table::METRICS;
use self::{calls::Calls, lease_table::TableRecorder, round::Round, shard::ShardRecorder};
use crate::{
    locked::locked,
    model::{Checkpoint, Lease, WorkerId},
};

pub(crate) mod calls;
pub(crate) mod lease_table;
mod round;
pub(crate) mod shard;
mod table;

/// Metrics of one assignment by the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cycle {
    pub(crate) leases: usize,
    pub(crate) workers: usize,
    /// Workers that say that they cannot be given leases.
    pub(crate) failing_workers: usize,
    /// Items that could not be read.
    pub(crate) malformed: usize,
    /// Leases that nobody keeps alive.
    pub(crate) expired: usize,
    /// Expired leases left without a worker.
    pub(crate) spillover: usize,
    pub(crate) moves: usize,
    pub(crate) failed_moves: usize,
}

/// Records what a worker does, with the recorder that is installed when it first does.
#[derive(Debug)]
pub(crate) struct Recorder {
    registry: Registry,
    worker: Label,
    handles: OnceLock<Handles>,
    /// Gauges of a leader, while this worker leads. Locked to set a few gauges.
    lead: Mutex<Option<LeadHandles>>,
    /// Renewals since the last round. Locked to add one, or to end the round.
    round: Mutex<Round>,
}

#[derive(Debug)]
struct Handles {
    behind: Gauge,
    current_leases: Gauge,
    lost_leases: Counter,
    renew_all: Calls,
    renew_lease: Calls,
    new_leases: Counter,
    list_keys: Histogram,
    fetch_leases: Histogram,
    owner_mismatches: Counter,
    lease_errors: Counter,
    discovery: Calls,
    initialized: Histogram,
    reports: Calls,
    is_leader: Gauge,
    audits: Calls,
    syncs: Calls,
    sync_shards: Histogram,
    create_lease: Calls,
    held_bytes: Gauge,
    load: Histogram,
    plan: Histogram,
    writes: Calls,
    assignments: Calls,
    malformed: Counter,
    moves: Counter,
    failed_moves: Counter,
    streams_not_existing: Counter,
    deleted_streams: Counter,
}

#[derive(Debug)]
struct LeadHandles {
    leases: Gauge,
    workers: Gauge,
    failing_workers: Gauge,
    expired: Gauge,
    spillover: Gauge,
    partial_streams: Gauge,
    streams_to_sync: Gauge,
    /// Streams that are read, and those to be deleted, of an application of several streams.
    tracked: Option<[Gauge; 2]>,
}

impl LeadHandles {
    fn new(registry: &Registry) -> Self {
        let gauge = |metric: &Metric| registry.gauge(metric, &[]);
        Self {
            leases: gauge(&table::TOTAL_LEASES),
            workers: gauge(&table::NUM_WORKERS),
            failing_workers: gauge(&table::FAILING_WORKERS),
            expired: gauge(&table::EXPIRED_LEASES),
            spillover: gauge(&table::LEASE_SPILLOVER),
            partial_streams: gauge(&table::PARTIAL_STREAMS),
            streams_to_sync: gauge(&table::STREAMS_TO_SYNC),
            tracked: None,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Gauge> {
        let Self { leases, workers, failing_workers, expired, spillover, .. } = self;
        let Self { partial_streams, streams_to_sync, tracked, .. } = self;
        let of_all = [leases, workers, failing_workers, expired, spillover, partial_streams, streams_to_sync];
        of_all.into_iter().chain(tracked.iter().flatten())
    }
}

impl Handles {
    fn new(registry: &Registry, worker: &Label) -> Self {
        let labels = std::slice::from_ref(worker);
        let counter = |metric: &Metric| registry.counter(metric, labels);
        let gauge = |metric: &Metric| registry.gauge(metric, labels);
        let histogram = |metric: &Metric| registry.histogram(metric, labels);
        let calls = |metrics| Calls::new(registry, metrics, labels);
        Self {
            behind: gauge(&table::APPLICATION_BEHIND),
            current_leases: gauge(&table::CURRENT_LEASES),
            lost_leases: counter(&table::LOST_LEASES),
            renew_all: calls([&table::RENEW_ALL_SUCCESS, &table::RENEW_ALL_TIME]),
            renew_lease: calls([&table::RENEW_LEASE_SUCCESS, &table::RENEW_LEASE_TIME]),
            new_leases: counter(&table::NEW_LEASES_DISCOVERED),
            list_keys: histogram(&table::LIST_KEYS_TIME),
            fetch_leases: histogram(&table::FETCH_LEASES_TIME),
            owner_mismatches: counter(&table::OWNER_MISMATCH),
            lease_errors: counter(&table::GET_LEASE_ERROR),
            discovery: calls([&table::DISCOVER_SUCCESS, &table::DISCOVER_TIME]),
            initialized: histogram(&table::INITIALIZED),
            reports: calls([&table::REPORT_SUCCESS, &table::REPORT_TIME]),
            is_leader: gauge(&table::IS_LEADER),
            audits: calls([&table::AUDIT_SUCCESS, &table::AUDIT_TIME]),
            syncs: calls([&table::SYNC_SUCCESS, &table::SYNC_TIME]),
            sync_shards: histogram(&table::SYNC_SHARDS_SUCCESS),
            create_lease: calls([&table::CREATE_LEASE_SUCCESS, &table::CREATE_LEASE_TIME]),
            held_bytes: gauge(&table::HELD_BYTES),
            load: histogram(&table::LOAD_TIME),
            plan: histogram(&table::PLAN_TIME),
            writes: calls([&table::WRITE_SUCCESS, &table::WRITE_TIME]),
            assignments: calls([&table::ASSIGN_SUCCESS, &table::ASSIGN_TIME]),
            malformed: counter(&table::LEASE_FAULTS),
            moves: counter(&table::REASSIGNMENTS),
            failed_moves: counter(&table::FAILED_ASSIGNMENTS),
            streams_not_existing: counter(&table::STREAMS_NOT_EXISTING),
            deleted_streams: counter(&table::DELETED_STREAMS),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of leases and workers, and bytes")]
impl Recorder {
    pub(crate) fn new(recording: Recording, worker_id: &WorkerId) -> Self {
        let worker = Label::new("WorkerIdentifier", worker_id.as_str().to_owned());
        let (registry, handles) = (Registry::new(recording), OnceLock::new());
        Self { registry, worker, handles, lead: Mutex::default(), round: Mutex::default() }
    }

    /// Gauges of what only a leader knows.
    fn lead(&self, set: impl FnOnce(&mut LeadHandles)) {
        self.handles(); // describes them
        set(locked(&self.lead).get_or_insert_with(|| LeadHandles::new(&self.registry)));
    }

    /// End of this worker's term: another one records the fleet from now on. Recorders that cannot forget a gauge see 0.
    pub(crate) fn term_ended(&self) {
        if let Some(lead) = locked(&self.lead).take() {
            lead.all().for_each(|gauge| gauge.set(0.0));
        }
    }

    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| {
            self.registry.describe(METRICS);
            Handles::new(&self.registry, &self.worker)
        })
    }

    pub(crate) fn shard(&self, lease: &Lease) -> ShardRecorder {
        self.handles(); // describes them
        ShardRecorder::new(&self.registry, lease)
    }

    pub(crate) fn current_leases(&self, leases: usize) {
        self.handles().current_leases.set(leases as f64);
    }

    /// The maximum lag of all shards since the last call.
    pub(crate) fn behind(&self, lag: Duration) {
        self.handles().behind.set(millis(lag));
    }

    pub(crate) fn lease_lost(&self) {
        self.handles().lost_leases.increment(1);
    }

    /// A write that renews a lease, or a heartbeat that renews all, begins.
    pub(crate) fn renewing(&self) -> Renewing<'_> {
        locked(&self.round).begin();
        Renewing { round: &self.round, outcome: None }
    }

    /// A write that renews a lease ended.
    pub(crate) fn renewed(&self, success: bool, took: Duration) {
        self.handles().renew_lease.record(success, took);
    }

    /// A round of renewals ended, which lasted so long.
    pub(crate) fn renewed_all(&self, lasted: Duration) {
        if let Some((success, slowest)) = locked(&self.round).end(lasted) {
            let handles = self.handles();
            handles.renew_all.record(success, slowest);
            handles.lost_leases.increment(0); // a sample of none lost
        }
    }

    /// A look for new leases, which found some, or failed.
    pub(crate) fn looked(&self, found: Option<usize>, took: Duration) {
        let handles = self.handles();
        handles.discovery.record(found.is_some(), took);
        handles.new_leases.increment(found.unwrap_or_default() as u64);
    }

    pub(crate) fn keys_listed(&self, took: Duration) {
        self.handles().list_keys.record(millis(took));
    }

    /// The leases of new keys were read, of which some have another owner, and some could not be read.
    pub(crate) fn leases_fetched(&self, of_others: usize, errors: usize, took: Duration) {
        let handles = self.handles();
        handles.fetch_leases.record(millis(took));
        handles.owner_mismatches.increment(of_others as u64);
        handles.lease_errors.increment(errors as u64);
    }

    pub(crate) fn initialized(&self, success: bool) {
        self.handles().initialized.record(f64::from(u8::from(success)));
    }

    pub(crate) fn reported(&self, success: bool, took: Duration) {
        self.handles().reports.record(success, took);
    }

    pub(crate) fn is_leader(&self, leader: bool) {
        self.handles().is_leader.set(f64::from(u8::from(leader)));
    }

    /// Streams whose leases have a hole, and streams that are to be synced.
    pub(crate) fn audit_begun(&self, holes: usize, syncs: usize) {
        self.lead(|lead| {
            lead.partial_streams.set(holes as f64);
            lead.streams_to_sync.set(syncs as f64);
        });
    }

    pub(crate) fn audited(&self, success: bool, took: Duration) {
        self.handles().audits.record(success, took);
    }

    pub(crate) fn synced(&self, success: bool, took: Duration) {
        let handles = self.handles();
        handles.syncs.record(success, took);
        handles.sync_shards.record(f64::from(u8::from(success)));
    }

    /// A lease was created, or not, at a checkpoint.
    pub(crate) fn lease_created(&self, success: bool, took: Duration, at: &Checkpoint) {
        self.handles().create_lease.record(success, took);
        let by_position = match at {
            Checkpoint::TrimHorizon => &table::CREATE_LEASE_TRIM_HORIZON,
            Checkpoint::Latest => &table::CREATE_LEASE_LATEST,
            Checkpoint::AtTimestamp => &table::CREATE_LEASE_AT_TIMESTAMP,
            _ => return,
        };
        self.registry.histogram(by_position, &[]).record(f64::from(u8::from(success)));
    }

    /// Streams that are read, and streams with leases that are no longer listed.
    pub(crate) fn streams(&self, active: usize, missing: usize) {
        self.lead(|lead| {
            let tracked = [&table::ACTIVE_STREAMS, &table::STREAMS_PENDING_DELETION];
            let gauges = lead.tracked.get_or_insert_with(|| tracked.map(|metric| self.registry.gauge(metric, &[])));
            gauges[0].set(active as f64);
            gauges[1].set(missing as f64);
        });
    }

    /// The leases of a stream were deleted that is no longer listed; `gone`: it does not exist, either.
    pub(crate) fn former_stream_deleted(&self, gone: bool) {
        let handles = self.handles();
        handles.deleted_streams.increment(1);
        handles.streams_not_existing.increment(u64::from(gone));
    }

    /// Bytes that the shards hold of what is read and not finished.
    pub(crate) fn held(&self, bytes: u64) {
        self.handles().held_bytes.set(bytes as f64);
    }

    pub(crate) fn scanned(&self, took: Duration) {
        self.handles().load.record(millis(took));
    }

    pub(crate) fn planned(&self, took: Duration) {
        self.handles().plan.record(millis(took));
    }

    pub(crate) fn assigned(&self, success: bool, took: Duration) {
        self.handles().writes.record(success, took);
    }

    pub(crate) fn cycle(&self, cycle: Option<Cycle>, took: Duration) {
        let handles = self.handles();
        handles.assignments.record(cycle.is_some(), took);
        let Some(cycle) = cycle else { return };
        self.lead(|lead| {
            lead.leases.set(cycle.leases as f64);
            lead.workers.set(cycle.workers as f64);
            lead.failing_workers.set(cycle.failing_workers as f64);
            lead.expired.set(cycle.expired as f64);
            lead.spillover.set(cycle.spillover as f64);
        });
        handles.malformed.increment(cycle.malformed as u64);
        handles.moves.increment(cycle.moves as u64);
        handles.failed_moves.increment(cycle.failed_moves as u64);
    }

    pub(crate) fn of_table(recording: Recording) -> TableRecorder {
        let registry = Registry::new(recording);
        TableRecorder(registry)
    }
}

/// A renewal under way.
#[derive(Debug)]
#[must_use = "the renewal has ended when it is dropped"]
pub(crate) struct Renewing<'a> {
    round: &'a Mutex<Round>,
    outcome: Option<(bool, Duration)>,
}

impl Renewing<'_> {
    pub(crate) fn ended(mut self, success: bool, took: Duration) {
        self.outcome = Some((success, took));
    }
}

impl Drop for Renewing<'_> {
    fn drop(&mut self) {
        locked(self.round).add(self.outcome);
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::{Arc, PoisonError},
    };

    use metrics::{GaugeFn, Key, KeyName, Metadata, SharedString, Unit};

    use super::*;

    /// The gauges that somebody holds, by name, with their values.
    #[derive(Default)]
    struct Gauges(Mutex<HashMap<String, Arc<Value>>>);

    #[derive(Default)]
    struct Value(Mutex<f64>);

    impl GaugeFn for Value {
        fn increment(&self, _: f64) {}

        fn decrement(&self, _: f64) {}

        fn set(&self, value: f64) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }

    impl metrics::Recorder for Gauges {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            let value = Arc::clone(locked(&self.0).entry(key.name().to_owned()).or_default());
            Gauge::from_arc(value)
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn what_only_a_leader_knows_ends_with_its_term() {
        let gauges = Gauges::default();
        let of = |name: &str| {
            let value = Arc::clone(&locked(&gauges.0)[name]);
            // One is the recorder's, one ours.
            let is_held = Arc::strong_count(&value) > 2;
            let value = *locked(&value.0);
            (value, is_held)
        };
        metrics::with_local_recorder(&gauges, || {
            let recorder = Recorder::new(Recording::default(), &"w".into());
            let cycle = Cycle {
                leases: 4,
                workers: 2,
                failing_workers: 0,
                malformed: 0,
                expired: 3,
                spillover: 1,
                moves: 0,
                failed_moves: 0,
            };
            recorder.cycle(Some(cycle), Duration::ZERO);
            recorder.streams(5, 0);
            assert_eq!((of("ExpiredLeases"), of("ActiveStreams.Count")), ((3.0, true), (5.0, true)));

            recorder.term_ended();
            assert_eq!((of("ExpiredLeases"), of("ActiveStreams.Count")), ((0.0, false), (0.0, false)));
            recorder.cycle(Some(cycle), Duration::ZERO);
            assert_eq!(of("ExpiredLeases"), (3.0, true), "it leads again");
        });
    }
}
