//! Resets of an application's checkpoints: what is processed again afterwards, and what is refused.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::types::AttributeValue;
use integration_tests::{
    APPLICATION, Journal, Running, STREAM, TestStream,
    history::{history, now, numbers},
};
use kcl::{Checkpoint, FleetStatus, InitialPosition, Reset, ResetError, WorkerBuilder, WorkerError};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// A stream whose past a worker has processed, and then stopped in good order.
async fn processed() -> (TestStream, [SystemTime; 3]) {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let worker = stream.run("w1", &journal);
    let times = history(&stream).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(numbers(&journal).len(), 400);
    worker.stop().await.expect("worker stops");
    (stream, times)
}

fn builder(stream: &TestStream) -> WorkerBuilder {
    stream.worker("operator")
}

fn at(time: SystemTime) -> Reset {
    Reset::to(InitialPosition::AtTimestamp(time))
}

/// What workers process from now on, in order, until there is nothing more.
async fn processed_next(stream: &TestStream) -> Vec<u64> {
    let journal = Journal::default();
    let workers = ["w2", "w3"].map(|id| stream.run(id, &journal));
    sleep(MINUTE).await;
    for worker in workers {
        worker.stop().await.expect("worker stops");
    }
    assert!(journal.keys_out_of_order().is_empty(), "a child ran before its parent");
    numbers(&journal)
}

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids
}

async fn checkpoints(stream: &TestStream) -> BTreeMap<String, Checkpoint> {
    let status = FleetStatus::read(&stream.aws, APPLICATION).await.expect("table is there");
    status.leases.into_iter().map(|lease| (lease.shard_id.to_string(), lease.checkpoint)).collect()
}

async fn items(stream: &TestStream) -> Vec<HashMap<String, AttributeValue>> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&stream.aws);
    let scanned = dynamodb.scan().table_name(APPLICATION).send().await.expect("table is there");
    let is_lease = |item: &&HashMap<String, AttributeValue>| item.contains_key("checkpoint");
    scanned.items().iter().filter(is_lease).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn from_a_time_on_every_record_is_processed_again_in_order_and_none_before() {
    let (stream, times) = processed().await;

    for (time, first) in times.into_iter().zip([100, 200, 300]) {
        builder(&stream).reset(at(time)).await.expect("nobody runs");

        assert_eq!(sorted(processed_next(&stream).await), (first..400).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn shards_whose_leases_were_deleted_are_processed_again_too() {
    let (stream, [_, twenty, _]) = processed().await;
    let leased: BTreeSet<String> = checkpoints(&stream).await.into_keys().collect();
    assert!(!leased.contains("shardId-000000000000"), "the first parent's lease is gone: {leased:?}");

    let report = builder(&stream).reset(Reset::to(InitialPosition::TrimHorizon)).await.expect("nobody runs");

    assert!(report.shards.iter().any(|shard| shard.before.is_none()));
    assert_eq!(sorted(processed_next(&stream).await), (0..400).collect::<Vec<_>>());
    builder(&stream).reset(at(twenty)).await.expect("nobody runs");
    assert_eq!(sorted(processed_next(&stream).await), (200..400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_lagging_application_is_set_to_the_present_and_misses_nothing_from_then_on() {
    let stream = TestStream::start(2).await;
    let journal = Journal::default();
    let worker = stream.run("w1", &journal);
    stream.put(0..10).await;
    journal.processed(10).await;
    worker.stop().await.expect("worker stops");
    history(&stream).await;

    builder(&stream).reset(Reset::to(InitialPosition::Latest)).await.expect("nobody runs");
    stream.put(400..500).await;
    sleep(MINUTE).await;

    assert_eq!(sorted(processed_next(&stream).await), (400..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_shard_is_reset_with_those_that_follow_it() {
    let (stream, [ten, _, _]) = processed().await;
    let before = checkpoints(&stream).await;

    let report = builder(&stream).reset(at(ten).only_shard("shardId-000000000000")).await.expect("nobody runs");

    let reset: BTreeSet<String> = report.shards.iter().map(|shard| shard.shard_id.to_string()).collect();
    for (shard, checkpoint) in checkpoints(&stream).await {
        if !reset.contains(&shard) {
            assert_eq!(before.get(&shard), Some(&checkpoint), "{shard} is left alone");
        }
    }
    assert!(!reset.contains("shardId-000000000001"), "{reset:?}");
    let again: BTreeSet<u64> = processed_next(&stream).await.into_iter().collect();
    assert!(!again.is_empty() && again.iter().all(|id| *id >= 100), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_known_to_java_and_has_no_owner_and_nothing_pending() {
    let (stream, [ten, twenty, _]) = processed().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&stream.aws);
    let open = stream.open_shards().await;
    let mark = dynamodb.update_item().table_name(APPLICATION).key("leaseKey", AttributeValue::S(open[0].clone()));
    let mark = mark.update_expression("SET pendingCheckpoint = :p, latestAsOfMillis = :l, theirs = :p");
    let mark = mark.expression_attribute_values(":p", AttributeValue::S("7".to_owned()));
    mark.expression_attribute_values(":l", AttributeValue::N("7".to_owned())).send().await.expect("item is there");

    for time in [ten, twenty] {
        builder(&stream).reset(at(time)).await.expect("nobody runs");

        for item in items(&stream).await {
            let checkpoint = item["checkpoint"].as_s().expect("is text");
            let is_known = ["TRIM_HORIZON", "SHARD_END"].contains(&checkpoint.as_str())
                || checkpoint.chars().all(|c| c.is_ascii_digit());
            assert!(is_known, "{checkpoint}");
            for absent in ["leaseOwner", "checkpointOwner", "pendingCheckpoint", "latestAsOfMillis"] {
                assert!(!item.contains_key(absent), "{item:?}");
            }
            assert_eq!(item.contains_key("theirs"), item["leaseKey"].as_s() == Ok(&open[0]), "{item:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_the_middle_of_aggregates_begins_at_the_first_user_record_after_the_time() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let worker = stream.run("w1", &journal);
    let producer = kpl::Producer::builder(&stream.aws, STREAM).build().expect("configuration is right");
    let put = async |ids: std::ops::Range<u64>| {
        let mut deliveries = Vec::new();
        for id in ids {
            let record = kpl::UserRecord::new(format!("key-{}", id % 100), id.to_string());
            deliveries.push(producer.put(record).await.expect("record is fine"));
        }
        for delivery in deliveries {
            delivery.await.expect("record is stored");
        }
    };
    put(0..50).await;
    sleep(Duration::from_secs(1)).await;
    let time = kcl_now(&stream).await;
    put(50..100).await;
    journal.processed(101).await;
    worker.stop().await.expect("worker stops");

    let report = builder(&stream).reset(at(time)).await.expect("nobody runs");

    let Checkpoint::At(position) = &report.shards[0].after else { panic!("{report:?}") };
    assert!(position.sub_sequence_number > 0, "behind the last user record of the aggregate before");
    assert_eq!(sorted(processed_next(&stream).await), (50..100).collect::<Vec<_>>());
}

/// A time between two records, which are a second and more apart.
async fn kcl_now(stream: &TestStream) -> SystemTime {
    now(stream, 1_000_000).await - Duration::from_millis(500)
}

#[tokio::test(start_paused = true)]
async fn while_workers_live_it_is_refused_and_nothing_is_changed() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let worker = stream.run("w1", &journal);
    stream.put(0..100).await;
    journal.processed(100).await;
    sleep(Duration::from_secs(10)).await;
    let before = checkpoints(&stream).await;

    let refused = builder(&stream).reset(Reset::to(InitialPosition::TrimHorizon)).await;

    assert!(matches!(refused, Err(ResetError::WorkersLive { .. })), "{refused:?}");
    assert_eq!(checkpoints(&stream).await, before);
    worker.stop().await.expect("worker stops");
    assert_eq!(journal.ids().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_it_waits_for_signs_of_life_and_after_a_stop_it_does_not() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let worker = stream.run("w1", &journal);
    stream.put(0..100).await;
    journal.processed(100).await;
    worker.stop().await.expect("worker stops");
    let begun = Instant::now();
    builder(&stream).reset(Reset::to(InitialPosition::TrimHorizon)).await.expect("nobody runs");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    let worker = stream.run("w1", &journal);
    sleep(Duration::from_secs(20)).await;
    worker.kill();
    let begun = Instant::now();
    builder(&stream).reset(Reset::to(InitialPosition::TrimHorizon)).await.expect("nobody runs");

    assert!(begun.elapsed() >= Duration::from_secs(35), "{:?}", begun.elapsed());
    assert_eq!(sorted(processed_next(&stream).await), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn forced_it_fences_live_workers_which_process_everything_again() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let workers = ["w1", "w2", "w3"].map(|id| stream.run(id, &journal));
    let [_, twenty, _] = history(&stream).await;
    let seen = journal.ids().len();

    builder(&stream).reset(at(twenty).force()).await.expect("forced");
    sleep(MINUTE * 2).await;

    let again: BTreeSet<u64> = journal.ids()[seen..].iter().copied().filter(|id| *id < 1_000_000).collect();
    assert!(again.is_superset(&(200..400).collect()), "{:?}", again.len());
    assert_eq!(again.first(), Some(&200));
    for worker in workers {
        worker.stop().await.expect("worker stops");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_failures_do_not_matter_and_an_interrupted_reset_is_repeated() {
    let (stream, [ten, _, _]) = processed().await;
    stream.local.faults().on("dynamodb:UpdateItem").every(2).lose_response();
    stream.local.faults().on("dynamodb:PutItem").every(2).lose_response();
    stream.local.faults().on("kinesis:*").with_probability(0.3).throttle();
    builder(&stream).reset(at(ten)).await.expect("answers are lost, not writes");
    stream.local.faults().clear();
    assert_eq!(sorted(processed_next(&stream).await), (100..400).collect::<Vec<_>>());

    // Some leases are there, and others are to be created.
    stream.local.deny("dynamodb:PutItem");
    let failed = builder(&stream).reset(at(ten)).await;
    assert!(matches!(failed, Err(ResetError::Partial { .. })), "{failed:?}");
    stream.local.allow("dynamodb:PutItem");
    builder(&stream).reset(at(ten)).await.expect("nobody runs");
    assert_eq!(sorted(processed_next(&stream).await), (100..400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused() {
    let (stream, [ten, _, _]) = processed().await;

    let later = at(now(&stream, 1_000_000).await + MINUTE);
    assert!(matches!(builder(&stream).reset(later).await, Err(ResetError::InFuture)));
    let unknown = builder(&stream).reset(at(ten).only_shard("shardId-000000000099")).await;
    assert!(matches!(unknown, Err(ResetError::UnknownShard { .. })), "{unknown:?}");
    let nowhere = kcl::Worker::builder(&stream.aws, "NoSuchApplication", STREAM).reset(at(ten)).await;
    assert!(matches!(nowhere, Err(ResetError::Worker(WorkerError::LeaseTable(_)))), "{nowhere:?}");
    stream.kinesis.create_stream().stream_name("other").shard_count(1).send().await.expect("stream is new");
    let other = kcl::Worker::builder(&stream.aws, APPLICATION, "other").reset(at(ten)).await;
    assert!(matches!(other, Err(ResetError::Worker(WorkerError::OtherStream { .. }))), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_starts_meanwhile_stops_it() {
    let (stream, [ten, _, _]) = processed().await;
    stream.local.faults().on("kinesis:GetRecords").delay(Duration::from_secs(2));
    let operator = builder(&stream);
    let reset = tokio::spawn(async move { operator.reset(at(ten)).await });
    sleep(Duration::from_secs(1)).await;

    let journal = Journal::default();
    let worker: Running = stream.run("w9", &journal);
    let outcome = reset.await.expect("no panic");

    let refused = matches!(outcome, Err(ResetError::WorkersLive { .. } | ResetError::Partial { .. }));
    assert!(refused, "{outcome:?}");
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn of_several_streams_all_or_one_are_processed_again() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    stream.kinesis.create_stream().stream_name("orders").shard_count(1).send().await.expect("stream is new");
    let worker = |id: &str| {
        let both = kcl::Streams::new([STREAM, "orders"]);
        let builder = kcl::Worker::builder(&stream.aws, APPLICATION, both).worker_id(id);
        builder.initial_position(InitialPosition::TrimHorizon)
    };
    let begun = now(&stream, 1_000_000).await;
    stream.put(0..10).await;
    let put = stream.kinesis.put_record().stream_name("orders").partition_key("key");
    put.data(aws_sdk_kinesis::primitives::Blob::new("77")).send().await.expect("put succeeds");
    let run = async |builder: WorkerBuilder, journal: &Journal| {
        let running = Running::start(builder, journal, |journal, shard| journal.processor(shard));
        sleep(Duration::from_secs(30)).await;
        running.stop().await.expect("worker stops");
        sorted(numbers(journal))
    };
    let all: Vec<u64> = (0..10).chain([77]).collect();
    assert_eq!(run(worker("w1"), &journal).await, all);

    let reset = Reset::to(InitialPosition::TrimHorizon);
    worker("operator").reset(reset.clone().only_stream("orders")).await.expect("nobody runs");
    assert_eq!(run(worker("w2"), &Journal::default()).await, [77]);
    worker("operator").reset(reset.clone()).await.expect("nobody runs");
    assert_eq!(run(worker("w3"), &Journal::default()).await, all);
    assert_eq!(run(worker("replay").replay(begun..begun + MINUTE), &Journal::default()).await, all);

    let which = worker("operator").reset(reset.clone().only_shard("shardId-000000000000")).await;
    assert!(matches!(which, Err(ResetError::WhichStream)), "{which:?}");
    let unknown = worker("operator").reset(reset.only_stream("payments")).await;
    assert!(matches!(unknown, Err(ResetError::UnknownStream { .. })), "{unknown:?}");
}
