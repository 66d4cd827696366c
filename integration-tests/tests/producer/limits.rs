//! Limits of a stream: large records, many streams, missing permissions to describe.

use integration_tests::{Log, STREAM, World, user_record};
use kpl::{Event, Producer, PutError, UserRecord};

const MIB: usize = 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn one_record_of_a_mebibyte_among_small_ones_is_no_obstacle() {
    let world = World::start(1).await;
    let producer = world.producer();

    let mut deliveries = Vec::new();
    for id in 0..2_000 {
        if id == 1_000 {
            // Its data are a number, too, to the journal.
            let large = format!("{:0>width$}", 2_000, width = 60_000);
            let padded = UserRecord::new("large", [b"0".repeat(MIB - 5 - large.len()), large.into()].concat());
            deliveries.push(producer.put(padded).await.expect("at the limit"));
        }
        deliveries.push(producer.put(user_record(id)).await.expect("record is fine"));
    }
    for delivery in deliveries {
        delivery.await.expect("stored");
    }

    let worker = world.run("w1");
    world.journal.processed(2_001).await;
    assert_eq!(world.journal.ids().len(), 2_001);
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn records_of_ten_mebibytes_go_where_the_stream_takes_them() {
    let world = World::start(1).await;
    world.take_records_of(10_240).await;
    let producer = world.producer();

    let first = producer.put(UserRecord::new("k", vec![1; 10 * MIB - 1])).await.expect("the limit is not known");
    for id in 0..100 {
        drop(producer.put(user_record(id)).await.expect("record is fine"));
    }
    first.await.expect("stored");
    let refused = producer.put(UserRecord::new("k", vec![1; 10 * MIB])).await.expect_err("now it is");

    assert_eq!(refused.to_string(), "record is 10485761 bytes, above the 10485760-byte limit");
    producer.flush().await;
}

#[tokio::test(start_paused = true)]
async fn fails_a_record_above_the_streams_limit_alone_before_that_is_known() {
    let world = World::start(1).await;
    let producer = world.producer();

    let mut deliveries = Vec::new();
    for id in 0..100 {
        let data = if id == 50 { vec![1; 2 * MIB] } else { vec![1; 10] };
        deliveries.push(producer.put(UserRecord::new("k", data)).await.expect("the limit is not known"));
    }

    for (id, delivery) in deliveries.into_iter().enumerate() {
        let outcome = delivery.await;
        assert_eq!(outcome.is_err(), id == 50, "{outcome:?}");
    }
    let refused = producer.put(UserRecord::new("k", vec![1; 2 * MIB])).await.expect_err("now it is");
    assert!(matches!(refused, PutError::TooLarge { limit_bytes: MIB, .. }));
}

#[tokio::test(start_paused = true)]
async fn one_producer_writes_to_many_streams() {
    let world = World::start(1).await;
    let producer = world.producer();
    for n in 0..20 {
        let name = format!("stream-{n}");
        world.create(&name, 2).await;
        let other = producer.to_stream(name).expect("a name");
        for id in 0..50 {
            drop(other.put(user_record(id)).await.expect("record is fine"));
        }
    }
    let missing = producer.to_stream("missing").expect("a name").put(user_record(0)).await.expect("accepted");

    producer.flush().await;

    assert_eq!(producer.outstanding_records(), 0);
    let error = missing.await.expect_err("there is no such stream");
    assert!(error.to_string().contains("ResourceNotFoundException"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn warns_once_without_the_permission_to_describe() {
    let world = World::start(1).await;
    world.local.deny("kinesis:DescribeStreamSummary");
    let seen = Log::default();
    let log = seen.clone();
    let builder = Producer::builder(&world.aws, STREAM);
    let builder = builder.on_event(move |event| log.push(event.clone()));
    let producer = builder.build().expect("settings are right");

    let first = producer.put(user_record(0)).await.expect("record is fine");
    let second = producer.put(user_record(1)).await.expect("record is fine");
    assert_eq!(first.await.expect("stored").sequence_number(), second.await.expect("stored").sequence_number());

    let seen: Vec<Event> = seen.all();
    assert!(
        matches!(seen[..], [Event::StreamNotDescribed { .. }, Event::ShardMapUpdated { open_shards: 1, .. }]),
        "{seen:?}"
    );
}
