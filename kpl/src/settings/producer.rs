//! Settings of a producer.

use std::{collections::BTreeMap, num::NonZero, time::Duration};

use super::{
    form::{Choice, Count, Flag, Form, Labels, OrNever, Positive, Size, Time, Value, Words},
    table::settings_table,
};
use crate::{
    compressed::Compression,
    config::{AggregateKey, Aggregation, Config, MetricsGranularity, RecordOrder},
    metric::MetricsLevel,
};

/// Grouping of user records, without its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grouping {
    /// [`Aggregation::Off`].
    Off,
    /// [`Aggregation::On`].
    On,
    /// [`Aggregation::ByPartitionKey`].
    ByPartitionKey,
}

impl Words for Grouping {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("on", Self::On), ("by-partition-key", Self::ByPartitionKey)];
}

impl Words for AggregateKey {
    const WORDS: &'static [(&'static str, Self)] =
        &[("constant", Self::Constant), ("first-record", Self::FirstRecord), ("spread", Self::Spread)];
}

impl Words for RecordOrder {
    const WORDS: &'static [(&'static str, Self)] =
        &[("per-partition-key", Self::PerPartitionKey), ("strict", Self::Strict), ("best-effort", Self::BestEffort)];
}

impl Words for MetricsGranularity {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("global", Self::Global), ("stream", Self::Stream), ("shard", Self::Shard)];
}

/// `none`, `gzip`, `lz4`, or `zstd` with a level, such as `zstd:3`.
#[derive(Debug)]
pub struct Codec;

impl Form<Option<Compression>> for Codec {
    fn read(text: &str) -> Option<Option<Compression>> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("none", "") => Some(None),
            ("gzip", "") => Some(Some(Compression::Gzip)),
            ("lz4", "") => Some(Some(Compression::Lz4)),
            ("zstd", level) => Some(Some(Compression::Zstd(level.parse().ok()?))),
            _ => None,
        }
    }

    fn write(value: &Option<Compression>) -> Value {
        Value::Text(match value {
            None => "none".to_owned(),
            Some(Compression::Gzip) => "gzip".to_owned(),
            Some(Compression::Lz4) => "lz4".to_owned(),
            Some(Compression::Zstd(level)) => format!("zstd:{level}"),
        })
    }

    fn accepted() -> String {
        "none, gzip, lz4, or zstd with a level, such as zstd:3".to_owned()
    }
}

settings_table! {
    /// Settings of a [`Producer`](crate::Producer) from outside the code. Each is described, with its default and bounds, at the
    /// method of [`ProducerBuilder`](crate::ProducerBuilder) of the same name; bounds are checked when the producer is built.
    ///
    /// ```
    /// use kpl::settings::ProducerSettings;
    ///
    /// let settings: ProducerSettings = serde_json::from_str(r#"{"record_ttl": "1m", "max_outstanding_bytes": "64MiB"}"#)?;
    /// assert_eq!(settings.to_string(), "record_ttl=1m max_outstanding_bytes=67108864");
    ///
    /// let error = serde_json::from_str::<ProducerSettings>(r#"{"record_tll": "1m"}"#).unwrap_err();
    /// assert!(error.to_string().starts_with("there is no setting record_tll; record_ttl is one"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct ProducerSettings {
        /// Maximum time that a record waits to be grouped with others
        record_max_buffered_time: Duration as Time,
        /// Sending at once while no request is under way
        send_when_idle: bool as Flag,
        /// Maximum time from put to the start of the last attempt
        record_ttl: Option<Duration> as OrNever<Time>,
        /// Maximum size of a record, data and partition key together
        max_record_bytes: usize as Size,
        /// Grouping of user records into Kinesis records
        aggregation: Grouping as Choice,
        /// Maximum size of an aggregate
        aggregation_max_bytes: usize as Size,
        /// Maximum user records of an aggregate
        aggregation_max_records: usize as Count,
        /// Partition key of aggregates
        aggregate_key: AggregateKey as Choice,
        /// Order of records
        record_order: RecordOrder as Choice,
        /// Maximum Kinesis records of one PutRecords request
        collection_max_records: usize as Count,
        /// Maximum size of one PutRecords request
        collection_max_bytes: usize as Size,
        /// Maximum send rate per shard, in percent of the shard's limit
        rate_limit_percent: NonZero<u32> as Positive,
        /// Maximum of accepted records that are not resolved
        max_outstanding_records: usize as Count,
        /// Maximum size of accepted records that are not resolved
        max_outstanding_bytes: usize as Size,
        /// Shares of the streams in the buffer
        stream_shares: bool as Flag,
        /// Maximum PutRecords requests at a time to one stream
        max_in_flight: u16 as Count,
        /// Maximum time to wait for the answer to a request
        request_timeout: Duration as Time,
        /// Failure of throttled records without another attempt
        fail_if_throttled: bool as Flag,
        /// Numbers by which consumers recognise what was written twice
        record_numbers: bool as Flag,
        /// Compression of each Kinesis record
        compression: Option<Compression> as Codec,
        /// Metrics that are recorded
        metrics_level: MetricsLevel as Choice,
        /// Dimensions of the metrics
        metrics_granularity: MetricsGranularity as Choice,
        /// Labels of all metrics
        metrics_labels: BTreeMap<String, String> as Labels,
        /// Names of metrics that begin with `kpl_`, in place of the KPL's
        metrics_prefixed: bool as Flag,
    }
}

/// Writes values that are set over those of a struct with fields of the same names.
macro_rules! overwrite {
    ($config:expr, $settings:expr; $($key:ident)*) => {
        $( if let Some(value) = $settings.$key { $config.$key = value; } )*
    };
}

impl ProducerSettings {
    /// Writes what is set into a configuration.
    pub(crate) fn apply(&self, config: &mut Config) {
        overwrite!(config, self;
            record_max_buffered_time send_when_idle record_ttl aggregate_key record_order collection_max_records
            collection_max_bytes rate_limit_percent max_outstanding_records max_outstanding_bytes stream_shares
            max_in_flight request_timeout fail_if_throttled record_numbers);
        config.max_record_bytes = self.max_record_bytes.or(config.max_record_bytes);
        config.aggregation = self.grouped(config.aggregation);
        let metrics = &mut config.metrics;
        metrics.granularity = self.metrics_granularity.unwrap_or(metrics.granularity);
        metrics.recording.level = self.metrics_level.unwrap_or(metrics.recording.level);
        metrics.recording.prefixed = self.metrics_prefixed.unwrap_or(metrics.recording.prefixed);
        metrics.recording.labels.extend(self.metrics_labels.clone().into_iter().flatten());
    }

    fn grouped(&self, current: Aggregation) -> Aggregation {
        let mut aggregation = match (self.aggregation, current) {
            (Some(Grouping::Off), _) => Aggregation::Off,
            (Some(Grouping::On), Aggregation::Off | Aggregation::ByPartitionKey { .. }) => Aggregation::default(),
            (Some(Grouping::ByPartitionKey), Aggregation::Off | Aggregation::On { .. }) => {
                Aggregation::by_partition_key()
            }
            _ => current,
        };
        if let Some(bytes) = self.aggregation_max_bytes {
            aggregation = aggregation.with_max_bytes(bytes);
        }
        if let Some(records) = self.aggregation_max_records {
            aggregation = aggregation.with_max_records(records);
        }
        aggregation
    }

    /// All settings of a configuration, but for compression, which the builder keeps.
    pub(crate) fn of(config: &Config, compression: Option<Compression>) -> Self {
        let (grouping, limits) = match config.aggregation {
            Aggregation::Off => (Grouping::Off, None),
            Aggregation::On { .. } => (Grouping::On, config.aggregation.limits()),
            Aggregation::ByPartitionKey { .. } => (Grouping::ByPartitionKey, config.aggregation.limits()),
        };
        let labels = &config.metrics.recording.labels;
        Self {
            record_max_buffered_time: Some(config.record_max_buffered_time),
            send_when_idle: Some(config.send_when_idle),
            record_ttl: Some(config.record_ttl),
            max_record_bytes: config.max_record_bytes,
            aggregation: Some(grouping),
            aggregation_max_bytes: limits.map(|limits| limits.max_bytes),
            aggregation_max_records: limits.map(|limits| limits.max_records),
            aggregate_key: Some(config.aggregate_key),
            record_order: Some(config.record_order),
            collection_max_records: Some(config.collection_max_records),
            collection_max_bytes: Some(config.collection_max_bytes),
            rate_limit_percent: Some(config.rate_limit_percent),
            max_outstanding_records: Some(config.max_outstanding_records),
            max_outstanding_bytes: Some(config.max_outstanding_bytes),
            stream_shares: Some(config.stream_shares),
            max_in_flight: Some(config.max_in_flight),
            request_timeout: Some(config.request_timeout),
            fail_if_throttled: Some(config.fail_if_throttled),
            record_numbers: Some(config.record_numbers),
            compression: Some(compression),
            metrics_level: Some(config.metrics.recording.level),
            metrics_granularity: Some(config.metrics.granularity),
            metrics_labels: (!labels.is_empty()).then(|| labels.iter().cloned().collect()),
            metrics_prefixed: Some(config.metrics.recording.prefixed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingError;

    fn applied(settings: &ProducerSettings) -> ProducerSettings {
        let mut config = Config::default();
        settings.apply(&mut config);
        ProducerSettings::of(&config, settings.compression.flatten())
    }

    #[test]
    fn every_setting_reaches_the_configuration() {
        let all = r#"{
            "record_max_buffered_time": "250ms", "send_when_idle": true, "record_ttl": "never", "max_record_bytes": "2MiB",
            "aggregation": "by-partition-key", "aggregation_max_bytes": "100KiB", "aggregation_max_records": 10,
            "aggregate_key": "spread", "record_order": "strict", "collection_max_records": 100,
            "collection_max_bytes": "1MiB", "rate_limit_percent": 90, "max_outstanding_records": 5000,
            "max_outstanding_bytes": "32MiB", "stream_shares": false, "max_in_flight": 3, "request_timeout": "10s",
            "fail_if_throttled": true, "record_numbers": true, "compression": "gzip", "metrics_level": "summary", "metrics_granularity": "shard",
            "metrics_labels": "Fleet=blue", "metrics_prefixed": true
        }"#;
        let settings: ProducerSettings = serde_json::from_str(all).unwrap();

        assert_eq!(settings.values().len(), ProducerSettings::KEYS.len());
        assert_eq!(applied(&settings), settings);
    }

    #[test]
    fn what_is_not_set_stays_and_earlier_sources_win() {
        let variables =
            [("KPL_RECORD_TTL", "1m"), ("HOME", "/")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = ProducerSettings::from_variables("KPL_", variables).unwrap();
        let file: ProducerSettings = serde_json::from_str(r#"{"record_ttl": "2m", "max_in_flight": 7}"#).unwrap();

        let merged = variables.or(file);

        assert_eq!(merged.to_string(), "record_ttl=1m max_in_flight=7");
        let untouched = ProducerSettings { record_ttl: None, max_in_flight: None, ..applied(&merged) };
        let defaults = applied(&ProducerSettings::default());
        assert_eq!(untouched, ProducerSettings { record_ttl: None, max_in_flight: None, ..defaults });
    }

    #[test]
    fn bounds_alone_keep_the_grouping() {
        let settings = ProducerSettings { aggregation_max_bytes: Some(100), ..ProducerSettings::default() };

        assert_eq!(
            settings.grouped(Aggregation::by_partition_key()),
            Aggregation::by_partition_key().with_max_bytes(100)
        );
        assert_eq!(settings.grouped(Aggregation::Off), Aggregation::Off);
    }

    #[test]
    fn unknown_keys_and_unreadable_values_are_named() {
        let mut settings = ProducerSettings::default();

        let unknown = settings.set("max_inflight", "7").unwrap_err();
        assert_eq!(unknown, SettingError::Unknown { key: "max_inflight".to_owned(), nearest: Some("max_in_flight") });
        let misspelt = [("KPL_RECORD_TLL".to_owned(), "1m".to_owned())];
        assert_eq!(
            ProducerSettings::from_variables("KPL_", misspelt).unwrap_err().to_string(),
            "variable KPL_RECORD_TLL: there is no setting record_tll; record_ttl is one"
        );
        let unlike = settings.set("colour", "red").unwrap_err();
        assert_eq!(unlike.to_string(), "there is no setting colour");
        let unreadable = settings.set("record_ttl", "30").unwrap_err();
        assert_eq!(
            unreadable.to_string(),
            "record_ttl is \"30\", accepted: a duration with its unit, such as 200ms or 1m 30s, or never"
        );
        let negative = serde_json::from_str::<ProducerSettings>(r#"{"max_in_flight": -1}"#).unwrap_err();
        assert!(negative.to_string().starts_with("max_in_flight is \"-1\", accepted: a whole number"), "{negative}");
    }
}
