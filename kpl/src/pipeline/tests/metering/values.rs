//! The value of each metric. Each test has a table of what it expects, and the tables together have every metric.

use std::collections::BTreeSet;

use super::*;
use crate::metric::Metric;

#[derive(Debug)]
enum Expected {
    Counter(u64),
    Gauge(f64),
    Samples(&'static [f64]),
}

/// Name of a metric, and what is recorded of it for the stream.
type Row = (&'static str, Expected);

const TABLES: &[&[Row]] = &[STORED, REFUSED, GIVEN_UP, EXPIRED, WAITING];

#[track_caller]
fn assert_values(counted: &BTreeMap<String, DebugValue>, rows: &[Row]) {
    for (name, expected) in rows {
        let labels = match METRICS.iter().find(|metric| metric.name == *name) {
            Some(Metric { dimensions: ["ErrorCode", ..], .. }) => "ErrorCode=Scripted,StreamName=StockTradeStream",
            _ => "StreamName=StockTradeStream",
        };
        let value = counted.get(&format!("{name}{{{labels}}}"));
        let is_met = match (expected, value) {
            (Expected::Counter(count), Some(DebugValue::Counter(counted))) => counted == count,
            (Expected::Gauge(expected), Some(DebugValue::Gauge(value))) => value.into_inner() == *expected,
            (Expected::Samples(expected), Some(DebugValue::Histogram(samples))) => {
                samples.iter().map(|sample| sample.into_inner()).eq(expected.iter().copied())
            }
            _ => false,
        };
        assert!(is_met, "{name}: {value:?}, not {expected:?}");
    }
}

/// Ten user records of a byte with five keys, put at once.
async fn put_ten(producer: &Producer) {
    for n in 0..10 {
        drop(producer.put(record(n)).await.expect("accepted"));
    }
}

#[test]
fn records_that_are_stored_at_once_have_no_retries_and_no_errors() {
    let counted = counted(async || {
        let kinesis = FakeKinesis::new(1);
        kinesis.set_latency(30 * MS);
        let producer = producer(&kinesis);
        put_ten(&producer).await;
        sleep(Duration::from_secs(1)).await;
        put_ten(&producer).await;
        producer.shutdown().await;
    });

    assert_values(&counted, STORED);
}

/// The first aggregate is complete when the first of its records has waited for the 100 ms of `record_max_buffered_time`, and
/// waits for others for a fifth of that; the second one is sent at once by the shutdown. Each has 125 bytes: frame and digest of 20, five keys of 7, and ten records of 7.
const STORED: &[Row] = &[
    ("UserRecordsReceived", Expected::Counter(20)),
    ("UserRecordsPending", Expected::Gauge(0.0)),
    ("UserRecordsPut", Expected::Counter(20)),
    ("UserRecordsDataPut", Expected::Counter(20)),
    ("UserRecordsFailed", Expected::Counter(0)),
    ("UserRecordExpired", Expected::Counter(0)),
    ("UserRecordRetries", Expected::Counter(0)),
    ("RetriesPerRecord", Expected::Samples(&[0.0, 0.0])),
    ("KinesisRecordsPut", Expected::Counter(2)),
    ("KinesisRecordsFailed", Expected::Counter(0)),
    ("KinesisRecordsDataPut", Expected::Counter(250)),
    ("AllErrors", Expected::Counter(0)),
    ("BufferingTime", Expected::Samples(&[120.0, 0.0])),
    ("RequestTime", Expected::Samples(&[30.0, 30.0])),
    ("UserRecordsPerKinesisRecord", Expected::Samples(&[10.0, 10.0])),
    ("KinesisRecordsPerPutRecordsRequest", Expected::Samples(&[1.0, 1.0])),
    ("UserRecordsPerPutRecordsRequest", Expected::Samples(&[10.0, 10.0])),
];

#[test]
fn records_that_are_refused_twice_have_two_retries() {
    let counted = counted(async || {
        let kinesis = FakeKinesis::new(1);
        let mut calls = 0;
        kinesis.on_put(move |_| {
            calls += 1;
            if calls < 3 { Reaction::FailEntries(vec![(0, throttled())]) } else { Reaction::Accept }
        });
        let producer = producer(&kinesis);
        put_ten(&producer).await;
        producer.shutdown().await;
    });

    assert_values(&counted, REFUSED);
}

/// An error after which a record is sent again.
fn throttled() -> KinesisError {
    KinesisError::new(KinesisErrorKind::Throttled, "Scripted", "as told")
}

const REFUSED: &[Row] = &[
    ("UserRecordsPut", Expected::Counter(10)),
    ("UserRecordsFailed", Expected::Counter(0)),
    ("UserRecordRetries", Expected::Counter(20)),
    ("RetriesPerRecord", Expected::Samples(&[2.0])),
    ("KinesisRecordsPut", Expected::Counter(1)),
    ("KinesisRecordsFailed", Expected::Counter(2)),
    ("ErrorsByCode", Expected::Counter(2)),
    ("AllErrors", Expected::Counter(2)),
    ("UserRecordsPerKinesisRecord", Expected::Samples(&[10.0, 10.0, 10.0])),
];

#[test]
fn records_of_a_request_that_no_retry_can_mend_are_given_up() {
    let counted = counted(async || {
        let kinesis = FakeKinesis::new(1);
        let denied = KinesisError::new(KinesisErrorKind::Permanent, "Scripted", "as told");
        kinesis.on_put(move |_| Reaction::Fail(denied.clone()));
        let producer = producer(&kinesis);
        put_ten(&producer).await;
        producer.shutdown().await;
    });

    assert_values(&counted, GIVEN_UP);
}

const GIVEN_UP: &[Row] = &[
    ("UserRecordsPut", Expected::Counter(0)),
    ("UserRecordsFailed", Expected::Counter(10)),
    ("UserRecordExpired", Expected::Counter(0)),
    ("KinesisRecordsPut", Expected::Counter(0)),
    ("ErrorsByCode", Expected::Counter(1)),
    ("AllErrors", Expected::Counter(1)),
];

#[test]
fn records_that_expire_are_counted_besides() {
    let counted = counted(async || {
        let kinesis = FakeKinesis::new(1);
        kinesis.on_put(|_| Reaction::FailEntries(vec![(0, throttled())]));
        let producer = builder(&kinesis).record_ttl(Duration::from_secs(1)).build().expect("valid settings");
        put_ten(&producer).await;
        sleep(Duration::from_secs(5)).await;
    });

    assert_values(&counted, EXPIRED);
}

const EXPIRED: &[Row] = &[
    ("UserRecordsPending", Expected::Gauge(0.0)),
    ("UserRecordsPut", Expected::Counter(0)),
    ("UserRecordsFailed", Expected::Counter(10)),
    ("UserRecordExpired", Expected::Counter(10)),
];

#[test]
fn records_without_an_answer_are_pending() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let waiting = async {
        let kinesis = FakeKinesis::new(1);
        kinesis.on_put(|_| Reaction::Hang);
        let producer = producer(&kinesis);
        put_ten(&producer).await;
        sleep(Duration::from_secs(1)).await;
        taken(&snapshotter)
    };
    let counted = metrics::with_local_recorder(&recorder, || paused_runtime().block_on(waiting));

    assert_values(&counted, WAITING);
}

const WAITING: &[Row] = &[
    ("UserRecordsReceived", Expected::Counter(10)),
    ("UserRecordsPending", Expected::Gauge(10.0)),
    ("UserRecordsPut", Expected::Counter(0)),
    ("UserRecordsFailed", Expected::Counter(0)),
];

#[test]
fn every_metric_of_the_table_is_asserted_by_value() {
    let asserted: BTreeSet<_> = TABLES.iter().copied().flatten().map(|(name, _)| *name).collect();
    let declared: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();

    assert_eq!(asserted, declared);
}
