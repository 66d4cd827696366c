//! One and more workers on one stream: delivery, sharing, resharding, stopping, dying.

use std::time::Duration;

use integration_tests::{Call, Journal, Running, SHARD, STREAM, World};
use kcl::{BoxError, Checkpointer, Event, FleetStatus, InitialPosition, RecordBatch, RecordProcessor, StreamShard};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_new_worker_delivers_its_first_record_within_seconds() {
    let world = World::start(2).await;
    world.put(0..10).await;
    let begun = Instant::now();

    let worker = world.run("w1");
    world.journal.processed(10).await;

    let first = world.journal.entries().iter().find(|entry| !entry.keys.is_empty()).map(|entry| entry.at);
    assert!(first.expect("records came") - begun < Duration::from_secs(3), "{:?}", begun.elapsed());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_record_is_delivered_once_and_in_order_per_partition_key() {
    let world = World::start(4).await;
    let worker = world.run("w1");

    for start in (0..5_000).step_by(500) {
        world.put(start..start + 500).await;
        sleep(Duration::from_millis(700)).await;
    }
    world.journal.processed(5_000).await;
    worker.stop().await.unwrap();

    assert_eq!(world.journal.ids().len(), 5_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty());
}

#[tokio::test(start_paused = true)]
async fn workers_started_together_share_the_shards_evenly_without_duplicates() {
    let world = World::start(6).await;
    let workers = ["w1", "w2", "w3"].map(|id| world.run(id));
    world.settled().await;

    world.put(0..3_000).await;
    world.journal.processed(3_000).await;

    let since = Instant::now();
    world.put(3_000..6_000).await;
    world.journal.processed(6_000).await;
    let mut busy = std::collections::BTreeMap::<_, std::collections::BTreeSet<_>>::new();
    for entry in world.journal.entries().into_iter().filter(|entry| entry.at >= since && !entry.keys.is_empty()) {
        busy.entry(entry.worker).or_default().insert(entry.shard_id);
    }
    assert_eq!(busy.values().map(|shards| shards.len()).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(world.journal.ids().len(), 6_000, "no duplicates");
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_is_handed_its_share_without_duplicates_or_disorder() {
    let world = World::start(4).await;
    let first = world.run("w1");
    world.put(0..1_000).await;
    world.journal.processed(1_000).await;

    let second = world.run("w2");
    for start in (1_000..4_000).step_by(100) {
        world.put(start..start + 100).await;
        sleep(Duration::from_millis(500)).await;
    }
    world.journal.processed(4_000).await;

    assert_eq!(world.journal.shards_by_worker()["w2"].len(), 2);
    assert_eq!(world.journal.ids().len(), 4_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty());
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn parents_are_processed_before_their_children_across_a_split_and_a_merge() {
    let world = World::start(2).await;
    let workers = ["w1", "w2"].map(|id| world.run(id));

    world.put(0..2_000).await;
    let open = world.open_shards().await;
    world.split(&open[0]).await;
    world.put(2_000..4_000).await;
    let open = world.open_shards().await;
    world.merge(&open[1], &open[2]).await;
    world.put(4_000..6_000).await;
    world.journal.processed(6_000).await;
    world.settled().await;

    assert_eq!(world.journal.ids().len(), 6_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty(), "a child ran before its parent");
    let all = ["000", "001", "002", "003", "004"].map(|number| format!("shardId-000000000{number}"));
    let ended = all.iter().filter(|shard| world.journal.calls(shard).last() == Some(&Call::ShardEnded));
    let open = world.open_shards().await;
    assert_eq!(ended.collect::<Vec<_>>(), all.iter().filter(|shard| !open.contains(shard)).collect::<Vec<_>>());
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn walks_the_lineage_from_its_beginning_long_after_a_resharding() {
    let world = World::start(1).await;
    for start in (0..4_000).step_by(1_000) {
        world.put(start..start + 1_000).await;
        let open = world.open_shards().await;
        world.split(&open[0]).await;
    }
    world.put(4_000..5_000).await;

    let worker = world.run("w1");
    world.journal.processed(5_000).await;

    assert!(world.journal.keys_out_of_order().is_empty());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leases_of_ended_shards_are_deleted_once_their_children_progress() {
    let world = World::start(1).await;
    let worker = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;

    world.split(SHARD).await;
    world.put(100..300).await;
    world.journal.processed(300).await;

    let parent = vec![SHARD.into()];
    let cleaned = |event: &Event| matches!(event, Event::LeasesCleanedUp { shards, .. } if *shards == parent);
    world.until("the parent's lease is deleted", || world.events.count(cleaned) == 1).await;
    assert_eq!(world.events.count(|event| matches!(event, Event::LeaseLost { .. })), 0, "{:?}", world.events.all());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn follows_a_stopped_worker_within_seconds_without_duplicates() {
    let world = World::start(2).await;
    let first = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;
    let second = world.run("w2");
    world.settled().await;

    first.stop().await.unwrap();
    let stopped = Instant::now();
    world.put(100..300).await;
    world.journal.processed(300).await;

    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    assert_eq!(world.journal.ids().len(), 300, "no duplicates");
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_killed_worker_go_to_its_peers() {
    let world = World::start(4).await;
    let first = world.run("w1");
    let second = world.run("w2");
    world.put(0..1_000).await;
    world.journal.processed(1_000).await;
    world.settled().await;

    first.kill();
    world.put(1_000..2_000).await;
    world.journal.processed(2_000).await;

    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_restarted_under_its_id_goes_on_from_its_checkpoints() {
    let world = World::start(2).await;
    let first = world.run("w1");
    world.put(0..500).await;
    world.journal.processed(500).await;
    world.settled().await; // all is checkpointed
    first.kill();

    let restarted = Instant::now();
    let again = world.run("w1");
    world.put(500..1_000).await;
    world.journal.processed(1_000).await;

    assert!(restarted.elapsed() < Duration::from_secs(10), "{:?}", restarted.elapsed());
    assert_eq!(world.journal.ids().len(), 1_000, "everything was checkpointed, so nothing comes twice");
    again.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn delivers_at_latest_only_records_put_after_the_start() {
    let world = World::start(2).await;
    world.put(0..100).await;

    let builder = world.worker("w1").initial_position(InitialPosition::Latest);
    let worker = world.spawn(builder);
    world.settled().await;
    world.put(100..200).await;
    world.journal.processed(100).await;

    assert!(world.journal.ids().iter().all(|id| *id >= 100));
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
    let world = World::start(2).await;
    world.put(0..20_000).await;
    world.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_millis(10));
    let builder = world.worker("w1");
    let _first = Running::start(builder, &world.journal, |_, _| Restless);
    let writes = world.calls("dynamodb:UpdateItem");
    world.until("it checkpoints", || writes.count() > 100).await;

    let _second = world.run("w2");
    let requested = |event: &Event| matches!(event, Event::HandoffRequested { .. });
    world.until("the handoff is noticed", || world.events.count(requested) > 0).await;
    sleep(Duration::from_secs(10)).await; // for further requests

    assert_eq!(world.events.count(requested), 1, "{:?}", world.events.all());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_retention_forgot_is_reported_and_its_children_are_read() {
    let world = World::start(1).await;
    let worker = world.run("w1");
    world.put(0..10).await;
    world.journal.processed(10).await;
    worker.stop().await.unwrap();
    world.put(10..20).await;
    world.split(SHARD).await;
    sleep(Duration::from_secs(30 * 60 * 60)).await;
    world.put(20..40).await;

    let worker = world.run("w1");
    world.journal.processed(30).await;

    let shard = StreamShard::new(STREAM, SHARD);
    let trimmed = |event: &Event| matches!(event, Event::ShardTrimmed { .. }) && event.shard() == Some(&shard);
    assert_eq!(world.events.count(trimmed), 1, "{:?}", world.events.all());
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
async fn delivers_records_put_to_a_child_at_latest_while_its_parent_is_read() {
    let world = World::start(1).await;
    world.put(0..10).await;
    let parent = world.open_shards().await.remove(0);
    // Somebody has made the table, with the children's leases at LATEST.
    let other = world.worker("other").initial_position(InitialPosition::Latest);
    let other = Running::noting(other, &Journal::default());
    world.until_status("the parent has a lease", |status| status.leases.len() == 1).await;
    other.stop().await.unwrap();
    world.split(&parent).await;
    world.table().put_lease(&parent, "TRIM_HORIZON", None).await;
    for child in world.open_shards().await {
        world.table().put_lease(&child, "LATEST", Some(&parent)).await;
    }

    let worker = Running::start(world.worker("w1"), &world.journal, |journal, shard| Slow(journal.processor(shard)));
    let is_owned = |status: &FleetStatus| status.leases.iter().any(|lease| lease.owner == Some("w1".into()));
    world.until_status("the parent has an owner", is_owned).await;
    sleep(Duration::from_secs(5)).await; // so that the children's leases are taken too
    assert!(world.journal.ids().is_empty(), "the parent is still being processed");
    world.put(10..30).await;
    world.journal.processed(30).await;
    worker.stop().await.unwrap();
}
