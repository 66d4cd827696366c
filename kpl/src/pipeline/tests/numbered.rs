//! Records with a number.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::record_number::RecordNumber;

fn numbering(kinesis: &FakeKinesis) -> Producer {
    builder(kinesis).record_numbers(true).build().expect("valid settings")
}

/// Data and numbers of what consumers get.
fn found(kinesis: &FakeKinesis) -> Vec<(usize, Option<RecordNumber>)> {
    let data = |data: &[u8]| String::from_utf8_lossy(data).parse().expect("a number");
    kinesis.delivered().into_iter().map(|record| (data(&record.data), record.number)).collect()
}

/// Records found for the first time, and the number of copies, which all have the number of the first.
fn once(found: Vec<(usize, Option<RecordNumber>)>) -> (Vec<usize>, usize) {
    let (mut first, mut copies, mut seen) = (Vec::new(), 0, HashMap::new());
    for (data, number) in found {
        let number = number.expect("it has a number");
        match seen.insert(number, data) {
            None => first.push(data),
            Some(other) => {
                assert_eq!(other, data, "{number} is that of one record");
                copies += 1;
            }
        }
    }
    first.sort_unstable();
    (first, copies)
}

#[tokio::test(start_paused = true)]
async fn a_lone_numbered_record_is_an_aggregate_of_one() {
    let kinesis = FakeKinesis::new(1);
    let by_key = Aggregation::by_partition_key();
    for aggregation in [Aggregation::default(), by_key, Aggregation::Off] {
        let producer = builder(&kinesis).aggregation(aggregation).record_numbers(true).build().expect("valid settings");
        let delivered = producer.put(record(0)).await.expect("accepted").await.expect("stored");
        assert_eq!(delivered.sub_sequence_number(), Some(0).filter(|_| aggregation != Aggregation::Off));
    }
    let numbers: Vec<_> = kinesis.delivered().into_iter().map(|record| record.number).collect();
    assert_eq!([numbers[0], numbers[1]].map(|number| number.expect("numbered").number()), [0, 0]);
    assert_ne!(numbers[0], numbers[1], "each producer has its own series");
    assert_eq!(numbers[2], None);
}

#[tokio::test(start_paused = true)]
async fn records_of_a_shard_are_numbered_in_one_row() {
    for aggregation in [Aggregation::default(), Aggregation::by_partition_key()] {
        let kinesis = FakeKinesis::new(2);
        let producer = builder(&kinesis).aggregation(aggregation).record_numbers(true).build().expect("valid settings");
        producer.put(record(0)).await.expect("accepted").await.expect("stored");

        let deliveries = producer.put_all((1..1000).map(record)).await;

        assert!(deliveries.iter().all(Result::is_ok));
        let mut series: HashMap<_, Vec<u64>> = HashMap::new();
        for record in kinesis.delivered().into_iter().skip(1) {
            let number = record.number.expect("it has a number");
            series.entry((record.shard_id, number.series())).or_default().push(number.number());
        }
        assert_eq!(series.len(), 2);
        for mut numbers in series.into_values() {
            numbers.sort_unstable();
            let first = numbers[0];
            assert_eq!(numbers, (first..first + numbers.len() as u64).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_copies_with_the_same_numbers() {
    let kinesis = FakeKinesis::new(1);
    let producer = numbering(&kinesis);
    producer.put(record(0)).await.expect("accepted").await.expect("stored");
    let calls = AtomicUsize::new(0);
    kinesis.on_put(move |_| if calls.fetch_add(1, Relaxed) == 0 { Reaction::Hang } else { Reaction::Accept });

    let deliveries = producer.put_all((1..100).map(record)).await;

    assert!(deliveries.iter().all(Result::is_ok));
    assert_eq!(once(found(&kinesis)), ((0..100).collect(), 99));
}

#[tokio::test(start_paused = true)]
async fn numbers_survive_a_split_under_an_aggregate_and_a_refusal() {
    let kinesis = FakeKinesis::new(1);
    let producer = numbering(&kinesis);
    producer.put(record(0)).await.expect("accepted").await.expect("stored");
    let calls = AtomicUsize::new(0);
    kinesis.on_put(move |_| match calls.fetch_add(1, Relaxed) {
        0 => Reaction::Hang,
        2 => Reaction::Fail(error("ValidationException")),
        _ => Reaction::Accept,
    });
    let deliveries = producer.put_all((1..20).map(record));
    let shard = kinesis.shards()[0].shard_id.clone();
    let split = async {
        sleep(3000 * MS).await;
        kinesis.split(&shard);
    };

    let (deliveries, ()) = tokio::join!(deliveries, split);

    assert!(deliveries.iter().all(Result::is_ok));
    let (first, copies) = once(found(&kinesis));
    assert_eq!(first, (0..20).collect::<Vec<_>>());
    assert_eq!(copies, 19, "stored in the parent, and in its children");
}

#[tokio::test(start_paused = true)]
async fn a_record_without_room_for_a_number_is_sent_without() {
    let kinesis = FakeKinesis::new(1);
    let producer = numbering(&kinesis);
    // Beside the data: magic and digest 20, table 3, field and length 4, index 2, data 4, tag 44, partition key "a" 1.
    for (data, numbered) in [((1 << 20) - 78, true), ((1 << 20) - 77, false)] {
        producer.put(UserRecord::new("k", vec![b'x'; data])).await.expect("accepted").await.expect("stored");
        let last = kinesis.delivered().pop().expect("stored");
        assert_eq!((last.data.len(), last.number.is_some()), (data, numbered));
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_of_a_burst_before_the_shards_are_known_stand_in_runs() {
    let kinesis = FakeKinesis::new(4);
    kinesis.set_latency(20 * MS);

    let deliveries = numbering(&kinesis).put_all((0..1000).map(record)).await;

    assert!(deliveries.iter().all(Result::is_ok));
    let entries = kinesis.requests().concat();
    let tags = |entry: &crate::kinesis::Entry| entry.data.windows(8).filter(|text| *text == b"\x0a\x06number").count();
    assert!(entries.iter().all(|entry| tags(entry) == 1), "{:?}", entries.iter().map(tags).collect::<Vec<_>>());
    let numbers: HashSet<_> = found(&kinesis).into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers.len(), 1000);
}
