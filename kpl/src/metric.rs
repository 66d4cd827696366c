//! Declarations of the metrics of both libraries: the name of each, what its values mean, and where it comes from.
//!
//! Recording, descriptions, `docs/metrics.md` and publishers are driven by the tables [`kpl::METRICS`](crate::METRICS) and
//! `kcl::METRICS`. The names are those of the Java libraries; [`Metric::prefixed_name`] is safe for Prometheus.

#[cfg(feature = "metrics")]
mod registry;

#[cfg(feature = "metrics")]
#[doc(hidden)]
pub use registry::Registry;

/// A metric: one row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The crate that records it: `kpl` or `kcl`, also the prefix of [`prefixed_name`](Self::prefixed_name).
    pub library: &'static str,
    /// Value of the dimension `Operation`, which every metric of `kcl` has.
    pub operation: Option<&'static str>,
    /// Name as recorded, and as in CloudWatch.
    pub name: &'static str,
    /// Kind of handle that records it.
    pub kind: MetricKind,
    /// Unit of the values.
    pub unit: MetricUnit,
    /// Level from which on it is recorded.
    pub level: MetricsLevel,
    /// Further dimensions, as far as they are enabled and known: see [`crate::Metrics`] and `kcl::Metrics`.
    pub dimensions: &'static [&'static str],
    /// Meaning of a recorded value for a publisher of samples.
    pub samples: Samples,
    /// The library that has it.
    pub origin: Origin,
    /// Meaning of the values.
    pub description: &'static str,
}

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// A value that replaces the one before.
    Gauge,
    /// Values, each of which counts.
    Histogram,
}

/// Unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricUnit {
    /// No unit.
    None,
    /// Number of things; of a success rate 0 or 1.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
}

/// Metrics that are recorded. Source: `MetricsLevel` of the KPL and the KCL for Java.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum MetricsLevel {
    /// None.
    None,
    /// Those that an operator watches.
    Summary,
    /// All. The default, as in the Java libraries.
    #[default]
    Detailed,
}

/// Library that has a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The library for Java, too, with this name, unit and these dimensions.
    Java,
    /// This one alone.
    Ours,
}

/// Samples, in the sense of CloudWatch, that a metric's recorded values stand for. The Java libraries record one sample for
/// each user record; here a counter takes many at a time, which is cheaper, and a publisher restores the samples from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Samples {
    /// Each recorded value is one; of a counter, each increment.
    Recorded,
    /// An increment of n is n samples of 1; an increment of n of the counter that is named, if any, is n samples of 0.
    Ones {
        /// A counter with the same dimensions.
        zeros: Option<&'static str>,
    },
    /// Number that these counters together count, with the sum of the counter `sum`. Minimum and maximum are those of the
    /// recorded values if this is a histogram, else the mean.
    Counted {
        /// A counter with the same dimensions.
        sum: &'static str,
        /// Counters with the same dimensions.
        counts: &'static [&'static str],
    },
    /// None: a part of other metrics.
    Part,
}

impl Metric {
    /// The name after the library's prefix, in lower case: `kpl_user_records_put`. It has the characters of a Prometheus
    /// name, a letter, digits and underscores.
    pub fn prefixed_name(&self) -> String {
        let mut safe = format!("{}_", self.library);
        let mut after_lower = false;
        for char in self.name.chars() {
            if char.is_ascii_uppercase() && after_lower {
                safe.push('_');
            }
            after_lower = char.is_ascii_lowercase() || char.is_ascii_digit();
            match char.is_ascii_alphanumeric() {
                true => safe.push(char.to_ascii_lowercase()),
                false if !safe.ends_with('_') => safe.push('_'),
                false => {}
            }
        }
        safe
    }
}

impl MetricUnit {
    /// Name in CloudWatch.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// Settings of recording that both libraries have.
#[derive(Debug, Clone, Default)]
#[doc(hidden)]
pub struct Recording {
    /// Level up to which metrics are recorded.
    pub level: MetricsLevel,
    /// Names are [`Metric::prefixed_name`]s.
    pub prefixed: bool,
    /// Labels of every metric.
    pub labels: Vec<(String, String)>,
    /// Dimensions that are left out, the operation among them.
    pub without: Vec<&'static str>,
}

/// Declares the metrics of a library: a constant for each, and `METRICS`, a table of all.
#[doc(hidden)]
#[macro_export]
macro_rules! declare_metrics {
    ($library:literal; $(
        $id:ident = $operation:expr, $name:literal, $kind:ident $unit:ident $level:ident $origin:ident, $dimensions:expr,
        $samples:expr, $description:literal;
    )*) => {
        $(pub(crate) const $id: $crate::metric::Metric = $crate::metric::declare(
            ($library, $operation, $name),
            ($crate::metric::MetricKind::$kind, $crate::metric::MetricUnit::$unit),
            ($crate::metric::MetricsLevel::$level, $crate::metric::Origin::$origin),
            ($dimensions, $samples),
            $description,
        );)*
        /// All metrics of this library.
        pub const METRICS: &[$crate::metric::Metric] = &[$($id),*];
    };
}

#[cfg(feature = "producer")]
pub(crate) use declare_metrics;

/// A row, as the macro writes it.
#[doc(hidden)]
pub const fn declare(
    (library, operation, name): (&'static str, Option<&'static str>, &'static str),
    (kind, unit): (MetricKind, MetricUnit),
    (level, origin): (MetricsLevel, Origin),
    (dimensions, samples): (&'static [&'static str], Samples),
    description: &'static str,
) -> Metric {
    Metric { library, operation, name, kind, unit, level, dimensions, samples, origin, description }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixed_names_have_only_what_prometheus_allows() {
        let named = |library, name| {
            let row = (MetricKind::Counter, MetricUnit::Count);
            let level = (MetricsLevel::Summary, Origin::Java);
            declare((library, None, name), row, level, (&[], Samples::Recorded), "").prefixed_name()
        };

        assert_eq!(named("kpl", "UserRecordsPut"), "kpl_user_records_put");
        assert_eq!(named("kcl", "LeaderDecider:IsLeader"), "kcl_leader_decider_is_leader");
        assert_eq!(
            named("kcl", "KinesisDataFetcher.getRecords.Success"),
            "kcl_kinesis_data_fetcher_get_records_success"
        );
        assert_eq!(named("kcl", "CreateLease_TRIM_HORIZON.Success"), "kcl_create_lease_trim_horizon_success");
    }

    #[test]
    fn levels_are_in_order() {
        assert!(MetricsLevel::None < MetricsLevel::Summary && MetricsLevel::Summary < MetricsLevel::Detailed);
    }
}
