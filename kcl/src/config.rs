//! How a worker is configured.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_types::SdkConfig;

use crate::{
    error::ConfigError,
    event::{Event, Events},
    kinesis::{Kinesis, SdkKinesis},
    lease::{WorkerId, dynamodb::DynamoDbLeaseStore, item},
    processor::ProcessorFactory,
    worker::Worker,
};

/// Where an application starts in shards that nobody has processed yet. Ignored where a checkpoint exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(alias = "InitialPositionInStream")]
pub enum InitialPosition {
    /// At the oldest record that the stream retains.
    TrimHorizon,
    /// After the newest record at the time of the first start.
    #[default]
    Latest,
    /// At the first record that arrived at this time or later.
    AtTimestamp(SystemTime),
}

/// How a leader shares the leases among the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(alias = "leaseAssignmentStrategy")]
#[non_exhaustive]
pub enum Assignment {
    /// The same number of leases for each worker.
    #[default]
    #[doc(alias = "LEASE_COUNT_BASED")]
    LeaseCount,
    /// The same use of CPU for each worker, where it can be measured (containers on Kubernetes or ECS, EC2 instances),
    /// else the same throughput. Leases move once a minute at most, and only beyond 10 % from the average.
    #[doc(alias = "WORKER_UTILIZATION_AWARE")]
    Utilization,
}

/// The worker's timings and bounds.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) application: String,
    pub(crate) stream: String,
    pub(crate) table: String,
    pub(crate) create_table: bool,
    pub(crate) worker_id: WorkerId,
    pub(crate) initial_position: InitialPosition,
    pub(crate) lease_duration: Duration,
    pub(crate) assignment: Assignment,
    pub(crate) assignment_interval: Duration,
    pub(crate) discovery_interval: Duration,
    pub(crate) handoff_timeout: Duration,
    pub(crate) max_leases: usize,
    pub(crate) idle_between_reads: Duration,
    pub(crate) shutdown_grace: Duration,
}

/// Builds a [`Worker`]. Get one from [`Worker::builder`].
#[derive(Debug, Clone)]
#[must_use = "a worker must be built and run"]
pub struct WorkerBuilder {
    aws: SdkConfig,
    settings: Settings,
    events: Events,
}

impl WorkerBuilder {
    pub(crate) fn new(aws: &SdkConfig, application: String, stream: String) -> Self {
        let settings = Settings {
            table: application.clone(),
            create_table: true,
            application,
            stream,
            worker_id: WorkerId::new(uuid::Uuid::new_v4().to_string()),
            initial_position: InitialPosition::default(),
            lease_duration: Duration::from_secs(10),
            assignment: Assignment::default(),
            assignment_interval: Duration::from_secs(1),
            discovery_interval: Duration::from_millis(500),
            handoff_timeout: Duration::from_secs(30),
            max_leases: usize::MAX,
            idle_between_reads: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(30),
        };
        Self { aws: aws.clone(), settings, events: Events::default() }
    }

    /// Identifies this worker in its fleet. Default: a random UUID.
    ///
    /// A stable id lets a restarted worker resume its leases at once. Two live workers must never share one: the
    /// younger ends with [`WorkerError::WorkerIdInUse`](crate::WorkerError::WorkerIdInUse).
    #[doc(alias = "workerIdentifier")]
    pub fn worker_id(mut self, id: impl Into<String>) -> Self {
        self.settings.worker_id = WorkerId::new(id.into());
        self
    }

    /// Where to start in shards without a checkpoint. Default [`InitialPosition::Latest`].
    #[doc(alias = "initialPositionInStreamExtended")]
    pub fn initial_position(mut self, position: InitialPosition) -> Self {
        self.settings.initial_position = position;
        self
    }

    /// Name of the lease table. Default: the application's name.
    #[doc(alias = "tableName")]
    pub fn lease_table(mut self, table: impl Into<String>) -> Self {
        self.settings.table = table.into();
        self
    }

    /// Whether to create the lease table and its index if they do not exist. Default true. With false a missing table or
    /// index ends the worker with an error that names it, and the permissions `dynamodb:CreateTable` and
    /// `dynamodb:UpdateTable` are not needed.
    pub fn create_lease_table(mut self, create: bool) -> Self {
        self.settings.create_table = create;
        self
    }

    /// How long a lease lives without a renewal; after it, other workers take over from a worker that died.
    /// Default 10 s, at least 1 s. Must be the same on all workers. Source: KCL `failoverTimeMillis`.
    #[doc(alias = "failoverTimeMillis")]
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.settings.lease_duration = duration;
        self
    }

    /// How this worker shares out the leases when it leads. Default [`Assignment::LeaseCount`].
    pub fn assignment(mut self, assignment: Assignment) -> Self {
        self.settings.assignment = assignment;
        self
    }

    /// Most leases that this worker, when it leads, gives to any one worker. Default: no limit.
    #[doc(alias = "maxLeasesForWorker")]
    pub fn max_leases(mut self, leases: usize) -> Self {
        self.settings.max_leases = leases;
        self
    }

    /// Pause between reads of a shard that has no more records. Default 1 s, at least 200 ms (a shard serves 5 reads a
    /// second to all its readers). While records are waiting, reads follow each other as fast as the shard's limits allow.
    #[doc(alias = "idleTimeBetweenReadsInMillis")]
    pub fn idle_between_reads(mut self, pause: Duration) -> Self {
        self.settings.idle_between_reads = pause;
        self
    }

    /// How long an owner may take to hand a lease over before it is taken away. Default 30 s.
    /// Source: KCL `gracefulLeaseHandoffTimeoutMillis`.
    #[doc(alias = "gracefulLeaseHandoffTimeoutMillis")]
    pub fn handoff_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handoff_timeout = timeout;
        self
    }

    /// How long processors may take to finish when the worker stops, before they are dropped. Default 30 s.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.settings.shutdown_grace = grace;
        self
    }

    /// Calls `handler` for each [`Event`], on the worker's own tasks: it must return at once.
    pub fn on_event(mut self, handler: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.events = Events::to(handler);
        self
    }

    /// Builds a worker that runs one processor, made by `factory`, for each shard it holds.
    ///
    /// # Errors
    /// A setting is out of its bounds. Nothing is called over the network yet.
    pub fn build<F: ProcessorFactory>(self, factory: F) -> Result<Worker<F>, ConfigError> {
        self.validate()?;
        let Self { aws, settings, events } = self;
        let kinesis: Arc<dyn Kinesis> = Arc::new(SdkKinesis::new(&aws, settings.stream.clone()));
        let store = Arc::new(DynamoDbLeaseStore::new(
            &aws,
            settings.application.clone(),
            settings.table.clone(),
            settings.create_table,
        ));
        Ok(Worker::new(settings, events, kinesis, store, factory))
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Settings, Events) {
        (self.settings, self.events)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let settings = &self.settings;
        let names = [
            ("application name", settings.application.as_str()),
            ("stream", &settings.stream),
            ("lease table name", &settings.table),
            ("worker id", settings.worker_id.as_str()),
        ];
        if let Some((what, _)) = names.iter().find(|(_, name)| name.trim().is_empty()) {
            return Err(ConfigError::Empty { what });
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
        if settings.max_leases == 0 {
            return Err(ConfigError::OutOfBounds { what: "max leases", value: "0".to_owned(), bounds: "at least 1" });
        }
        Ok(())
    }
}
