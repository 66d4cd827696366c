use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    aggregated::Deaggregator,
    compressed::{Compression, FrameReader},
    logic::aggregator::{Aggregator, Packing},
    record::UserRecord,
    testing::start,
};

const MAX_BYTES: usize = 2000;

fn config() -> Config {
    let frames = Some(Arc::new(FrameWriter::new(Compression::Lz4, None)));
    let aggregation = crate::config::Aggregation::default().with_max_bytes(MAX_BYTES);
    Config { frames, aggregation, ..Config::default() }
}

fn aggregator(config: &Config) -> Aggregator<UserRecord> {
    Aggregator::new(Packing::of(config, 1 << 20))
}

fn pending(number: u64, data: Vec<u8>) -> Pending<UserRecord> {
    let record = UserRecord::new(format!("key-{}", number % 5), data);
    let hash_key = record.hash_key();
    Pending::new(record, hash_key, number, start())
}

/// JSON-like, so that it becomes a fraction.
fn text(number: u64) -> Vec<u8> {
    format!("{{\"ticker\":\"AMZN\",\"side\":\"buy\",\"number\":{number}}}").into_bytes()
}

/// Kinesis records with the numbers of their user records, and the lengths that are sent.
fn sent(aggregator: &mut Aggregator<UserRecord>) -> Vec<KinesisRecord<UserRecord>> {
    std::iter::from_fn(|| {
        let mut record = aggregator.pop()?;
        crate::aggregated::Sealed::digest_all(record.content_mut().into_iter());
        Some(record)
    })
    .collect()
}

fn data(record: &KinesisRecord<UserRecord>) -> bytes::Bytes {
    record.entry().data
}

/// Data of the user records in it, as a consumer sees them.
fn delivered(record: &KinesisRecord<UserRecord>) -> Vec<bytes::Bytes> {
    let entry = record.entry();
    let found = Deaggregator::new().deaggregate_strictly(&entry.partition_key, &entry.data).expect("sound").records;
    found.into_iter().map(|record| record.data).collect()
}

#[test]
fn aggregates_become_full_by_their_compressed_length() {
    let mut aggregator = aggregator(&config());
    for number in 0..4000 {
        aggregator.push(pending(number, text(number)));
    }

    let sent = sent(&mut aggregator);
    let lengths: Vec<usize> = sent.iter().map(|record| data(record).len()).collect();
    assert!(lengths.iter().all(|len| *len <= MAX_BYTES), "{lengths:?}");
    let full = lengths[4..].iter().sum::<usize>() as f64 / (MAX_BYTES * (lengths.len() - 4)) as f64;
    assert!(full > 0.85, "{full} of the limit is used: {lengths:?}");
    assert!(sent[2].courses().len() > 3 * MAX_BYTES / text(1000).len(), "{}", sent[2].courses().len());
}

#[test]
fn what_does_not_fit_is_divided_in_order() {
    let mut aggregator = aggregator(&config());
    let noise = |number| [text(number), (0..60).map(|_| fastrand::u8(..)).collect()].concat();
    let records: Vec<Vec<u8>> = (0..600).map(text).chain((600..1200).map(noise)).collect();
    for (data, number) in records.iter().zip(0..) {
        aggregator.push(pending(number, data.clone()));
    }
    aggregator.complete();

    let sent = sent(&mut aggregator);
    assert!(sent.iter().all(|record| data(record).len() <= MAX_BYTES));
    assert_eq!(sent.iter().flat_map(delivered).collect::<Vec<_>>(), records);
}

#[test]
fn a_record_alone_is_a_frame_of_its_data_if_that_is_shorter() {
    let mut aggregator = aggregator(&config());
    let (long, noise) = (vec![b'x'; 200_000], (0..200_000).map(|_| fastrand::u8(..)).collect::<Vec<_>>());
    aggregator.push(pending(0, long.clone()));
    aggregator.push(pending(1, noise.clone()));
    aggregator.push(pending(2, text(2)));
    aggregator.complete();

    let sent = sent(&mut aggregator);
    assert_eq!(FrameReader::new().open(&data(&sent[0])), Some(Ok(long.into())));
    assert_eq!(data(&sent[1]), noise);
    assert_eq!(data(&sent[2]), text(2), "too short to become shorter");
    assert!(sent[0].size_bytes() < 2000 && sent[1].size_bytes() > 200_000);
}

#[test]
fn data_that_are_a_frame_arrive_as_they_were_put() {
    let frame = FrameWriter::new(Compression::Lz4, None).frame(&[b'x'; 500]).expect("shorter");
    for config in [Config::default(), config()] {
        let mut aggregator = aggregator(&config);
        aggregator.push(pending(0, frame.to_vec()));
        aggregator.complete();
        aggregator.push(pending(1, text(1)));
        aggregator.push(pending(2, frame.to_vec()));
        aggregator.complete();

        let sent = sent(&mut aggregator);
        let found: Vec<_> = sent.iter().flat_map(delivered).collect();
        assert_eq!(found, [frame.clone(), text(1).into(), frame.clone()]);
    }
}

#[test]
fn records_come_back_out_of_frames_as_they_were_put() {
    let mut aggregator = aggregator(&config());
    for number in 0..300 {
        aggregator.push(pending(number, text(number)));
    }

    let back = aggregator.take_all();

    assert_eq!(back.iter().map(|record| record.course.number).collect::<Vec<_>>(), Vec::from_iter(0..300));
    for (record, number) in back.iter().zip(0..) {
        let expected = pending(number, text(number));
        assert_eq!((record.as_ref(), record.hash_key), (expected.as_ref(), expected.hash_key));
    }
}

#[test]
fn what_is_left_of_an_aggregate_is_compressed_again() {
    let mut aggregator = aggregator(&config());
    let begun = start();
    for number in 0..2000 {
        let mut record = pending(number, text(number));
        record.course.arrived = begun + Duration::from_millis(number);
        aggregator.push(record);
    }
    let late = aggregator.take_arrived_by(begun + Duration::from_millis(500));

    assert_eq!(late.len(), 501);
    aggregator.complete();
    let sent = sent(&mut aggregator);
    assert!(sent.iter().all(|record| data(record).len() <= MAX_BYTES));
    assert_eq!(sent.iter().flat_map(delivered).count(), 1499);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_record_leaves_once_in_order_and_within_the_limit(
        sizes in prop::collection::vec((0_usize..600, any::<bool>()), 1..60),
        max_bytes in 64_usize..2000,
        by_key in any::<bool>(),
    ) {
        let aggregation = crate::config::Aggregation::default().with_max_bytes(max_bytes);
        let config = Config { aggregation, ..config() };
        let packing = Packing { by_key, ..Packing::of(&config, 1 << 20) };
        let mut aggregator = Aggregator::new(packing);
        let mut rng = fastrand::Rng::with_seed(sizes.len() as u64);
        let put: Vec<Vec<u8>> = sizes
            .iter()
            .map(|(size, noisy)| (0..*size).map(|at| if *noisy { rng.u8(..) } else { at as u8 / 64 }).collect())
            .collect();
        for (data, number) in put.iter().zip(0..) {
            aggregator.push(pending(number, data.clone()));
        }
        aggregator.complete();

        let mut found: Vec<(u64, bytes::Bytes)> = Vec::new();
        for record in sent(&mut aggregator) {
            prop_assert!(record.courses().len() == 1 || data(&record).len() <= max_bytes);
            prop_assert_eq!(record.size_bytes(), data(&record).len() + record.entry().partition_key.len());
            found.extend(record.courses().iter().map(|course| course.number).zip(delivered(&record)));
        }
        if !by_key {
            prop_assert!(found.is_sorted_by_key(|(number, _)| *number));
        }
        found.sort_by_key(|(number, _)| *number);
        prop_assert_eq!(found, (0..).zip(put.into_iter().map(bytes::Bytes::from)).collect::<Vec<_>>());
    }
}
