//! A machine whose clock is wrong, by half a minute or an hour, ahead or behind, loses nothing: workers go by the services'
//! time, and say that the clock is wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use integration_tests::{Journal, JournalProcessor, Running, World, history::now};
use kcl::{
    BoxError, Checkpointer, ConfigError, Event, InitialPosition, RecordBatch, RecordProcessor, Reset, WorkerBuilder,
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

async fn stream_with((ahead, behind): (Duration, Duration)) -> World {
    let local = LocalAws::start().await;
    match behind.is_zero() {
        true => local.set_clock_behind(ahead),
        false => local.set_clock_ahead(behind),
    }
    World::on(local, 2).await
}

fn at_latest(world: &World) -> WorkerBuilder {
    world.worker("w1").initial_position(InitialPosition::Latest)
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
async fn loses_nothing_at_latest_and_reports_the_wrong_clock() {
    for error in ERRORS {
        let world = stream_with(error).await;
        let failed = Arc::new(AtomicBool::new(false));
        let make = move |journal: &Journal, shard: &_| Failing(journal.processor(shard), Arc::clone(&failed));
        let worker = Running::start(at_latest(&world), &world.journal, make);
        world.settled().await;
        world.put(0..50).await;
        sleep(3 * SECOND).await;
        world.put(50..100).await;
        world.journal.processed(100).await;

        let (ahead, behind) = error;
        let is_near = |told: &Duration, real: Duration| told.abs_diff(real) <= 2 * SECOND;
        let is_told = |event: &Event| matches!(event, Event::ClockWrong { ahead: a, behind: b, .. } if is_near(a, ahead) && is_near(b, behind));
        assert_eq!(world.events.count(is_told), 1, "{error:?}: {:?}", world.events.all());
        worker.stop().await.expect("worker stops in good order");
    }
}

#[tokio::test(start_paused = true)]
async fn the_workers_item_tells_the_services_time() {
    for error in ERRORS {
        let world = stream_with(error).await;
        let _worker = world.run("w1");
        sleep(35 * SECOND).await;

        let told = world.status().await.workers[0].last_report_seconds;
        let now = now(&world, 0).await.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!((now - 15..=now).contains(&told), "{error:?}: {told} at {now}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_to_latest_leaves_out_nothing_that_comes_after_it() {
    for error in ERRORS {
        let world = stream_with(error).await;
        let worker = world.run("w1");
        world.put(0..10).await;
        world.journal.processed(10).await;
        worker.stop().await.expect("worker stops in good order");
        world.put(10..20).await;
        sleep(5 * SECOND).await;

        world.worker("operator").reset(Reset::to(InitialPosition::Latest)).await.unwrap();
        world.put(20..30).await;

        let next = Journal::default();
        let worker = Running::noting(world.worker("w1"), &next);
        next.processed(10).await;
        worker.stop().await.expect("worker stops in good order");
        assert!(next.ids().iter().all(|id| *id >= 20), "{error:?}: {:?}", next.ids());
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_up_to_a_time_that_comes_processes_all_until_then() {
    for error in ERRORS {
        let world = stream_with(error).await;
        let begun = now(&world, 1_000).await;
        sleep(SECOND).await;
        let replay = world.worker("replay").replay(begun + SECOND..begun + 60 * SECOND);
        let mut replay = world.spawn(replay);
        for round in 0..5 {
            world.put(round * 10..round * 10 + 10).await;
            sleep(10 * SECOND).await;
        }

        replay.ended().await.unwrap();
        assert_eq!(world.journal.distinct(), 50, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_initial_position_more_than_an_hour_ahead_is_refused() {
    let world = World::start(1).await;
    let time = world.aws.time_source().unwrap().now();
    let build = |time| {
        let builder = world.worker("w1").initial_position(InitialPosition::AtTimestamp(time));
        builder.build(|shard: &_| Journal::default().processor(shard))
    };

    assert!(build(time + HOUR).is_ok());
    let refused = build(time + HOUR + SECOND).map(drop).unwrap_err();
    assert!(matches!(refused, ConfigError::OutOfBounds { setting: "initial_position", .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.starts_with("initial_position is 20") && text.contains("Z, accepted: at most an hour"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_initial_position_of_the_last_hour_is_read_whatever_the_clock() {
    for error in ERRORS.map(|(ahead, behind)| (ahead, behind.min(HOUR - 10 * SECOND))) {
        let world = stream_with(error).await;
        world.put(0..10).await;
        sleep(5 * SECOND).await;
        let time = now(&world, 1_000).await;
        sleep(SECOND).await;
        world.put(10..20).await;

        let worker = world.worker("w1").initial_position(InitialPosition::AtTimestamp(time));
        let worker = world.spawn(worker);
        // With the record that told the time.
        world.journal.processed(11).await;
        worker.stop().await.expect("worker stops in good order");
        assert!(world.journal.ids().iter().all(|id| *id >= 10), "{error:?}: {:?}", world.journal.ids());
    }
}

#[tokio::test(start_paused = true)]
async fn an_initial_position_that_is_still_to_come_is_waited_for() {
    let world = World::start(1).await;
    let time = now(&world, 1_000).await + 60 * SECOND;
    let worker = world.worker("w1").initial_position(InitialPosition::AtTimestamp(time));
    let worker = world.spawn(worker);
    sleep(30 * SECOND).await;
    world.put(0..10).await;
    let is_told =
        |event: &Event| matches!(event, Event::ReadFailed { error, .. } if error.contains("currentTimestampInMillis"));
    assert!(world.events.count(is_told) > 0, "{:?}", world.events.all());

    sleep(60 * SECOND).await;
    world.put(10..20).await;
    world.journal.processed(10).await;
    worker.stop().await.expect("worker stops in good order");
    assert!(world.journal.ids().iter().all(|id| (10..20).contains(id)), "{:?}", world.journal.ids());
}
