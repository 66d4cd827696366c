//! A fleet in its lease table: workers, the leader's lock, the table as a whole, and the tables of older versions.

use std::{collections::BTreeMap, time::Duration};

use kpl::{HashKeyRange, ShardId};

use super::{id::WorkerId, lease::Lease, usage::UsageRate};

/// Time between two writes of a worker's item. Java: 30 s.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Time after its last report in which a Java worker is active. Source: twice KCL `workerMetricsReporterFreqInMillis`.
pub(crate) const ACTIVE_WINDOW: Duration = Duration::from_secs(60);
/// Short name of the CPU metric in the lease table.
pub(crate) const CPU: &str = "C";
/// Written for a window without a sample.
pub(crate) const FAILED: f64 = -1.0;
/// Migration state of a fleet that runs KCL 3.x for good.
pub(crate) const VERSION_3: &str = "CLIENT_VERSION_3X";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    /// Averages of the last windows, the oldest first; [`FAILED`] where no sample could be taken.
    pub(crate) recent: Vec<f64>,
    /// Maximum of a worker in good order.
    pub(crate) limit: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerItem {
    pub(crate) id: WorkerId,
    /// Time of its last report, in seconds since 1970: by the services' time, or a Java worker's own clock.
    pub(crate) last_update_seconds: u64,
    /// Random id of this run of the worker; None for Java workers.
    pub(crate) instance: Option<String>,
    /// Start of this run, by the services' time, in milliseconds since 1970.
    pub(crate) started_at_millis: u64,
    /// It gets no leases: it is leaving, or not sure of its id yet.
    pub(crate) leaving: bool,
    /// It gets no leases, since an operator says so.
    pub(crate) drained: bool,
    /// Number of its last heartbeat, which may renew all its leases; None if it renews each lease in any case.
    pub(crate) beat: Option<u64>,
    /// Mark of a leader, gone with the worker's next write.
    pub(crate) mark: Option<Mark>,
    /// Metrics by short name; empty if the worker measures nothing.
    pub(crate) metrics: BTreeMap<String, Metric>,
    /// Its usage of the lease table; None for Java workers, and until a worker has measured it.
    pub(crate) usage: Option<UsageRate>,
}

/// Renewal of the leases of a fleet, as its leader has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Regime {
    /// Each lease by a write of its own, as in fleets of Java.
    #[default]
    EachLease,
    /// A worker's leases by its heartbeat.
    Heartbeats,
    /// Each lease again, but perhaps not by all workers yet.
    TurningBack,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockItem {
    pub(crate) owner: WorkerId,
    /// Random text, new with each heartbeat.
    pub(crate) version: String,
    /// Time without a change after which others may seize it.
    pub(crate) duration: Duration,
    pub(crate) released: bool,
    /// None if the leader announces nothing: Java's, or one of an earlier version.
    pub(crate) bulletin: Option<Bulletin>,
    /// Renewal of the fleet's leases. An owner that does not say, as Java's, means each lease.
    pub(crate) regime: Regime,
}

/// Announcement of a leader in its lock, so that the others need not look for themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bulletin {
    /// Changes when leases are given to workers.
    pub(crate) moves: u64,
    /// Leases may be given soon: look more often.
    pub(crate) alert: bool,
    /// Number of workers that live; 0 if the leader does not say.
    pub(crate) workers: u32,
}

/// Items that a worker reads together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    pub(crate) lock: Option<LockItem>,
    /// This worker's own.
    pub(crate) worker: Option<WorkerItem>,
    /// The item of the worker that leads, if it was asked for.
    pub(crate) leader: Option<WorkerItem>,
}

impl WorkerItem {
    /// One that has not reported yet, nor marks what it writes.
    pub(crate) fn new(id: WorkerId) -> Self {
        Self {
            id,
            last_update_seconds: 0,
            instance: None,
            started_at_millis: 0,
            leaving: false,
            drained: false,
            beat: None,
            mark: None,
            metrics: BTreeMap::new(),
            usage: None,
        }
    }

    /// True if the worker has not written since it wrote `other`, whatever others noted there.
    pub(crate) fn is_same_report(&self, other: &Self) -> bool {
        let Self {
            id,
            last_update_seconds,
            instance,
            started_at_millis,
            leaving,
            drained: _,
            beat,
            mark: _,
            metrics,
            usage,
        } = self;
        (id, last_update_seconds, instance) == (&other.id, &other.last_update_seconds, &other.instance)
            && (started_at_millis, leaving, beat) == (&other.started_at_millis, &other.leaving, &other.beat)
            && (metrics, usage) == (&other.metrics, &other.usage)
    }

    /// True if it says that it cannot measure its use, by which it also says that it is leaving.
    pub(crate) fn is_failing(&self) -> bool {
        self.leaving || self.metrics.values().any(|metric| metric.recent.last() == Some(&FAILED))
    }

    /// Its use of the CPU in percent, when it last measured one.
    pub(crate) fn cpu_percent(&self) -> Option<f64> {
        self.metrics.get(CPU)?.recent.last().copied().filter(|cpu| *cpu != FAILED)
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.mark == Some(Mark::Fenced)
    }
}

/// A leader's note in a worker's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Its leases are taken away: its next heartbeat is refused.
    Fenced,
    /// Its leases were changed: it should look at them.
    Look,
}

/// Outcome of a heartbeat.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a refused heartbeat means that the leases may be lost"]
pub(crate) enum Beat {
    /// Written; the item as it was before.
    Confirmed(Option<Box<WorkerItem>>),
    /// The item was not as expected and is unchanged; here it is as it stands now, None if it does not exist.
    Refused(Option<Box<WorkerItem>>),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TableScan {
    pub(crate) leases: Vec<Lease>,
    /// The fleet's workers, dead ones included.
    pub(crate) workers: Vec<WorkerItem>,
    /// The leader's lock, where it is in the lease table.
    pub(crate) lock: Option<LockItem>,
    /// Keys of items that claim to be leases and cannot be read.
    pub(crate) malformed: Vec<String>,
}

/// An attribute that a lease lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Addition {
    HashKeyRange(HashKeyRange),
    Children(Vec<ShardId>),
}

/// Names of the tables beside the lease table in which KCL 3.0 to 3.4 keep leader, migration state and workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyTables {
    pub(crate) coordinator_state: String,
    pub(crate) worker_metrics: String,
    /// The fleet leaves these tables.
    pub(crate) migrate: bool,
}

impl LegacyTables {
    pub(crate) fn of(application: &str) -> Self {
        Self {
            coordinator_state: format!("{application}-CoordinatorState"),
            worker_metrics: format!("{application}-WorkerMetricStats"),
            migrate: false,
        }
    }
}
