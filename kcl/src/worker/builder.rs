//! The builder of a worker.

use std::time::Duration;

use aws_types::SdkConfig;
use kpl::compressed::FrameReader;

use crate::{
    calls::Calls,
    clock::ServiceClock,
    event::{Event, Events},
    logic::purpose::Purpose,
    model::{
        Assignment, Copies, Deaggregation, InitialPosition, LegacyTables, Prefetch, Renewals, Retrieval, WorkerId,
    },
    settings::{Settings, error_policy::ErrorPolicy, metrics::Metrics, streams::Source},
};

/// Time without a sign of life of an application of KCL 1.x or 2.x whose failover time is not known: 18 times its default.
const ADOPT_AFTER: Duration = Duration::from_secs(180);

/// Builds a [`Worker`](crate::Worker). Get one from [`Worker::builder`](crate::Worker::builder).
///
/// Durations beyond 365 days count as 365 days: `Duration::MAX` stands for never, or for as long as it takes.
///
/// ```no_run
/// use std::time::Duration;
///
/// use kcl::{BoxError, CheckpointEvery, ErrorPolicy, InitialPosition, Polling, Worker};
///
/// # async fn example(aws: &aws_types::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::builder(aws, "printer", "orders")
///     .worker_id("host-1") // resumes its leases at once after a restart
///     .initial_position(InitialPosition::TrimHorizon)
///     .lease_duration(Duration::from_secs(20)) // on all workers
///     .retrieval(Polling::new().idle_between_reads(Duration::from_millis(500)))
///     .memory_budget(128 << 20)
///     .on_processor_error(ErrorPolicy::stop_shard_after(10))
///     .build_for_each(CheckpointEvery::default(), 1, |record| async move {
///         println!("{}", record.partition_key);
///         Ok::<(), BoxError>(())
///     })?
///     .start();
/// # let told = async {};
/// told.await; // by a signal, for example
/// worker.stop().await?; // checkpoints, and releases the leases
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a worker must be built and run"]
pub struct WorkerBuilder {
    pub(super) kinesis: aws_sdk_kinesis::Config,
    pub(crate) dynamodb: aws_sdk_dynamodb::Config,
    pub(super) source: Source,
    pub(super) initial_position: InitialPosition,
    pub(crate) settings: Settings,
    pub(crate) events: Events,
}

impl WorkerBuilder {
    pub(crate) fn new(aws: &SdkConfig, application: String, source: Source) -> Self {
        let settings = Settings {
            clock: ServiceClock::new(aws),
            calls: Calls::default(),
            table: application.clone(),
            create_table: true,
            legacy_tables: LegacyTables::of(&application),
            adopt_after: None,
            application,
            worker_id: WorkerId::new(uuid::Uuid::new_v4().to_string()),
            is_worker_id_set: false,
            metrics: Metrics::default(),
            lease_duration: Duration::from_secs(10),
            renewals: Renewals::default(),
            assignment: Assignment::default(),
            assignment_interval: Duration::from_secs(1),
            discovery_interval: Duration::from_millis(500),
            handoff_timeout: Duration::from_secs(30),
            max_leases: usize::MAX,
            shutdown_grace: Duration::from_secs(30),
            warn_after: Duration::from_secs(60),
            retrieval: Retrieval::default(),
            prefetch: Prefetch::default(),
            memory_budget: 512 << 20,
            max_batch_records: 10_000,
            error_policy: ErrorPolicy::default(),
            checkpoint_every: None,
            deaggregation: Deaggregation::default(),
            copies: Copies::default(),
            frames: FrameReader::new(),
            purpose: Purpose::Live,
        };
        let initial_position = InitialPosition::default();
        let (kinesis, dynamodb) = (aws.into(), aws.into());
        Self { kinesis, dynamodb, source, initial_position, settings, events: Events::default() }
    }

    /// Identifies this worker in its fleet. Default: a random UUID.
    ///
    /// With a stable id a restarted worker resumes its leases at once. Of two live workers with one id the younger ends
    /// with [`WorkerError::WorkerIdInUse`](crate::WorkerError::WorkerIdInUse), or waits if the older is stopping.
    #[doc(alias = "workerIdentifier")]
    pub fn worker_id(mut self, id: impl Into<String>) -> Self {
        self.settings.worker_id = WorkerId::new(id.into());
        self.settings.is_worker_id_set = true;
        self
    }

    /// Start in shards without a checkpoint. Default [`InitialPosition::Latest`]. Of many streams each may have its own.
    #[doc(alias = "initialPositionInStreamExtended")]
    pub fn initial_position(mut self, position: InitialPosition) -> Self {
        self.initial_position = position;
        self
    }

    /// Name of the lease table. Default: the application's name.
    #[doc(alias = "tableName")]
    pub fn lease_table(mut self, table: impl Into<String>) -> Self {
        self.settings.table = table.into();
        self
    }

    /// Keeps the lease table with other credentials, in another account or region than the stream. Default: the
    /// configuration of [`Worker::builder`](crate::Worker::builder).
    pub fn lease_table_config(mut self, aws: &SdkConfig) -> Self {
        self.dynamodb = aws.into();
        self
    }

    /// Calls Kinesis as this client is configured. Default: the configuration of [`Worker::builder`](crate::Worker::builder).
    ///
    /// Keeps the client's configuration except retries, which the worker makes itself. Default time-out of a call: 30
    /// s. Also for [`reset`](Self::reset), [`replay`](Self::replay) and
    /// [`deregister_consumer`](Self::deregister_consumer).
    #[doc(alias = "kinesisClient")]
    pub fn kinesis_client(mut self, client: &aws_sdk_kinesis::Client) -> Self {
        self.kinesis = client.config().clone();
        self
    }

    /// Calls DynamoDB as this client is configured. Default: the configuration of [`Worker::builder`](crate::Worker::builder).
    ///
    /// Keeps the client's configuration, retries included. Default time-outs: 60 s a call, 3 s an attempt.
    #[doc(alias = "dynamoDBClient")]
    pub fn dynamodb_client(mut self, client: &aws_sdk_dynamodb::Client) -> Self {
        self.dynamodb = client.config().clone();
        self
    }

    /// Creates the lease table and its index if they do not exist. Default true. With false, `dynamodb:CreateTable` and
    /// `dynamodb:UpdateTable` are not needed, and a missing table or index ends the worker with an error that names it.
    pub fn create_lease_table(mut self, create: bool) -> Self {
        self.settings.create_table = create;
        self
    }

    /// Names of the tables in which workers of KCL 3.0 to 3.4 keep leader and metrics. Default: the application's name
    /// with `-CoordinatorState` and `-WorkerMetricStats`. While the first exists and is not migrated to the lease
    /// table, this worker uses both too; it never creates them.
    #[doc(alias = "coordinatorStateTableConfig")]
    #[doc(alias = "workerMetricsTableConfig")]
    pub fn legacy_tables(mut self, coordinator_state: impl Into<String>, worker_metrics: impl Into<String>) -> Self {
        self.settings.legacy_tables.coordinator_state = coordinator_state.into();
        self.settings.legacy_tables.worker_metrics = worker_metrics.into();
        self
    }

    /// Takes part in the migration of a fleet from the tables of KCL 3.0 to 3.4 to the lease table. Default false. Set
    /// it on all workers once all have run KCL 3.5 or this library for an hour; before, the worker ends with an error.
    /// The leader, of Java 3.5 or of this library, takes the steps: within a minute of the last worker's start without the old
    /// tables it moves what is in them, and a day later ends the migration for good. Until then the fleet can go back.
    /// [`Fleet::table_migration`](crate::Fleet::table_migration) shows what it waits for.
    #[doc(alias = "migrateAllEntitiesToLeaseTable")]
    pub fn migrate_to_one_table(mut self, migrate: bool) -> Self {
        self.settings.legacy_tables.migrate = migrate;
        self
    }

    /// Takes over an application of KCL 1.x or 2.x, of Java or of its multi-language daemon, from its checkpoints. Default: it is
    /// refused. Without effect on other applications, so that the setting may stay.
    ///
    /// The worker waits until no lease has changed for twice `failover`, the old workers' `failoverTimeMillis`, at least 1 s; for
    /// three minutes if that is `None`, which is enough for 90 s and less. Workers may be started while the old ones still stop. One
    /// of them takes over, the others wait for it. Each claims leases by conditional writes and looks again afterwards: an old
    /// worker that comes back stops it, with [`Event::AdoptionStopped`], and the wait begins anew. Nothing is written before the
    /// claims. A fleet that still lives an hour later ends the worker.
    ///
    /// Until the application is declared to be of KCL 3.x, its last write, workers of KCL 2.x can go on at any time.
    /// `docs/compatibility.md` has the way back from there.
    pub fn adopt_2x(mut self, failover: Option<Duration>) -> Self {
        self.settings.adopt_after = Some(failover.map_or(ADOPT_AFTER, |failover| failover.saturating_mul(2)));
        self
    }

    /// Life of a lease without a renewal; after it, other workers take over.
    /// Default 10 s, at least 1 s. Must be the same on all workers. Source: KCL `failoverTimeMillis`.
    #[doc(alias = "failoverTimeMillis")]
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.settings.lease_duration = duration;
        self
    }

    /// Renewal of the leases held. Default [`Renewals::Automatic`], which has an effect once all workers have it.
    pub fn renewals(mut self, renewals: Renewals) -> Self {
        self.settings.renewals = renewals;
        self
    }

    /// Measure by which this worker shares out the leases when it leads. Default [`Assignment::LeaseCount`].
    pub fn assignment(mut self, assignment: Assignment) -> Self {
        self.settings.assignment = assignment;
        self
    }

    /// Maximum leases that this worker, when it leads, gives to any one worker. Default: no limit.
    #[doc(alias = "maxLeasesForWorker")]
    pub fn max_leases(mut self, leases: usize) -> Self {
        self.settings.max_leases = leases;
        self
    }

    /// Way to read shards: [`Polling`](crate::Polling), the default, or [`FanOut`](crate::FanOut), which costs extra.
    #[doc(alias = "retrievalConfig")]
    pub fn retrieval(mut self, retrieval: impl Into<Retrieval>) -> Self {
        self.settings.retrieval = retrieval.into();
        self
    }

    /// Maximum Kinesis records, before deaggregation, that wait for a shard's processor. Default 30,000, at least 1. One
    /// answer of Kinesis alone may exceed it. Source: KCL `maxRecordsCount`.
    pub fn prefetch_records(mut self, records: u32) -> Self {
        self.settings.prefetch.records = records;
        self
    }

    /// Maximum bytes of data and keys that wait for a shard's processor. Default 8 MiB, at least 1. One answer, of up
    /// to 10 MiB, may exceed it. A shard also holds the answer in work and the next. [`memory_budget`](Self::memory_budget)
    /// bounds all shards together. Source: KCL `maxByteSize`.
    pub fn prefetch_bytes(mut self, bytes: u32) -> Self {
        self.settings.prefetch.bytes = bytes;
        self
    }

    /// Maximum memory, in bytes, of what all shards of this worker together have read and not finished: answers that are
    /// parsed, records that wait, and those in work with their keys, each as large as it is held. Default 512 MiB, at least
    /// 1 MiB.
    ///
    /// Half of it is divided evenly among the shards that are read; a shard whose processor hangs keeps that, and at most
    /// a sixteenth of the budget more. So shards at the tip go on, whatever others hold. Where room is short,
    /// GetRecords is called with a smaller `Limit`, and a subscription is not read further.
    ///
    /// The size of an answer is known only once it is read: the budget is exceeded by an answer whose records are much larger than the shard's
    /// last, by a shard's first answer, and by one answer of a shard that holds nothing else where even one record exceeds
    /// its share: such a shard waits for up to 5 s. Records that the application keeps after their batch do not count, nor do the buffers of the connections.
    #[doc(alias = "maxByteSize")]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.settings.memory_budget = bytes;
        self
    }

    /// Maximum user records in a batch, which also bounds calls of [`build_for_each`](Self::build_for_each). Default
    /// 10,000, at least 1. Cuts within aggregates, too; does not limit reads. A stop waits for a batch, up to
    /// [`shutdown_grace`](Self::shutdown_grace): a processor that takes 10 ms a record should get 1,000. Source: KCL
    /// `maxRecords`, which counts records before deaggregation.
    #[doc(alias = "maxRecords")]
    pub fn max_batch_records(mut self, records: u32) -> Self {
        self.settings.max_batch_records = records;
        self
    }

    /// Reaction to a processor that fails. Default [`ErrorPolicy::restart`].
    pub fn on_processor_error(mut self, policy: ErrorPolicy) -> Self {
        self.settings.error_policy = policy;
        self
    }

    /// Treatment of aggregates. Default [`Deaggregation::DropForeign`].
    pub fn deaggregation(mut self, deaggregation: Deaggregation) -> Self {
        self.settings.deaggregation = deaggregation;
        self
    }

    /// Treatment of what a producer wrote twice. Default [`Copies::Deliver`]. [`Copies::Drop`] needs a producer that numbers its
    /// records, as `ProducerBuilder::record_numbers` of `kinesis-kpl` has it; others are delivered as ever.
    pub fn copies(mut self, copies: Copies) -> Self {
        self.settings.copies = copies;
        self
    }

    /// Reader of [compressed records](kpl::compressed), which are opened before they are deaggregated: its dictionaries, and the
    /// maximum that one may unfold to. Default: no dictionaries, 10,485,760 bytes. Those of zstd need the crate feature `zstd`.
    ///
    /// Frames that cannot be opened are delivered as they are stored, with [`Event::FrameUnopened`] and a metric. Records are
    /// unfolded 8 MiB at a time, or one alone if it is longer; that counts in the [`memory_budget`](Self::memory_budget).
    pub fn frames(mut self, frames: FrameReader) -> Self {
        self.settings.frames = frames;
        self
    }

    /// Time in which an owner must hand a lease over before it is taken away. Default 30 s.
    /// Source: KCL `gracefulLeaseHandoffTimeoutMillis`.
    #[doc(alias = "gracefulLeaseHandoffTimeoutMillis")]
    pub fn handoff_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handoff_timeout = timeout;
        self
    }

    /// Time for processors to finish when the worker stops, before they are dropped. Default 30 s.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.settings.shutdown_grace = grace;
        self
    }

    /// Time after which [`Event::ProcessorSlow`] and [`Event::ShardStalled`] are emitted, for a call that has not
    /// returned and a shard without progress. Default 60 s, at least 1 s. Leases are kept.
    #[doc(alias = "logWarningForTaskAfterMillis")]
    pub fn warn_after(mut self, patience: Duration) -> Self {
        self.settings.warn_after = patience;
        self
    }

    /// Settings of the metrics: level, dimensions, labels, names. Default: all metrics, under the KCL's names. A recorder of
    /// the `metrics` crate must be installed before the worker runs, or nothing is recorded.
    #[doc(alias = "metricsConfig")]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.settings.metrics = metrics;
        self
    }

    /// Calls `hook` for each [`Event`], on the library's own tasks: it must return at once. Its panics are logged.
    pub fn on_event(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.events = Events::to(hook);
        self
    }
}
