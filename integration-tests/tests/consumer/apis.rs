//! The closure, the streams and the handle: the same guarantees as those of a record processor.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use integration_tests::{Records, SHARD, STREAM, World, id_of, settled};
use kcl::{
    BoxError, CheckpointEvery, ErrorPolicy, Event, FleetStatus, InitialPosition, Record, Reset, ShardContext,
    ShardPhase, ShardStatus, WorkerError,
};
use tokio::time::{Instant, sleep};

const EVERY: CheckpointEvery = CheckpointEvery::new(100, Duration::from_secs(2));

#[tokio::test(start_paused = true)]
async fn calls_a_closure_once_per_record_and_checkpoints_when_idle_or_stopped() {
    let world = World::start(3).await;
    let seen = Records::default();
    let start = |id: &str| world.worker(id).build_for_each(EVERY, 1, seen.closure()).unwrap().start();
    let first = start("w1");
    world.put(0..1_000).await;
    seen.processed(1_000).await;
    sleep(EVERY.interval + Duration::from_secs(1)).await;
    drop(first);

    let second = start("w2");
    world.put(1_000..1_050).await;
    seen.processed(1_050).await;
    second.stop().await.unwrap();
    let third = start("w3");
    world.put(1_050..1_100).await;
    seen.processed(1_100).await;

    assert_eq!(seen.ids().len(), 1_100, "no duplicates");
    assert!(seen.keys_in_order());
    third.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_are_faster_and_keep_the_order_of_each_key() {
    let world = World::start(1).await;
    let (seen, most, now) = (Records::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    world.put(0..2_000).await;
    let handler = {
        let (seen, most, now) = (seen.clone(), Arc::clone(&most), Arc::clone(&now));
        move |record: Record| {
            let (seen, most, now) = (seen.clone(), Arc::clone(&most), Arc::clone(&now));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(id_of(&record) % 20 * 5)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                seen.add(&record);
                Ok::<(), BoxError>(())
            }
        }
    };
    let begun = Instant::now();
    let worker = world.worker("w1").build_for_each(EVERY, 16, handler).unwrap().start();
    seen.processed(2_000).await;

    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!((most.load(Ordering::SeqCst), seen.ids().len()), (16, 2_000));
    assert!(seen.keys_in_order());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn repeats_only_records_behind_the_first_gap_after_a_failed_call() {
    for panics in [false, true] {
        let world = World::start(1).await;
        let (seen, failed) = (Records::default(), Arc::new(AtomicBool::new(false)));
        world.put(0..300).await;
        let handler = {
            let seen = seen.clone();
            move |record: Record| {
                let (seen, failed) = (seen.clone(), Arc::clone(&failed));
                async move {
                    sleep(Duration::from_millis(1)).await;
                    if id_of(&record) == 150 && !failed.swap(true, Ordering::SeqCst) {
                        assert!(!panics, "panics on purpose");
                        return Err::<(), BoxError>("fails on purpose".into());
                    }
                    seen.add(&record);
                    Ok(())
                }
            }
        };
        let worker = world.worker("w1").build_for_each(EVERY, 8, handler).unwrap().start();
        seen.processed(300).await;

        let ids = seen.ids();
        assert!(ids.len() < 308, "at most what was under way comes twice: {}", ids.len());
        assert!(seen.keys_in_order());
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_alone_a_record_that_a_closure_keeps_failing_at() {
    let world = World::start(1).await;
    let (seen, letters) = (Records::default(), Records::default());
    world.put(0..300).await;
    let handler = {
        let seen = seen.clone();
        move |record: Record| {
            let poison = id_of(&record) == 150;
            if !poison {
                seen.add(&record);
            }
            async move { if poison { Err::<(), BoxError>("poison".into()) } else { Ok(()) } }
        }
    };
    let builder = world.worker("w1").on_processor_error(ErrorPolicy::dead_letter_after(2, letters.dead_letters()));
    let worker = builder.build_for_each(EVERY, 4, handler).unwrap().start();
    world.until("all else is handled", || seen.distinct() == 299).await;
    settled(|| (world.events.len(), seen.len(), letters.len())).await;

    assert_eq!(letters.ids(), [150]);
    assert!(seen.keys_in_order());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shard_streams_give_every_record_once_across_a_split_and_a_takeover() {
    let world = World::start(2).await;
    let seen = Records::default();
    let run = |id: &str| {
        let (shards, seen) = (world.worker(id).build_shard_streams().unwrap(), seen.clone());
        let stopper = shards.stopper();
        let task = tokio::spawn(shards.try_for_each_concurrent(None, move |mut shard| {
            let seen = seen.clone();
            async move {
                while let Some(record) = shard.next().await {
                    seen.add(&record);
                    if shard.checkpointer().checkpoint().await.is_err() {
                        break;
                    }
                }
                Ok(())
            }
        }));
        (stopper, task)
    };
    let (stop_first, first) = run("w1");
    world.put(0..200).await;
    seen.processed(200).await;
    let open = world.open_shards().await;
    world.split(&open[0]).await;
    world.put(200..400).await;
    seen.processed(400).await;

    stop_first.stop();
    first.await.unwrap().unwrap();
    let (stop_second, second) = run("w2");
    world.put(400..600).await;
    seen.processed(600).await;

    assert_eq!(seen.ids().len(), 600, "no duplicates");
    assert!(seen.keys_in_order());
    stop_second.stop();
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn repeats_unconfirmed_records_of_a_dropped_stream_before_the_shard_ends() {
    let world = World::start(1).await;
    world.put(0..10).await;
    world.split(SHARD).await;
    world.put(10..20).await;
    let mut shards = world.worker("w1").build_shard_streams().unwrap();

    // Confirms record 4 only, and reads to the end.
    let mut shard = shards.next().await.unwrap().unwrap();
    let mut ids = Vec::new();
    while let Some(record) = shard.next().await {
        ids.push(id_of(&record));
        if id_of(&record) == 4 {
            shard.checkpointer().checkpoint().await.unwrap();
        }
    }
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
    drop(shard);

    let mut shard = shards.next().await.unwrap().unwrap();
    assert_eq!(shard.shard_id().as_str(), SHARD);
    let (mut ids, checkpointer) = (Vec::new(), shard.checkpointer());
    while let Some(record) = shard.next().await {
        ids.push(id_of(&record));
    }
    drop(shard);
    assert_eq!(ids, (5..10).collect::<Vec<_>>());
    checkpointer.checkpoint().await.unwrap();
    drop(checkpointer);

    let mut children = BTreeSet::new();
    let mut ids = Vec::new();
    while ids.len() < 10 {
        let mut child = shards.next().await.unwrap().unwrap();
        children.insert(child.shard_id().to_string());
        while let Ok(Some(record)) = tokio::time::timeout(Duration::from_secs(5), child.next()).await {
            ids.push(id_of(&record));
        }
        child.checkpointer().checkpoint().await.unwrap();
    }
    ids.sort_unstable();
    assert_eq!((ids, children.len()), ((10..20).collect(), 2));
}

#[tokio::test(start_paused = true)]
async fn the_last_item_of_shard_streams_tells_why_the_worker_ended() {
    let local = kinesis_local::LocalAws::start().await;
    let shards =
        kcl::Worker::builder(&local.sdk_config(), "application", "NoSuchStream").build_shard_streams().unwrap();

    let items: Vec<_> = shards.collect().await;

    assert!(matches!(items.as_slice(), [Err(WorkerError::StreamNotFound { .. })]), "{items:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handle_shows_the_shards_waits_and_stops() {
    let world = World::start(2).await;
    let journal = world.journal.clone();
    let factory = move |shard: &ShardContext| journal.processor(shard);
    let worker = world.worker("w1").build(factory).unwrap().start();
    world.put(0..100).await;
    world.journal.processed(100).await;
    let is_idle = |shard: &ShardStatus| shard.behind_latest == Some(Duration::ZERO);
    world.until("the shards are read to their ends", || worker.shards().iter().all(is_idle)).await;

    let shards = worker.shards();
    assert_eq!((shards.len(), worker.worker_id().as_str()), (2, "w1"));
    for shard in &shards {
        assert_eq!(shard.phase, ShardPhase::Processing, "{shard:?}");
        assert!(matches!(shard.checkpoint, kcl::Checkpoint::At(_)), "{shard:?}");
        assert_eq!((shard.behind_latest, shard.failures), (Some(Duration::ZERO), 0));
    }
    assert!(tokio::time::timeout(Duration::from_secs(60), worker.wait()).await.is_err());
    assert!(worker.is_running());
    worker.request_stop();
    worker.wait().await.unwrap();
    assert!(!worker.is_running() && worker.shards().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_ready_from_joining_the_fleet_until_it_stops() {
    let world = World::start(1).await;
    let journal = world.journal.clone();
    let worker = world.worker("w1").build(move |shard: &ShardContext| journal.processor(shard)).unwrap().start();
    assert!(worker.is_running() && !worker.is_ready(), "not joined yet");

    world.until("it is ready", || worker.is_ready()).await;
    assert_eq!(world.events.count(|event| matches!(event, Event::Started { .. })), 1);

    worker.request_stop();
    assert!(worker.is_running() && !worker.is_ready(), "stopping");
    worker.wait().await.unwrap();
    assert!(!worker.is_running() && !worker.is_ready());
}

#[tokio::test(start_paused = true)]
async fn every_holder_of_a_handle_learns_how_the_worker_ended() {
    let local = kinesis_local::LocalAws::start().await;
    let builder = kcl::Worker::builder(&local.sdk_config(), "application", "NoSuchStream");
    let worker = builder.build_for_each(EVERY, 1, |_| async { Ok::<(), BoxError>(()) }).unwrap().start();
    let holder = worker.clone();

    let (first, second) = tokio::join!(worker.wait(), holder.wait());

    for ended in [first, second, worker.wait().await] {
        let error = ended.unwrap_err();
        assert!(matches!(&*error, WorkerError::StreamNotFound { .. }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_stops_when_the_last_of_its_handles_is_dropped() {
    let world = World::start(1).await;
    let closure = |_| async { Ok::<(), BoxError>(()) };
    let worker = world.worker("w1").build_for_each(EVERY, 1, closure).unwrap().start();
    let holder = worker.clone();
    let released = || world.events.count(|event| matches!(event, Event::LeaseReleased { .. }));
    world.until("it is ready", || worker.is_ready()).await;
    world.until("it has its lease", || worker.shards().len() == 1).await;

    drop(worker);
    world.settled().await;
    assert!(holder.is_ready() && released() == 0);
    drop(holder);

    world.until("it gives its lease back", || released() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn calls_both_services_as_the_clients_are_configured_that_it_was_given() {
    let world = World::start(1).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.aws);
    let nowhere = aws_types::SdkConfig::builder().build();
    let builder = kcl::Worker::builder(&nowhere, "injected", STREAM)
        .initial_position(InitialPosition::TrimHorizon)
        .kinesis_client(&world.kinesis)
        .dynamodb_client(&dynamodb);
    let seen = Records::default();
    let worker = builder.clone().build_for_each(EVERY, 1, seen.closure()).unwrap().start();
    world.put(0..100).await;
    seen.processed(100).await;
    worker.stop().await.unwrap();

    let status = FleetStatus::read_by(&dynamodb, "injected").await.unwrap();
    assert!(matches!(status.leases[0].checkpoint, kcl::Checkpoint::At(_)), "{status}");
    let reset = builder.reset(Reset::to(InitialPosition::TrimHorizon).force()).await.unwrap();
    assert_eq!(reset.shards[0].shard.shard_id.as_str(), SHARD);
}
