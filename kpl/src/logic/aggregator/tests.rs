use proptest::prelude::*;

use super::*;
use crate::{aggregated::Sealed, hash_key::HashKey, record::UserRecord, testing::start};

fn packing(max_bytes: usize, max_records: usize) -> Packing {
    let (buffered, linger) = (Duration::from_millis(100), Duration::from_millis(20));
    let limits = Some(Limits { max_bytes, max_records });
    let (room_bytes, max_bytes_alone) = (1 << 20, 1 << 20);
    let (key, max_stripes) = (AggregateKey::Constant, 1);
    let (compressing, series, by_key) = (None, None, false);
    Packing { limits, by_key, key, buffered, linger, room_bytes, max_bytes_alone, max_stripes, compressing, series }
}

fn pending(number: u64, data_bytes: usize, arrived: Instant) -> Pending<UserRecord> {
    let record = UserRecord::new(format!("k{}", number % 7), vec![0; data_bytes]);
    let hash_key = record.hash_key();
    Pending::new(record, hash_key, number, arrived)
}

fn numbers(courses: &[Course]) -> Vec<u64> {
    courses.iter().map(|course| course.number).collect()
}

fn numbers_of(records: &[Pending<UserRecord>]) -> Vec<u64> {
    records.iter().map(|record| record.course.number).collect()
}

#[test]
fn the_count_limit_completes_an_aggregate() {
    let now = start();
    let mut aggregator = Aggregator::new(packing(51_200, 3));

    (0..7).for_each(|number| aggregator.push(pending(number, 10, now)));

    assert_eq!(aggregator.ready.len(), 2);
    assert_eq!(numbers(aggregator.pop().unwrap().courses()), [0, 1, 2]);
    assert_eq!(numbers_of(&aggregator.take_all()), [3, 4, 5, 6]);
}

#[test]
fn a_record_beyond_the_limit_goes_plain_between_the_others() {
    let now = start();
    let mut aggregator = Aggregator::new(packing(1000, 100));

    for (number, data_bytes) in [(0, 10), (1, 10), (2, 1000), (3, 10)] {
        aggregator.push(pending(number, data_bytes, now));
    }
    aggregator.complete_if(|_| true);

    let sizes: Vec<_> =
        aggregator.ready.before(u64::MAX).map(|record| (record.is_aggregate(), record.courses().len())).collect();
    assert_eq!(sizes, [(true, 2), (false, 1), (false, 1)]);
}

#[test]
fn a_single_record_is_never_wrapped() {
    let mut aggregator = Aggregator::new(packing(51_200, 100));

    aggregator.push(pending(0, 10, start()));
    aggregator.complete_if(|_| true);

    assert!(!aggregator.front().unwrap().is_aggregate());
    assert_eq!(aggregator.front().unwrap().size_bytes(), 12);
}

#[test]
fn places_returned_records_before_later_ones() {
    let now = start();
    let mut aggregator = Aggregator::new(packing(51_200, 2));
    (0..6).for_each(|number| aggregator.push(pending(number, 10, now)));
    let (first, second) = (aggregator.pop().unwrap(), aggregator.pop().unwrap());

    aggregator.put_back(second);
    aggregator.put_back(first);

    assert_eq!(numbers_of(&aggregator.take_all()), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_record_put_back_goes_before_later_ones_of_an_aggregate_that_begins_earlier() {
    let now = start();
    let mut aggregator = Aggregator::new(packing(51_200, 100));
    [9, 13, 14].into_iter().for_each(|number| aggregator.push(pending(number, 10, now)));
    aggregator.complete();

    let alone = |number| KinesisRecord::alone(pending(number, 10, now), AggregateKey::Constant, 1 << 20);
    [10, 11].into_iter().for_each(|number| aggregator.put_back(alone(number)));

    assert_eq!(numbers_of(&aggregator.take_all()), [9, 10, 11, 13, 14]);
}

#[test]
fn late_records_are_taken_out_of_their_aggregate() {
    let now = start();
    let later = now + Duration::from_secs(1);
    let mut aggregator = Aggregator::new(packing(51_200, 3));
    for number in 0..5 {
        aggregator.push(pending(number, 10, if number < 2 { now } else { later }));
    }

    assert_eq!(numbers_of(&aggregator.take_arrived_by(now)), [0, 1]);
    assert_eq!(numbers(aggregator.front().unwrap().courses()), [2]);
    assert_eq!(numbers_of(&aggregator.take_arrived_by(later)), [2, 3, 4]);
    assert!(aggregator.is_empty() && aggregator.ready.bytes == 0 && aggregator.ready.aggregates == 0);
}

proptest! {
    #[test]
    fn records_leave_in_order_within_limits(
        sizes in prop::collection::vec(0_usize..3000, 1..80),
        mixed in any::<prop::sample::Index>(),
        max_bytes in 64_usize..4000,
    ) {
        let now = start();
        let mut records: Vec<_> = sizes.iter().enumerate().map(|(n, size)| pending(n as u64, *size, now)).collect();
        let late = records.split_off(mixed.index(sizes.len()));
        let mut aggregator = Aggregator::new(packing(max_bytes, 10));
        late.into_iter().for_each(|record| aggregator.push(record));

        aggregator.merge(records);
        aggregator.complete_if(|_| true);

        let bytes: usize = aggregator.ready.before(u64::MAX).map(KinesisRecord::size_bytes).sum();
        prop_assert_eq!(aggregator.ready.bytes, bytes);
        let mut left = Vec::new();
        while let Some(mut record) = aggregator.pop() {
            if let KinesisRecord::Aggregate(packed, _) = &mut record {
                prop_assert!((2..=10).contains(&packed.len()) && packed.content.size_bytes <= max_bytes);
                Sealed::digest_all([&mut packed.content].into_iter());
                prop_assert_eq!(record.entry().data.len() + 1, record.size_bytes());
            }
            left.extend(numbers(record.courses()));
        }
        prop_assert_eq!(left, (0..sizes.len() as u64).collect::<Vec<_>>());
        prop_assert_eq!((aggregator.ready.bytes, aggregator.ready.aggregates), (0, 0));
    }

    #[test]
    fn mixes_no_keys_and_keeps_order_with_an_aggregate_for_each_key(
        records in prop::collection::vec((0..4_u8, 0..3_u8, 0_usize..300), 1..80),
        max_bytes in 64_usize..1000,
        due in 0..80_u64,
    ) {
        let now = start();
        let mut aggregator = Aggregator::new(Packing { by_key: true, ..packing(max_bytes, 10) });
        for (number, (key, hash_key, bytes)) in (0..).zip(&records) {
            let hash_key = HashKey((*hash_key).into());
            let record = UserRecord::new(format!("k{key}"), vec![0; *bytes]).with_explicit_hash_key(hash_key);
            aggregator.push(Pending::new(record, hash_key, number, now));
            if number == due {
                aggregator.complete_if(|first| first.number < due / 2);
            }
        }
        aggregator.complete_if(|_| true);

        let mut last = std::collections::HashMap::new();
        let mut left = 0;
        while let Some(record) = aggregator.pop() {
            let group =
                |record: &Pending<UserRecord>| (record.as_ref().partition_key().to_owned(), record.hash_key);
            let records = record.into_records();
            let key = group(&records[0]);
            for record in &records {
                let number = record.course.number;
                prop_assert_eq!(&group(record), &key);
                prop_assert!(last.insert(key.clone(), number).is_none_or(|before| before < number));
                left += 1;
            }
        }
        prop_assert_eq!(left, records.len());
    }
}
