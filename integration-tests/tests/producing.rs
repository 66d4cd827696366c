//! `kpl` and `kcl` together: what is put arrives once and in order, whatever happens to the shards meanwhile.

use std::time::Duration;

use integration_tests::{EventLog, Journal, Running, STREAM, TestStream};
use kcl::Event;
use kpl::{DeliveryErrorKind, Producer, PutError, UserRecord};
use tokio::time::{Instant, sleep};

fn producer(stream: &TestStream) -> Producer {
    Producer::builder(&stream.aws, STREAM).build().expect("configuration is right")
}

fn record(id: u64) -> UserRecord {
    UserRecord::new(format!("key-{}", id % 100), id.to_string())
}

/// Puts records and checks that each is stored.
async fn put(producer: &Producer, ids: std::ops::Range<u64>) {
    let mut deliveries = Vec::new();
    for id in ids {
        deliveries.push(producer.put(record(id)).await.expect("record is fine"));
    }
    for delivery in deliveries {
        delivery.await.expect("record is stored");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_producer_aggregates_the_consumer_takes_apart() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let producer = producer(&stream);
    let mut deliveries = Vec::new();
    for id in 0..5_000 {
        deliveries.push(producer.put(record(id)).await.unwrap());
    }
    producer.flush().await;
    let mut kinesis_records = std::collections::BTreeSet::new();
    for delivery in deliveries {
        let stored = delivery.await.unwrap();
        kinesis_records.insert((stored.shard_id().clone(), stored.sequence_number().clone()));
    }

    let worker = stream.run("w1", &journal);
    journal.processed(5_000).await;

    assert!(kinesis_records.len() <= 100, "{} Kinesis records", kinesis_records.len());
    assert_eq!(journal.ids().len(), 5_000, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn splits_and_merges_under_load_lose_double_and_disorder_nothing() {
    let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
    let workers = ["w1", "w2"].map(|id| {
        let builder = stream.worker(id).on_event(events.handler());
        Running::start(builder, &journal, |journal, shard| journal.processor(shard))
    });
    let producer = producer(&stream);

    for round in 0..12 {
        let ids = round * 1_000..(round + 1) * 1_000;
        tokio::join!(put(&producer, ids), async {
            // In the middle of the round's puts.
            sleep(Duration::from_millis(30)).await;
            let open = stream.open_shards().await;
            match round % 3 {
                0 => stream.split(&open[usize::try_from(round).unwrap() % open.len()]).await,
                1 => stream.merge_neighbours().await,
                _ => {}
            }
        });
        sleep(Duration::from_millis(200)).await;
    }
    producer.shutdown().await;
    journal.processed(12_000).await;
    sleep(Duration::from_secs(5)).await;

    assert_eq!(journal.distinct(), 12_000);
    assert_eq!(journal.ids().len(), 12_000, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty(), "{:?}", journal.keys_out_of_order());
    let errors = events.count(|event| matches!(event, Event::ProcessorFailed { .. } | Event::LeaseLost { .. }));
    assert_eq!(errors, 0, "{:?}", events.all());
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_fails_each_record_at_once_with_the_cause_and_the_record() {
    let stream = TestStream::start(1).await;
    let producer = Producer::builder(&stream.aws, "NoSuchStream").build().unwrap();
    let begun = Instant::now();

    let error = producer.put(record(7)).await.unwrap().await.unwrap_err();

    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let DeliveryErrorKind::Rejected { code, message } = error.kind() else { panic!("{error:?}") };
    assert_eq!(&**code, "ResourceNotFoundException");
    assert!(message.contains("NoSuchStream"), "{message}");
    assert_eq!(error.into_record(), record(7));
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_fails_each_record_with_the_service_words() {
    let stream = TestStream::start(1).await;
    stream.local.deny("kinesis:PutRecords");

    let error = producer(&stream).put(record(7)).await.unwrap().await.unwrap_err();

    assert!(error.to_string().contains("kinesis:PutRecords"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_the_permission_to_list_shards_records_are_stored_all_the_same() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    stream.local.deny("kinesis:ListShards");
    let producer = producer(&stream);
    put(&producer, 0..500).await;
    stream.local.allow("kinesis:ListShards");

    let worker = stream.run("w1", &journal);
    journal.processed(500).await;

    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_beyond_the_limits_come_back_to_the_caller() {
    const LIMIT: usize = 1024 * 1024;
    let stream = TestStream::start(1).await;
    let producer = producer(&stream);

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
    let stream = TestStream::start(2).await;
    let producer = producer(&stream);

    let last = UserRecord::new("key-1", "1").with_explicit_hash_key(kpl::HashKey::MAX);
    let first = UserRecord::new("key-1", "2").with_explicit_hash_key(kpl::HashKey::MIN);
    let (last, first) = (producer.put(last).await.unwrap(), producer.put(first).await.unwrap());

    assert_eq!(last.await.unwrap().shard_id().as_str(), "shardId-000000000001");
    assert_eq!(first.await.unwrap().shard_id().as_str(), "shardId-000000000000");
}
