//! Faults of Kinesis and DynamoDB while producer and workers run. Nothing may be lost, whatever is sent or written twice.

use std::{collections::BTreeSet, time::Duration};

use integration_tests::{Journal, STREAM, TestStream};
use kinesis_local::LocalAws;
use kpl::{Producer, UserRecord};
use tokio::time::sleep;

/// Puts records one per 20 ms and checks that each is stored in the end.
async fn put_slowly(producer: &Producer, ids: std::ops::Range<u64>) {
    let mut deliveries = Vec::new();
    for id in ids {
        let record = UserRecord::new(format!("key-{}", id % 100), id.to_string());
        deliveries.push(producer.put(record).await.expect("record is fine"));
        sleep(Duration::from_millis(20)).await;
    }
    for delivery in deliveries {
        delivery.await.expect("record is stored");
    }
}

/// Runs producer and two workers under faults, a split and a merge, then without; everything must arrive.
async fn survives(faults: impl Fn(&LocalAws)) -> Journal {
    let (stream, journal) = (TestStream::start(3).await, Journal::default());
    let workers = ["w1", "w2"].map(|id| stream.run(id, &journal));
    let producer = Producer::builder(&stream.aws, STREAM).record_ttl(None).build().expect("configuration is right");
    put_slowly(&producer, 0..200).await;

    faults(&stream.local);
    put_slowly(&producer, 200..1_500).await;
    stream.local.faults().clear();
    let open = stream.open_shards().await;
    stream.split(&open[0]).await;
    stream.merge_neighbours().await;
    faults(&stream.local);
    put_slowly(&producer, 1_500..3_000).await;
    stream.local.faults().clear();
    put_slowly(&producer, 3_000..3_200).await;

    journal.processed(3_200).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(journal.ids().into_iter().collect::<BTreeSet<_>>(), (0..3_200).collect());
    for worker in workers {
        worker.stop().await.expect("worker stops in good order");
    }
    journal
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
        local.faults().on("dynamodb:PutItem").every(3).lose_response();
    })
    .await;

    assert_eq!(journal.ids().len(), journal.distinct(), "a write whose answer was lost is recognised as our own");
}

#[tokio::test(start_paused = true)]
async fn a_lease_table_throttled_to_a_fifth_for_ten_minutes_loses_nothing() {
    let (stream, journal) = (TestStream::start(4).await, Journal::default());
    let workers = ["w1", "w2", "w3"].map(|id| stream.run(id, &journal));
    stream.put(0..500).await;
    journal.processed(500).await;

    stream.local.faults().on("dynamodb:*").with_probability(0.8).throttle();
    for round in 0..60 {
        stream.put(500 + round * 10..510 + round * 10).await;
        sleep(Duration::from_secs(10)).await;
    }
    stream.local.faults().clear();
    stream.put(1_100..1_200).await;
    journal.processed(1_200).await;

    assert_eq!(journal.distinct(), 1_200);
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn stale_reads_of_the_lease_table_lose_and_double_nothing() {
    let local = LocalAws::builder().dynamodb_reads_lag(Duration::from_secs(5)).start().await;
    let (stream, journal) = (TestStream::on(local, 4).await, Journal::default());
    let first = stream.run("w1", &journal);
    stream.put(0..500).await;
    journal.processed(500).await;
    let second = stream.run("w2", &journal);
    for start in (500..2_000).step_by(50) {
        stream.put(start..start + 50).await;
        sleep(Duration::from_secs(1)).await;
    }
    journal.processed(2_000).await;

    assert_eq!(journal.ids().len(), 2_000, "no duplicates");
    assert_eq!(journal.shards_by_worker().len(), 2, "both workers got shards");
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}
