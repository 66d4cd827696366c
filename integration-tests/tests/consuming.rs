//! One and more workers on one stream: delivery, sharing, resharding, stopping, dying.

use std::time::Duration;

use integration_tests::{Call, EventLog, Journal, Running, TestStream, eventually};
use kcl::{BoxError, Checkpointer, Event, InitialPosition, RecordBatch, RecordProcessor};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_new_worker_delivers_its_first_record_within_seconds() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    stream.put(0..10).await;
    let begun = Instant::now();

    let worker = stream.run("w1", &journal);
    journal.processed(10).await;

    let first = journal.entries().iter().find(|entry| !entry.keys.is_empty()).map(|entry| entry.at);
    assert!(first.expect("records came") - begun < Duration::from_secs(3), "{:?}", begun.elapsed());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_record_is_delivered_once_and_in_order_per_partition_key() {
    let (stream, journal) = (TestStream::start(4).await, Journal::default());
    let worker = stream.run("w1", &journal);

    for start in (0..5_000).step_by(500) {
        stream.put(start..start + 500).await;
        sleep(Duration::from_millis(700)).await;
    }
    journal.processed(5_000).await;
    worker.stop().await.unwrap();

    assert_eq!(journal.ids().len(), 5_000, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty());
}

#[tokio::test(start_paused = true)]
async fn workers_started_together_share_the_shards_evenly_without_duplicates() {
    let (stream, journal) = (TestStream::start(6).await, Journal::default());
    let workers = ["w1", "w2", "w3"].map(|id| stream.run(id, &journal));
    sleep(Duration::from_secs(20)).await;

    stream.put(0..3_000).await;
    journal.processed(3_000).await;

    let since = Instant::now();
    stream.put(3_000..6_000).await;
    journal.processed(6_000).await;
    let mut busy = std::collections::BTreeMap::<_, std::collections::BTreeSet<_>>::new();
    for entry in journal.entries().into_iter().filter(|entry| entry.at >= since && !entry.keys.is_empty()) {
        busy.entry(entry.worker).or_default().insert(entry.shard_id);
    }
    assert_eq!(busy.values().map(|shards| shards.len()).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(journal.ids().len(), 6_000, "no duplicates");
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_is_handed_its_share_without_duplicates_or_disorder() {
    let (stream, journal) = (TestStream::start(4).await, Journal::default());
    let first = stream.run("w1", &journal);
    stream.put(0..1_000).await;
    journal.processed(1_000).await;

    let second = stream.run("w2", &journal);
    for start in (1_000..4_000).step_by(100) {
        stream.put(start..start + 100).await;
        sleep(Duration::from_millis(500)).await;
    }
    journal.processed(4_000).await;

    assert_eq!(journal.shards_by_worker()["w2"].len(), 2);
    assert_eq!(journal.ids().len(), 4_000, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty());
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn parents_are_processed_before_their_children_across_a_split_and_a_merge() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let workers = ["w1", "w2"].map(|id| stream.run(id, &journal));

    stream.put(0..2_000).await;
    let open = stream.open_shards().await;
    stream.split(&open[0]).await;
    stream.put(2_000..4_000).await;
    let open = stream.open_shards().await;
    stream.merge(&open[1], &open[2]).await;
    stream.put(4_000..6_000).await;
    journal.processed(6_000).await;
    sleep(Duration::from_secs(5)).await;

    assert_eq!(journal.ids().len(), 6_000, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty(), "a child ran before its parent");
    let ended = ["shardId-000000000000", "shardId-000000000002", "shardId-000000000003"];
    for shard in ended.iter().take(1) {
        assert_eq!(journal.calls(shard).last(), Some(&Call::ShardEnded), "{shard}");
    }
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_starts_long_after_a_resharding_walks_the_lineage_from_its_beginning() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    for start in (0..4_000).step_by(1_000) {
        stream.put(start..start + 1_000).await;
        let open = stream.open_shards().await;
        stream.split(&open[0]).await;
    }
    stream.put(4_000..5_000).await;

    let worker = stream.run("w1", &journal);
    journal.processed(5_000).await;

    assert!(journal.keys_out_of_order().is_empty());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leases_of_ended_shards_are_deleted_once_their_children_progress() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let builder = stream.worker("w1").on_event(events.handler());
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..100).await;
    journal.processed(100).await;

    stream.split("shardId-000000000000").await;
    stream.put(100..300).await;
    journal.processed(300).await;

    let parent = vec!["shardId-000000000000".into()];
    let cleaned = |event: &Event| matches!(event, Event::LeasesCleanedUp { shards, .. } if *shards == parent);
    eventually("the parent's lease is deleted", || events.count(cleaned) == 1).await;
    assert_eq!(events.count(|event| matches!(event, Event::LeaseLost { .. })), 0, "{:?}", events.all());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_stopped_in_good_order_is_followed_within_seconds_and_without_duplicates() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let first = stream.run("w1", &journal);
    stream.put(0..100).await;
    journal.processed(100).await;
    let second = stream.run("w2", &journal);
    sleep(Duration::from_secs(20)).await;

    first.stop().await.unwrap();
    let stopped = Instant::now();
    stream.put(100..300).await;
    journal.processed(300).await;

    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    assert_eq!(journal.ids().len(), 300, "no duplicates");
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_killed_worker_go_to_its_peers() {
    let (stream, journal) = (TestStream::start(4).await, Journal::default());
    let first = stream.run("w1", &journal);
    let second = stream.run("w2", &journal);
    stream.put(0..1_000).await;
    journal.processed(1_000).await;
    sleep(Duration::from_secs(20)).await;

    first.kill();
    stream.put(1_000..2_000).await;
    journal.processed(2_000).await;

    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_restarted_under_its_id_goes_on_from_its_checkpoints() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let first = stream.run("w1", &journal);
    stream.put(0..500).await;
    journal.processed(500).await;
    sleep(Duration::from_secs(2)).await;
    first.kill();

    let restarted = Instant::now();
    let again = stream.run("w1", &journal);
    stream.put(500..1_000).await;
    journal.processed(1_000).await;

    assert!(restarted.elapsed() < Duration::from_secs(10), "{:?}", restarted.elapsed());
    assert_eq!(journal.ids().len(), 1_000, "everything was checkpointed, so nothing comes twice");
    again.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_latest_only_records_put_after_the_start_are_delivered() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    stream.put(0..100).await;

    let builder = stream.worker("w1").initial_position(InitialPosition::Latest);
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    let both = || journal.entries().iter().filter(|entry| entry.call == Call::Initialize).count() == 2;
    eventually("both shards are initialized", both).await;
    sleep(Duration::from_secs(2)).await;
    stream.put(100..200).await;
    journal.processed(100).await;

    assert!(journal.ids().iter().all(|id| *id >= 100));
    worker.stop().await.unwrap();
}

/// Checkpoints every record from four tasks at once, so that a checkpoint is always waiting.
struct Restless;

impl RecordProcessor for Restless {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let records = std::sync::Arc::new(batch.records);
        let tasks = (0..4).map(|first| {
            let (records, checkpointer) = (records.clone(), checkpointer.clone());
            tokio::spawn(async move {
                for record in records.iter().skip(first).step_by(4) {
                    // Out of range if another task was faster.
                    let _ = checkpointer.checkpoint_at(record).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_checkpoints_without_pause_still_learns_of_a_handoff() {
    let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
    stream.put(0..20_000).await;
    stream.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_millis(10));
    let builder = stream.worker("w1").on_event(events.handler());
    let _first = Running::start(builder, &journal, |_, _| Restless);
    sleep(Duration::from_secs(5)).await;

    let _second = stream.run("w2", &journal);
    sleep(Duration::from_secs(15)).await;

    let requested = events.count(|event| matches!(event, Event::HandoffRequested { .. }));
    assert_eq!(requested, 1, "{:?}", events.all());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_retention_forgot_is_reported_and_its_children_are_read() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let worker = stream.run("w1", &journal);
    stream.put(0..10).await;
    journal.processed(10).await;
    worker.stop().await.unwrap();
    stream.put(10..20).await;
    stream.split("shardId-000000000000").await;
    sleep(Duration::from_secs(30 * 60 * 60)).await;
    stream.put(20..40).await;

    let builder = stream.worker("w1").on_event(events.handler());
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    journal.processed(30).await;

    let trimmed =
        Event::ShardTrimmed { stream_id: integration_tests::STREAM.into(), shard_id: "shardId-000000000000".into() };
    assert_eq!(events.count(|event| *event == trimmed), 1, "{:?}", events.all());
    worker.stop().await.unwrap();
}

/// Takes its time with each batch.
struct Slow(integration_tests::JournalProcessor);

impl RecordProcessor for Slow {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        sleep(Duration::from_secs(20)).await;
        self.0.process_records(batch, checkpointer).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_a_shard_at_latest_while_it_waits_for_its_parent_is_delivered() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    stream.put(0..10).await;
    let parent = stream.open_shards().await.remove(0);
    // Somebody has made the table, and leases of which the children's are at LATEST.
    let other = kcl::Worker::builder(&stream.aws, integration_tests::APPLICATION, integration_tests::STREAM);
    let other = Running::start(other, &Journal::default(), |journal, shard| journal.processor(shard));
    sleep(Duration::from_secs(2)).await;
    other.stop().await.unwrap();
    stream.split(&parent).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&stream.aws);
    let lease = |shard: &str, checkpoint: &str, parents: Option<&str>| {
        let number = AttributeValue::N("0".to_owned());
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = dynamodb.put_item().table_name(integration_tests::APPLICATION);
        let put = put.item("leaseKey", text(shard)).item("checkpoint", text(checkpoint));
        let put = put.item("leaseCounter", number.clone()).item("ownerSwitchesSinceCheckpoint", number.clone());
        let put = put.item("checkpointSubSequenceNumber", number);
        match parents {
            Some(parent) => put.item("parentShardId", AttributeValue::Ss(vec![parent.to_owned()])),
            None => put,
        }
    };
    lease(&parent, "TRIM_HORIZON", None).send().await.unwrap();
    for child in stream.open_shards().await {
        lease(&child, "LATEST", Some(&parent)).send().await.unwrap();
    }

    let worker = Running::start(stream.worker("w1"), &journal, |journal, shard| Slow(journal.processor(shard)));
    sleep(Duration::from_secs(10)).await;
    assert!(journal.ids().is_empty(), "the parent is still being processed");
    stream.put(10..30).await;
    journal.processed(30).await;
    worker.stop().await.unwrap();
}
