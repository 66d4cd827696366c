//! Settings of the worker: application, stream, retrieval, leases, failures.

use std::{
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use kcl::{FanOut, InitialPosition, MetricsDimension, MetricsLevel, Polling, Retrieval};

use super::{SettingsError, reader::Reader};

/// Source: the daemon for Java, `maxRecords`; also the maximum.
const MAX_RECORDS: u32 = 10_000;
/// Source: the daemon for Java, `idleTimeBetweenReadsInMillis`.
const IDLE: Duration = Duration::from_millis(1_500);
/// Minimum of the same.
const MIN_IDLE: Duration = Duration::from_millis(200);
/// Source: the daemon for Java, `failoverTimeMillis`.
const LEASE_DURATION: Duration = Duration::from_secs(10);
/// Default time for children to finish at a stop. The daemon for Java gives them none.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
/// Default number of failures at the same records before they are given up, with a policy that gives up.
const ATTEMPTS: u32 = 5;

/// Settings of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consume {
    pub(crate) application: String,
    pub(crate) stream: String,
    pub(crate) table: Option<String>,
    pub(crate) worker_id: Option<String>,
    pub(crate) initial_position: InitialPosition,
    pub(crate) read: Read,
    pub(crate) max_records: u32,
    /// Bytes of records that are read and not answered, of all shards together.
    pub(crate) memory_budget: Option<u64>,
    pub(crate) lease_duration: Duration,
    pub(crate) max_leases: Option<u64>,
    pub(crate) handoff_timeout: Option<Duration>,
    pub(crate) shutdown_grace: Duration,
    pub(crate) warn_after: Option<Duration>,
    pub(crate) migrate: bool,
    /// Names of the tables of leader and metrics in fleets of 3.0 to 3.4.
    pub(crate) legacy_tables: (String, String),
    pub(crate) metrics_level: MetricsLevel,
    pub(crate) dimensions: Option<Vec<MetricsDimension>>,
    /// Time from one publishing of metrics to the next.
    pub(crate) metrics_interval: Option<Duration>,
    pub(crate) metrics_queue: Option<u64>,
    pub(crate) attempts: u32,
    pub(crate) give_up: GiveUp,
}

/// Way to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    Polling { idle: Duration },
    FanOut { name: Option<String>, arn: Option<String> },
}

/// Reaction to records at which children keep failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GiveUp {
    Never,
    Skip,
    StopShard,
    DeadLetter(PathBuf),
}

impl Consume {
    pub(super) fn read(reader: &Reader, notes: &mut Vec<String>) -> Result<Self, SettingsError> {
        let application = reader.filled("applicationName").map(str::to_owned).ok_or(SettingsError::Missing {
            key: "applicationName",
            example: "name of the application and of its lease table, as in applicationName = MyApplication",
        })?;
        let stream = stream(reader)?;
        refuse_compatibility(reader)?;
        if reader.boolean("isGracefulLeaseHandoffEnabled")? == Some(false) {
            notes.push(
                "isGracefulLeaseHandoffEnabled = false has no effect: leases are always handed over in good order"
                    .to_owned(),
            );
        }
        let legacy = |key: &str, suffix: &str| {
            reader.filled(key).map_or_else(|| format!("{application}-{suffix}"), str::to_owned)
        };
        let coordinator_state = legacy("coordinatorStateTableName", "CoordinatorState");
        let worker_metrics = legacy("workerMetricsTableName", "WorkerMetricStats");
        let (identifier, id) = (reader.filled("workerIdentifier"), reader.filled("workerId"));
        Ok(Self {
            stream,
            table: reader.filled("tableName").map(str::to_owned),
            worker_id: id.or(identifier).map(str::to_owned),
            initial_position: initial_position(reader)?,
            read: read(reader)?,
            max_records: max_records(reader)?,
            memory_budget: memory_budget(reader)?,
            lease_duration: reader.millis("failoverTimeMillis")?.unwrap_or(LEASE_DURATION),
            max_leases: reader.number("maxLeasesForWorker")?,
            handoff_timeout: reader.number_or_zero("gracefulLeaseHandoffTimeoutMillis")?.map(Duration::from_millis),
            shutdown_grace: reader.millis("shutdownGraceMillis")?.unwrap_or(SHUTDOWN_GRACE),
            warn_after: reader.millis("logWarningForTaskAfterMillis")?,
            migrate: reader.boolean("migrateAllEntitiesToLeaseTable")?.unwrap_or_default(),
            legacy_tables: (coordinator_state, worker_metrics),
            metrics_level: metrics_level(reader)?,
            dimensions: dimensions(reader)?,
            metrics_interval: reader.millis("metricsBufferTimeMillis")?,
            metrics_queue: reader.number("metricsMaxQueueSize")?,
            attempts: attempts(reader)?,
            give_up: give_up(reader)?,
            application,
        })
    }

    pub(crate) fn retrieval(&self) -> Retrieval {
        match &self.read {
            Read::Polling { idle } => Polling::new().idle_between_reads(*idle).into(),
            Read::FanOut { name, arn } => {
                let mut fan_out = FanOut::new().or_polling();
                if let Some(name) = name {
                    fan_out = fan_out.consumer_name(name.as_str());
                }
                if let Some(arn) = arn {
                    fan_out = fan_out.consumer_arn(arn.as_str());
                }
                fan_out.into()
            }
        }
    }
}

/// The name; of an ARN, which wins, neither region nor account count.
fn stream(reader: &Reader) -> Result<String, SettingsError> {
    let name = reader.filled("streamName").map(str::to_owned);
    let expected = "an ARN as arn:aws:kinesis:us-east-1:123456789012:stream/NAME";
    let of_arn = reader.parsed("streamArn", expected, |arn| {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [prefix, _, "kinesis", _, _, resource] = parts.as_slice() else { return None };
        let name = resource.strip_prefix("stream/")?.split('/').next()?;
        (*prefix == "arn" && !name.is_empty()).then(|| name.to_owned())
    })?;
    of_arn.or(name).ok_or(SettingsError::Missing {
        key: "streamName",
        example: "the stream to read, as in streamName = MyStream; or streamArn, which wins",
    })
}

fn initial_position(reader: &Reader) -> Result<InitialPosition, SettingsError> {
    let time = reader.parsed("initialPositionInStreamExtended", "a time in whole seconds since 1970", |text| {
        UNIX_EPOCH.checked_add(Duration::from_secs(text.parse().ok()?))
    })?;
    let words = [("LATEST", Some(InitialPosition::Latest)), ("TRIM_HORIZON", Some(InitialPosition::TrimHorizon))];
    let at_timestamp = ("AT_TIMESTAMP", None);
    match (reader.word("initialPositionInStream", &[words[0], words[1], at_timestamp])?, time) {
        (_, Some(time)) => Ok(InitialPosition::AtTimestamp(time)),
        (Some(Some(position)), None) => Ok(position),
        (Some(None), None) => {
            let expected = "LATEST or TRIM_HORIZON; the time of AT_TIMESTAMP goes to initialPositionInStreamExtended";
            Err(Reader::unreadable("initialPositionInStream", "AT_TIMESTAMP", expected))
        }
        (None, None) => Ok(InitialPosition::Latest),
    }
}

fn read(reader: &Reader) -> Result<Read, SettingsError> {
    #[derive(Clone, Copy)]
    enum Mode {
        FanOut,
        Polling,
    }
    let words = [("FANOUT", Some(Mode::FanOut)), ("POLLING", Some(Mode::Polling)), ("DEFAULT", None)];
    let mode = reader.word("retrievalMode", &words)?.flatten();
    let idle = match reader.millis("pollingConfig.idleTimeBetweenReadsInMillis")? {
        Some(idle) => Some(idle),
        None => reader.millis("idleTimeBetweenReadsInMillis")?,
    };
    let is_polling_set =
        idle.is_some() || reader.filled("maxRecords").is_some() || reader.filled("pollingConfig.maxRecords").is_some();
    let filled = |key: &str| reader.filled(key).map(str::to_owned);
    let (name, arn) = (filled("fanoutConfig.consumerName"), filled("fanoutConfig.consumerArn"));
    Ok(match mode {
        Some(Mode::FanOut) => Read::FanOut { name, arn },
        None if !is_polling_set => Read::FanOut { name, arn },
        _ => Read::Polling { idle: idle.unwrap_or(IDLE).max(MIN_IDLE) },
    })
}

fn max_records(reader: &Reader) -> Result<u32, SettingsError> {
    let expected = "a whole number from 1 to 10000";
    let parse = |text: &str| text.parse().ok().filter(|records| *records <= MAX_RECORDS);
    let own = reader.parsed("pollingConfig.maxRecords", expected, parse)?;
    let plain = reader.parsed("maxRecords", expected, parse)?;
    Ok(own.or(plain).filter(|records| *records > 0).unwrap_or(MAX_RECORDS))
}

fn memory_budget(reader: &Reader) -> Result<Option<u64>, SettingsError> {
    let parse = |text: &str| text.parse().ok().and_then(|mib: u64| mib.checked_mul(1 << 20));
    Ok(reader.parsed("memoryBudgetMiB", "a whole number of MiB from 1", parse)?.filter(|bytes| *bytes > 0))
}

fn refuse_compatibility(reader: &Reader) -> Result<(), SettingsError> {
    let expected = "CLIENT_VERSION_CONFIG_3X; a fleet with workers of KCL 2.x is migrated by the daemon for Java";
    let parse = |text: &str| text.eq_ignore_ascii_case("CLIENT_VERSION_CONFIG_3X").then_some(());
    reader.parsed("clientVersionConfig", expected, parse).map(|_| ())
}

fn metrics_level(reader: &Reader) -> Result<MetricsLevel, SettingsError> {
    let words =
        [("NONE", MetricsLevel::None), ("SUMMARY", MetricsLevel::Summary), ("DETAILED", MetricsLevel::Detailed)];
    Ok(reader.word("metricsLevel", &words)?.unwrap_or(MetricsLevel::Detailed))
}

fn dimensions(reader: &Reader) -> Result<Option<Vec<MetricsDimension>>, SettingsError> {
    let expected = "ALL, or a comma list of Operation, ShardId, WorkerIdentifier";
    let list = reader.parsed("metricsEnabledDimensions", expected, |text| {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| match name.to_ascii_lowercase().as_str() {
                "all" => Some(None),
                "operation" => Some(Some(MetricsDimension::Operation)),
                "shardid" => Some(Some(MetricsDimension::ShardId)),
                "workeridentifier" => Some(Some(MetricsDimension::WorkerIdentifier)),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
    })?;
    // One ALL makes it all.
    Ok(list.and_then(|list| list.into_iter().collect()))
}

fn attempts(reader: &Reader) -> Result<u32, SettingsError> {
    let parse = |text: &str| text.parse().ok().filter(|attempts| *attempts > 0);
    Ok(reader.parsed("processorErrorAttempts", "a whole number from 1", parse)?.unwrap_or(ATTEMPTS))
}

fn give_up(reader: &Reader) -> Result<GiveUp, SettingsError> {
    #[derive(Clone, Copy)]
    enum Policy {
        Restart,
        Skip,
        StopShard,
        DeadLetter,
    }
    let words = [
        ("RESTART", Policy::Restart),
        ("SKIP", Policy::Skip),
        ("STOP_SHARD", Policy::StopShard),
        ("DEAD_LETTER", Policy::DeadLetter),
    ];
    let file = reader.filled("deadLetterFile").map(PathBuf::from);
    let policy = reader.word("processorErrorPolicy", &words)?;
    match (policy, file) {
        (None | Some(Policy::DeadLetter), Some(file)) => Ok(GiveUp::DeadLetter(file)),
        (Some(Policy::DeadLetter), None) => Err(SettingsError::Missing {
            key: "deadLetterFile",
            example: "the file for records that are given up, as in deadLetterFile = /var/lib/app/dead-letters.jsonl",
        }),
        (Some(Policy::Skip), _) => Ok(GiveUp::Skip),
        (Some(Policy::StopShard), _) => Ok(GiveUp::StopShard),
        (None | Some(Policy::Restart), _) => Ok(GiveUp::Never),
    }
}
