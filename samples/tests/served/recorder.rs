//! The producer's recorder on the embedded AWS, in virtual time, with leaps of the clock.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use kinesis_local::LocalAws;
use kpl::aggregated::Deaggregator;
use samples::{
    lambda::{TimeLeft, producer::Recorder},
    put_records::PutRecords,
};
use serde_json::json;
use tokio::time::{Instant, advance};

const GRANTED: Duration = Duration::from_secs(10);

fn request(first: usize, count: usize) -> PutRecords {
    let entry = |number: usize| {
        let data = base64_simd::STANDARD.encode_to_string(number.to_string());
        json!({ "PartitionKey": format!("key {number}"), "Data": data })
    };
    let entries: Vec<_> = (first..first + count).map(entry).collect();
    serde_json::from_value(json!({ "Records": entries })).expect("a request")
}

/// The numbers that the stream has, in order of their size.
async fn stored(local: &LocalAws) -> Vec<usize> {
    let kinesis = Client::new(&local.sdk_config());
    let mut numbers = Vec::new();
    for shard in kinesis.list_shards().stream_name("S").send().await.expect("it exists").shards() {
        let iterator = kinesis.get_shard_iterator().stream_name("S").shard_id(shard.shard_id());
        let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await.expect("it exists");
        let read = kinesis.get_records().shard_iterator(iterator.shard_iterator().expect("one")).send().await;
        for record in read.expect("it is open").records() {
            let found = Deaggregator::new().deaggregate("a", &record.data().as_ref().to_vec().into());
            let number = |data: &[u8]| String::from_utf8_lossy(data).parse::<usize>().expect("a number");
            numbers.extend(found.records.iter().map(|record| number(&record.data)));
        }
    }
    numbers.sort_unstable();
    numbers
}

async fn stream() -> (LocalAws, Recorder) {
    let local = LocalAws::start().await;
    local.create_stream("S", 2).expect("it is new");
    let recorder = Recorder::new(local.sdk_config(), "S");
    (local, recorder)
}

#[tokio::test(start_paused = true)]
async fn each_invocation_stores_its_records_however_long_the_freeze_before() {
    let (local, recorder) = stream().await;
    local.faults().on("kinesis:PutRecords").delay(Duration::from_millis(20));
    let (mut took, mut count) = (Vec::new(), 0);
    // Below and above the five minutes after which an idle pipeline ends, and the hour that credentials live.
    for frozen in [0, 1, 40, 299, 301, 600, 7200] {
        advance(Duration::from_secs(frozen)).await;
        let began = Instant::now();
        let outcomes = recorder.put(request(count, 25), TimeLeft::within(GRANTED)).await.expect("all are right");
        took.push(began.elapsed());
        count += 25;
        assert_eq!((outcomes.failed_record_count, outcomes.records.len()), (0, 25), "{outcomes:?}");
        assert_eq!(stored(&local).await, (0..count).collect::<Vec<_>>(), "before the answer");
    }

    assert!(took.iter().all(|took| *took <= Duration::from_millis(21)), "a request, and no linger: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_between_invocations() {
    let (local, recorder) = stream().await;
    let outcomes = recorder.put(request(0, 10), TimeLeft::within(GRANTED)).await.expect("all are right");
    assert_eq!(outcomes.failed_record_count, 0);
    let calls = local.faults().on("*").delay(Duration::ZERO);

    tokio::time::sleep(Duration::from_secs(3600)).await;

    assert_eq!(calls.count(), 0, "no call in an hour that was not frozen");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_time_left_is_abandoned_and_never_stored_later() {
    let (local, recorder) = stream().await;
    let stuck = local.faults().on("kinesis:PutRecords").delay(Duration::from_secs(600));
    let began = Instant::now();
    let outcomes = recorder.put(request(0, 10), TimeLeft::within(GRANTED)).await.expect("all are right");
    assert_eq!((outcomes.failed_record_count, outcomes.records.len()), (10, 10));
    assert_eq!(began.elapsed(), GRANTED - Duration::from_secs(1), "a second before Lambda ends the function");
    stuck.remove();

    advance(Duration::from_secs(1200)).await;
    let outcomes = recorder.put(request(100, 10), TimeLeft::within(GRANTED)).await.expect("all are right");

    assert_eq!(outcomes.failed_record_count, 0, "{outcomes:?}");
    assert_eq!(stored(&local).await, (100..110).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_is_named_and_nothing_is_put() {
    let (local, recorder) = stream().await;
    let text = async |entry: serde_json::Value| {
        let good = json!({ "PartitionKey": "k", "Data": "" });
        let request = serde_json::from_value(json!({ "Records": [good, entry] })).expect("a request");
        recorder.put(request, TimeLeft::within(GRANTED)).await.expect_err("one is wrong").to_string()
    };

    assert_eq!(text(json!({ "PartitionKey": "k", "Data": "%" })).await, "Records[1]: Data is not base64");
    let chars = "Records[1]: PartitionKey has 0 characters, accepted: 1 to 256";
    assert_eq!(text(json!({ "PartitionKey": "", "Data": "" })).await, chars);
    let hash_key = text(json!({ "PartitionKey": "k", "Data": "", "ExplicitHashKey": "x" })).await;
    assert!(hash_key.starts_with("Records[1]: ExplicitHashKey: \"x\" is not a hash key"), "{hash_key}");
    let none = serde_json::from_value(json!({ "Records": [] })).expect("a request");
    let error = recorder.put(none, TimeLeft::within(GRANTED)).await.expect_err("none");
    assert_eq!(error.to_string(), "Records has 0 entries, accepted: 1 to 500");
    assert_eq!(stored(&local).await, Vec::<usize>::new());
}
