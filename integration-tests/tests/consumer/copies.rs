//! Copies of a producer's making, and workers that drop them.

use std::{collections::BTreeSet, time::Duration};

use integration_tests::{Running, SHARD, STREAM, World, number, store, text};
use kcl::{Copies, InitialPosition, Reset};
use kpl::{Producer, RecordOrder};
use tokio::time::sleep;

const ROUND: u64 = 400;

fn dropping(world: &World, worker_id: &str) -> Running {
    world.spawn(world.worker(worker_id).copies(Copies::Drop))
}

/// Stores rounds of records, each by a new producer, while answers are lost and shards split and merged; after each round
/// `between` may do something to the workers.
async fn store_with_copies(world: &World, rounds: u64, mut between: impl AsyncFnMut(u64)) {
    for round in 0..rounds {
        let builder = Producer::builder(&world.aws, STREAM).record_numbers(true).record_order(RecordOrder::Strict);
        let producer = builder.build().expect("the settings are valid");
        for half in 0..2 {
            let first = round * ROUND + half * ROUND / 2;
            tokio::join!(store(&producer, first..first + ROUND / 2), async {
                sleep(Duration::from_millis(30)).await;
                match (round + half) % 3 {
                    0 => world.split(&world.open_shards().await[0]).await,
                    1 => world.merge_neighbours().await,
                    _ => {}
                }
            });
        }
        producer.shutdown().await;
        between(round).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answers_splits_producer_restarts_and_handoffs_leave_no_copy() {
    let world = World::start(2).await;
    let lost = world.local.faults().on("kinesis:PutRecords").every(2).lose_response();
    let mut worker = dropping(&world, "w0");

    store_with_copies(&world, 8, async |round| {
        if round % 2 == 1 {
            let next = dropping(&world, &format!("w{round}"));
            sleep(Duration::from_secs(20)).await;
            std::mem::replace(&mut worker, next).stop().await.expect("the worker stops");
        }
    })
    .await;
    world.journal.processed(8 * ROUND as usize).await;
    world.settled().await;

    assert!(lost.count() >= 16, "{} answers were lost", lost.count());
    let mut ids = world.journal.ids();
    ids.sort_unstable();
    assert_eq!(ids, (0..8 * ROUND).collect::<Vec<_>>(), "each once");
    assert_eq!(world.journal.keys_out_of_order(), BTreeSet::new());
    worker.stop().await.expect("the worker stops");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_loses_nothing_and_one_without_the_setting_sees_the_copies() {
    let world = World::start(2).await;
    world.local.faults().on("kinesis:PutRecords").every(3).lose_response();
    let mut worker = dropping(&world, "w0");

    store_with_copies(&world, 6, async |round| {
        let next = match round % 3 {
            1 => world.run(&format!("w{round}")),
            _ => dropping(&world, &format!("w{round}")),
        };
        std::mem::replace(&mut worker, next).kill();
        sleep(Duration::from_secs(20)).await;
    })
    .await;
    world.until("all are processed", || world.journal.distinct() >= 6 * ROUND as usize).await;

    let ids: BTreeSet<_> = world.journal.ids().into_iter().collect();
    assert!(ids.into_iter().eq(0..6 * ROUND));
    worker.stop().await.expect("the worker stops");
}

/// Moves the checkpoint as a worker of Java does, which leaves attributes alone that it does not know.
async fn checkpoint_as_java(world: &World, sequence_number: String) {
    let moved = [("checkpoint", text(sequence_number)), ("checkpointSubSequenceNumber", number(0))];
    for (name, value) in moved.into_iter().chain([("leaseCounter", number(1000))]) {
        world.table().set(SHARD, name, value).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_java_moved_voids_what_is_known_until_the_next_one() {
    let world = World::start(1).await;
    let drop_all = async |worker_id: &str, expected: Vec<u64>| {
        let (before, worker) = (world.journal.ids().len(), dropping(&world, worker_id));
        world.settled().await;
        assert_eq!(world.journal.ids().split_off(before), expected, "{worker_id}");
        worker.stop().await.expect("the worker stops");
    };
    world.put_numbered(0..10).await;
    drop_all("w1", (0..10).collect()).await;
    world.put_numbered(0..10).await;
    world.put_numbered(10..20).await;
    drop_all("w2", (10..20).collect()).await;
    assert!(world.table().get(SHARD).await.expect("the lease is there").contains_key("deliveredNumbers"));

    world.put_numbered(20..30).await;
    let processed_by_java = world.put_data(b"1000".to_vec()).await;
    world.put_numbered(0..30).await;
    checkpoint_as_java(&world, processed_by_java).await;
    drop_all("w3", (0..30).collect()).await;

    world.put_numbered(0..40).await;
    drop_all("w4", (30..40).collect()).await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_delivers_all_again() {
    let world = World::start(1).await;
    world.put_numbered(0..10).await;
    world.put_numbered(5..15).await;
    let worker = dropping(&world, "w1");
    world.settled().await;
    worker.stop().await.expect("the worker stops");
    assert_eq!(world.journal.ids(), (0..15).collect::<Vec<_>>());

    sleep(Duration::from_secs(60)).await;
    let reset = Reset::to(InitialPosition::TrimHorizon);
    world.worker("reset").reset(reset).await.expect("no worker is live");
    let worker = dropping(&world, "w2");
    world.settled().await;

    assert_eq!(world.journal.ids(), (0..15).chain(0..15).collect::<Vec<_>>());
    worker.stop().await.expect("the worker stops");
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_copies_are_delivered_as_ever() {
    let world = World::start(1).await;
    world.local.faults().on("kinesis:PutRecords").call(1).lose_response();
    let worker = world.run("w1");

    store_with_copies(&world, 1, async |_| {}).await;
    world.until("copies come", || world.journal.ids().len() > ROUND as usize).await;

    worker.stop().await.expect("the worker stops");
}
