//! Bounds of the settings.

use std::time::Duration;

use super::builder::WorkerBuilder;
use crate::{
    error::ConfigError,
    logic::purpose::Purpose,
    model::{FanOut, InitialPosition, Retrieval},
    settings::streams::Source,
    table::item,
};

/// Maximum error of the machine's clock, as no answer of a service is known yet.
const CLOCK_ERROR: Duration = Duration::from_secs(60 * 60);

/// Names of tables. docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
const TABLE_NAME: &str = "3 to 255 of the characters a-z, A-Z, 0-9, _, . and -, as a DynamoDB table has the name";

fn is_table_name(name: &str) -> bool {
    // DynamoDB takes the ARN of a table in place of its name.
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.starts_with("arn:") || ((3..=255).contains(&name.len()) && name.bytes().all(valid))
}

impl WorkerBuilder {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let settings = &self.settings;
        if let (Source::Multi(_), Retrieval::FanOut(FanOut { consumer_arn: Some(_), .. })) =
            (&self.source, &settings.retrieval)
        {
            return Err(ConfigError::ConsumerOfSeveralStreams);
        }
        let streams = match &self.source {
            Source::Single(stream) => vec![stream.clone()],
            Source::Multi(streams) => streams.get(),
        };
        if streams.iter().any(|stream| stream.stream.trim().is_empty()) {
            return Err(ConfigError::Empty { what: "stream" });
        }
        let positions = streams.iter().map(|stream| stream.initial_position.unwrap_or(self.initial_position));
        for position in positions {
            if let InitialPosition::AtTimestamp(time) = position
                && time.duration_since(settings.clock.now()).is_ok_and(|ahead| ahead > CLOCK_ERROR)
            {
                let (what, bounds) = ("initial position", "at most an hour ahead of the machine's clock");
                return Err(ConfigError::OutOfBounds { what, value: format!("{position:?}"), bounds });
            }
        }
        let names = [
            ("application name", settings.application.as_str()),
            ("lease table name", &settings.table),
            ("worker id", settings.worker_id.as_str()),
        ];
        if let Some((what, _)) = names.iter().find(|(_, name)| name.trim().is_empty()) {
            return Err(ConfigError::Empty { what });
        }
        if !is_table_name(&settings.table) {
            let what = if settings.table == settings.application { "application name" } else { "lease table name" };
            return Err(ConfigError::OutOfBounds { what, value: format!("{:?}", settings.table), bounds: TABLE_NAME });
        }
        let worker_id = settings.worker_id.as_str();
        if item::is_reserved_key(worker_id) {
            return Err(ConfigError::ReservedWorkerId { worker_id: worker_id.to_owned() });
        }
        let least = |what, value: Duration, least: Duration, bounds| {
            (value < least).then(|| ConfigError::OutOfBounds { what, value: format!("{value:?}"), bounds })
        };
        let bounds = [
            least("lease duration", settings.lease_duration, Duration::from_secs(1), "at least 1 s"),
            least("time to warn after", settings.warn_after, Duration::from_secs(1), "at least 1 s"),
            least(
                "idle time between reads",
                settings.idle_between_reads,
                Duration::from_millis(200),
                "at least 200 ms",
            ),
        ];
        if let Some(error) = bounds.into_iter().flatten().next() {
            return Err(error);
        }
        if let Purpose::Replay(window) = settings.purpose
            && window.from >= window.to
        {
            let (what, bounds) = ("replay", "a window that ends after its start");
            return Err(ConfigError::OutOfBounds { what, value: format!("{window:?}"), bounds });
        }
        let counts = [
            ("max leases", settings.max_leases),
            ("prefetch records", settings.prefetch.records as usize),
            ("prefetch bytes", settings.prefetch.bytes as usize),
            ("max batch records", settings.max_batch_records as usize),
            ("concurrency", settings.concurrency),
            ("attempts", settings.error_policy.limit.as_ref().map_or(1, |(attempts, _)| *attempts as usize)),
            ("checkpoint every records", settings.checkpoint_every.map_or(1, |every| every.records as usize)),
        ];
        if let Some((what, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::OutOfBounds { what, value: "0".to_owned(), bounds: "at least 1" });
        }
        Ok(())
    }
}
