//! `kpl` and `kcl` together: what is put arrives once and in order, whatever happens to the shards meanwhile.

use std::time::Duration;

use integration_tests::{SHARD, World, store, user_record};
use kcl::Event;
use kpl::{DeliveryErrorKind, Producer, PutError, UserRecord};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn deaggregates_in_the_consumer_records_that_the_producer_aggregated() {
    let world = World::start(2).await;
    let producer = world.producer();
    let mut deliveries = Vec::new();
    for id in 0..5_000 {
        deliveries.push(producer.put(user_record(id)).await.unwrap());
    }
    producer.flush().await;
    let mut kinesis_records = std::collections::BTreeSet::new();
    for delivery in deliveries {
        let stored = delivery.await.unwrap();
        kinesis_records.insert((stored.shard_id().clone(), stored.sequence_number().clone()));
    }

    let worker = world.run("w1");
    world.journal.processed(5_000).await;

    assert!(kinesis_records.len() <= 100, "{} Kinesis records", kinesis_records.len());
    assert_eq!(world.journal.ids().len(), 5_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn splits_and_merges_under_load_lose_double_and_disorder_nothing() {
    let world = World::start(2).await;
    let workers = ["w1", "w2"].map(|id| world.run(id));
    let producer = world.producer();

    for round in 0..12 {
        let ids = round * 1_000..(round + 1) * 1_000;
        tokio::join!(store(&producer, ids), async {
            // In the middle of the round's puts.
            sleep(Duration::from_millis(30)).await;
            let open = world.open_shards().await;
            match round % 3 {
                0 => world.split(&open[usize::try_from(round).unwrap() % open.len()]).await,
                1 => world.merge_neighbours().await,
                _ => {}
            }
        });
        sleep(Duration::from_millis(200)).await;
    }
    producer.shutdown().await;
    world.journal.processed(12_000).await;
    world.settled().await;

    assert_eq!(world.journal.ids().len(), 12_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty(), "{:?}", world.journal.keys_out_of_order());
    let errors = world.events.count(|event| matches!(event, Event::ProcessorFailed { .. } | Event::LeaseLost { .. }));
    assert_eq!(errors, 0, "{:?}", world.events.all());
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn fails_each_record_at_once_with_its_cause_if_the_stream_is_missing() {
    let world = World::start(1).await;
    let producer = Producer::builder(&world.aws, "NoSuchStream").build().unwrap();
    let begun = Instant::now();

    let error = producer.put(user_record(7)).await.unwrap().await.unwrap_err();

    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let DeliveryErrorKind::Rejected { code, message, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(&**code, "ResourceNotFoundException");
    assert!(message.contains("NoSuchStream"), "{message}");
    assert_eq!(error.into_record(), user_record(7));
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_fails_each_record_with_the_service_words() {
    let world = World::start(1).await;
    world.local.deny("kinesis:PutRecords");

    let error = world.producer().put(user_record(7)).await.unwrap().await.unwrap_err();

    assert!(error.to_string().contains("kinesis:PutRecords"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn stores_records_without_the_permission_to_list_shards() {
    let world = World::start(2).await;
    world.local.deny("kinesis:ListShards");
    let producer = world.producer();
    store(&producer, 0..500).await;
    world.local.allow("kinesis:ListShards");

    let worker = world.run("w1");
    world.journal.processed(500).await;

    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_beyond_the_limits_come_back_to_the_caller() {
    const LIMIT: usize = 1024 * 1024;
    let world = World::start(1).await;
    let producer = world.producer();

    let largest = UserRecord::new("k", vec![7; LIMIT - 1]);
    producer.put(largest).await.unwrap().await.unwrap();
    let too_large = producer.put(UserRecord::new("k", vec![7; LIMIT])).await.unwrap_err();
    assert_eq!(too_large.to_string(), "record is 1048577 bytes, above the 1048576-byte limit");
    assert_eq!(too_large.into_record().data().len(), LIMIT);

    producer.put(UserRecord::new("\u{e9}".repeat(256), "x")).await.unwrap().await.unwrap();
    for chars in [0, 257] {
        let refused = producer.put(UserRecord::new("\u{e9}".repeat(chars), "x")).await.unwrap_err();
        assert!(matches!(refused, PutError::InvalidPartitionKey { .. }));
        assert_eq!(refused.to_string(), format!("partition key has {chars} characters, Kinesis accepts 1 to 256"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_explicit_hash_key_decides_the_shard_and_reaches_the_consumer() {
    let world = World::start(2).await;
    let producer = world.producer();

    let last = UserRecord::new("key-1", "1").with_explicit_hash_key(kpl::HashKey::MAX);
    let first = UserRecord::new("key-1", "2").with_explicit_hash_key(kpl::HashKey::MIN);
    let (last, first) = (producer.put(last).await.unwrap(), producer.put(first).await.unwrap());

    assert_eq!(last.await.unwrap().shard_id().as_str(), "shardId-000000000001");
    assert_eq!(first.await.unwrap().shard_id().as_str(), SHARD);
}
