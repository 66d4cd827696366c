//! Data that are an aggregate themselves.

use bytes::Bytes;

use super::*;
use crate::aggregated::Aggregate;

/// An aggregate of records with as many bytes.
fn aggregate(bytes: usize) -> Bytes {
    let mut aggregate = Aggregate::new();
    [0, 1].iter().for_each(|n| aggregate.push(UserRecord::new(format!("inner-{n}"), vec![b'x'; bytes])));
    aggregate.encode()
}

/// User records that consumers get of `data` and of other records that are put with it.
async fn delivered(kinesis: &FakeKinesis, producer: &Producer, data: &Bytes, others: usize) -> Vec<Bytes> {
    let before = kinesis.delivered().len();
    drop(producer.put(UserRecord::new("outer", data.clone())).await.expect("accepted"));
    for n in 0..others {
        drop(producer.put(record(n)).await.expect("accepted"));
    }
    producer.flush().await;
    kinesis.delivered().split_off(before).into_iter().map(|record| record.data).collect()
}

#[tokio::test(start_paused = true)]
async fn delivers_nested_aggregates_as_they_were_put_alone_and_together() {
    for aggregation in [Aggregation::default(), Aggregation::ByPartitionKey { max_bytes: 51_200, max_records: 1000 }] {
        let kinesis = FakeKinesis::new(1);
        let producer = builder(&kinesis).aggregation(aggregation).build().expect("valid settings");

        for (bytes, others) in [(5, 0), (5, 1), (5, 1000), (25_550, 0), (60_000, 0), (60_000, 2)] {
            let data = aggregate(bytes);
            let found = delivered(&kinesis, &producer, &data, others).await;
            assert_eq!((found.len(), found.contains(&data)), (1 + others, true), "{bytes} bytes, {others} others");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn delivers_nested_aggregates_as_they_were_put_with_shards_unknown() {
    let kinesis = FakeKinesis::new(2);
    kinesis.on_list(|| Reaction::Fail(error("AccessDeniedException")));
    let producer = producer(&kinesis);
    let data = aggregate(5);

    let delivery = producer.put(UserRecord::new("outer", data.clone())).await.expect("accepted");

    assert_eq!(delivery.await.expect("stored").attempts(), 1);
    let found = kinesis.delivered();
    assert_eq!((found.len(), &found[0].partition_key[..], &found[0].data), (1, "outer", &data));
}

#[tokio::test(start_paused = true)]
async fn delivers_nested_aggregates_as_they_were_put_after_a_refusal() {
    let kinesis = FakeKinesis::new(1);
    let calls = AtomicUsize::new(0);
    kinesis.on_put(move |_| match calls.fetch_add(1, Relaxed) {
        0 => Reaction::Fail(error("ValidationException")),
        _ => Reaction::Accept,
    });
    let data = aggregate(5);

    let found = delivered(&kinesis, &producer(&kinesis), &data, 3).await;

    assert_eq!((found.len(), &found[0]), (4, &data));
}

#[tokio::test(start_paused = true)]
async fn passes_nested_aggregates_through_without_aggregation() {
    let kinesis = FakeKinesis::new(1);
    let producer = builder(&kinesis).aggregation(Aggregation::Off).build().expect("valid settings");

    let found = delivered(&kinesis, &producer, &aggregate(5), 1).await;

    assert_eq!(found, ["xxxxx", "xxxxx", "0"]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_as_long_as_a_record_may_be_is_sent_as_it_is() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let mut data = aggregate(1 << 19);
    let longer = data.len() + "outer".len() - (1 << 20);
    data = aggregate((1 << 19) - longer.div_ceil(2));

    let found = delivered(&kinesis, &producer, &data, 0).await;

    assert_eq!((found.len(), kinesis.requests()[0][0].data == data), (2, true));
}
