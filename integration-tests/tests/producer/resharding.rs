//! The producer while a stream is resharded, deleted and made anew, as consumers see it: a KCL, which discards aggregates of
//! other shards, and a reader that takes everything.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_kinesis::types::{
    RecordDistributionStrategy, ScalingType, ShardIteratorType, StreamMode, StreamModeDetails,
};
use bytes::Bytes;
use integration_tests::{Journal, Running, SHARD, STREAM, World, user_record};
use kinesis_local::LocalAws;
use kpl::{Aggregation, Producer, RecordOrder, aggregated::Deaggregator};
use tokio::time::sleep;

/// A stream whose changes take a while.
async fn slow_stream(shards: i32) -> World {
    let builder = LocalAws::builder().updating_takes(Duration::from_secs(1)).deleting_takes(Duration::from_secs(5));
    World::on(builder.start().await, shards).await
}

async fn scale(world: &World, shards: i32) {
    let scale = world.kinesis.update_shard_count().stream_name(STREAM).target_shard_count(shards);
    scale.scaling_type(ScalingType::UniformScaling).send().await.expect("stream can be scaled");
}

/// Puts records, some every few milliseconds; returns how many are not stored.
async fn put_slowly(producer: &Producer, ids: std::ops::Range<u64>) -> usize {
    let mut deliveries = Vec::new();
    for id in ids {
        deliveries.push(producer.put(user_record(id)).await.expect("record is fine"));
        if id % 8 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    let mut failed = 0;
    for delivery in deliveries {
        failed += usize::from(delivery.await.is_err());
    }
    failed
}

/// Ids of all user records in all shards, as a reader finds them that leaves nothing out.
async fn found(world: &World) -> Vec<u64> {
    let mut found = Vec::new();
    let shards = world.kinesis.list_shards().stream_name(STREAM).send().await.expect("stream exists");
    for shard in shards.shards() {
        let iterator = world.kinesis.get_shard_iterator().stream_name(STREAM).shard_id(shard.shard_id());
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.expect("shard exists");
        let mut next = iterator.shard_iterator;
        while let Some(iterator) = next {
            let page = world.kinesis.get_records().shard_iterator(iterator).send().await.expect("iterator is new");
            for record in page.records() {
                let data = Bytes::copy_from_slice(record.data().as_ref());
                let user_records = Deaggregator::new().deaggregate_strictly("", &data).expect("sound").records;
                let id = |data: &[u8]| String::from_utf8_lossy(data).parse::<u64>().expect("an id");
                found.extend(user_records.iter().map(|record| id(&record.data)));
            }
            let more = page.millis_behind_latest() != Some(0) || !page.records().is_empty();
            next = page.next_shard_iterator.filter(|_| more);
            sleep(Duration::from_millis(200)).await;
        }
    }
    found
}

/// Reshards in every way while records flow, and checks what arrives.
async fn reshard_under_load(settings: impl FnOnce(kpl::ProducerBuilder) -> kpl::ProducerBuilder) -> (usize, usize) {
    let world = slow_stream(4).await;
    let worker = world.run("w1");
    let producer = settings(Producer::builder(&world.aws, STREAM)).build().expect("settings are right");

    let (failed, ()) = tokio::join!(put_slowly(&producer, 0..16_000), async {
        sleep(Duration::from_millis(500)).await;
        world.split(&world.open_shards().await[1]).await;
        sleep(Duration::from_millis(2000)).await;
        world.merge_neighbours().await;
        sleep(Duration::from_millis(2000)).await;
        scale(&world, 8).await;
        sleep(Duration::from_millis(2500)).await;
        scale(&world, 4).await;
    });
    producer.shutdown().await;
    world.journal.processed(16_000).await;
    world.settled().await;

    // What is reported as stored was delivered by a KCL.
    assert_eq!(failed, 0);
    let found = found(&world).await;
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 16_000);
    worker.stop().await.expect("worker stops");
    (world.journal.ids().len() - 16_000, world.journal.keys_out_of_order().len())
}

#[tokio::test(start_paused = true)]
async fn resharding_in_every_way_under_load_loses_nothing() {
    let (doubled, out_of_order) = reshard_under_load(|builder| builder).await;

    assert_eq!((doubled, out_of_order), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn resharding_loses_nothing_in_strict_order() {
    let (doubled, out_of_order) = reshard_under_load(|builder| builder.record_order(RecordOrder::Strict)).await;

    assert_eq!((doubled, out_of_order), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn resharding_loses_nothing_with_an_aggregate_for_each_partition_key() {
    let by_key = Aggregation::by_partition_key().with_max_records(1000);
    let (doubled, out_of_order) = reshard_under_load(|builder| builder.aggregation(by_key)).await;

    assert_eq!((doubled, out_of_order), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn resharding_loses_nothing_in_no_particular_order() {
    let (doubled, _) = reshard_under_load(|builder| builder.record_order(RecordOrder::BestEffort)).await;

    assert_eq!(doubled, 0);
}

#[tokio::test(start_paused = true)]
async fn resharding_loses_nothing_while_shards_cannot_be_listed() {
    let world = slow_stream(2).await;
    let producer = world.producer();
    assert_eq!(put_slowly(&producer, 0..100).await, 0, "the shards are known");

    world.local.deny("kinesis:ListShards");
    let (failed, ()) = tokio::join!(put_slowly(&producer, 100..4_000), async {
        sleep(Duration::from_millis(200)).await;
        world.local.allow("kinesis:ListShards");
        world.split(SHARD).await;
        world.local.deny("kinesis:ListShards");
    });
    producer.shutdown().await;
    world.local.allow("kinesis:ListShards");
    let worker = world.run("w1");
    world.journal.processed(4_000).await;

    assert_eq!(failed, 0);
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_deleted_and_made_anew_gets_records_again() {
    let world = slow_stream(2).await;
    let producer = world.producer();
    assert_eq!(put_slowly(&producer, 0..1_000).await, 0);

    let (failed, ()) = tokio::join!(put_slowly(&producer, 1_000..30_000), async {
        world.kinesis.delete_stream().stream_name(STREAM).send().await.expect("stream exists");
        sleep(Duration::from_secs(8)).await;
        // Shards of the same ids with other ranges.
        world.kinesis.create_stream().stream_name(STREAM).shard_count(3).send().await.expect("stream is gone");
    });
    let journal = Journal::default();
    let worker = Running::noting(world.worker("w1"), &journal);
    assert_eq!(put_slowly(&producer, 30_000..34_000).await, 0, "the stream is there again");
    let stored = 33_000 - failed;
    let in_the_old_one = stored - found(&world).await.into_iter().collect::<BTreeSet<_>>().len();
    journal.processed(stored - in_the_old_one).await;

    assert!(failed > 0 && in_the_old_one < 10_000, "{failed} failed, {in_the_old_one} went into the old one");
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn delivers_records_stored_in_a_stream_created_anew_between_two_puts() {
    for (before, after) in [(2, 4), (4, 2), (3, 4)] {
        let world = World::start(before).await;
        let producer = world.producer();
        for id in 0..100 {
            drop(producer.put(user_record(id)).await.expect("record is fine"));
        }
        producer.flush().await;

        world.recreate(after).await;
        sleep(Duration::from_secs(8)).await;
        let puts = producer.put_all((1_000..2_000).map(user_record)).await;

        assert!(puts.iter().all(Result::is_ok));
        let worker = world.run("w1");
        world.journal.processed(1_000).await;
        worker.stop().await.expect("worker stops");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_created_anew_gets_plain_records_where_listing_is_denied() {
    let world = World::start(2).await;
    let producer = world.producer();
    assert!(producer.put_all((0..100).map(user_record)).await.iter().all(Result::is_ok));

    world.local.deny("kinesis:ListShards");
    world.recreate(4).await;
    sleep(Duration::from_secs(30)).await;
    for batch in 10..13 {
        let puts = producer.put_all((batch * 100..(batch + 1) * 100).map(user_record)).await;
        assert!(puts.iter().all(Result::is_ok));
    }

    world.local.allow("kinesis:ListShards");
    let worker = world.run("w1");
    world.journal.processed(300).await;
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_to_place_records_by_itself_is_noticed_at_once() {
    let world = World::on(LocalAws::start().await, 4).await;
    let arn = world.arn().await;
    let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().expect("complete");
    let update = world.kinesis.update_stream_mode().stream_arn(&arn).stream_mode_details(mode);
    update.send().await.expect("mode can be updated");
    let producer = world.producer();
    assert!(producer.put_all((0..100).map(user_record)).await.iter().all(Result::is_ok));
    sleep(Duration::from_secs(2)).await;

    let update = world.kinesis.update_stream_record_distribution_strategy().stream_arn(&arn);
    let update = update.record_distribution_strategy(RecordDistributionStrategy::Auto);
    update.send().await.expect("strategy can be updated");
    let mut attempts = Vec::new();
    for round in 1..10 {
        let puts = producer.put_all((round * 200..(round + 1) * 200).map(user_record)).await;
        attempts.push(puts.into_iter().map(|put| put.expect("stored").attempts()).max());
        sleep(Duration::from_secs(10)).await;
    }

    assert!(attempts[0] > Some(1), "aggregates landed elsewhere: {attempts:?}");
    assert!(attempts[1..].iter().all(|attempts| *attempts == Some(1)), "{attempts:?}");
}
