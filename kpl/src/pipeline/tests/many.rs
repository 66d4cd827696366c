//! Puts of many records: what is accepted, and what is left, when a put ends early.

use std::collections::VecDeque;

use tokio::time::error::Elapsed;

use super::*;

/// A producer with a buffer for this many records, over requests of 20 ms.
fn small(kinesis: &FakeKinesis, records: usize) -> Producer {
    kinesis.set_latency(20 * MS);
    builder(kinesis).max_outstanding_records(records).build().expect("valid settings")
}

/// Puts until the buffer is full, and then gives up.
async fn give_up(
    producer: &Producer,
    records: &mut VecDeque<UserRecord>,
    deliveries: &mut Vec<Delivery>,
) -> Result<Result<(), PutError>, Elapsed> {
    timeout(5 * MS, producer.put_many(records, deliveries)).await
}

fn records(numbers: std::ops::Range<usize>) -> VecDeque<UserRecord> {
    numbers.map(record).collect()
}

async fn assert_stored(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        delivery.await.expect("stored");
    }
}

#[tokio::test(start_paused = true)]
async fn many_records_never_exceed_the_buffer_and_keep_their_order() {
    let number = |n: usize, digits| UserRecord::new(format!("key-{}", n % 5), format!("{}{n}", "0".repeat(digits)));
    for (max_records, max_bytes, digits) in [(10, 1 << 20, 3), (1000, 1 << 20, 100_000)] {
        let kinesis = FakeKinesis::new(2);
        kinesis.set_latency(20 * MS);
        let builder = builder(&kinesis).max_outstanding_records(max_records).max_outstanding_bytes(max_bytes);
        let producer = builder.build().expect("valid settings");
        let (front, putting) = (producer.clone(), AtomicUsize::new(1));
        let put = async {
            let (mut left, mut deliveries) = ((0..100).map(|n| number(n, digits)).collect(), Vec::new());
            front.put_many(&mut left, &mut deliveries).await.expect("accepted");
            putting.store(0, Relaxed);
            assert!(left.is_empty() && deliveries.len() == 100);
            deliveries
        };
        let watch = async {
            let mut fullest = (0, 0);
            while putting.load(Relaxed) == 1 {
                sleep(MS).await;
                let used = (producer.outstanding_records(), producer.outstanding_bytes());
                assert!(used.0 <= max_records && used.1 <= max_bytes, "{used:?}");
                fullest = fullest.max(used);
            }
            fullest
        };

        let (deliveries, fullest) = tokio::join!(put, watch);

        assert!(fullest.0 >= 10, "the buffer was full: {fullest:?}");
        assert_stored(deliveries).await;
        assert_eq!(kinesis.delivered().len(), 100);
        assert_order_per_key(&kinesis);
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_of_many_that_is_dropped_leaves_what_is_not_accepted() {
    let kinesis = FakeKinesis::new(1);
    let producer = small(&kinesis, 10);
    let (mut left, mut deliveries) = (records(0..100), Vec::new());

    give_up(&producer, &mut left, &mut deliveries).await.expect_err("the buffer is full");

    assert_eq!((deliveries.len(), left.len()), (10, 90));
    assert!(left.iter().cloned().eq((10..100).map(record)));
    producer.put_many(&mut left, &mut deliveries).await.expect("accepted");
    assert_stored(deliveries).await;
    assert_eq!(kinesis.delivered().len(), 100, "each once");
    assert_order_per_key(&kinesis);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_mid_chunk_returns_the_next_record_and_leaves_the_others() {
    let kinesis = FakeKinesis::new(1);
    let producer = small(&kinesis, 10);
    let (mut left, mut deliveries) = (records(0..50), Vec::new());
    let close = async {
        sleep(5 * MS).await;
        producer.shutdown().await;
    };

    let (put, ()) = tokio::join!(producer.put_many(&mut left, &mut deliveries), close);

    let error = put.expect_err("shut down");
    assert!(matches!(error, PutError::ShutDown { .. }));
    assert_eq!(error.into_record(), record(10));
    assert!(left.iter().cloned().eq((11..50).map(record)));
    assert_eq!((deliveries.len(), kinesis.delivered().len()), (10, 10));
    assert_stored(deliveries).await;
    assert!(matches!(producer.put_many(&mut left, &mut Vec::new()).await, Err(PutError::ShutDown { .. })));
    assert_eq!(left.len(), 38);
}

#[tokio::test(start_paused = true)]
async fn put_all_refuses_what_a_shutdown_leaves() {
    let kinesis = FakeKinesis::new(1);
    let producer = small(&kinesis, 10);
    let close = async {
        sleep(5 * MS).await;
        producer.shutdown().await;
    };

    let (outcomes, ()) = tokio::join!(producer.put_all(records(0..50)), close);

    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(_) => assert!(n < 10, "{n}"),
            Err(error) => assert!(n >= 10 && error.into_record() == record(n), "{n}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_ends_a_put_of_many_between_the_others() {
    let kinesis = FakeKinesis::new(1);
    let producer = small(&kinesis, 100);
    let (mut left, mut deliveries) = (records(0..80), Vec::new());
    left[40] = UserRecord::new("", "40");

    let error = producer.put_many(&mut left, &mut deliveries).await.expect_err("no partition key");

    assert!(matches!(error, PutError::InvalidPartitionKey { .. }));
    assert_eq!((error.into_record().data(), deliveries.len(), left.len()), (&"40".into(), 40, 39));
    producer.put_many(&mut left, &mut deliveries).await.expect("the others");
    assert_stored(deliveries).await;
    assert_eq!(kinesis.delivered().len(), 79);
}

#[tokio::test(start_paused = true)]
async fn a_put_of_many_that_is_dropped_leaves_a_refused_record_in_its_place() {
    let kinesis = FakeKinesis::new(1);
    let producer = small(&kinesis, 3);
    let (mut left, mut deliveries) = (records(0..10), Vec::new());
    left[5] = UserRecord::new("", "5");

    give_up(&producer, &mut left, &mut deliveries).await.expect_err("the buffer is full");

    let numbers: Vec<_> = left.iter().map(|record| String::from_utf8_lossy(record.data()).into_owned()).collect();
    assert_eq!((numbers, deliveries.len()), ((3..10).map(|n| n.to_string()).collect(), 3));
    producer.put_many(&mut left, &mut deliveries).await.expect_err("the one without key");
    assert_eq!((deliveries.len(), left.len()), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn records_that_are_left_are_as_they_were_put() {
    let kinesis = FakeKinesis::new(1);
    kinesis.set_latency(20 * MS);
    let encode = |_: &UserRecord| Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"encoded"));
    let producer = builder(&kinesis).encode(encode).max_outstanding_records(2).build().expect("valid settings");
    let (mut left, mut deliveries) = (records(0..5), Vec::new());

    give_up(&producer, &mut left, &mut deliveries).await.expect_err("the buffer is full");

    assert!(left.into_iter().eq((2..5).map(record)));
    assert_stored(deliveries).await;
    assert_eq!(consumed(&kinesis), ["encoded", "encoded"]);
}
