//! Replays of a part of a stream's past, beside the live application.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use integration_tests::{
    Call, Journal, Records, Running, World,
    history::{history, now, numbers},
    id_of,
};
use kcl::{BoxError, CheckpointEvery, ConfigError, ErrorPolicy, Event, FanOut, Retrieval, WorkerBuilder, WorkerError};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);

fn replay(world: &World, window: std::ops::Range<SystemTime>) -> WorkerBuilder {
    world.worker("replay").replay(window)
}

/// Runs it to its end.
async fn run(builder: WorkerBuilder) -> (Journal, Result<(), WorkerError>) {
    let journal = Journal::default();
    let mut running = Running::noting(builder, &journal);
    let ended = running.ended().await;
    (journal, ended)
}

#[tokio::test(start_paused = true)]
async fn replays_exactly_the_window_in_order_across_splits_and_merges() {
    let world = World::start(2).await;
    let [ten, twenty, thirty] = history(&world).await;

    for (window, expected) in [(ten..thirty, 100..300), (ten..twenty, 100..200), (twenty..thirty, 200..300)] {
        let (journal, ended) = run(replay(&world, window)).await;

        ended.expect("replay is done");
        let mut processed = numbers(&journal);
        assert!(journal.keys_out_of_order().is_empty(), "a child ran before its parent");
        processed.sort_unstable();
        assert_eq!(processed, expected.collect::<Vec<_>>());
        assert!(journal.count(&Call::Initialize) > 2, "{} shards", journal.count(&Call::Initialize));
        assert_eq!(journal.count(&Call::ShardEnded), journal.count(&Call::Initialize));
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_older_than_the_retention_and_up_to_now_is_the_whole_stream() {
    let world = World::start(2).await;
    history(&world).await;
    let now = now(&world, 1_000_000).await;

    let (journal, ended) = run(replay(&world, now - MINUTE * 60 * 24 * 30..now + MINUTE)).await;

    ended.expect("replay is done");
    assert_eq!(numbers(&journal).into_iter().collect::<BTreeSet<_>>(), (0..400).collect());
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_in_the_future_is_followed_until_then() {
    let world = World::start(1).await;
    let now = now(&world, 1_000_000).await;
    let builder = replay(&world, now..now + MINUTE * 5);
    let mut running = world.spawn(builder);

    for minute in 0..10 {
        world.put(minute * 10..minute * 10 + 10).await;
        sleep(MINUTE).await;
    }

    running.ended().await.expect("replay is done");
    assert_eq!(numbers(&world.journal), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn replays_by_fan_out_with_its_own_consumer_beside_live_subscriptions() {
    let world = World::start(2).await;
    let live = Journal::default();
    let fan_out = |builder: WorkerBuilder| builder.retrieval(Retrieval::FanOut(FanOut::new()));
    let builder = fan_out(world.worker("w1"));
    let worker = Running::noting(builder, &live);
    let [ten, twenty, _] = history(&world).await;
    let failed = world.events.count(|event| matches!(event, Event::ReadFailed { .. }));

    let builder = fan_out(replay(&world, ten..twenty));
    let (journal, ended) = run(builder.clone()).await;

    ended.expect("replay is done");
    let mut processed = numbers(&journal);
    processed.sort_unstable();
    assert_eq!(processed, (100..200).collect::<Vec<_>>());
    assert_eq!(
        world.events.count(|event| matches!(event, Event::ReadFailed { .. })),
        failed,
        "{:?}",
        world.events.all()
    );
    assert!(builder.deregister_consumer().await.expect("service answers"), "its consumer was registered");
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn the_live_application_and_its_leases_are_not_touched() {
    let world = World::start(2).await;
    let live = Journal::default();
    let worker = Running::noting(world.worker("w1"), &live);
    let [ten, twenty, _] = history(&world).await;
    worker.stop().await.expect("worker stops");
    let before = world.status().await;
    let calls = world.calls("dynamodb:*");

    let (_, ended) = run(replay(&world, ten..twenty)).await;

    ended.expect("replay is done");
    assert_eq!(calls.count(), 0, "the lease table is not even looked at");
    let after = world.status().await;
    assert_eq!(before, after);
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_service_and_of_the_processor_are_waited_out() {
    let world = World::start(2).await;
    let [ten, _, thirty] = history(&world).await;
    world.local.faults().on("kinesis:*").with_probability(0.3).throttle();
    world.local.faults().on("kinesis:GetRecords").with_probability(0.2).lose_response();
    let (seen, failed) = (Records::default(), Mutex::new(BTreeSet::new()));
    let handler = {
        let (seen, failed) = (seen.clone(), Arc::new(failed));
        move |record: kcl::Record| {
            let id = id_of(&record);
            // Every seventh record fails at its first try.
            let fails = id.is_multiple_of(7) && failed.lock().expect("no writer panics").insert(id);
            if !fails {
                seen.add(&record);
            }
            async move { if fails { Err(BoxError::from("first try")) } else { Ok(()) } }
        }
    };

    let worker = replay(&world, ten..thirty).build_for_each(CheckpointEvery::default(), 1, handler);
    worker.expect("configuration is right").run().await.expect("replay is done");

    let seen: BTreeSet<u64> = seen.ids().into_iter().filter(|id| *id < 1_000_000).collect();
    assert_eq!(seen, (100..300).collect());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_given_up_makes_the_replay_an_error_that_names_it() {
    let world = World::start(2).await;
    let [ten, twenty, _] = history(&world).await;
    let handler =
        |record: kcl::Record| async move { if id_of(&record) == 142 { Err(BoxError::from("never")) } else { Ok(()) } };
    let builder = replay(&world, ten..twenty).on_processor_error(ErrorPolicy::stop_shard_after(2));

    let ended =
        builder.build_for_each(CheckpointEvery::default(), 1, handler).expect("configuration is right").run().await;

    let Err(WorkerError::ReplayIncomplete { shards, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(shards.len(), 1, "{shards:?}");
}

#[tokio::test(start_paused = true)]
async fn reads_as_many_shards_as_wanted_at_the_same_time() {
    let world = World::start(6).await;
    let begun = now(&world, 1_000_000).await;
    world.put(0..600).await;
    let reads = world.local.faults().on("kinesis:GetShardIterator").delay(Duration::from_secs(1));
    let started = tokio::time::Instant::now();

    let (journal, ended) = run(replay(&world, begun..begun + Duration::from_secs(1)).max_leases(1)).await;

    ended.expect("replay is done");
    assert_eq!(numbers(&journal).len(), 600);
    assert_eq!(reads.count(), 6);
    assert!(started.elapsed() >= Duration::from_secs(6), "one after the other: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_stopped_says_goodbye_to_its_processors() {
    let world = World::start(2).await;
    let now = now(&world, 1_000_000).await;
    let builder = replay(&world, now..now + MINUTE * 60);
    let running = world.spawn(builder);
    world.put(0..100).await;
    world.journal.processed(100).await;

    running.stop().await.expect("replay stops");

    assert_eq!(world.journal.count(&Call::ShutdownRequested), 2);
}

#[tokio::test]
async fn a_window_that_ends_before_it_begins_is_refused() {
    let world = World::start(1).await;
    let now = now(&world, 0).await;

    let built =
        replay(&world, now..now).build_for_each(CheckpointEvery::default(), 1, |_| async { Ok::<(), BoxError>(()) });

    let refused = built.map(drop).unwrap_err();
    assert!(matches!(refused, ConfigError::OutOfBounds { setting: "replay", .. }));
    let text = refused.to_string();
    assert!(text.starts_with("replay is 20") && text.contains("Z..20"), "times are printed as RFC 3339: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_ends_when_its_stream_is_created_again() {
    let world = World::start(1).await;
    let now = now(&world, 1_000_000).await;
    let builder = replay(&world, now..now + MINUTE * 60);
    let mut running = world.spawn(builder);
    world.put(0..10).await;
    world.journal.processed(10).await;

    world.recreate(1).await;
    world.put(100..110).await;
    let ended = tokio::time::timeout(MINUTE * 10, running.ended()).await;

    assert!(matches!(ended, Ok(Err(WorkerError::OtherStream { .. }))), "{ended:?}");
    let read = numbers(&world.journal);
    assert!(read.contains(&9) && !read.iter().any(|id| (100..110).contains(id)), "{read:?}");
}
