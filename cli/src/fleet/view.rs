//! A fleet as it is shown: what its tables say, with ages. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use kcl::{Checkpoint, FleetStatus, LeaseStatus, StreamId, WorkerStatus};
use serde::Serialize;

use super::lag::Lag;

/// Time since its report after which a worker counts as dead. Source: twice KCL `workerMetricsReporterFreqInMillis`.
const STALE: Duration = Duration::from_secs(60);

/// Place in which a fleet keeps leader and workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    /// KCL 3.5, or this repository's.
    OneTable,
    /// KCL 3.0 to 3.4.
    ThreeTables,
    /// KCL 2.x or 1.x: leases alone.
    LeasesAlone,
}

/// A fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FleetView {
    pub(crate) application: String,
    pub(crate) layout: Layout,
    pub(crate) leader: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) stream: Option<String>,
    pub(crate) by_heartbeat: bool,
    pub(crate) workers: Vec<WorkerView>,
    pub(crate) leases: Vec<LeaseView>,
    pub(crate) unreadable: Vec<String>,
    /// Units and requests an hour.
    pub(crate) usage: Option<Usage>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkerView {
    pub(crate) id: String,
    /// Since its last report; None: it owns leases and does not report, as in KCL 2.x.
    pub(crate) age_seconds: Option<u64>,
    pub(crate) is_stale: bool,
    pub(crate) is_leaving: bool,
    /// It gets no leases, since `kds drain` says so.
    pub(crate) is_drained: bool,
    pub(crate) leases: usize,
    pub(crate) cpu_percent: Option<f64>,
    /// `rust`, or `java` for that and all languages that its daemon runs; None: unknown.
    pub(crate) language: Option<&'static str>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaseView {
    pub(crate) key: String,
    /// In applications of several streams.
    pub(crate) stream: Option<String>,
    #[serde(skip)]
    pub(crate) stream_id: Option<StreamId>,
    pub(crate) shard_id: String,
    pub(crate) owner: Option<String>,
    pub(crate) next_owner: Option<String>,
    pub(crate) checkpoint: String,
    #[serde(skip)]
    pub(crate) position: Checkpoint,
    pub(crate) pending_checkpoint: Option<String>,
    pub(crate) counter: u64,
    pub(crate) throughput_kib_per_second: Option<f64>,
    pub(crate) parents: Vec<String>,
    pub(crate) children: Vec<String>,
    #[serde(skip)]
    pub(crate) range: Option<kcl::HashKeyRange>,
    #[serde(flatten)]
    pub(crate) lag: Option<Lag>,
}

#[cfg(test)]
impl LeaseView {
    /// For tests: a lease of the application's only stream that has no checkpoint yet.
    pub(crate) fn unprocessed(shard: &str, owner: Option<&str>) -> Self {
        Self {
            key: shard.into(),
            stream: None,
            stream_id: None,
            shard_id: shard.into(),
            owner: owner.map(str::to_owned),
            next_owner: None,
            checkpoint: "TRIM_HORIZON".into(),
            position: Checkpoint::TrimHorizon,
            pending_checkpoint: None,
            counter: 1,
            throughput_kib_per_second: None,
            parents: Vec::new(),
            children: Vec::new(),
            range: None,
            lag: None,
        }
    }
}

/// Use of the tables in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
    pub(crate) dollars: f64,
    /// False: counted by the workers themselves.
    pub(crate) is_estimate: bool,
}

/// Price of a unit of an on-demand table in us-east-1, in dollars. Source: <https://aws.amazon.com/dynamodb/pricing/on-demand/>
const READ_UNIT: f64 = 0.125 / 1e6;
const WRITE_UNIT: f64 = 0.625 / 1e6;

impl LeaseView {
    pub(crate) fn is_ended(&self) -> bool {
        self.position == Checkpoint::ShardEnd
    }

    /// The shard with its stream, if the application has several.
    pub(crate) fn name(&self) -> String {
        match &self.stream {
            Some(stream) => format!("{stream}:{}", self.shard_id),
            None => self.shard_id.clone(),
        }
    }
}

impl WorkerView {
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_stale
    }
}

impl FleetView {
    /// `now` is the services' time.
    pub(crate) fn new(application: &str, status: FleetStatus, now: SystemTime) -> Self {
        let is_bare = status.leader.is_none() && status.workers.is_empty() && status.version.is_none();
        let layout = match (status.in_one_table, is_bare) {
            (false, _) => Layout::ThreeTables,
            (true, true) => Layout::LeasesAlone,
            (true, false) => Layout::OneTable,
        };
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let leases: Vec<LeaseView> = status.leases.iter().map(lease).collect();
        let mut workers: Vec<WorkerView> = status.workers.iter().map(|worker| reporting(worker, seconds)).collect();
        workers.extend(silent(&workers, &leases));
        let mut view = Self {
            application: application.to_owned(),
            layout,
            leader: status.leader.as_ref().map(ToString::to_string),
            version: status.version.clone(),
            stream: status.stream_arn.clone(),
            by_heartbeat: status.by_heartbeat,
            workers,
            leases,
            unreadable: status.unreadable.clone(),
            usage: None,
        };
        view.usage = Some(view.usage(status.usage().map(|rate| (rate.read_units * 60.0, rate.write_units * 60.0))));
        view
    }

    pub(crate) fn worker(&self, id: &str) -> Option<&WorkerView> {
        self.workers.iter().find(|worker| worker.id == id)
    }

    pub(crate) fn alive(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_alive()).count()
    }

    /// Rates that the workers report, or Java's defaults: a renewal of each lease in 3.308 s, a report of each worker in 30 s, a scan
    /// by the leader in 20 s, of a quarter of a unit for each lease.
    fn usage(&self, reported: Option<(f64, f64)>) -> Usage {
        let (leases, workers) = (self.leases.len() as f64, self.workers.len() as f64);
        let estimated = (leases / 4.0 * 180.0 * 0.5 + workers * 480.0, leases * 3_600.0 / 3.308 + workers * 120.0);
        let (read_units, write_units) = reported.unwrap_or(estimated);
        let dollars = read_units * READ_UNIT + write_units * WRITE_UNIT;
        Usage { read_units, write_units, dollars, is_estimate: reported.is_none() }
    }
}

fn lease(lease: &LeaseStatus) -> LeaseView {
    LeaseView {
        key: lease.key.clone(),
        stream: lease.stream_id.as_ref().map(|stream| stream.name().to_owned()),
        stream_id: lease.stream_id.clone(),
        shard_id: lease.shard_id.to_string(),
        owner: lease.owner.as_ref().map(ToString::to_string),
        next_owner: lease.next_owner.as_ref().map(ToString::to_string),
        checkpoint: lease.checkpoint.to_string(),
        position: lease.checkpoint.clone(),
        pending_checkpoint: lease.pending.as_ref().map(|pending| pending.checkpoint.to_string()),
        counter: lease.counter,
        throughput_kib_per_second: lease.throughput_kbps,
        parents: lease.parents.iter().map(ToString::to_string).collect(),
        children: lease.children.iter().map(ToString::to_string).collect(),
        range: lease.hash_key_range,
        lag: None,
    }
}

fn reporting(worker: &WorkerStatus, now_seconds: u64) -> WorkerView {
    let age = now_seconds.saturating_sub(worker.last_report_seconds);
    WorkerView {
        id: worker.id.to_string(),
        age_seconds: Some(age),
        is_stale: age > STALE.as_secs(),
        is_leaving: worker.leaving,
        is_drained: worker.drained,
        leases: worker.leases,
        cpu_percent: worker.cpu_percent,
        language: Some(if worker.instance.is_some() { "rust" } else { "java" }),
    }
}

/// Owners that do not report: their number of leases is all that is known. They count as alive, since that cannot be seen.
fn silent(reporting: &[WorkerView], leases: &[LeaseView]) -> Vec<WorkerView> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for lease in leases.iter().filter(|lease| !lease.is_ended()) {
        if let Some(owner) = lease.owner.as_deref().filter(|owner| !reporting.iter().any(|it| it.id == *owner)) {
            *counts.entry(owner).or_default() += 1;
        }
    }
    let worker = |(id, leases): (&str, usize)| WorkerView {
        id: id.to_owned(),
        age_seconds: None,
        is_stale: !reporting.is_empty(),
        is_leaving: false,
        is_drained: false,
        leases,
        cpu_percent: None,
        language: None,
    };
    counts.into_iter().map(worker).collect()
}
