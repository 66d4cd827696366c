//! Bounds of the settings.

use std::time::Duration;

use super::builder::WorkerBuilder;
use crate::{
    error::ConfigError,
    logic::purpose::{Purpose, ReplayWindow},
    model::{FanOut, InitialPosition, Retrieval, is_name_or_arn},
    settings::streams::Source,
    table::item,
    time::rfc_3339,
};

/// Maximum error of the machine's clock, as no answer of a service is known yet.
const CLOCK_ERROR: Duration = Duration::from_secs(60 * 60);

/// Less than half of the life of an iterator.
const MAX_IDLE: Duration = Duration::from_secs(120);

/// In bytes: that of the largest record until 2025.
const MIN_MEMORY_BUDGET: u64 = 1 << 20;

/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>
pub(crate) const TABLE_NAME: &str =
    "the name of a DynamoDB table: 3 to 255 of the characters a-z, A-Z, 0-9, _, . and -";

pub(crate) fn is_table_name(name: &str) -> bool {
    // DynamoDB takes the ARN of a table in place of its name.
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.starts_with("arn:") || ((3..=255).contains(&name.len()) && name.bytes().all(valid))
}

fn out_of_bounds(setting: &'static str, value: String, bounds: &str) -> Result<(), ConfigError> {
    Err(ConfigError::OutOfBounds { setting, value, bounds: bounds.to_owned() })
}

fn named(setting: &'static str, name: &str, is_valid: bool, expected: &'static str) -> Result<(), ConfigError> {
    if is_valid { Ok(()) } else { Err(ConfigError::InvalidName { setting, value: name.to_owned(), expected }) }
}

/// Refuses 0.
pub(crate) fn at_least_1(setting: &'static str, count: usize) -> Result<(), ConfigError> {
    if count == 0 { out_of_bounds(setting, "0".to_owned(), "at least 1") } else { Ok(()) }
}

impl WorkerBuilder {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.validate_streams()?;
        self.validate_names()?;
        self.validate_bounds()?;
        self.validate_regions()
    }

    /// A replay keeps its leases in memory.
    fn validate_regions(&self) -> Result<(), ConfigError> {
        let has_dynamodb = !self.settings.purpose.has_leader() || self.dynamodb.region().is_some();
        for (service, has_region) in [("Kinesis", self.kinesis.region().is_some()), ("DynamoDB", has_dynamodb)] {
            if !has_region {
                return Err(ConfigError::MissingRegion { service });
            }
        }
        Ok(())
    }

    fn validate_streams(&self) -> Result<(), ConfigError> {
        let streams = match (&self.source, &self.settings.retrieval) {
            (Source::Multi(_), Retrieval::FanOut(FanOut { consumer_arn: Some(_), .. })) => {
                return Err(ConfigError::ConsumerOfSeveralStreams);
            }
            (Source::Multi(streams), _) => streams.get(),
            (Source::Single(stream), _) => vec![stream.clone()],
        };
        for stream in streams {
            named("stream", &stream.stream, is_name_or_arn(&stream.stream), "a stream name or a stream ARN")?;
            if let InitialPosition::AtTimestamp(time) = stream.initial_position.unwrap_or(self.initial_position)
                && time.duration_since(self.settings.clock.now()).is_ok_and(|ahead| ahead > CLOCK_ERROR)
            {
                let bounds = "at most an hour ahead of the machine's clock";
                return out_of_bounds("initial_position", rfc_3339(time.into()), bounds);
            }
        }
        Ok(())
    }

    fn validate_names(&self) -> Result<(), ConfigError> {
        let (settings, is_name) = (&self.settings, |name: &str| !name.trim().is_empty());
        named("application", &settings.application, is_name(&settings.application), "an application's name")?;
        let table = if settings.table == settings.application { "application" } else { "lease_table" };
        named(table, &settings.table, is_table_name(&settings.table), TABLE_NAME)?;
        let worker_id = settings.worker_id.as_str();
        let is_id = is_name(worker_id) && !item::is_reserved_key(worker_id);
        named("worker_id", worker_id, is_id, "a worker's id, or it is a reserved key of the lease table")
    }

    fn validate_bounds(&self) -> Result<(), ConfigError> {
        let (settings, second) = (&self.settings, Duration::from_secs(1));
        let idle = settings.retrieval.idle_between_reads();
        let minima = [
            ("lease_duration", settings.lease_duration, second, "at least 1 s"),
            ("warn_after", settings.warn_after, second, "at least 1 s"),
            ("adopt_2x", settings.adopt_after.map_or(second, |wait| wait / 2), second, "at least 1 s"),
            ("idle_between_reads", idle, Duration::from_millis(200), "at least 200 ms"),
        ];
        if let Some((setting, value, _, bounds)) = minima.into_iter().find(|(_, value, minimum, _)| value < minimum) {
            return out_of_bounds(setting, format!("{value:?}"), bounds);
        }
        if let Some(max) = settings.retrieval.polling().max_idle()
            && !(idle..=MAX_IDLE).contains(&max)
        {
            let bounds = "from idle_between_reads to 2 min";
            return out_of_bounds("max_idle_between_reads", format!("{max:?}"), bounds);
        }
        if let Purpose::Replay(ReplayWindow { from, to }) = settings.purpose
            && from >= to
        {
            let window = format!("{}..{}", rfc_3339(from.into()), rfc_3339(to.into()));
            return out_of_bounds("replay", window, "a window that ends after its start");
        }
        if settings.memory_budget < MIN_MEMORY_BUDGET {
            return out_of_bounds("memory_budget", settings.memory_budget.to_string(), "at least 1 MiB");
        }
        if let Some(label) = settings.metrics.invalid_label() {
            return out_of_bounds("metrics", format!("{label:?}"), "labels with a name and a value");
        }
        if let Some((0, _)) = settings.error_policy.limit {
            return out_of_bounds("on_processor_error", "0 attempts".to_owned(), "at least 1");
        }
        let counts = [
            ("max_leases", settings.max_leases),
            ("prefetch_records", settings.prefetch.records as usize),
            ("prefetch_bytes", settings.prefetch.bytes as usize),
            ("max_batch_records", settings.max_batch_records as usize),
            ("records of CheckpointEvery", settings.checkpoint_every.map_or(1, |every| every.records as usize)),
        ];
        counts.into_iter().try_for_each(|(setting, count)| at_least_1(setting, count))
    }
}
