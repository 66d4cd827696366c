//! Faults of Kinesis and DynamoDB while producer and workers run. Nothing may be lost, whatever is sent or written twice.

use std::{collections::BTreeSet, time::Duration};

use integration_tests::{Journal, STREAM, World, user_record};
use kinesis_local::LocalAws;
use kpl::Producer;
use tokio::time::sleep;

/// Puts records one per 20 ms and checks that each is stored in the end.
async fn put_slowly(producer: &Producer, ids: std::ops::Range<u64>) {
    let mut deliveries = Vec::new();
    for id in ids {
        deliveries.push(producer.put(user_record(id)).await.expect("record is fine"));
        sleep(Duration::from_millis(20)).await;
    }
    for delivery in deliveries {
        delivery.await.expect("record is stored");
    }
}

/// Runs producer and two workers under faults, a split and a merge, then without; everything must arrive.
async fn survives(faults: impl Fn(&LocalAws)) -> Journal {
    let world = World::start(3).await;
    let workers = ["w1", "w2"].map(|id| world.run(id));
    let producer = Producer::builder(&world.aws, STREAM).record_ttl(None).build().expect("configuration is right");
    put_slowly(&producer, 0..200).await;

    faults(&world.local);
    put_slowly(&producer, 200..1_500).await;
    world.local.faults().clear();
    let open = world.open_shards().await;
    world.split(&open[0]).await;
    world.merge_neighbours().await;
    faults(&world.local);
    put_slowly(&producer, 1_500..3_000).await;
    world.local.faults().clear();
    put_slowly(&producer, 3_000..3_200).await;

    world.journal.processed(3_200).await;
    world.settled().await;
    assert_eq!(world.journal.ids().into_iter().collect::<BTreeSet<_>>(), (0..3_200).collect());
    for worker in workers {
        worker.stop().await.expect("worker stops in good order");
    }
    world.journal
}

#[tokio::test(start_paused = true)]
async fn lost_answers_of_kinesis_double_but_never_lose() {
    survives(|local| {
        local.faults().on("kinesis:PutRecords").every(7).lose_response();
        local.faults().on("kinesis:GetRecords").every(5).lose_response();
        local.faults().on("kinesis:GetShardIterator").every(3).lose_response();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_and_dropped_connections_of_kinesis_lose_nothing() {
    survives(|local| {
        local.faults().on("kinesis:*").with_probability(0.2).fail();
        local.faults().on("kinesis:*").with_probability(0.1).drop_connection();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn throttling_of_kinesis_loses_nothing() {
    survives(|local| {
        local.faults().on("kinesis:*").with_probability(0.4).throttle();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lost_answers_of_the_lease_table_cost_neither_records_nor_duplicates() {
    let journal = survives(|local| {
        local.faults().on("dynamodb:UpdateItem").every(3).lose_response();
        local.faults().on("dynamodb:BatchExecuteStatement").every(3).lose_response();
        local.faults().on("dynamodb:BatchExecuteStatement").after_effect().fail_records(5);
        local.faults().on("dynamodb:PutItem").every(3).lose_response();
    })
    .await;

    assert_eq!(journal.ids().len(), journal.distinct(), "a write whose answer was lost is recognised as our own");
}

#[tokio::test(start_paused = true)]
async fn a_lease_table_throttled_to_a_fifth_for_ten_minutes_loses_nothing() {
    let world = World::start(4).await;
    let workers = ["w1", "w2", "w3"].map(|id| world.run(id));
    world.put(0..500).await;
    world.journal.processed(500).await;

    world.local.faults().on("dynamodb:*").with_probability(0.8).throttle();
    for round in 0..60 {
        world.put(500 + round * 10..510 + round * 10).await;
        sleep(Duration::from_secs(10)).await;
    }
    world.local.faults().clear();
    world.put(1_100..1_200).await;
    world.journal.processed(1_200).await;

    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn stale_reads_of_the_lease_table_lose_and_double_nothing() {
    let local = LocalAws::builder().dynamodb_reads_lag(Duration::from_secs(5)).start().await;
    let world = World::on(local, 4).await;
    let first = world.run("w1");
    world.put(0..500).await;
    world.journal.processed(500).await;
    let second = world.run("w2");
    for start in (500..2_000).step_by(50) {
        world.put(start..start + 50).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.journal.processed(2_000).await;

    assert_eq!(world.journal.ids().len(), 2_000, "no duplicates");
    assert_eq!(world.journal.shards_by_worker().len(), 2, "both workers got shards");
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}
