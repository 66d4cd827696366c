//! The batch of an invocation, record by record.

use kpl::{
    HashKey, HashKeyRange, SequenceNumber, ShardId, UserRecord,
    aggregated::{Aggregate, DeaggregateError},
    compressed::{Compression, FrameReader, FrameWriter},
};
use proptest::prelude::*;
use samples::lambda::consumer::{Batch, FunctionRecord, KinesisRecord, Progress, Unfinished};

/// A Kinesis record, an aggregate unless it is of one user record. Each user record's data are `sequence number/place`.
fn kinesis_record(sequence_number: usize, user_records: usize) -> KinesisRecord {
    let mut aggregate = Aggregate::new();
    for place in 0..user_records {
        aggregate.push(UserRecord::new("alpha", format!("{sequence_number}/{place}")));
    }
    let data = if user_records == 1 { format!("{sequence_number}/0").into() } else { aggregate.encode() };
    KinesisRecord {
        source_arn: "arn:aws:kinesis:us-east-1:000000000000:stream/S".into(),
        shard_id: ShardId::from("shardId-000000000000"),
        range: None,
        sequence_number: sequence_number.to_string().parse().expect("digits"),
        partition_key: "a".to_owned(),
        data,
    }
}

fn batch(records: &[KinesisRecord], known: &[(SequenceNumber, Progress)]) -> Batch {
    Batch::new(records.to_vec(), known.to_vec(), FrameReader::new())
}

fn text(record: &FunctionRecord) -> String {
    String::from_utf8_lossy(&record.data).into_owned()
}

#[test]
fn ends_at_the_record_that_fails_and_goes_on_with_it() {
    let records = [kinesis_record(1, 1), kinesis_record(2, 3), kinesis_record(3, 1)];
    let mut first = batch(&records, &[]);
    for expected in ["1/0", "2/0"] {
        assert_eq!(first.next().as_ref().map(text).as_deref(), Some(expected));
        first.done();
    }
    assert_eq!(first.next().as_ref().map(text).as_deref(), Some("2/1"));

    let Unfinished { record, progress } = first.failed().expect("a record has failed");

    assert_eq!((record.sequence_number.as_str(), progress), ("2", Progress { done: 1, failures: 1 }));
    let mut second = batch(&records[1..], &[(record.sequence_number, progress)]);
    let again = second.next().expect("the record that failed");
    assert_eq!((text(&again).as_str(), again.attempt, again.sub_sequence_number), ("2/1", 2, Some(1)));
    second.done();
    let after = second.next().expect("the record after it");
    assert_eq!((text(&after).as_str(), after.attempt), ("2/2", 1));
}

#[test]
fn a_record_of_a_consumer_with_enhanced_fan_out_is_of_its_stream() {
    let mut record = kinesis_record(1, 1);
    let stream_arn = record.stream_arn().to_owned();
    record.source_arn = format!("{stream_arn}/consumer/c:1700000000").into();

    assert_eq!(record.stream_arn(), stream_arn);
    assert_eq!(batch(&[record], &[]).next().expect("a record").stream(), "S");
}

#[test]
fn a_record_that_was_not_begun_has_no_failure() {
    let mut batch = batch(&[kinesis_record(1, 1), kinesis_record(2, 2)], &[]);
    batch.next().expect("the first");
    batch.done();
    batch.next().expect("the second");

    let Unfinished { record, progress } = batch.not_begun().expect("not begun");

    assert_eq!((record.sequence_number.as_str(), progress), ("2", Progress::default()));
}

#[test]
fn names_the_records_that_have_outlived_their_progress() {
    let records = [kinesis_record(1, 2), kinesis_record(2, 1), kinesis_record(3, 2)];
    let progress = Progress { done: 1, failures: 1 };
    let known = [&records[0], &records[2]].map(|record| (record.sequence_number.clone(), progress));
    let mut batch = batch(&records, &known);

    for expected in ["1/1", "2/0"] {
        assert_eq!(batch.next().as_ref().map(text).as_deref(), Some(expected));
        batch.done();
    }
    assert_eq!(batch.next().as_ref().map(text).as_deref(), Some("3/1"));
    assert_eq!(batch.take_outlived(), [records[0].clone()]);

    batch.done();
    assert_eq!((batch.next(), batch.take_outlived()), (None, vec![records[2].clone()]));
}

#[test]
fn opens_frames_and_delivers_those_that_it_cannot_as_they_are() {
    let mut record = kinesis_record(1, 50);
    record.data = FrameWriter::new(Compression::Zstd(1), None).frame(&record.data).expect("shorter");
    let mut damaged = record.clone();
    damaged.data = damaged.data.slice(..damaged.data.len() - 1);

    let mut whole = batch(&[record], &[]);
    assert_eq!(whole.next().as_ref().map(text).as_deref(), Some("1/0"));

    let found = batch(std::slice::from_ref(&damaged), &[]).next().expect("a record");
    assert_eq!((&found.data, found.sub_sequence_number), (&damaged.data, None));
    assert!(matches!(found.damage, Some(DeaggregateError::Frame(_))), "{:?}", found.damage);
}

#[test]
fn leaves_out_aggregates_of_another_shard_where_the_range_is_known() {
    let mut elsewhere = kinesis_record(1, 2);
    let hash_key = HashKey::of_partition_key("alpha");
    elsewhere.range = Some(HashKeyRange { start: HashKey(hash_key.0 + 1), end: HashKey::MAX });

    let mut found = batch(&[elsewhere.clone(), kinesis_record(2, 1)], &[]);
    assert_eq!(found.next().as_ref().map(text).as_deref(), Some("2/0"));

    elsewhere.range = Some(HashKeyRange { start: HashKey::MIN, end: hash_key });
    assert_eq!(batch(&[elsewhere], &[]).next().as_ref().map(text).as_deref(), Some("1/0"));
}

proptest! {
    /// Properties A, B and C: whichever records fail, and however often, Lambda's deliveries of what is unfinished process each
    /// user record once, in order, and repeat none that is done.
    #[test]
    fn processes_each_user_record_once_across_invocations(
        sizes in prop::collection::vec(1_usize..5, 0..8),
        failures in prop::collection::vec(0_u32..3, 40),
        keeps_progress in prop::collection::vec(any::<bool>(), 40),
    ) {
        let records: Vec<_> = sizes.iter().enumerate().map(|(at, size)| kinesis_record(at + 1, *size)).collect();
        let expected: Vec<_> = records.iter().zip(&sizes).flat_map(|(record, size)| {
            (0..*size).map(move |place| format!("{}/{place}", record.sequence_number))
        }).collect();
        let (mut left, mut known) = (&records[..], Vec::new());
        let (mut done, mut failed, mut invocation) = (Vec::<String>::new(), failures, 0);
        loop {
            let mut batch = batch(left, &known);
            let unfinished = loop {
                let Some(record) = batch.next() else { break None };
                let at = expected.iter().position(|text| **text == self::text(&record)).expect("a record of the batch");
                if failed[at] > 0 {
                    failed[at] -= 1;
                    break if keeps_progress[at] { batch.failed() } else { batch.not_begun() };
                }
                done.push(self::text(&record));
                batch.done();
            };
            let Some(Unfinished { record, progress }) = unfinished else { break };
            let at = left.iter().position(|known| known == &record).expect("a record of the batch");
            (left, known) = (&left[at..], vec![(record.sequence_number, progress)]);
            invocation += 1;
            prop_assert!(invocation < 100);
        }
        prop_assert_eq!(done, expected);
    }
}
