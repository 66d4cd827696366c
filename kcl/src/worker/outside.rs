//! Settings from outside the code, taken by the builder.

use std::collections::BTreeMap;

use super::builder::WorkerBuilder;
use crate::settings::{metrics::Metrics, outside::WorkerSettings};

/// Writes values that are set over those of a struct with fields of the same names.
macro_rules! overwrite {
    ($settings:expr, $outside:expr; $($key:ident)*) => {
        $( if let Some(value) = $outside.$key { $settings.$key = value; } )*
    };
}

impl WorkerBuilder {
    /// Settings from outside the code, over those set before; what is set afterwards wins. Settings without an effect, such as
    /// a consumer's name without fan-out, are named by a warning.
    pub fn settings(mut self, outside: &WorkerSettings) -> Self {
        if let Some(id) = &outside.worker_id {
            self = self.worker_id(id);
        }
        let settings = &mut self.settings;
        overwrite!(settings, outside; lease_duration renewals assignment max_leases memory_budget max_batch_records
            deaggregation copies handoff_timeout shutdown_grace warn_after);
        settings.table = outside.lease_table.clone().unwrap_or_else(|| settings.table.clone());
        settings.create_table = outside.create_lease_table.unwrap_or(settings.create_table);
        settings.prefetch.records = outside.prefetch_records.unwrap_or(settings.prefetch.records);
        settings.prefetch.bytes = outside.prefetch_bytes.unwrap_or(settings.prefetch.bytes);
        settings.retrieval = outside.reading(&settings.retrieval);
        if let Some(policy) = outside.error_policy() {
            settings.error_policy = policy;
        }
        settings.metrics = with_metrics(settings.metrics.clone(), outside);
        let unused = outside.without_effect(&settings.retrieval);
        if !unused.is_empty() {
            tracing::warn!("without effect: {}", unused.join(", "));
        }
        self.initial_position = outside.initial_position.unwrap_or(self.initial_position);
        self
    }

    /// All settings as they are now but for the reaction to errors, which may be code: for a line of the log at the start.
    pub fn current_settings(&self) -> WorkerSettings {
        WorkerSettings::of(&self.settings, self.initial_position)
    }
}

fn with_metrics(mut metrics: Metrics, outside: &WorkerSettings) -> Metrics {
    if let Some(level) = outside.metrics_level {
        metrics = metrics.level(level);
    }
    if let Some(dimensions) = &outside.metrics_dimensions {
        metrics = metrics.dimensions(dimensions.iter().copied());
    }
    for (name, value) in outside.metrics_labels.iter().flat_map(BTreeMap::iter) {
        metrics = metrics.label(name, value);
    }
    match outside.metrics_prefixed {
        Some(prefixed) => metrics.with_prefix(prefixed),
        None => metrics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Worker, settings::outside::GiveUp};

    fn builder() -> WorkerBuilder {
        let aws = aws_types::SdkConfig::builder().behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest());
        Worker::builder(&aws.build(), "app", "stream")
    }

    #[test]
    fn every_setting_reaches_the_worker() {
        let all = r#"{
            "worker_id": "worker-1", "initial_position": "2026-01-31T08:00:00Z", "lease_table": "leases",
            "create_lease_table": false, "lease_duration": "20s", "renewals": "each-lease", "assignment": "utilization",
            "max_leases": 7, "retrieval": "polling", "idle_between_reads": "500ms", "max_idle_between_reads": "1m",
            "in_step": false, "prefetch_records": 100, "prefetch_bytes": "1MiB", "memory_budget": "64MiB",
            "max_batch_records": 50, "deaggregation": "keep-foreign", "copies": "drop", "handoff_timeout": "10s", "shutdown_grace": "5s",
            "warn_after": "30s", "metrics_level": "summary", "metrics_dimensions": "Operation,ShardId",
            "metrics_labels": "Fleet=blue", "metrics_prefixed": true
        }"#;
        let outside: WorkerSettings = serde_json::from_str(all).unwrap();

        assert_eq!(builder().settings(&outside).current_settings(), outside);

        let fan_out = r#"{"retrieval": "fan-out-or-polling", "consumer_name": "c", "consumer_arn": "arn:c"}"#;
        let fan_out: WorkerSettings = serde_json::from_str(fan_out).unwrap();
        let current = builder().settings(&fan_out).current_settings();
        let read = |settings: &WorkerSettings| {
            (settings.retrieval, settings.consumer_name.clone(), settings.consumer_arn.clone())
        };
        assert_eq!(read(&current), read(&fan_out));
        let keys = |settings: &WorkerSettings| settings.values().len();
        assert_eq!(keys(&outside) + keys(&fan_out) - 1 + 2, WorkerSettings::KEYS.len(), "two are the error policy's");
    }

    #[test]
    fn what_is_not_set_stays_as_the_code_has_it() {
        let before = builder().max_leases(3).current_settings();

        let after = builder().max_leases(3).settings(&WorkerSettings::default()).current_settings();

        assert_eq!(after, before);
    }

    #[test]
    fn settings_of_another_way_to_read_are_without_effect() {
        let text = r#"{"retrieval": "fan-out", "idle_between_reads": "2s", "processor_error_attempts": 3}"#;
        let outside: WorkerSettings = serde_json::from_str(text).unwrap();

        let retrieval = outside.reading(&crate::Retrieval::default());
        assert_eq!(outside.without_effect(&retrieval), ["idle_between_reads", "processor_error_attempts"]);

        let giving_up = WorkerSettings { on_processor_error: Some(GiveUp::Skip), ..outside };
        assert_eq!(giving_up.without_effect(&retrieval), ["idle_between_reads"]);
        assert!(giving_up.error_policy().is_some());
    }

    #[test]
    fn a_key_that_is_unknown_is_refused_with_the_nearest() {
        let error = serde_json::from_str::<WorkerSettings>(r#"{"lease_durations": "20s"}"#).unwrap_err().to_string();

        assert!(error.starts_with("there is no setting lease_durations; lease_duration is one"), "{error}");
    }
}
