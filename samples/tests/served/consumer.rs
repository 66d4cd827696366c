//! The consumer on the embedded AWS, in virtual time.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use aws_lambda_events::kinesis::KinesisEvent;
use kinesis_local::LocalAws;
use kpl::{HashKey, HashKeyRange, ShardId, UserRecord, aggregated::Aggregate};
use samples::lambda::{
    TimeLeft,
    consumer::{BoxError, Consumer, ConsumerError, FunctionRecord, ProgressTable, Ranges},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/S";
const PLENTY: Duration = Duration::from_secs(60);

/// An event of one aggregate, 4959, with these data.
fn event(data: &[&str]) -> KinesisEvent {
    let mut aggregate = Aggregate::new();
    data.iter().for_each(|data| aggregate.push(UserRecord::new("alpha", data.to_string())));
    event_with(base64_simd::STANDARD.encode_to_string(aggregate.encode()))
}

fn event_with(data: String) -> KinesisEvent {
    event_from(ARN, data)
}

/// An event of one Kinesis record with these data, from this event source.
fn event_from(source_arn: &str, data: String) -> KinesisEvent {
    let kinesis =
        json!({ "partitionKey": "a", "sequenceNumber": "4959", "data": data, "approximateArrivalTimestamp": 1.5 });
    let record = json!({ "eventID": "shardId-000000000000:4959", "eventSourceARN": source_arn, "kinesis": kinesis });
    serde_json::from_value(json!({ "Records": [record] })).expect("an event")
}

async fn table(local: &LocalAws) -> ProgressTable {
    let table = ProgressTable::new(aws_sdk_dynamodb::Client::new(&local.sdk_config()), "FunctionProgress", "trades");
    table.create().await.expect("it is new");
    table
}

/// Records that the function saw of an event, and its answer. Records with `bad` data fail.
async fn invoke(consumer: &Consumer, event: KinesisEvent) -> (Vec<(String, u32)>, Value) {
    invoke_failing_at(consumer, event, "bad").await
}

/// The same after the bug is fixed, so that no record fails.
async fn invoke_fixed(consumer: &Consumer, event: KinesisEvent) -> (Vec<(String, u32)>, Value) {
    invoke_failing_at(consumer, event, "none").await
}

async fn invoke_failing_at(consumer: &Consumer, event: KinesisEvent, bad: &str) -> (Vec<(String, u32)>, Value) {
    let seen = RefCell::new(Vec::new());
    let process = async |record: &FunctionRecord| {
        let text = String::from_utf8_lossy(&record.data).into_owned();
        let is_bad = text == bad;
        seen.borrow_mut().push((text, record.attempt));
        if is_bad { Err(BoxError::from("bad data")) } else { Ok(()) }
    };
    let answer = consumer.process(event, TimeLeft::within(PLENTY), process).await.expect("the event is right");
    (seen.into_inner(), serde_json::to_value(answer).expect("JSON"))
}

fn failed(sequence_number: &str) -> Value {
    json!({ "batchItemFailures": [{ "itemIdentifier": sequence_number }] })
}

fn all_done() -> Value {
    json!({ "batchItemFailures": [] })
}

fn seen(records: &[(&str, u32)]) -> Vec<(String, u32)> {
    records.iter().map(|(data, attempt)| ((*data).to_owned(), *attempt)).collect()
}

#[tokio::test(start_paused = true)]
async fn another_instance_goes_on_within_the_aggregate() {
    let local = LocalAws::start().await;
    let first = Consumer::new().with_progress(table(&local).await);
    let second = first.clone();
    let event = || event(&["x", "bad", "y"]);

    assert_eq!(invoke(&first, event()).await, (seen(&[("x", 1), ("bad", 1)]), failed("4959")));
    assert_eq!(invoke(&second, event()).await, (seen(&[("bad", 2)]), failed("4959")));
    assert_eq!(invoke(&first, event()).await, (seen(&[("bad", 3)]), failed("4959")));
}

#[tokio::test(start_paused = true)]
async fn a_replay_after_a_retry_is_processed_whole() {
    let local = LocalAws::start().await;
    let consumer = Consumer::new().with_progress(table(&local).await);
    let event = || event(&["x", "bad", "y"]);

    assert_eq!(invoke(&consumer, event()).await, (seen(&[("x", 1), ("bad", 1)]), failed("4959")));
    assert_eq!(invoke_fixed(&consumer, event()).await, (seen(&[("bad", 2), ("y", 1)]), all_done()));
    assert_eq!(invoke_fixed(&consumer, event()).await, (seen(&[("x", 1), ("bad", 1), ("y", 1)]), all_done()));
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_failures_writes_nothing() {
    let local = LocalAws::start().await;
    let consumer = Consumer::new().with_progress(table(&local).await);
    let calls = |action| local.faults().on(action).delay(Duration::from_millis(1));
    let (puts, deletes) = (calls("dynamodb:PutItem"), calls("dynamodb:DeleteItem"));

    assert_eq!(invoke(&consumer, event(&["x", "y"])).await, (seen(&[("x", 1), ("y", 1)]), all_done()));
    assert_eq!((puts.count(), deletes.count()), (0, 0));

    invoke(&consumer, event(&["x", "bad"])).await;
    invoke_fixed(&consumer, event(&["x", "bad"])).await;
    assert_eq!((puts.count(), deletes.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn progress_that_cannot_be_deleted_is_no_error() {
    let local = LocalAws::start().await;
    let consumer = Consumer::new().with_progress(table(&local).await);
    local.deny("dynamodb:DeleteItem");

    invoke(&consumer, event(&["x", "bad"])).await;
    assert_eq!(invoke_fixed(&consumer, event(&["x", "bad"])).await, (seen(&[("bad", 2)]), all_done()));
}

#[tokio::test(start_paused = true)]
async fn mappings_of_two_aliases_have_progress_of_their_own() {
    let local = LocalAws::start().await;
    table(&local).await;
    let alias = |alias: &str| {
        let client = aws_sdk_dynamodb::Client::new(&local.sdk_config());
        let function = format!("arn:aws:lambda:us-east-1:000000000000:function:trades:{alias}");
        Consumer::new().with_progress(ProgressTable::new(client, "FunctionProgress", function))
    };

    for consumer in [alias("prod"), alias("beta")] {
        let found = invoke(&consumer, event(&["x", "bad"])).await;
        assert_eq!(found, (seen(&[("x", 1), ("bad", 1)]), failed("4959")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_hangs_is_not_waited_for_until_lambda_ends_the_function() {
    let local = LocalAws::start().await;
    let consumer = Consumer::new().with_progress(table(&local).await);
    let hour = Duration::from_secs(3600);
    let start = Instant::now();

    let hanging = local.faults().on("dynamodb:PutItem").delay(hour);
    assert_eq!(invoke(&consumer, event(&["x", "bad"])).await, (seen(&[("x", 1), ("bad", 1)]), failed("4959")));
    assert!(start.elapsed() < PLENTY, "{:?}", start.elapsed());
    hanging.remove();

    local.faults().on("dynamodb:Query").delay(hour);
    let start = Instant::now();
    let process = async |_: &FunctionRecord| -> Result<(), BoxError> { panic!("nothing is processed") };
    let error = consumer.process(event(&["x"]), TimeLeft::within(PLENTY), process).await.expect_err("it hangs");
    assert!(matches!(error, ConsumerError::NoTime), "{error}");
    assert!(start.elapsed() < PLENTY, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_table_the_aggregate_is_repeated() {
    let consumer = Consumer::new();

    for _ in 0..2 {
        let found = invoke(&consumer, event(&["x", "bad", "y"])).await;
        assert_eq!(found, (seen(&[("x", 1), ("bad", 1)]), failed("4959")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_read_delivers_the_event_again_and_processes_nothing() {
    let local = LocalAws::start().await;
    let consumer = Consumer::new().with_progress(table(&local).await);
    local.deny("dynamodb:Query");
    let process = async |_: &FunctionRecord| -> Result<(), BoxError> { panic!("nothing is processed") };

    let error = consumer.process(event(&["x"]), TimeLeft::within(PLENTY), process).await.expect_err("it is denied");

    assert_eq!(error.to_string(), "progress cannot be read from table FunctionProgress");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_written_repeats_only_the_aggregate() {
    let local = LocalAws::start().await;
    let consumer = Consumer::new().with_progress(table(&local).await);
    local.deny("dynamodb:PutItem");

    for _ in 0..2 {
        let found = invoke(&consumer, event(&["x", "bad"])).await;
        assert_eq!(found, (seen(&[("x", 1), ("bad", 1)]), failed("4959")));
    }
}

#[tokio::test(start_paused = true)]
async fn ends_before_the_time_of_the_invocation_and_keeps_what_is_done() {
    let local = LocalAws::start().await;
    let consumer = Consumer::new().with_progress(table(&local).await);
    let done = RefCell::new(Vec::new());
    let slow = async |record: &FunctionRecord| {
        sleep(Duration::from_secs(2)).await;
        done.borrow_mut().push(record.sub_sequence_number);
        Ok::<(), BoxError>(())
    };

    let mut invocations = 0;
    loop {
        invocations += 1;
        let time = TimeLeft::within(Duration::from_secs(6)); // 5 s for work
        let answer = consumer.process(event(&["0", "1", "2", "3", "4"]), time, slow).await.expect("the event is right");
        if answer.batch_item_failures.is_empty() {
            break;
        }
    }

    assert_eq!((invocations, done.into_inner()), (3, (0..5).map(Some).collect()));
}

#[tokio::test(start_paused = true)]
async fn ranges_are_listed_once_and_leave_out_aggregates_of_other_shards() {
    let local = LocalAws::start().await;
    local.create_stream("S", 2).expect("it is new");
    let listing = local.faults().on("kinesis:ListShards").delay(Duration::from_millis(1));
    let consumer = Consumer::new().with_ranges(Ranges::listed(aws_sdk_kinesis::Client::new(&local.sdk_config())));
    // `beta` is in the upper half of the hash keys, and shard 0 owns the lower one.
    let mut aggregate = Aggregate::new();
    aggregate.push(UserRecord::new("alpha", "x"));
    aggregate.push(UserRecord::new("beta", "y"));
    let foreign = base64_simd::STANDARD.encode_to_string(aggregate.encode());

    let own = invoke(&consumer, event(&["x", "y"])).await;
    let others = invoke(&consumer, event_with(foreign.clone())).await;
    let unchecked = invoke(&Consumer::new(), event_with(foreign)).await;

    assert_eq!(own, (seen(&[("x", 1), ("y", 1)]), all_done()));
    assert_eq!(others, (Vec::new(), all_done()));
    assert_eq!(unchecked, (seen(&[("x", 1), ("y", 1)]), all_done()));
    assert_eq!(listing.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn ranges_are_listed_of_the_stream_of_a_consumer_with_enhanced_fan_out() {
    let local = LocalAws::start().await;
    local.create_stream("S", 2).expect("it is new");
    let consumer = Consumer::new().with_ranges(Ranges::listed(aws_sdk_kinesis::Client::new(&local.sdk_config())));
    let data = base64_simd::STANDARD.encode_to_string("x");

    let found = invoke(&consumer, event_from(&format!("{ARN}/consumer/c:1700000000"), data)).await;

    assert_eq!(found, (seen(&[("x", 1)]), all_done()));
}

#[tokio::test]
async fn given_ranges_are_those_of_the_shards_they_name() {
    let empty = HashKeyRange { start: HashKey::MIN, end: HashKey::MIN };
    let given =
        |shard: &str| Consumer::new().with_ranges(Ranges::Given(HashMap::from([(ShardId::from(shard), empty)])));

    assert_eq!(invoke(&given("shardId-000000000000"), event(&["x"])).await.0, Vec::new());
    assert_eq!(invoke(&given("shardId-000000000001"), event(&["x"])).await.0, seen(&[("x", 1)]));
}

#[tokio::test]
async fn events_that_are_not_lambdas_are_refused_by_name() {
    let event = json!({ "Records": [{ "eventID": "4959", "eventSourceARN": ARN,
        "kinesis": { "partitionKey": "a", "sequenceNumber": "4959", "data": "", "approximateArrivalTimestamp": 1.5 } }] });
    let event = serde_json::from_value(event).expect("an event");
    let process = async |_: &FunctionRecord| -> Result<(), BoxError> { panic!("nothing is processed") };

    let error = Consumer::new().process(event, TimeLeft::within(PLENTY), process).await.expect_err("no shard");

    assert_eq!(error.to_string(), "eventID \"4959\" is not like shardId-000000000006:4959...");
}
