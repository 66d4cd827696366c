//! Settings of the metrics.

use crate::metric::{MetricsLevel, Recording};

/// Maximum characters of a label's name and of its value. Source: KPL `AdditionalMetricsDimension`.
const MAX_LABEL_CHARS: usize = 255;

/// Settings of a producer's [metrics](crate#metrics).
///
/// ```
/// use kpl::{Metrics, MetricsGranularity, metric::MetricsLevel};
///
/// let metrics = Metrics::new().level(MetricsLevel::Summary).granularity(MetricsGranularity::Shard).label("Fleet", "blue");
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "give it to ProducerBuilder::metrics"]
pub struct Metrics {
    pub(crate) granularity: MetricsGranularity,
    pub(crate) recording: Recording,
}

impl Metrics {
    /// The defaults: all metrics, by stream, under the KPL's names, without further labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Metrics that are recorded. Default [`MetricsLevel::Detailed`].
    #[doc(alias = "MetricsLevel")]
    pub fn level(mut self, level: MetricsLevel) -> Self {
        self.recording.level = level;
        self
    }

    /// Dimensions. Default: by stream.
    #[doc(alias = "MetricsGranularity")]
    pub fn granularity(mut self, granularity: MetricsGranularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// Adds a label to every metric. Name and value have 1 to 255 characters. Two producers of one stream in one process set the
    /// same gauges unless a label tells them apart.
    #[doc(alias = "AdditionalMetricsDimension")]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.recording.labels.push((name.into(), value.into()));
        self
    }

    /// Names such as `kpl_user_records_put`, which Prometheus accepts and which no other library uses, in place of the KPL's
    /// `UserRecordsPut`. A publisher to CloudWatch that is ours publishes the KPL's names in any case.
    pub fn prefixed(mut self) -> Self {
        self.recording.prefixed = true;
        self
    }

    /// The settings that recording follows.
    pub(crate) fn recording(&self) -> Recording {
        let mut recording = self.recording.clone();
        match self.granularity {
            MetricsGranularity::Off => recording.level = MetricsLevel::None,
            MetricsGranularity::Global => recording.without = vec!["StreamName", "ShardId"],
            MetricsGranularity::Stream => recording.without = vec!["ShardId"],
            MetricsGranularity::Shard => {}
        }
        recording
    }

    /// The label that is out of bounds, if any.
    pub(crate) fn invalid_label(&self) -> Option<&(String, String)> {
        let is_valid = |text: &str| (1..=MAX_LABEL_CHARS).contains(&text.chars().count());
        self.recording.labels.iter().find(|(name, value)| !is_valid(name) || !is_valid(value))
    }
}

/// Dimensions of the metrics, besides the error code of `ErrorsByCode`. Sums over a dimension that is there are those of the
/// coarser granularities, which the KPL publishes too; `kinesis-cloudwatch` adds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MetricsGranularity {
    /// No metrics.
    Off,
    /// No dimension: all streams together.
    Global,
    /// `StreamName`.
    #[default]
    Stream,
    /// `StreamName` and, as in the KPL, `ShardId`: many metrics for a stream of many shards.
    Shard,
}
