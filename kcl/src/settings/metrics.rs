//! Settings of the metrics.

use kpl::metric::{MetricsLevel, Recording};

/// Settings of a worker's metrics, which [`METRICS`](crate::METRICS) lists.
///
/// Each has the label `Application`, the application's name. `kinesis-cloudwatch` takes it for the namespace.
///
/// ```
/// use kcl::{Metrics, MetricsDimension, MetricsLevel};
///
/// let metrics = Metrics::new()
///     .level(MetricsLevel::Summary)
///     .dimensions([MetricsDimension::Operation, MetricsDimension::ShardId]);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "give it to WorkerBuilder::metrics"]
pub struct Metrics {
    recording: Recording,
    dimensions: Option<Vec<MetricsDimension>>,
}

/// A dimension of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricsDimension {
    /// The operation that is measured: without it, the metrics named `Success` and `Time` of all operations are one.
    Operation,
    /// The shard, of what is measured for each.
    ShardId,
    /// The stream, in applications of several streams.
    StreamId,
    /// The worker's id.
    WorkerIdentifier,
}

impl MetricsDimension {
    pub(crate) const ALL: [Self; 4] = [Self::Operation, Self::ShardId, Self::StreamId, Self::WorkerIdentifier];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "Operation",
            Self::ShardId => "ShardId",
            Self::StreamId => "StreamId",
            Self::WorkerIdentifier => "WorkerIdentifier",
        }
    }
}

impl Metrics {
    /// The defaults: all metrics, under the KCL's names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Metrics that are recorded. Default [`MetricsLevel::Detailed`].
    #[doc(alias = "metricsLevel")]
    pub fn level(mut self, level: MetricsLevel) -> Self {
        self.recording.level = level;
        self
    }

    /// Dimensions that are recorded. Default: all, but `WorkerIdentifier` only if
    /// [`WorkerBuilder::worker_id`](crate::WorkerBuilder::worker_id) is set: a random id makes new series at each start.
    #[doc(alias = "metricsEnabledDimensions")]
    pub fn dimensions(mut self, dimensions: impl IntoIterator<Item = MetricsDimension>) -> Self {
        self.dimensions = Some(dimensions.into_iter().collect());
        self
    }

    /// Adds a label to every metric. Name and value must not be empty. Two workers of one application in one process set the same
    /// gauges unless a label or [`WorkerIdentifier`](MetricsDimension::WorkerIdentifier) tells them apart.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.recording.labels.push((name.into(), value.into()));
        self
    }

    /// Names such as `kcl_millis_behind_latest`, which Prometheus accepts and which no other library uses, in place of the
    /// KCL's `MillisBehindLatest`. `kinesis-cloudwatch` publishes the KCL's names in any case.
    pub fn prefixed(mut self) -> Self {
        self.recording.prefixed = true;
        self
    }

    /// Names with that prefix, or the KCL's.
    #[cfg(feature = "serde")]
    pub(crate) fn with_prefix(mut self, prefixed: bool) -> Self {
        self.recording.prefixed = prefixed;
        self
    }

    #[cfg(feature = "serde")]
    pub(crate) fn is_prefixed(&self) -> bool {
        self.recording.prefixed
    }

    #[cfg(feature = "serde")]
    pub(crate) fn current_level(&self) -> MetricsLevel {
        self.recording.level
    }

    #[cfg(feature = "serde")]
    pub(crate) fn current_dimensions(&self) -> Option<Vec<MetricsDimension>> {
        self.dimensions.clone()
    }

    #[cfg(feature = "serde")]
    pub(crate) fn labels(&self) -> std::collections::BTreeMap<String, String> {
        self.recording.labels.iter().cloned().collect()
    }

    /// The label that is not complete, if any.
    pub(crate) fn invalid_label(&self) -> Option<&(String, String)> {
        self.recording.labels.iter().find(|(name, value)| name.is_empty() || value.is_empty())
    }

    /// Settings that recording follows, in a worker of this application whose id is stable or not.
    pub(crate) fn recording(&self, application: &str, is_stable: bool) -> Recording {
        let mut recording = self.recording.clone();
        recording.labels.insert(0, ("Application".to_owned(), application.to_owned()));
        let is_enabled = |dimension: &MetricsDimension| match &self.dimensions {
            Some(dimensions) => dimensions.contains(dimension),
            None => *dimension != MetricsDimension::WorkerIdentifier || is_stable,
        };
        recording.without =
            MetricsDimension::ALL.iter().filter(|dimension| !is_enabled(dimension)).map(|it| it.as_str()).collect();
        recording
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_worker_id_is_no_dimension_unless_it_is_asked_for() {
        let metrics = Metrics::new();
        assert_eq!(metrics.recording("app", false).without, ["WorkerIdentifier"]);
        assert_eq!(metrics.recording("app", true).without, [""; 0]);
        let asked = Metrics::new().dimensions([MetricsDimension::WorkerIdentifier]);
        assert_eq!(asked.recording("app", false).without, ["Operation", "ShardId", "StreamId"]);
    }

    #[test]
    fn the_application_is_a_label_before_others() {
        let labels = Metrics::new().label("Fleet", "blue").recording("app", true).labels;
        assert_eq!(labels, [("Application", "app"), ("Fleet", "blue")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
