//! The coordination's metrics, through the `metrics` facade: names and dimensions are Java KCL's. See also [`shard`].
//!
//! | Operation | metrics |
//! |---|---|
//! | RenewAllLeases | CurrentLeases (gauge), LostLeases, RenewLease.Success, RenewLease.Time |
//! | LeaseDiscovery | NewLeasesDiscovered |
//! | LeaseAssignmentManager | TotalLeases, NumWorkers, ExpiredLeases, LeaseSpillover (gauges), NumOfLeasesReassignment, FailedAssignmentCount, Success, Time |
//! | Scheduler:Initialize | Initialize.Success |
//! | WorkerMetricStatsReporter | Success, Time |
//! | LeaderDecider | LeaderDecider:IsLeader (gauge) |
//! | PeriodicShardSyncManager | NumStreamsWithPartialLeases, NumStreamsToSync (gauges), Success |
//! | MemoryBudget | HeldBytes (gauge; not of Java KCL's) |
//! | LeaseTable (label `Call`: `GetItem`, `UpdateItem` ...) | ReadUnits, WriteUnits (not Java's) |
//! | MultiStreamTracker | ActiveStreams.Count, StreamsPendingDeletion.Count (gauges), DeletedStreams.Count |
//!
//! Those without "gauge" are counters, or histograms: in milliseconds where the name ends in Time, in DynamoDB's capacity
//! units where it ends in Units, with a value for each request.

use std::time::Duration;

pub(crate) mod shard;

use metrics::{SharedString, counter, gauge, histogram};

use crate::model::TableUsage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cycle {
    pub(crate) leases: usize,
    pub(crate) workers: usize,
    /// Leases that nobody keeps alive.
    pub(crate) expired: usize,
    /// Expired leases left without a worker.
    pub(crate) spillover: usize,
    pub(crate) moves: usize,
    pub(crate) failed_moves: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    worker_id: SharedString,
}

#[expect(clippy::cast_precision_loss, reason = "counts of leases and workers")]
impl Recorder {
    pub(crate) fn new(worker_id: &str) -> Self {
        Self { worker_id: worker_id.to_owned().into() }
    }

    pub(crate) fn current_leases(&self, leases: usize) {
        gauge!("CurrentLeases", "Operation" => "RenewAllLeases", "WorkerIdentifier" => self.worker_id.clone())
            .set(leases as f64);
    }

    pub(crate) fn lease_lost(&self) {
        counter!("LostLeases", "Operation" => "RenewAllLeases", "WorkerIdentifier" => self.worker_id.clone())
            .increment(1);
    }

    pub(crate) fn renewed(&self, success: bool, took: Duration) {
        self.call("RenewAllLeases", ["RenewLease.Success", "RenewLease.Time"], success, took);
    }

    pub(crate) fn discovered(&self, leases: usize) {
        counter!("NewLeasesDiscovered", "Operation" => "LeaseDiscovery", "WorkerIdentifier" => self.worker_id.clone())
            .increment(leases as u64);
    }

    pub(crate) fn initialized(&self, success: bool) {
        counter!("Initialize.Success", "Operation" => "Scheduler:Initialize").increment(u64::from(success));
    }

    pub(crate) fn reported(&self, success: bool, took: Duration) {
        self.call("WorkerMetricStatsReporter", ["Success", "Time"], success, took);
    }

    pub(crate) fn is_leader(&self, leader: bool) {
        gauge!("LeaderDecider:IsLeader", "Operation" => "LeaderDecider", "WorkerIdentifier" => self.worker_id.clone())
            .set(f64::from(u8::from(leader)));
    }

    /// Streams whose leases have a hole, and streams that are being synced.
    pub(crate) fn audited(&self, holes: usize, syncs: usize) {
        const OPERATION: &str = "PeriodicShardSyncManager";
        gauge!("NumStreamsWithPartialLeases", "Operation" => OPERATION).set(holes as f64);
        gauge!("NumStreamsToSync", "Operation" => OPERATION).set(syncs as f64);
    }

    /// Streams that are read, and streams with leases that are no longer listed.
    pub(crate) fn streams(&self, active: usize, missing: usize) {
        const OPERATION: &str = "MultiStreamTracker";
        gauge!("ActiveStreams.Count", "Operation" => OPERATION).set(active as f64);
        gauge!("StreamsPendingDeletion.Count", "Operation" => OPERATION).set(missing as f64);
    }

    /// Bytes that the shards hold of what is read and not finished.
    pub(crate) fn held(&self, bytes: u64) {
        gauge!("HeldBytes", "Operation" => "MemoryBudget", "WorkerIdentifier" => self.worker_id.clone())
            .set(bytes as f64);
    }

    pub(crate) fn former_stream_deleted(&self) {
        counter!("DeletedStreams.Count", "Operation" => "MultiStreamTracker").increment(1);
    }

    pub(crate) fn synced(&self, success: bool) {
        counter!("Success", "Operation" => "PeriodicShardSyncManager").increment(u64::from(success));
    }

    pub(crate) fn cycle(&self, cycle: Cycle, took: Duration) {
        const OPERATION: &str = "LeaseAssignmentManager";
        gauge!("TotalLeases", "Operation" => OPERATION).set(cycle.leases as f64);
        gauge!("NumWorkers", "Operation" => OPERATION).set(cycle.workers as f64);
        gauge!("ExpiredLeases", "Operation" => OPERATION).set(cycle.expired as f64);
        gauge!("LeaseSpillover", "Operation" => OPERATION).set(cycle.spillover as f64);
        counter!("NumOfLeasesReassignment", "Operation" => OPERATION).increment(cycle.moves as u64);
        counter!("FailedAssignmentCount", "Operation" => OPERATION).increment(cycle.failed_moves as u64);
        counter!("Success", "Operation" => OPERATION).increment(1);
        histogram!("Time", "Operation" => OPERATION).record(millis(took));
    }

    fn call(&self, operation: &'static str, [count, time]: [&'static str; 2], success: bool, took: Duration) {
        let labels = [("Operation", operation.into()), ("WorkerIdentifier", self.worker_id.clone())];
        counter!(count, &labels).increment(u64::from(success));
        histogram!(time, &labels).record(millis(took));
    }
}

/// The usage of one request to the lease table.
pub(crate) fn consumed(call: &'static str, usage: TableUsage) {
    const OPERATION: &str = "LeaseTable";
    if usage.write_units > 0.0 {
        histogram!("WriteUnits", "Operation" => OPERATION, "Call" => call).record(usage.write_units);
    } else {
        histogram!("ReadUnits", "Operation" => OPERATION, "Call" => call).record(usage.read_units);
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
