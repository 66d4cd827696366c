//! Records that are sent at once because nothing is under way.

use super::*;

const ROUND_TRIP: Duration = Duration::from_millis(20);

/// A producer that knows the shards.
async fn ready(kinesis: &FakeKinesis) -> Producer {
    kinesis.set_latency(ROUND_TRIP);
    let producer = builder(kinesis).send_when_idle(true).build().expect("valid settings");
    producer.put(record(0)).await.expect("accepted").await.expect("stored");
    producer
}

#[tokio::test(start_paused = true)]
async fn a_record_that_finds_nothing_under_way_takes_one_round_trip() {
    let kinesis = FakeKinesis::new(4);
    let producer = ready(&kinesis).await;

    for n in 1..10 {
        let began = Instant::now();
        producer.put(record(n)).await.expect("accepted").await.expect("stored");
        assert_eq!(began.elapsed(), ROUND_TRIP);
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_one_turn_go_together_and_those_of_a_round_trip_after_it() {
    let kinesis = FakeKinesis::new(1);
    let producer = ready(&kinesis).await;
    let began = Instant::now();

    let first: Vec<_> = (1..6).map(|n| producer.try_put(record(n)).expect("accepted")).collect();
    let mut later = Vec::new();
    for n in 6..11 {
        sleep(MS).await;
        later.push(producer.try_put(record(n)).expect("accepted"));
    }

    for delivery in first {
        delivery.await.expect("stored");
    }
    assert_eq!(began.elapsed(), ROUND_TRIP);
    for delivery in later {
        delivery.await.expect("stored");
    }
    assert_eq!(began.elapsed(), 2 * ROUND_TRIP);
    let user_records = |entries: &Vec<Entry>| entries.iter().map(|entry| entry.data.len() > 20).collect::<Vec<_>>();
    assert_eq!(kinesis.requests().iter().map(user_records).collect::<Vec<_>>(), [[false], [true], [true]]);
}

#[tokio::test(start_paused = true)]
async fn ignores_records_under_way_to_another_stream() {
    let kinesis = FakeKinesis::new(1);
    let producer = ready(&kinesis).await;
    let other = producer.to_stream("other").expect("a name");
    other.put(record(1)).await.expect("accepted").await.expect("stored");

    let began = Instant::now();
    let first = producer.put(record(2)).await.expect("accepted");
    sleep(5 * MS).await;
    other.put(record(3)).await.expect("accepted").await.expect("stored");

    assert_eq!(began.elapsed(), 5 * MS + ROUND_TRIP);
    first.await.expect("stored");
}

#[tokio::test(start_paused = true)]
async fn holds_records_only_to_collect_others_while_a_request_hangs() {
    let kinesis = FakeKinesis::new(2);
    let producer = ready(&kinesis).await;
    kinesis.on_put(|_| Reaction::Hang);
    let first_of = |shard: usize| {
        let range = kinesis.shards()[shard].hash_key_range;
        UserRecord::new("k", "v").with_explicit_hash_key(range.start)
    };
    let stuck = producer.put(first_of(0)).await.expect("accepted");
    until(|| kinesis.requests().len() == 2).await;
    kinesis.on_put(|_| Reaction::Accept);

    let began = Instant::now();
    producer.put(first_of(1)).await.expect("accepted").await.expect("stored");

    assert_eq!(began.elapsed(), 120 * MS + ROUND_TRIP);
    drop(stuck);
}
