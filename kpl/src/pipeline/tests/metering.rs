//! Counts, and the snapshot.

mod values;

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use super::*;
use crate::{
    METRICS,
    config::{Metrics, MetricsGranularity},
    metric::{MetricKind, MetricsLevel},
};

/// Runs `test` and returns what was counted, by name and labels.
fn counted<F: Future<Output = ()>>(test: impl FnOnce() -> F) -> BTreeMap<String, DebugValue> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || paused_runtime().block_on(test()));
    taken(&snapshotter)
}

/// Counts since the last time.
fn taken(snapshotter: &Snapshotter) -> BTreeMap<String, DebugValue> {
    let shown = |key: &metrics::Key| {
        let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
        format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","))
    };
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| (shown(key.key()), value)).collect()
}

#[track_caller]
fn assert_counter(counted: &BTreeMap<String, DebugValue>, name: &str, value: u64) {
    assert_eq!(counted.get(name), Some(&DebugValue::Counter(value)), "{name} of {:?}", counted.keys());
}

fn samples(counted: &BTreeMap<String, DebugValue>, name: &str) -> Vec<f64> {
    match counted.get(name) {
        Some(DebugValue::Histogram(samples)) => samples.iter().map(|sample| sample.into_inner()).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn metrics_have_the_names_of_the_kpl() {
    let counted = counted(async || {
        let kinesis = FakeKinesis::new(2);
        kinesis.set_latency(30 * MS);
        let calls = AtomicUsize::new(0);
        kinesis.on_put(move |_| match calls.fetch_add(1, Relaxed) {
            0 => Reaction::FailEntries(vec![(0, error("ProvisionedThroughputExceededException"))]),
            _ => Reaction::Accept,
        });
        let producer = producer(&kinesis);
        for n in 0..100 {
            drop(producer.put(record(n)).await.expect("accepted"));
        }
        producer.flush().await;
    });

    let of_stream = |name: &str| format!("{name}{{StreamName=StockTradeStream}}");
    assert_counter(&counted, &of_stream("UserRecordsReceived"), 100);
    assert_counter(&counted, &of_stream("UserRecordsPut"), 100);
    assert_counter(&counted, &of_stream("UserRecordsDataPut"), 190);
    assert_counter(&counted, &of_stream("UserRecordsFailed"), 0);
    assert_counter(&counted, &of_stream("KinesisRecordsPut"), 2);
    assert_counter(&counted, &of_stream("AllErrors"), 1);
    assert_counter(&counted, &of_stream("KinesisRecordsFailed"), 1);
    let by_code = "ErrorsByCode{ErrorCode=ProvisionedThroughputExceededException,StreamName=StockTradeStream}";
    assert_counter(&counted, by_code, 1);
    assert_eq!(samples(&counted, &of_stream("RequestTime")), [30.0, 30.0]);
    assert_eq!(samples(&counted, &of_stream("KinesisRecordsPerPutRecordsRequest")), [2.0, 1.0]);
    assert_eq!(samples(&counted, &of_stream("UserRecordsPerPutRecordsRequest"))[0], 100.0);
    assert_eq!(samples(&counted, &of_stream("RetriesPerRecord")), [0.0, 1.0], "one for each Kinesis record");
    let retries = counted.get(&of_stream("UserRecordRetries"));
    assert!(matches!(retries, Some(DebugValue::Counter(1..100))), "{retries:?}: those of one of two Kinesis records");
    assert_eq!(samples(&counted, &of_stream("BufferingTime")).len(), 3);
    assert_eq!(counted.get(&of_stream("UserRecordsPending")), Some(&DebugValue::Gauge(0.0.into())));
}

#[test]
fn records_that_fail_are_counted_besides_those_that_expire() {
    let counted = counted(async || {
        let kinesis = FakeKinesis::new(1);
        kinesis.on_put(|_| Reaction::Fail(error("InternalFailure")));
        let producer = builder(&kinesis).record_ttl(Duration::from_secs(1)).build().expect("valid settings");
        producer.put(record(0)).await.expect("accepted").await.expect_err("expires");
        // Another producer: this one still waits before it tries again.
        let kinesis = FakeKinesis::new(1);
        kinesis.on_put(|_| Reaction::Fail(error("AccessDeniedException")));
        let producer = builder(&kinesis).build().expect("valid settings");
        producer.put(record(1)).await.expect("accepted").await.expect_err("denied");
    });

    assert_counter(&counted, "UserRecordsFailed{StreamName=StockTradeStream}", 2);
    assert_counter(&counted, "UserRecordExpired{StreamName=StockTradeStream}", 1);
    assert_counter(&counted, "ErrorsByCode{ErrorCode=AccessDeniedException,StreamName=StockTradeStream}", 1);
}

#[test]
fn records_that_are_abandoned_are_counted_as_failed() {
    let counted = counted(async || {
        let kinesis = FakeKinesis::new(1);
        kinesis.on_put(|_| Reaction::Hang);
        let producer = producer(&kinesis);
        for n in 0..7 {
            drop(producer.put(record(n)).await.expect("accepted"));
        }
        producer.shutdown_within(Duration::from_secs(1)).await.expect_err("they are stuck");
    });

    assert_counter(&counted, "UserRecordsFailed{StreamName=StockTradeStream}", 7);
    let pending = counted.get("UserRecordsPending{StreamName=StockTradeStream}");
    assert_eq!(pending, Some(&DebugValue::Gauge(0.0.into())));
}

#[test]
fn metrics_by_shard_name_the_shard_and_without_granularity_there_are_none() {
    let run = async |granularity| {
        let kinesis = FakeKinesis::new(2);
        let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/Trades";
        let builder = Producer::builder(&SdkConfig::builder().build(), arn).kinesis(kinesis);
        let producer = builder.metrics_granularity(granularity).build().expect("valid settings");
        for n in 0..100 {
            drop(producer.put(record(n)).await.expect("accepted"));
        }
        producer.flush().await;
    };

    let by_shard = counted(async || run(MetricsGranularity::Shard).await);
    let put = |shard: usize| match by_shard[&format!("UserRecordsPut{{StreamName=Trades,ShardId=shardId-{shard:012}}}")]
    {
        DebugValue::Counter(count) => count,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(put(0) + put(1), 100);
    assert!(put(0) > 0 && put(1) > 0);
    assert!(counted(async || run(MetricsGranularity::Off).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_tells_what_is_outstanding_and_since_when() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Hang);
    let producer = builder(&kinesis).record_ttl(None).build().expect("valid settings");
    let other = producer.to_stream("other").expect("a name");
    assert_eq!(producer.snapshot().oldest_record_age, None);

    drop(other.put(UserRecord::new("k", "1234")).await.expect("accepted"));
    sleep(Duration::from_secs(7)).await;
    drop(producer.put(UserRecord::new("k", "1234")).await.expect("accepted"));
    sleep(Duration::from_secs(2)).await;

    let snapshot = producer.snapshot();
    assert_eq!((snapshot.outstanding_records, snapshot.outstanding_bytes), (2, 10));
    assert_eq!(snapshot.oldest_record_age, Some(Duration::from_secs(9)));
    kinesis.on_put(|_| Reaction::Accept);
    producer.flush().await;
    assert_eq!(producer.snapshot().oldest_record_age, None);
}

/// Metrics of a record that expires, some that are stored, and one that waits.
fn counted_with(metrics: Metrics) -> BTreeMap<String, DebugValue> {
    counted(async || {
        let kinesis = FakeKinesis::new(1);
        kinesis.on_put(|_| Reaction::FailEntries(vec![(0, error("InternalFailure"))]));
        let builder = builder(&kinesis).record_ttl(Duration::from_secs(1)).metrics(metrics.clone());
        let producer = builder.build().expect("valid settings");
        producer.put(record(0)).await.expect("accepted").await.expect_err("expires");
        let kinesis = FakeKinesis::new(1);
        let producer = self::builder(&kinesis).metrics(metrics.clone()).build().expect("valid settings");
        producer.put(record(1)).await.expect("accepted").await.expect("stored");
    })
}

#[test]
fn every_metric_of_the_table_is_recorded_with_its_kind_and_dimensions() {
    let counted = counted_with(Metrics::new().granularity(MetricsGranularity::Shard));

    for metric in METRICS {
        let named = |key: &&String| key.split('{').next() == Some(metric.name);
        let keys: Vec<_> = counted.keys().filter(named).collect();
        assert!(!keys.is_empty(), "{} of {:?}", metric.name, counted.keys());
        for key in keys {
            let kind = match counted[key] {
                DebugValue::Counter(_) => MetricKind::Counter,
                DebugValue::Gauge(_) => MetricKind::Gauge,
                DebugValue::Histogram(_) => MetricKind::Histogram,
            };
            assert_eq!(kind, metric.kind, "{key}");
            let labels = key.split(['{', '}']).nth(1).expect("labels").split(',');
            let mut dimensions: Vec<_> = labels.filter_map(|label| label.split('=').next()).collect();
            // A failure that is not one of a shard has none.
            if !dimensions.contains(&"ShardId") && metric.dimensions.contains(&"ShardId") {
                dimensions.push("ShardId");
            }
            assert_eq!(dimensions, metric.dimensions, "{key}");
        }
    }
}

#[test]
fn every_metric_is_described_with_its_unit() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        paused_runtime().block_on(async {
            let kinesis = FakeKinesis::new(1);
            let producer = producer(&kinesis);
            producer.put(record(1)).await.expect("accepted").await.expect("stored");
        });
    });

    for (key, unit, text, _) in snapshotter.snapshot().into_vec() {
        let metric = METRICS.iter().find(|metric| metric.name == key.key().name()).expect("it is in the table");
        let unit = unit.map(|unit| format!("{unit:?}"));
        assert_eq!(unit.as_deref(), Some(metric.unit.as_str()), "{}", metric.name);
        assert_eq!(text.as_deref(), Some(metric.description));
    }
}

#[test]
fn levels_prefix_and_labels_are_as_set() {
    let metrics = Metrics::new().level(MetricsLevel::Summary).prefixed().label("Fleet", "blue");
    let counted = counted_with(metrics.granularity(MetricsGranularity::Global));

    assert_counter(&counted, "kpl_user_records_put{Fleet=blue}", 1);
    assert_counter(&counted, "kpl_errors_by_code{Fleet=blue,ErrorCode=InternalFailure}", counted_errors(&counted));
    let summary = METRICS.iter().filter(|metric| metric.level == MetricsLevel::Summary);
    let names: std::collections::BTreeSet<_> = summary.map(|metric| metric.prefixed_name()).collect();
    let recorded: std::collections::BTreeSet<_> =
        counted.keys().filter_map(|key| key.split('{').next()).map(str::to_owned).collect();
    assert_eq!(recorded, names);
    assert!(counted_with(Metrics::new().level(MetricsLevel::None)).is_empty());
}

fn counted_errors(counted: &BTreeMap<String, DebugValue>) -> u64 {
    match counted.get("kpl_all_errors{Fleet=blue}") {
        Some(DebugValue::Counter(errors @ 1..)) => *errors,
        other => panic!("{other:?}"),
    }
}

#[test]
fn labels_out_of_bounds_are_refused() {
    let refused = |name: &str, value: &str| {
        let kinesis = FakeKinesis::new(1);
        let built = builder(&kinesis).metrics(Metrics::new().label(name, value)).build();
        built.err().map(|error| error.to_string())
    };
    paused_runtime().block_on(async {
        assert_eq!(refused("Fleet", &"x".repeat(255)), None);
        assert!(refused("Fleet", &"x".repeat(256)).is_some_and(|text| text.starts_with("metrics is")));
        assert!(refused("", "x").is_some());
    });
}
