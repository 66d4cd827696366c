//! A machine whose clock is wrong, by half a minute or an hour, ahead or behind, loses nothing: workers go by the services'
//! time, and say that the clock is wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use integration_tests::{APPLICATION, EventLog, Journal, JournalProcessor, Running, TestStream, history::now};
use kcl::{
    BoxError, Checkpointer, ConfigError, Event, FleetStatus, InitialPosition, RecordBatch, RecordProcessor, Reset,
    WorkerBuilder,
};
use kinesis_local::LocalAws;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Distances of the machine's clock from the services', ahead and behind.
const ERRORS: [(Duration, Duration); 4] = [
    (SECOND.saturating_mul(30), Duration::ZERO),
    (HOUR, Duration::ZERO),
    (Duration::ZERO, SECOND.saturating_mul(30)),
    (Duration::ZERO, HOUR),
];

async fn stream_with((ahead, behind): (Duration, Duration)) -> TestStream {
    let local = LocalAws::start().await;
    match behind.is_zero() {
        true => local.set_clock_behind(ahead),
        false => local.set_clock_ahead(behind),
    }
    TestStream::on(local, 2).await
}

fn at_latest(stream: &TestStream) -> WorkerBuilder {
    stream.worker("w1").initial_position(InitialPosition::Latest)
}

/// Fails at the first batch of all.
struct Failing(JournalProcessor, Arc<AtomicBool>);

impl RecordProcessor for Failing {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if !self.1.swap(true, Ordering::Relaxed) {
            return Err("the first batch".into());
        }
        self.0.process_records(batch, checkpointer).await
    }
}

#[tokio::test(start_paused = true)]
async fn at_latest_nothing_is_lost_and_the_clock_is_reported() {
    for error in ERRORS {
        let (stream, journal, events) = (stream_with(error).await, Journal::default(), EventLog::default());
        let failed = Arc::new(AtomicBool::new(false));
        let make = move |journal: &Journal, shard: &_| Failing(journal.processor(shard), Arc::clone(&failed));
        let worker = Running::start(at_latest(&stream).on_event(events.handler()), &journal, make);
        sleep(5 * SECOND).await;
        stream.put(0..50).await;
        sleep(3 * SECOND).await;
        stream.put(50..100).await;
        journal.processed(100).await;

        let (ahead, behind) = error;
        let is_near = |told: &Duration, real: Duration| told.abs_diff(real) <= 2 * SECOND;
        let is_told = |event: &Event| matches!(event, Event::ClockWrong { ahead: a, behind: b } if is_near(a, ahead) && is_near(b, behind));
        assert_eq!(events.count(is_told), 1, "{error:?}: {:?}", events.all());
        worker.stop().await.expect("worker stops in good order");
    }
}

#[tokio::test(start_paused = true)]
async fn the_workers_item_tells_the_services_time() {
    for error in ERRORS {
        let stream = stream_with(error).await;
        let _worker = stream.run("w1", &Journal::default());
        sleep(35 * SECOND).await;

        let told = FleetStatus::read(&stream.aws, APPLICATION).await.unwrap().workers[0].last_report_seconds;
        let now = now(&stream, 0).await.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!((now - 15..=now).contains(&told), "{error:?}: {told} at {now}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_to_latest_leaves_out_nothing_that_comes_after_it() {
    for error in ERRORS {
        let (stream, journal) = (stream_with(error).await, Journal::default());
        let worker = stream.run("w1", &journal);
        stream.put(0..10).await;
        journal.processed(10).await;
        worker.stop().await.expect("worker stops in good order");
        stream.put(10..20).await;
        sleep(5 * SECOND).await;

        stream.worker("operator").reset(Reset::to(InitialPosition::Latest)).await.unwrap();
        stream.put(20..30).await;

        let next = Journal::default();
        let worker = stream.run("w1", &next);
        next.processed(10).await;
        worker.stop().await.expect("worker stops in good order");
        assert!(next.ids().iter().all(|id| *id >= 20), "{error:?}: {:?}", next.ids());
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_up_to_a_time_that_comes_processes_all_until_then() {
    for error in ERRORS {
        let (stream, journal) = (stream_with(error).await, Journal::default());
        let begun = now(&stream, 1_000).await;
        sleep(SECOND).await;
        let replay = stream.worker("replay").replay(begun + SECOND..begun + 60 * SECOND);
        let mut replay = Running::start(replay, &journal, |journal, shard| journal.processor(shard));
        for round in 0..5 {
            stream.put(round * 10..round * 10 + 10).await;
            sleep(10 * SECOND).await;
        }

        replay.ended().await.unwrap();
        assert_eq!(journal.distinct(), 50, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_initial_position_more_than_an_hour_ahead_is_refused() {
    let stream = TestStream::start(1).await;
    let time = stream.aws.time_source().unwrap().now();
    let build = |time| {
        let builder = stream.worker("w1").initial_position(InitialPosition::AtTimestamp(time));
        builder.build(|shard: &_| Journal::default().processor(shard))
    };

    assert!(build(time + HOUR).is_ok());
    let refused = build(time + HOUR + SECOND).map(drop);
    assert!(matches!(refused, Err(ConfigError::OutOfBounds { what: "initial position", .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_initial_position_of_the_last_hour_is_read_whatever_the_clock() {
    for error in ERRORS.map(|(ahead, behind)| (ahead, behind.min(HOUR - 10 * SECOND))) {
        let (stream, journal) = (stream_with(error).await, Journal::default());
        stream.put(0..10).await;
        sleep(5 * SECOND).await;
        let time = now(&stream, 1_000).await;
        sleep(SECOND).await;
        stream.put(10..20).await;

        let worker = stream.worker("w1").initial_position(InitialPosition::AtTimestamp(time));
        let worker = Running::start(worker, &journal, |journal, shard| journal.processor(shard));
        // With the record that told the time.
        journal.processed(11).await;
        worker.stop().await.expect("worker stops in good order");
        assert!(journal.ids().iter().all(|id| *id >= 10), "{error:?}: {:?}", journal.ids());
    }
}

#[tokio::test(start_paused = true)]
async fn an_initial_position_that_is_still_to_come_is_waited_for() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let time = now(&stream, 1_000).await + 60 * SECOND;
    let worker = stream.worker("w1").initial_position(InitialPosition::AtTimestamp(time)).on_event(events.handler());
    let worker = Running::start(worker, &journal, |journal, shard| journal.processor(shard));
    sleep(30 * SECOND).await;
    stream.put(0..10).await;
    let is_told =
        |event: &Event| matches!(event, Event::ReadFailed { error, .. } if error.contains("currentTimestampInMillis"));
    assert!(events.count(is_told) > 0, "{:?}", events.all());

    sleep(60 * SECOND).await;
    stream.put(10..20).await;
    journal.processed(10).await;
    worker.stop().await.expect("worker stops in good order");
    assert!(journal.ids().iter().all(|id| (10..20).contains(id)), "{:?}", journal.ids());
}
