//! The settings of a worker.

use std::time::Duration;

use crate::{
    calls::Calls,
    clock::ServiceClock,
    logic::purpose::Purpose,
    model::{
        Assignment, CheckpointEvery, Copies, Deaggregation, LegacyTables, Prefetch, Renewals, Retrieval, WorkerId,
    },
};
use error_policy::ErrorPolicy;
use kpl::{compressed::FrameReader, metric::Recording};
use metrics::Metrics;

pub(crate) mod error_policy;
pub(crate) mod metrics;
#[cfg(feature = "serde")]
pub(crate) mod outside;
pub(crate) mod streams;

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) clock: ServiceClock,
    /// Of this worker alone.
    pub(crate) calls: Calls,
    pub(crate) application: String,
    pub(crate) table: String,
    pub(crate) create_table: bool,
    pub(crate) legacy_tables: LegacyTables,
    /// Time without a sign of life after which an application of KCL 1.x or 2.x is taken over. None: it is refused.
    pub(crate) adopt_after: Option<Duration>,
    pub(crate) worker_id: WorkerId,
    /// The application set it, so that it may be the same after a restart.
    pub(crate) is_worker_id_set: bool,
    pub(crate) metrics: Metrics,
    pub(crate) lease_duration: Duration,
    pub(crate) renewals: Renewals,
    pub(crate) assignment: Assignment,
    pub(crate) assignment_interval: Duration,
    pub(crate) discovery_interval: Duration,
    pub(crate) handoff_timeout: Duration,
    pub(crate) max_leases: usize,
    pub(crate) shutdown_grace: Duration,
    pub(crate) warn_after: Duration,
    pub(crate) retrieval: Retrieval,
    pub(crate) prefetch: Prefetch,
    /// In bytes.
    pub(crate) memory_budget: u64,
    pub(crate) max_batch_records: u32,
    pub(crate) error_policy: ErrorPolicy,
    /// None: only the processor checkpoints.
    pub(crate) checkpoint_every: Option<CheckpointEvery>,
    pub(crate) deaggregation: Deaggregation,
    pub(crate) copies: Copies,
    pub(crate) frames: FrameReader,
    pub(crate) purpose: Purpose,
}

impl Settings {
    /// Settings that the recording of metrics follows.
    pub(crate) fn recording(&self) -> Recording {
        let application = format!("{}{}", self.application, self.purpose.name_suffix());
        self.metrics.recording(&application, self.is_worker_id_set)
    }
}
