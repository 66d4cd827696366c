//! A producer and a worker in one process: what is published is what the Java libraries publish.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kcl::{BoxError, CheckpointEvery, InitialPosition, Record, Worker};
use kinesis_local::{LocalAws, Metric};
use kpl::{Metrics, MetricsGranularity, Producer, UserRecord};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const KPL: &str = "KinesisProducerLibrary";
const APPLICATION: &str = "trades-processor";

/// Metrics published by five minutes of work.
async fn five_minutes(prefixed: bool) -> Vec<Metric> {
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    kinesis.create_stream().stream_name("trades").shard_count(2).send().await.expect("created");
    let (recorder, publisher) = kinesis_cloudwatch::builder(&aws).build().expect("settings are right");
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (mut of_producer, mut of_worker) = (Metrics::new().granularity(MetricsGranularity::Shard), kcl::Metrics::new());
    if prefixed {
        (of_producer, of_worker) = (of_producer.prefixed(), of_worker.prefixed());
    }
    let producer = Producer::builder(&aws, "trades").metrics(of_producer).build().expect("settings are right");
    let worker = Worker::builder(&aws, APPLICATION, "trades").worker_id("w1").metrics(of_worker);
    let worker = worker.initial_position(InitialPosition::TrimHorizon);
    let processed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&processed);
    let handler = move |_: Record| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<(), BoxError>(()) }
    };
    let running = worker.build_for_each(CheckpointEvery::default(), 1, handler).expect("settings are right").start();

    for second in 0..300 {
        for n in 0..10 {
            let record = UserRecord::new(format!("key-{second}-{n}"), vec![b'x'; 100]);
            drop(producer.put(record).await.expect("accepted"));
        }
        sleep(SECOND).await;
    }
    producer.shutdown().await;
    while processed.load(Ordering::Relaxed) < 3_000 {
        sleep(SECOND / 10).await;
    }
    running.stop().await.expect("worker stops");
    publisher.shutdown().await;
    local.metrics()
}

fn of<'m>(all: &'m [Metric], namespace: &str, name: &str, dimensions: &[&str]) -> Vec<&'m Metric> {
    let has = |metric: &&Metric| {
        let names: BTreeSet<&str> = metric.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        metric.namespace == namespace && metric.name == name && names == dimensions.iter().copied().collect()
    };
    all.iter().filter(has).collect()
}

fn sum(metrics: &[&Metric]) -> f64 {
    metrics.iter().map(|metric| metric.sum).sum()
}

fn samples(metrics: &[&Metric]) -> f64 {
    metrics.iter().map(|metric| metric.sample_count).sum()
}

#[tokio::test(start_paused = true)]
async fn both_are_published_in_their_namespaces_with_the_samples_of_the_java_libraries() {
    let all = five_minutes(false).await;

    let namespaces: BTreeSet<&str> = all.iter().map(|metric| metric.namespace.as_str()).collect();
    assert_eq!(namespaces, BTreeSet::from([KPL, APPLICATION]));
    // Globally, by stream, and by shard, each a sum of the deeper.
    for dimensions in [&[][..], &["StreamName"], &["StreamName", "ShardId"]] {
        for (name, expected) in [("UserRecordsPut", 3_000.0), ("UserRecordsDataPut", 300_000.0)] {
            let found = of(&all, KPL, name, dimensions);
            assert_eq!(sum(&found), expected, "{name} by {dimensions:?}");
            assert_eq!(samples(&found), 3_000.0, "a sample for each user record");
        }
        let retries = of(&all, KPL, "RetriesPerRecord", dimensions);
        assert_eq!((sum(&retries), samples(&retries)), (0.0, 3_000.0));
        let errors = of(&all, KPL, "AllErrors", dimensions);
        assert_eq!((sum(&errors), samples(&errors)), (0.0, sum(&of(&all, KPL, "KinesisRecordsPut", dimensions))));
    }
    let windows = of(&all, KPL, "UserRecordsPut", &[]).len();
    assert!((5..=7).contains(&windows), "{windows} windows of a minute");
    assert_eq!(sum(&of(&all, KPL, "UserRecordsReceived", &["StreamName"])), 3_000.0);
    assert!(all.iter().all(|metric| metric.name != "UserRecordsFailed"), "not the KPL's");

    let shard = ["Operation", "ShardId"];
    assert_eq!(sum(&of(&all, APPLICATION, "RecordsProcessed", &shard)), 3_000.0);
    assert_eq!(sum(&of(&all, APPLICATION, "DataBytesProcessed", &shard)), 300_000.0);
    let behind = of(&all, APPLICATION, "MillisBehindLatest", &shard);
    assert!(behind.len() >= 2 * 28, "each 10 s of each shard: {}", behind.len());
    let maximum = |metrics: &[&Metric]| metrics.iter().fold(0.0, |most: f64, metric| most.max(metric.maximum));
    let of_all = of(&all, APPLICATION, "MillisBehindLatest", &["Operation"]);
    assert!(maximum(&behind) > 0.0 && of_all.len() >= 28);
    assert_eq!(maximum(&of_all), maximum(&behind), "whenever it was");
    assert!(!of(&all, APPLICATION, "CurrentLeases", &["Operation", "WorkerIdentifier"]).is_empty());
    let lost = of(&all, APPLICATION, "LostLeases", &["Operation", "WorkerIdentifier"]);
    assert!(lost.len() >= 28 && sum(&lost) == 0.0, "zeros are published: {}", lost.len());
    assert!(all.iter().all(|metric| metric.dimension("Operation") != Some("MultiStreamTracker")), "it has one stream");
    let success = of(&all, APPLICATION, "Success", &shard);
    assert_eq!(sum(&success), samples(&success), "none failed");
    assert!(success.len() >= 2 * 28);
}

#[tokio::test(start_paused = true)]
async fn units_are_those_of_the_tables_and_prefixed_names_are_published_without_their_prefix() {
    let all = five_minutes(true).await;
    let declared = kpl::METRICS.iter().chain(kcl::METRICS);
    for metric in &all {
        let found = declared.clone().find(|declared| declared.name == metric.name);
        let found = found.unwrap_or_else(|| panic!("{} is not declared", metric.name));
        assert_eq!(metric.unit.as_deref(), Some(found.unit.as_str()), "{}", metric.name);
    }
    assert_eq!(sum(&of(&all, KPL, "UserRecordsPut", &[])), 3_000.0);
}

#[tokio::test(start_paused = true)]
async fn records_go_on_while_cloudwatch_does_not_answer() {
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    kinesis.create_stream().stream_name("trades").shard_count(1).send().await.expect("created");
    let (recorder, publisher) = kinesis_cloudwatch::builder(&aws).build().expect("settings are right");
    let _guard = metrics::set_default_local_recorder(&recorder);
    local.faults().on("cloudwatch:*").delay(SECOND * 3_600);
    let producer = Producer::builder(&aws, "trades").build().expect("settings are right");

    for second in 0..180 {
        let stored = producer.put(UserRecord::new(format!("k{second}"), "data")).await.expect("accepted").await;
        assert!(stored.is_ok());
        sleep(SECOND).await;
    }
    assert_eq!(local.metrics().len(), 0);
    assert!(publisher.status().is_failing);
    producer.shutdown().await;
    publisher.shutdown().await;
}
