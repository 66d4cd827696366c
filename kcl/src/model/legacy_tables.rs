//! The tables of KCL 3.0 to 3.4.

/// Names of the tables beside the lease table in which KCL 3.0 to 3.4 keep leader, migration state and workers; whether
/// the fleet is to leave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyTables {
    pub(crate) coordinator_state: String,
    pub(crate) worker_metrics: String,
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
