//! Replays of a part of a stream's past, beside the live application.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use integration_tests::{
    APPLICATION, Call, EventLog, Journal, Running, TestStream,
    history::{history, now, numbers},
    id_of,
};
use kcl::{
    BoxError, CheckpointEvery, ConfigError, ErrorPolicy, Event, FanOut, FleetStatus, Retrieval, WorkerBuilder,
    WorkerError,
};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);

fn replay(stream: &TestStream, window: std::ops::Range<SystemTime>) -> WorkerBuilder {
    stream.worker("replay").replay(window)
}

/// Runs it to its end.
async fn run(builder: WorkerBuilder) -> (Journal, Result<(), WorkerError>) {
    let journal = Journal::default();
    let mut running = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    let ended = running.ended().await;
    (journal, ended)
}

#[tokio::test(start_paused = true)]
async fn exactly_the_records_of_the_window_are_processed_in_order_across_splits_and_merges() {
    let stream = TestStream::start(2).await;
    let [ten, twenty, thirty] = history(&stream).await;

    for (window, expected) in [(ten..thirty, 100..300), (ten..twenty, 100..200), (twenty..thirty, 200..300)] {
        let (journal, ended) = run(replay(&stream, window)).await;

        ended.expect("replay is done");
        let mut processed = numbers(&journal);
        assert!(journal.keys_out_of_order().is_empty(), "a child ran before its parent");
        processed.sort_unstable();
        assert_eq!(processed, expected.collect::<Vec<_>>());
        let calls = |like: &Call| journal.entries().iter().filter(|entry| entry.call == *like).count();
        assert_eq!(calls(&Call::ShardEnded), calls(&Call::Initialize));
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_older_than_the_retention_and_up_to_now_is_the_whole_stream() {
    let stream = TestStream::start(2).await;
    history(&stream).await;
    let now = now(&stream, 1_000_000).await;

    let (journal, ended) = run(replay(&stream, now - MINUTE * 60 * 24 * 30..now + MINUTE)).await;

    ended.expect("replay is done");
    assert_eq!(numbers(&journal).into_iter().collect::<BTreeSet<_>>(), (0..400).collect());
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_in_the_future_is_followed_until_then() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let now = now(&stream, 1_000_000).await;
    let builder = replay(&stream, now..now + MINUTE * 5);
    let mut running = Running::start(builder, &journal, |journal, shard| journal.processor(shard));

    for minute in 0..10 {
        stream.put(minute * 10..minute * 10 + 10).await;
        sleep(MINUTE).await;
    }

    running.ended().await.expect("replay is done");
    assert_eq!(numbers(&journal), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn by_fan_out_it_has_a_consumer_of_its_own_and_the_live_subscriptions_stay() {
    let (stream, live, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
    let fan_out = |builder: WorkerBuilder| builder.retrieval(Retrieval::FanOut(FanOut::new()));
    let builder = fan_out(stream.worker("w1")).on_event(events.handler());
    let worker = Running::start(builder, &live, |journal, shard| journal.processor(shard));
    let [ten, twenty, _] = history(&stream).await;
    let failed = events.count(|event| matches!(event, Event::ReadFailed { .. }));

    let builder = fan_out(replay(&stream, ten..twenty));
    let (journal, ended) = run(builder.clone()).await;

    ended.expect("replay is done");
    let mut processed = numbers(&journal);
    processed.sort_unstable();
    assert_eq!(processed, (100..200).collect::<Vec<_>>());
    assert_eq!(events.count(|event| matches!(event, Event::ReadFailed { .. })), failed, "{:?}", events.all());
    assert!(builder.deregister_consumer().await.expect("service answers"), "its consumer was registered");
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn the_live_application_and_its_leases_are_not_touched() {
    let (stream, live) = (TestStream::start(2).await, Journal::default());
    let worker = stream.run("w1", &live);
    let [ten, twenty, _] = history(&stream).await;
    worker.stop().await.expect("worker stops");
    let before = FleetStatus::read(&stream.aws, APPLICATION).await.expect("table is there");
    let calls = stream.local.faults().on("dynamodb:*").delay(Duration::ZERO);

    let (_, ended) = run(replay(&stream, ten..twenty)).await;

    ended.expect("replay is done");
    assert_eq!(calls.count(), 0, "the lease table is not even looked at");
    let after = FleetStatus::read(&stream.aws, APPLICATION).await.expect("table is there");
    assert_eq!(before, after);
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_service_and_of_the_processor_are_waited_out() {
    let stream = TestStream::start(2).await;
    let [ten, _, thirty] = history(&stream).await;
    stream.local.faults().on("kinesis:*").with_probability(0.3).throttle();
    stream.local.faults().on("kinesis:GetRecords").with_probability(0.2).lose_response();
    let (seen, failed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(BTreeSet::new())));
    let handler = {
        let seen = Arc::clone(&seen);
        move |record: kcl::Record| {
            let id = id_of(&record);
            // Every seventh record fails at its first try.
            let fails = id.is_multiple_of(7) && failed.lock().expect("no writer panics").insert(id);
            if !fails {
                seen.lock().expect("no writer panics").push(id);
            }
            async move { if fails { Err(BoxError::from("first try")) } else { Ok(()) } }
        }
    };

    let worker = replay(&stream, ten..thirty).build_for_each(CheckpointEvery::default(), handler);
    worker.expect("configuration is right").run().await.expect("replay is done");

    let seen: BTreeSet<u64> = seen.lock().unwrap().iter().copied().filter(|id| *id < 1_000_000).collect();
    assert_eq!(seen, (100..300).collect());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_given_up_makes_the_replay_an_error_that_names_it() {
    let stream = TestStream::start(2).await;
    let [ten, twenty, _] = history(&stream).await;
    let handler =
        |record: kcl::Record| async move { if id_of(&record) == 142 { Err(BoxError::from("never")) } else { Ok(()) } };
    let builder = replay(&stream, ten..twenty).on_processor_error(ErrorPolicy::stop_shard_after(2));

    let ended =
        builder.build_for_each(CheckpointEvery::default(), handler).expect("configuration is right").run().await;

    let Err(WorkerError::ReplayIncomplete { shards }) = ended else { panic!("{ended:?}") };
    assert_eq!(shards.len(), 1, "{shards:?}");
}

#[tokio::test(start_paused = true)]
async fn as_many_shards_as_wanted_are_read_at_the_same_time() {
    let stream = TestStream::start(6).await;
    let begun = now(&stream, 1_000_000).await;
    stream.put(0..600).await;
    let reads = stream.local.faults().on("kinesis:GetShardIterator").delay(Duration::from_secs(1));
    let started = tokio::time::Instant::now();

    let (journal, ended) = run(replay(&stream, begun..begun + Duration::from_secs(1)).max_leases(1)).await;

    ended.expect("replay is done");
    assert_eq!(numbers(&journal).len(), 600);
    assert_eq!(reads.count(), 6);
    assert!(started.elapsed() >= Duration::from_secs(6), "one after the other: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_stopped_says_goodbye_to_its_processors() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let now = now(&stream, 1_000_000).await;
    let builder = replay(&stream, now..now + MINUTE * 60);
    let running = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..100).await;
    journal.processed(100).await;

    running.stop().await.expect("replay stops");

    let goodbyes = journal.entries().iter().filter(|entry| entry.call == Call::ShutdownRequested).count();
    assert_eq!(goodbyes, 2);
}

#[tokio::test]
async fn a_window_that_ends_before_it_begins_is_refused() {
    let stream = TestStream::start(1).await;
    let now = now(&stream, 0).await;

    let built =
        replay(&stream, now..now).build_for_each(CheckpointEvery::default(), |_| async { Ok::<(), BoxError>(()) });

    assert!(matches!(built, Err(ConfigError::OutOfBounds { what: "replay", .. })));
}

#[tokio::test(start_paused = true)]
async fn a_replay_ends_when_its_stream_is_created_again() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let now = now(&stream, 1_000_000).await;
    let builder = replay(&stream, now..now + MINUTE * 60);
    let mut running = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..10).await;
    sleep(MINUTE).await;

    stream.recreate(1).await;
    stream.put(100..110).await;
    let ended = tokio::time::timeout(MINUTE * 10, running.ended()).await;

    assert!(matches!(ended, Ok(Err(WorkerError::OtherStream { .. }))), "{ended:?}");
    let read = numbers(&journal);
    assert!(read.contains(&9) && !read.iter().any(|id| (100..110).contains(id)), "{read:?}");
}
