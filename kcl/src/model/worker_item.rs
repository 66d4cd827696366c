//! A worker's item in the lease table.

use std::{collections::BTreeMap, time::Duration};

use super::lease::WorkerId;

/// Time between two writes of a worker's item. Java: 30 s.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Time after its last report in which a Java worker is active. Source: twice KCL `workerMetricsReporterFreqInMillis`.
pub(crate) const ACTIVE_WINDOW: Duration = Duration::from_secs(60);

/// Short name of the CPU metric in the lease table.
pub(crate) const CPU: &str = "C";

/// Written for a window without a sample.
pub(crate) const FAILED: f64 = -1.0;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    /// Averages of the last windows, the oldest first; -1 where no sample could be taken.
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
    /// Metrics by short name; empty if the worker measures nothing.
    pub(crate) metrics: BTreeMap<String, Metric>,
}
