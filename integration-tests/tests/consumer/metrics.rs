//! The consumer's metrics: each with its kind, unit, dimensions and value; lags of hanging processors and failing reads.

mod values;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use integration_tests::{APPLICATION, SHARD, World};
use kcl::{
    BoxError, CheckpointEvery, Checkpointer, FormerStreams, METRICS, MetricKind, Metrics, MetricsDimension,
    MetricsLevel, Record, RecordBatch, RecordProcessor, ShardContext, StreamConfig, Streams, Worker,
};
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

/// Values recorded under one name with these labels.
#[derive(Debug, Clone)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    unit: Option<String>,
    description: Option<String>,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Vec<f64>),
}

/// Everything recorded since the last time.
fn recorded(snapshotter: &Snapshotter) -> Vec<Series> {
    let series = snapshotter.snapshot().into_vec().into_iter().map(|(key, unit, description, value)| Series {
        name: key.key().name().to_owned(),
        labels: key.key().labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect(),
        unit: unit.map(|unit| format!("{unit:?}")),
        description: description.map(|text| text.to_string()),
        value: match value {
            DebugValue::Counter(count) => Value::Counter(count),
            DebugValue::Gauge(value) => Value::Gauge(value.into_inner()),
            DebugValue::Histogram(values) => {
                Value::Histogram(values.into_iter().map(|value| value.into_inner()).collect())
            }
        },
    });
    series.collect()
}

impl Series {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    fn is(&self, operation: &str, name: &str) -> bool {
        self.name == name && self.label("Operation") == Some(operation)
    }
}

/// All values of a metric together, of all its series.
fn values(all: &[Series], operation: &str, name: &str) -> Vec<f64> {
    let mine = all.iter().filter(|series| series.is(operation, name));
    let values = mine.flat_map(|series| match &series.value {
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        Value::Counter(count) => vec![*count as f64],
        Value::Gauge(value) => vec![*value],
        Value::Histogram(values) => values.clone(),
    });
    values.collect()
}

fn sum(all: &[Series], operation: &str, name: &str) -> f64 {
    values(all, operation, name).iter().sum()
}

/// Runs `test` with a recorder of its own.
async fn with_recorder<F: Future<Output = ()>>(test: impl FnOnce(Snapshotter) -> F) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    test(snapshotter).await;
}

#[tokio::test(start_paused = true)]
async fn consumption_is_recorded_under_the_kcls_names_and_dimensions() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        world.local.faults().on("kinesis:GetRecords").call(3).refuse(400, "ExpiredIteratorException", "too old");
        let worker = world.run("w1");
        world.put(0..100).await;
        world.journal.processed(100).await;
        world.split(SHARD).await;
        world.put(100..200).await;
        world.journal.processed(200).await;
        sleep(SECOND * 30).await;
        world.until_status("the lease of the ended shard is deleted", |status| status.leases.len() == 2).await;
        sleep(SECOND * 30).await;
        worker.stop().await.expect("worker stops");

        let all = recorded(&snapshotter);
        let of_task = |name: &str| values(&all, "ProcessTask", name);
        assert_eq!(of_task("RecordsProcessed").iter().sum::<f64>(), 200.0);
        let bytes: usize = (0..200).map(|id: u64| id.to_string().len()).sum();
        assert_eq!(of_task("DataBytesProcessed").iter().sum::<f64>(), bytes as f64);
        let batches = of_task("RecordProcessor.processRecords.Time").len();
        assert!(batches >= 3);
        assert_eq!(of_task("UpdateLease.Success"), vec![1.0; batches]);
        assert_eq!(of_task("UpdateLease.Time").len(), batches);
        // A read without records counts, too.
        assert!(of_task("Success").len() > batches + 20 && of_task("Success").iter().all(|success| *success == 1.0));
        assert_eq!(of_task("Time").len(), of_task("Success").len());
        let reads = of_task("KinesisDataFetcher.getRecords.Success");
        assert_eq!(reads.iter().filter(|success| **success == 0.0).count(), 1, "the iterator expired once");
        assert_eq!(of_task("KinesisDataFetcher.getRecords.Time").len(), reads.len());
        assert_eq!(of_task("KinesisDataFetcher.getShardIterator.Success"), [1.0; 4], "three shards, one iterator anew");
        assert_eq!(sum(&all, "ProcessTask", "ExpiredIterator"), 1.0);
        assert_eq!(of_task("MillisBehindLatest"), [0.0; 3]);
        assert_eq!(values(&all, "ApplicationTracker", "MillisBehindLatest"), [0.0]);
        assert_eq!(values(&all, "InitializeTask", "RecordProcessor.initialize.Time").len(), 3);
        assert_eq!(values(&all, "InitializeTask", "Success"), [1.0; 3]);
        assert_eq!(values(&all, "BlockOnParentShardTask", "Success"), [1.0; 3]);
        assert_eq!(values(&all, "ShutdownTask", "RecordProcessor.shutdown.Time").len(), 3);
        assert_eq!(values(&all, "ShutdownTask", "Success"), [1.0]);
        assert_eq!(values(&all, "ShutdownTask", "CreateLease.Success"), [1.0; 2]);
        assert_eq!(values(&all, "ShutdownTask", "CreateLease_TRIM_HORIZON.Success"), [1.0; 2]);
        assert_eq!(values(&all, "ShutdownTask", "UpdateLease.Success"), [1.0]);
        assert_eq!(values(&all, "Scheduler:Initialize", "Initialize.Success"), [1.0]);
        for name in ["RenewLease.Success", "Success"] {
            let renewals = values(&all, "RenewAllLeases", name);
            assert!(renewals.iter().all(|success| *success == 1.0), "{name}: {renewals:?}");
        }
        assert!(!all.iter().any(|series| series.name == "ActiveStreams.Count"), "it has one stream");
    })
    .await;
}

/// The metrics of an application of several streams, two of which are deleted, with workers that come and go.
async fn run_much(snapshotter: &Snapshotter) -> Vec<Series> {
    let local = kinesis_local::LocalAws::start().await;
    let world = World::without_stream(local);
    for stream in ["orders", "payments", "old"] {
        world.create(stream, 2).await;
    }
    let positions = [kcl::InitialPosition::TrimHorizon, kcl::InitialPosition::Latest];
    let config = |stream: &str, n: usize| StreamConfig::new(stream).initial_position(positions[n]);
    let long_ago = std::time::SystemTime::UNIX_EPOCH + SECOND;
    let old = StreamConfig::new("old").initial_position(kcl::InitialPosition::AtTimestamp(long_ago));
    let streams = Streams::new([config("orders", 0), config("payments", 1), old])
        .former_streams(FormerStreams::DeleteAfter(SECOND * 10));
    let worker = world.spawn(world.multi_worker("w1", &streams));
    world.put_to("orders", 0..50).await;
    world.journal.processed(50).await;
    world.delete("old").await;
    streams.remove("old");
    let split = world.kinesis.split_shard().stream_name("orders").shard_to_split(SHARD).new_starting_hash_key("5");
    split.send().await.expect("split");
    sleep(Duration::from_secs(180)).await;
    let all = recorded(snapshotter);
    worker.stop().await.expect("worker stops");
    all
}

#[tokio::test(start_paused = true)]
async fn every_metric_of_the_table_is_recorded_with_kind_unit_dimensions_and_meaning() {
    with_recorder(async |snapshotter| {
        let all = run_much(&snapshotter).await;
        for metric in METRICS {
            let operation = metric.operation.expect("each has one");
            let series = all.iter().find(|series| series.is(operation, metric.name));
            let series = series.unwrap_or_else(|| panic!("{operation} {} is not recorded", metric.name));
            let kind = match series.value {
                Value::Counter(_) => MetricKind::Counter,
                Value::Gauge(_) => MetricKind::Gauge,
                Value::Histogram(_) => MetricKind::Histogram,
            };
            assert_eq!(kind, metric.kind, "{series:?}");
            let unit = series.unit.as_deref().unwrap_or("None");
            assert_eq!(unit, metric.unit.as_str(), "{series:?}");
            let description = series.description.as_deref().unwrap_or_default();
            assert!(description.contains(metric.description), "{operation}: {series:?}");
            assert_eq!(series.label("Application"), Some(APPLICATION));
            let mut dimensions: Vec<&str> = series.labels.keys().map(String::as_str).collect();
            dimensions.retain(|dimension| !["Application", "Operation"].contains(dimension));
            assert_eq!(dimensions, metric.dimensions, "{series:?}");
        }
        // And nothing else.
        for series in &all {
            let is_declared = METRICS
                .iter()
                .any(|metric| metric.name == series.name && metric.operation == series.label("Operation"));
            assert!(is_declared, "{series:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn coordination_of_several_streams_is_recorded_with_its_values() {
    with_recorder(async |snapshotter| {
        let all = run_much(&snapshotter).await;
        let of = |operation: &str, name: &str| sum(&all, operation, name);
        assert_eq!(of("MultiStreamTracker", "ActiveStreams.Count"), 2.0);
        assert_eq!(of("MultiStreamTracker", "StreamsPendingDeletion.Count"), 0.0);
        assert_eq!(of("MultiStreamTracker", "DeletedStreams.Count"), 1.0);
        assert_eq!(of("MultiStreamTracker", "NonExistingStreamDelete.Count"), 1.0);
        for position in ["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"] {
            assert!(of("ShardSyncTask", &format!("CreateLease_{position}.Success")) >= 2.0, "{position}");
        }
        assert_eq!(of("LeaseAssignmentManager", "NumWorkers"), 1.0);
        assert_eq!(of("LeaseAssignmentManager", "NumWorkersWithFailingWorkerMetric"), 0.0);
        assert_eq!(of("LeaderDecider", "LeaderDecider:IsLeader"), 1.0);
        assert!(of("LeaseAssignmentManager", "NumOfLeasesReassignment") >= 6.0);
        assert!(of("LeaseDiscovery", "NewLeasesDiscovered") >= 6.0);
        assert_eq!(of("LeaseDiscovery", "GetLease:Error"), 0.0);
        assert!(of("LeaseTable", "WriteUnits") > 10.0 && of("LeaseTable", "ReadUnits") > 10.0);
        for operation in ["RenewAllLeases", "LeaseDiscovery", "LeaseAssignmentManager", "ShardSyncTask"] {
            let success = values(&all, operation, "Success");
            assert!(success.len() > 1 && success.contains(&1.0), "{operation}: {success:?}");
            assert_eq!(values(&all, operation, "Time").len(), success.len(), "{operation}");
        }
    })
    .await;
}

/// The gauge of a shard, as last set.
fn lag(snapshotter: &Snapshotter) -> Option<f64> {
    values(&recorded(snapshotter), "ProcessTask", "MillisBehindLatest").first().copied()
}

#[tokio::test(start_paused = true)]
async fn the_lag_grows_while_a_processor_hangs_and_is_gone_once_it_returns() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let handler = |_: Record| async {
            sleep(SECOND * 600).await;
            Ok::<(), BoxError>(())
        };
        let builder = world.worker("w1").build_for_each(CheckpointEvery::default(), 1, handler).expect("settings");
        let worker = builder.start();
        sleep(SECOND * 10).await;
        assert_eq!(lag(&snapshotter), Some(0.0), "of an idle shard");
        world.put(0..1).await;

        for minute in 1..9 {
            sleep(SECOND * 60).await;
            let lag = lag(&snapshotter).expect("recorded") / 1000.0;
            let expected = f64::from(minute * 60);
            assert!((expected - 10.0..=expected + 10.0).contains(&lag), "{lag} s after {minute} min");
        }
        drop(recorded(&snapshotter));
        sleep(SECOND * 30).await;
        let successes = values(&recorded(&snapshotter), "ProcessTask", "Success");
        assert!(
            successes.is_empty(),
            "{successes:?}: reads without records are no successes while the processor hangs"
        );
        sleep(SECOND * 150).await;
        assert_eq!(lag(&snapshotter), Some(0.0));
        worker.stop().await.expect("worker stops");
    })
    .await;
}

/// Keeps every value to which the lag of a shard is set.
#[derive(Debug, Clone, Default)]
struct Lags(Arc<Mutex<Vec<f64>>>);

impl GaugeFn for Lags {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, millis: f64) {
        self.0.lock().expect("no panic").push(millis / 1000.0);
    }
}

impl metrics::Recorder for Lags {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let is_of_shard = key.labels().any(|label| label.key() == "ShardId");
        let is_lag = is_of_shard && key.name() == "MillisBehindLatest";
        if is_lag { Gauge::from_arc(Arc::new(self.clone())) } else { Gauge::noop() }
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn the_lag_of_a_slow_processor_does_not_fall_between_its_batches() {
    let lags = Lags::default();
    let _guard = metrics::set_default_local_recorder(&lags);
    let world = World::start(1).await;
    let (done, mut processed) = tokio::sync::mpsc::channel(1);
    let handler = move |_: Record| {
        let done = done.clone();
        async move {
            sleep(SECOND * 30).await;
            Ok::<(), BoxError>(done.send(()).await?)
        }
    };
    let builder = world.worker("w1").build_for_each(CheckpointEvery::default(), 1, handler).expect("settings");
    let worker = builder.start();
    sleep(SECOND * 10).await;
    for id in 0..5 {
        world.put(id..id + 1).await;
        sleep(SECOND * 2).await;
    }

    processed.recv().await.expect("the first");
    lags.0.lock().expect("no panic").clear();
    for _ in 1..4 {
        processed.recv().await.expect("the others");
    }
    sleep(SECOND * 20).await; // the last is in work

    let lags = std::mem::take(&mut *lags.0.lock().expect("no panic"));
    assert!(lags.len() > 20 && lags.iter().all(|lag| *lag >= 20.0), "{lags:?}");
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn the_lag_grows_while_a_processor_is_initialized() {
    struct Hanging;

    impl RecordProcessor for Hanging {
        type Error = BoxError;

        async fn initialize(&mut self, _: &ShardContext) -> Result<(), BoxError> {
            sleep(SECOND * 300).await;
            Ok(())
        }

        async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
            Ok(())
        }
    }

    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let worker = world.worker("w1").build(|_: &ShardContext| Hanging).expect("settings").start();
        world.put(0..1).await;
        sleep(SECOND * 240).await;

        let millis = lag(&snapshotter).expect("recorded");
        assert!((220_000.0..=240_000.0).contains(&millis), "{millis}");
        sleep(SECOND * 120).await;
        assert_eq!(lag(&snapshotter), Some(0.0));
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_has_a_success_of_0_and_a_duration() {
    struct Panicking;

    impl RecordProcessor for Panicking {
        type Error = BoxError;

        async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
            sleep(SECOND).await;
            panic!("on purpose")
        }
    }

    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let worker = world.worker("w1").build(|_: &ShardContext| Panicking).expect("settings").start();
        world.settled().await;
        drop(recorded(&snapshotter));
        world.put(0..1).await;
        sleep(SECOND * 60).await;

        let all = recorded(&snapshotter);
        let failures = values(&all, "ProcessTask", "Success").into_iter().filter(|success| *success == 0.0).count();
        let durations = values(&all, "ProcessTask", "RecordProcessor.processRecords.Time");
        assert!(failures > 1 && durations.len() == failures, "{failures} failures, {durations:?}");
        assert!(durations.iter().all(|millis| *millis >= 1000.0), "{durations:?}");
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_lag_grows_while_reads_fail() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let worker = world.run("w1");
        world.settled().await;
        let failing = world.local.faults().on("kinesis:GetRecords").fail();

        sleep(SECOND * 300).await;
        let millis = lag(&snapshotter).expect("recorded");
        assert!((280_000.0..320_000.0).contains(&millis), "{millis}");
        failing.remove();
        sleep(SECOND * 60).await;
        assert_eq!(lag(&snapshotter), Some(0.0));
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_processor_and_a_lost_lease_are_recorded() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let handler = |_: Record| async { Err::<(), BoxError>("no".into()) };
        let builder = world.worker("w1").build_for_each(CheckpointEvery::default(), 1, handler).expect("settings");
        let worker = builder.start();
        world.put(0..1).await;
        sleep(SECOND * 60).await;
        let all = recorded(&snapshotter);
        assert!(values(&all, "ProcessTask", "Success").contains(&0.0), "{all:?}");
        let lag = values(&all, "ProcessTask", "MillisBehindLatest")[0];
        assert!((40_000.0..80_000.0).contains(&lag), "{lag}");
        let of_all = values(&all, "ApplicationTracker", "MillisBehindLatest")[0];
        assert!((40_000.0..80_000.0).contains(&of_all), "{of_all}");

        world.take_lease_away(SHARD).await;
        sleep(SECOND * 5).await;
        assert_eq!(sum(&recorded(&snapshotter), "RenewAllLeases", "LostLeases"), 1.0);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn level_dimensions_labels_and_names_are_as_set() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let metrics = Metrics::new().level(MetricsLevel::Summary).prefixed().label("Fleet", "blue");
        let metrics = metrics.dimensions([MetricsDimension::Operation]);
        let worker = world.spawn(world.worker("w1").metrics(metrics));
        world.put(0..10).await;
        world.journal.processed(10).await;
        worker.stop().await.expect("worker stops");

        let all = recorded(&snapshotter);
        let labels: Vec<&str> = all[0].labels.keys().map(String::as_str).collect();
        assert_eq!(labels, ["Application", "Fleet", "Operation"]);
        assert!(all.iter().all(|series| series.label("Fleet") == Some("blue")));
        assert_eq!(sum(&all, "ProcessTask", "kcl_records_processed"), 10.0);
        let is_summary = |series: &Series| {
            METRICS.iter().any(|metric| metric.prefixed_name() == series.name && metric.level == MetricsLevel::Summary)
        };
        assert!(all.iter().all(is_summary), "{all:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_default_worker_id_is_no_dimension() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let journal = Arc::new(world.journal.clone());
        let builder = Worker::builder(&world.aws, APPLICATION, integration_tests::STREAM);
        let worker =
            builder.build(move |shard: &kcl::ShardContext| journal.processor(shard)).expect("settings").start();
        sleep(SECOND * 20).await;
        worker.stop().await.expect("worker stops");

        let all = recorded(&snapshotter);
        assert!(!values(&all, "RenewAllLeases", "CurrentLeases").is_empty());
        assert!(all.iter().all(|series| series.label("WorkerIdentifier").is_none()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_recorded_at_level_none_and_labels_without_a_value_are_refused() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let worker = world.spawn(world.worker("w1").metrics(Metrics::new().level(MetricsLevel::None)));
        sleep(SECOND * 20).await;
        worker.stop().await.expect("worker stops");
        assert_eq!(recorded(&snapshotter).len(), 0);

        let journal = world.journal.clone();
        let builder = world.worker("w1").metrics(Metrics::new().label("Fleet", ""));
        let refused = builder.build(move |shard: &kcl::ShardContext| journal.processor(shard));
        assert!(refused.is_err_and(|error| error.to_string().starts_with("metrics is")));
    })
    .await;
}
