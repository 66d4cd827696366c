//! The registry of a library's handles with the recorder that is installed.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};

use super::{Metric, MetricKind, MetricUnit, Recording};

/// Registers metrics with the recorder installed by then, as the settings say. What they leave out is a handle that does
/// nothing.
#[derive(Debug, Clone)]
pub struct Registry {
    recording: Recording,
    labels: Vec<Label>,
}

impl Registry {
    /// A registry of these settings.
    pub fn new(recording: Recording) -> Self {
        let labels = recording.labels.iter().map(|(name, value)| Label::new(name.clone(), value.clone())).collect();
        Self { recording, labels }
    }

    /// Tells the recorder unit and meaning of all metrics of a table that are recorded. Where operations share a name, the
    /// text has the meaning of each.
    pub fn describe(&self, table: &[Metric]) {
        let recorded: Vec<&Metric> = table.iter().filter(|metric| self.records(metric)).collect();
        for (n, metric) in recorded.iter().enumerate() {
            let is_same = |other: &&&Metric| (other.name, other.kind) == (metric.name, metric.kind);
            if recorded[..n].iter().any(|before| is_same(&before)) {
                continue;
            }
            let (name, text) = (KeyName::from(self.name(metric)), meaning(recorded[n..].iter().filter(is_same)));
            let unit = match metric.unit {
                MetricUnit::None => None,
                MetricUnit::Count => Some(Unit::Count),
                MetricUnit::Bytes => Some(Unit::Bytes),
                MetricUnit::Milliseconds => Some(Unit::Milliseconds),
            };
            with_recorder(|recorder| match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, unit, text),
                MetricKind::Gauge => recorder.describe_gauge(name, unit, text),
                MetricKind::Histogram => recorder.describe_histogram(name, unit, text),
            });
        }
    }

    /// A counter with those of these dimensions that the metric has.
    pub fn counter(&self, metric: &Metric, dimensions: &[Label]) -> Counter {
        debug_assert_eq!(metric.kind, MetricKind::Counter);
        if !self.records(metric) {
            return Counter::noop();
        }
        with_recorder(|recorder| recorder.register_counter(&self.key(metric, dimensions), &metadata(metric)))
    }

    /// A gauge, as [`counter`](Self::counter).
    pub fn gauge(&self, metric: &Metric, dimensions: &[Label]) -> Gauge {
        debug_assert_eq!(metric.kind, MetricKind::Gauge);
        if !self.records(metric) {
            return Gauge::noop();
        }
        with_recorder(|recorder| recorder.register_gauge(&self.key(metric, dimensions), &metadata(metric)))
    }

    /// A histogram, as [`counter`](Self::counter).
    pub fn histogram(&self, metric: &Metric, dimensions: &[Label]) -> Histogram {
        debug_assert_eq!(metric.kind, MetricKind::Histogram);
        if !self.records(metric) {
            return Histogram::noop();
        }
        with_recorder(|recorder| recorder.register_histogram(&self.key(metric, dimensions), &metadata(metric)))
    }

    fn records(&self, metric: &Metric) -> bool {
        metric.level <= self.recording.level
    }

    fn name(&self, metric: &Metric) -> SharedString {
        if self.recording.prefixed { metric.prefixed_name().into() } else { SharedString::const_str(metric.name) }
    }

    fn key(&self, metric: &Metric, dimensions: &[Label]) -> Key {
        let operation = metric.operation.map(|operation| Label::from_static_parts("Operation", operation));
        let dimensions = dimensions.iter().filter(|label| metric.dimensions.contains(&label.key()));
        let own = operation.into_iter().chain(dimensions.cloned());
        let enabled = own.filter(|label| !self.recording.without.contains(&label.key()));
        Key::from_parts(self.name(metric), self.labels.iter().cloned().chain(enabled).collect::<Vec<_>>())
    }
}

/// Meaning of metrics of one name.
fn meaning<'m>(metrics: impl Iterator<Item = &'m &'m Metric>) -> SharedString {
    let metrics: Vec<_> = metrics.collect();
    if let [metric] = metrics[..] {
        return SharedString::const_str(metric.description);
    }
    let of_operation = |metric: &&&Metric| format!("{}: {}", metric.operation.unwrap_or_default(), metric.description);
    SharedString::from(metrics.iter().map(of_operation).collect::<Vec<_>>().join("; "))
}

fn metadata(metric: &Metric) -> Metadata<'static> {
    Metadata::new(metric.library, Level::INFO, None)
}
