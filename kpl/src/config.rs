//! Settings of a producer: defaults, bounds, and conflicts.

use std::{fmt::Debug, num::NonZero, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{
    aggregated::AGGREGATE_PARTITION_KEY,
    compressed::{Compression, FrameWriter},
    error::ConfigError,
    record::PARTITION_KEY_MAX_CHARS,
};

mod metrics;

pub use metrics::{Metrics, MetricsGranularity};

/// Maximum record limit of a stream, in bytes of data and partition key.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
pub const MAX_RECORD_BYTES: usize = 10 * 1024 * 1024;
/// Default record limit of a stream, in bytes of data and partition key. Source: as above.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Maximum entries of one PutRecords request.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
pub(crate) const PUT_RECORDS_MAX_ENTRIES: usize = 500;
/// Maximum bytes of one PutRecords request, partition keys included. Source: as above.
pub(crate) const PUT_RECORDS_MAX_BYTES: usize = 10 * 1024 * 1024;
/// Minimum of the maximum bytes of an aggregate. Source: KPL `AggregationMaxSize`.
pub(crate) const AGGREGATION_MIN_BYTES: usize = 64;
/// Default of the maximum bytes of an aggregate. Source: as above.
const AGGREGATION_MAX_BYTES: usize = 51_200;
/// Default, and maximum, of the maximum user records of an aggregate. Source: KPL `AggregationMaxCount`.
const AGGREGATION_MAX_RECORDS: usize = u32::MAX as usize;

const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Grouping of user records into Kinesis records. Unless it is off, data that are an aggregate themselves arrive as they were
/// put, as data that are a [compressed frame](crate::compressed) do, unless they would exceed [`max_record_bytes`](crate::Producer::max_record_bytes) or the stream places records by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// Each user record is a Kinesis record of its own. Data that are an aggregate are deaggregated by consumers, as a
    /// forwarder of Kinesis records needs. Source: KPL `AggregationEnabled`.
    Off,
    /// User records for one shard share a Kinesis record. Consumers must deaggregate it, as every KCL does.
    #[non_exhaustive]
    On {
        /// Maximum bytes of an aggregate, 64 to 10,485,760; default 51,200. A longer user record is sent alone.
        /// Source: KPL `AggregationMaxSize`.
        max_bytes: usize,
        /// Maximum user records of an aggregate, at least 1; default 4,294,967,295. Source: KPL `AggregationMaxCount`.
        max_records: usize,
    },
    /// User records of one partition key and one hash key share a Kinesis record, which has that partition key: for
    /// consumers that route, filter or parallelise by it, as AWS Lambda does, and keys with several records in
    /// `record_max_buffered_time`. Records of one partition key with several explicit hash keys are in no order.
    #[non_exhaustive]
    ByPartitionKey {
        /// As for [`On`](Self::On).
        max_bytes: usize,
        /// As for [`On`](Self::On).
        max_records: usize,
    },
}

impl Aggregation {
    /// [`ByPartitionKey`](Self::ByPartitionKey) with the default bounds.
    pub fn by_partition_key() -> Self {
        Self::ByPartitionKey { max_bytes: AGGREGATION_MAX_BYTES, max_records: AGGREGATION_MAX_RECORDS }
    }

    /// Sets the maximum bytes of an aggregate, if it is not off.
    #[must_use = "the aggregation is returned with the bound set"]
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        if let Self::On { max_bytes, .. } | Self::ByPartitionKey { max_bytes, .. } = &mut self {
            *max_bytes = bytes;
        }
        self
    }

    /// Sets the maximum user records of an aggregate, if it is not off.
    #[must_use = "the aggregation is returned with the bound set"]
    pub fn with_max_records(mut self, records: usize) -> Self {
        if let Self::On { max_records, .. } | Self::ByPartitionKey { max_records, .. } = &mut self {
            *max_records = records;
        }
        self
    }

    /// `None` without aggregation.
    pub(crate) fn limits(self) -> Option<Limits> {
        match self {
            Self::Off => None,
            Self::On { max_bytes, max_records } | Self::ByPartitionKey { max_bytes, max_records } => {
                Some(Limits { max_bytes, max_records })
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_bytes: usize,
    pub(crate) max_records: usize,
}

impl Default for Aggregation {
    fn default() -> Self {
        Self::On { max_bytes: AGGREGATION_MAX_BYTES, max_records: AGGREGATION_MAX_RECORDS }
    }
}

/// Partition key of an aggregate. The shard is decided by the explicit hash key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AggregateKey {
    /// [`a`](crate::aggregated::AGGREGATE_PARTITION_KEY), as the KPL writes it.
    #[default]
    Constant,
    /// The partition key of its first user record.
    FirstRecord,
    /// A different one for each aggregate: consumers that parallelise by partition key, as AWS Lambda does, process the
    /// aggregates of a shard side by side, out of order.
    Spread,
}

impl AggregateKey {
    /// Bytes of an aggregate's partition key, by that of its first record.
    pub(crate) fn bytes(self, first: &str) -> usize {
        match self {
            Self::FirstRecord => first.len(),
            Self::Constant | Self::Spread => self.max_bytes(),
        }
    }

    /// Maximum bytes of an aggregate's partition key.
    pub(crate) fn max_bytes(self) -> usize {
        match self {
            Self::Constant => AGGREGATE_PARTITION_KEY.len(),
            Self::FirstRecord => PARTITION_KEY_MAX_CHARS * char::MAX.len_utf8(),
            Self::Spread => 8, // hexadecimal digits
        }
    }
}

/// Order of the user records of one hash key, which is the explicit one, if any, else that of the partition key. Records of
/// one partition key with several explicit hash keys are in no order, even in one shard. `docs/performance.md` has the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RecordOrder {
    /// Order holds while nothing fails, also while shards are split or merged: the records of a hash key are in one request
    /// and one aggregate at a time. A busy shard's keys are divided among up to eight aggregates under way side by side; what
    /// fails holds back the keys of its aggregate. Without aggregation one request per shard is under way at a time; its
    /// records rely on Kinesis to store the entries of a request in their order, and a failed one is overtaken by later ones
    /// of the same request.
    #[default]
    PerPartitionKey,
    /// Order holds also when entries fail or are throttled, for what is finally stored: one request per shard at a time,
    /// with at most one Kinesis record per hash key. Records of a request whose answer is lost may be stored twice, the second
    /// time in order again.
    Strict,
    /// One request per shard at a time with any number of aggregates, up to 256 KiB per shard. Order holds while nothing
    /// fails and the shards stay as they are. For a shard whose busiest partition keys need more than one aggregate in a round
    /// trip.
    BestEffort,
}

/// All settings, with their defaults.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) record_max_buffered_time: Duration,
    pub(crate) send_when_idle: bool,
    pub(crate) record_ttl: Option<Duration>,
    /// `None` for the limit of the stream.
    pub(crate) max_record_bytes: Option<usize>,
    pub(crate) aggregation: Aggregation,
    pub(crate) aggregate_key: AggregateKey,
    pub(crate) record_order: RecordOrder,
    pub(crate) collection_max_records: usize,
    pub(crate) collection_max_bytes: usize,
    pub(crate) rate_limit_percent: NonZero<u32>,
    pub(crate) max_outstanding_records: usize,
    pub(crate) max_outstanding_bytes: usize,
    pub(crate) stream_shares: bool,
    pub(crate) max_in_flight: u16,
    pub(crate) request_timeout: Duration,
    pub(crate) fail_if_throttled: bool,
    pub(crate) metrics: Metrics,
    /// `None` without compression.
    pub(crate) frames: Option<Arc<FrameWriter>>,
    pub(crate) record_numbers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            record_max_buffered_time: Duration::from_millis(100),
            send_when_idle: false,
            record_ttl: Some(Duration::from_secs(30)),
            max_record_bytes: None,
            aggregation: Aggregation::default(),
            aggregate_key: AggregateKey::default(),
            record_order: RecordOrder::default(),
            collection_max_records: PUT_RECORDS_MAX_ENTRIES,
            collection_max_bytes: 5 * 1024 * 1024,
            rate_limit_percent: const { NonZero::new(150).expect("150 is not zero") },
            max_outstanding_records: 100_000,
            max_outstanding_bytes: 64 * 1024 * 1024,
            stream_shares: true,
            max_in_flight: 24,
            request_timeout: Duration::from_secs(6),
            fail_if_throttled: false,
            metrics: Metrics::default(),
            frames: None,
            record_numbers: false,
        }
    }
}

impl Config {
    /// Time that an aggregate waits for those of other shards: a fifth of the buffering time, at most 50 ms.
    pub(crate) fn linger(&self) -> Duration {
        match self.aggregation {
            Aggregation::Off => Duration::ZERO,
            _ => (self.record_max_buffered_time / 5).min(Duration::from_millis(50)),
        }
    }

    /// Returns whether records are numbered: only in aggregates there is room for it.
    pub(crate) fn numbers_records(&self) -> bool {
        self.record_numbers && self.aggregation != Aggregation::Off
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if let Some(Limits { max_bytes, max_records }) = self.aggregation.limits() {
            let (bytes, records) = (AGGREGATION_MIN_BYTES..=MAX_RECORD_BYTES, 1..=AGGREGATION_MAX_RECORDS);
            if !bytes.contains(&max_bytes) || !records.contains(&max_records) {
                let bounds = format!("max_bytes of {bytes:?} and max_records of {records:?}");
                return Err(out_of_bounds("aggregation", &self.aggregation, bounds));
            }
        }
        let max_record_bytes = self.max_record_bytes.unwrap_or(DEFAULT_MAX_RECORD_BYTES);
        within("max_record_bytes", max_record_bytes, 64..=MAX_RECORD_BYTES)?;
        within("collection_max_records", self.collection_max_records, 1..=PUT_RECORDS_MAX_ENTRIES)?;
        within("collection_max_bytes", self.collection_max_bytes, 52_224..=PUT_RECORDS_MAX_BYTES)?;
        within("max_in_flight", self.max_in_flight, 1..=256)?;
        let max_permits = tokio::sync::Semaphore::MAX_PERMITS;
        within("max_outstanding_records", self.max_outstanding_records, 1..=max_permits)?;
        within("max_outstanding_bytes", self.max_outstanding_bytes, max_record_bytes..=max_permits)?;
        let buffered = self.record_max_buffered_time;
        within("record_max_buffered_time", buffered, Duration::ZERO..=Duration::from_hours(24))?;
        within("request_timeout", self.request_timeout, MIN_TIMEOUT..=Duration::from_mins(10))?;
        if let Some(label) = self.metrics.invalid_label() {
            return Err(out_of_bounds("metrics", label, "labels of 1 to 255 characters".to_owned()));
        }
        if let Some(frames) = self.frames.as_ref().filter(|frames| !frames.compression().is_available()) {
            let levels = Compression::MIN_ZSTD_LEVEL..=Compression::MAX_ZSTD_LEVEL;
            let bounds = format!("levels of {levels:?}, and zstd with the crate feature `zstd`");
            return Err(out_of_bounds("compression", &frames.compression(), bounds));
        }
        let Some(ttl) = self.record_ttl else { return Ok(()) };
        within("record_ttl", ttl, MIN_TIMEOUT..=Duration::MAX)?;
        if buffered < ttl {
            return Ok(());
        }
        Err(out_of_bounds("record_max_buffered_time", &buffered, format!("below the record_ttl of {ttl:?}")))
    }

    /// Settings that others leave without effect, each with the reason.
    pub(crate) fn defeated(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        if let (Some(Limits { max_bytes, .. }), Some(limit)) = (self.aggregation.limits(), self.max_record_bytes)
            && max_bytes > limit
        {
            found.push(("aggregation", "aggregates are records, and max_record_bytes is less than their max_bytes"));
        }
        if self.aggregate_key != AggregateKey::Constant && !matches!(self.aggregation, Aggregation::On { .. }) {
            found.push(("aggregate_key", "aggregation is off or by partition key"));
        }
        if self.record_numbers && self.aggregation == Aggregation::Off {
            found.push(("record_numbers", "aggregation is off: a plain Kinesis record has no room for a number"));
        }
        if self.record_ttl.is_some_and(|ttl| ttl <= self.request_timeout) {
            found.push(("record_ttl", "not above request_timeout: what times out once is not sent again"));
        }
        found
    }
}

fn within<T: PartialOrd + Debug>(setting: &'static str, value: T, range: RangeInclusive<T>) -> Result<(), ConfigError> {
    let bounds = || format!("{:?} to {:?}", range.start(), range.end());
    if range.contains(&value) { Ok(()) } else { Err(out_of_bounds(setting, &value, bounds())) }
}

fn out_of_bounds(setting: &'static str, value: &dyn Debug, bounds: String) -> ConfigError {
    ConfigError::OutOfBounds { setting, value: format!("{value:?}"), bounds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().expect_err("out of bounds").to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_kpl_and_valid() {
        let config = Config::default();

        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.linger(), Duration::from_millis(20));
        assert_eq!(config.rate_limit_percent.get(), 150);
        assert_eq!(config.aggregation, Aggregation::On { max_bytes: 51_200, max_records: 4_294_967_295 });
    }

    #[test]
    fn the_linger_ends_at_fifty_milliseconds_and_is_for_aggregates_only() {
        let slow = Config { record_max_buffered_time: Duration::from_secs(3), ..Config::default() };

        assert_eq!(slow.linger(), Duration::from_millis(50));
        assert_eq!(Config { aggregation: Aggregation::Off, ..slow }.linger(), Duration::ZERO);
    }

    #[test]
    fn bounds_are_checked_at_the_edge() {
        let aggregation = |max_bytes| Aggregation::On { max_bytes, max_records: 1 };

        assert_eq!(Config { aggregation: aggregation(64), ..Config::default() }.validate(), Ok(()));
        assert_eq!(
            rejected(|config| config.aggregation = aggregation(63)),
            "aggregation is On { max_bytes: 63, max_records: 1 }, \
             accepted: max_bytes of 64..=10485760 and max_records of 1..=4294967295"
        );
        assert_eq!(
            rejected(|config| config.collection_max_records = 501),
            "collection_max_records is 501, accepted: 1 to 500"
        );
        assert_eq!(rejected(|config| config.max_in_flight = 0), "max_in_flight is 0, accepted: 1 to 256");
    }

    #[test]
    fn bounds_of_aggregates_are_set_unless_aggregation_is_off() {
        let bounded = |aggregation: Aggregation| aggregation.with_max_bytes(1000).with_max_records(10).limits();

        let limits = Some(Limits { max_bytes: 1000, max_records: 10 });
        assert_eq!([Aggregation::default(), Aggregation::by_partition_key()].map(bounded), [limits; 2]);
        assert_eq!(bounded(Aggregation::Off), None);
    }

    #[test]
    fn a_record_of_the_greatest_size_must_fit_into_the_buffer() {
        let text = rejected(|config| config.max_outstanding_bytes = DEFAULT_MAX_RECORD_BYTES - 1);

        assert!(text.starts_with("max_outstanding_bytes is 1048575, accepted: 1048576 to"), "{text}");
    }

    #[test]
    fn settings_that_others_defeat_are_found() {
        let settings = |config: &Config| config.defeated().into_iter().map(|(setting, _)| setting).collect::<Vec<_>>();

        assert!(settings(&Config::default()).is_empty());
        let hasty = Config { record_ttl: Some(Duration::from_secs(6)), ..Config::default() };
        assert_eq!(settings(&hasty), ["record_ttl"]);
        let small = Config { max_record_bytes: Some(51_199), ..Config::default() };
        assert_eq!(settings(&small), ["aggregation"]);
    }

    #[test]
    fn buffering_must_end_before_the_time_to_live() {
        let text = rejected(|config| config.record_max_buffered_time = Duration::from_secs(30));
        assert_eq!(text, "record_max_buffered_time is 30s, accepted: below the record_ttl of 30s");

        let forever =
            Config { record_max_buffered_time: Duration::from_secs(3600), record_ttl: None, ..Config::default() };
        assert_eq!(forever.validate(), Ok(()));
    }
}
