//! Takes user records out of Kinesis records. Pure.
//!
//! (A) Order is kept; user records of an aggregate share its sequence number and count sub-sequence numbers from 0.
//! (B) An aggregate with a user record outside the shard's hash key range is dropped whole, and reported: it was written
//!     during a resharding, and its producer writes its records again where they belong. Plain records are never dropped.
//! (C) Nothing else is dropped: a user record whose keys cannot be read is delivered under the aggregate's own key.
//! (D) Compressed frames are opened before; one that cannot be is delivered as it is stored, and reported.

use kpl::{
    HashKeyRange, SequenceNumber,
    aggregated::{AggregatedRecord, Enveloped},
    compressed::{FrameError, FrameReader},
};

use crate::model::{KinesisRecord, Record};

/// A Kinesis record that needs a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Dropped by rule (B).
    OtherShard { sequence_number: SequenceNumber, records: usize },
    /// Delivered by rule (C).
    Malformed { sequence_number: SequenceNumber, records: usize, reason: String },
    /// Delivered by rule (D).
    Unopened { sequence_number: SequenceNumber, error: FrameError },
}

/// Maximum number of records that room is reserved for by a guess; beyond, room grows with the records.
const GUESS: usize = 1 << 16;

/// The user records of `source`. `range` is the shard's, None if unknown.
pub(crate) fn user_records(
    mut source: Vec<KinesisRecord>,
    range: Option<&HashKeyRange>,
    frames: &FrameReader,
    mut report: impl FnMut(Finding),
) -> Vec<Record> {
    source.iter_mut().filter_map(|record| open(record, frames)).for_each(&mut report);
    let (mut records, mut left) = (Vec::with_capacity(source.len()), source.len());
    let enveloped = Enveloped::of_each(source.iter().map(|record| &record.data));
    for (record, enveloped) in source.into_iter().zip(enveloped) {
        let before = records.len();
        if let Some(finding) = deaggregate(record, enveloped.as_ref(), range, &mut records) {
            report(finding);
        }
        left -= 1;
        // One aggregate is like the other, mostly.
        if records.capacity() - records.len() < left {
            records.reserve(((records.len() - before) * left).min(GUESS));
        }
    }
    records
}

/// Puts the content in the place of a frame.
fn open(record: &mut KinesisRecord, frames: &FrameReader) -> Option<Finding> {
    match frames.open(&record.data)? {
        Ok(content) => {
            record.data = content;
            None
        }
        Err(error) => Some(Finding::Unopened { sequence_number: record.sequence_number.clone(), error }),
    }
}

fn deaggregate(
    source: KinesisRecord,
    enveloped: Option<&Enveloped>,
    range: Option<&HashKeyRange>,
    records: &mut Vec<Record>,
) -> Option<Finding> {
    let Some(aggregate) = enveloped.and_then(Enveloped::parse) else {
        records.push(plain(source));
        return None;
    };
    if range.is_some_and(|range| !aggregate.belongs_in(range)) {
        let records = aggregate.len();
        return Some(Finding::OtherShard { sequence_number: source.sequence_number, records });
    }
    let (mut malformed, mut reason) = (0, None);
    records.extend(aggregate.records().zip(0..).map(|(record, sub_sequence_number)| {
        let record = record.unwrap_or_else(|unreadable| {
            malformed += 1;
            reason.get_or_insert_with(|| unreadable.to_string());
            unreadable.with_partition_key(source.partition_key.clone())
        });
        user_record(&source, record, sub_sequence_number)
    }));
    let sequence_number = source.sequence_number.clone();
    reason.map(|reason| Finding::Malformed { sequence_number, records: malformed, reason })
}

/// The records as stored. An aggregate has its last user record's position: no checkpoint within it covers it.
pub(crate) fn undivided(source: Vec<KinesisRecord>, frames: &FrameReader) -> Vec<Record> {
    let enveloped = Enveloped::of_each(source.iter().map(|record| &record.data));
    let records = source.into_iter().zip(enveloped).map(|(record, enveloped)| {
        // One frame at a time.
        let content = frames.open(&record.data).and_then(Result::ok);
        let enveloped = content.map_or(enveloped, |content| Enveloped::of(&content));
        let user_records = enveloped.as_ref().and_then(Enveloped::parse).map_or(0, |aggregate| aggregate.len());
        Record { sub_sequence_number: user_records.saturating_sub(1) as u64, ..plain(record) }
    });
    records.collect()
}

fn plain(source: KinesisRecord) -> Record {
    let record = Record::new(source.partition_key, source.data, source.sequence_number);
    Record { approximate_arrival: source.approximate_arrival, ..record }
}

fn user_record(source: &KinesisRecord, record: AggregatedRecord, sub_sequence_number: u64) -> Record {
    let AggregatedRecord { partition_key, explicit_hash_key, data, trace_context, number, .. } = record;
    let (approximate_arrival, aggregated) = (source.approximate_arrival, true);
    let record = Record::new(partition_key, data, source.sequence_number.clone());
    Record { explicit_hash_key, sub_sequence_number, aggregated, approximate_arrival, trace_context, number, ..record }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kpl::{
        HashKey, TraceContext, UserRecord,
        aggregated::Aggregate,
        compressed::{Compression, FrameWriter},
    };

    use super::*;

    /// (alpha, "hello"), (beta, "world"), as the Java KPL writes it.
    const V1: &str = "f3899ac20a05616c7068610a04626574611a0908001a0568656c6c6f1a0908011a05776f726c641d27993ca4a60179a460cc6247c9ba5a";
    /// (p, "ok"), and a record whose partition key index lies outside of the table.
    const N5: &str = "f3899ac20a01701a0608001a026f6b1a0708051a036261645331fbf64d8cefeef107e9d0eaaf0489";

    fn kinesis_record(hex: &str) -> KinesisRecord {
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        KinesisRecord {
            sequence_number: "100".parse().unwrap(),
            partition_key: "a".into(),
            data: bytes.collect::<Vec<u8>>().into(),
            approximate_arrival: None,
        }
    }

    fn taken_apart(
        source: KinesisRecord,
        range: Option<&HashKeyRange>,
    ) -> (Vec<(String, Bytes, u64)>, Option<Finding>) {
        let mut finding = None;
        let records = user_records(vec![source], range, &FrameReader::new(), |found| finding = Some(found));
        let short = |record: Record| (record.partition_key.to_string(), record.data, record.sub_sequence_number);
        (records.into_iter().map(short).collect(), finding)
    }

    #[test]
    fn an_aggregate_of_the_kpl_yields_its_user_records_in_order() {
        let (records, finding) = taken_apart(kinesis_record(V1), Some(&HashKeyRange::FULL));

        let expected = [("alpha".to_owned(), "hello".into(), 0), ("beta".to_owned(), "world".into(), 1)];
        assert_eq!((records.as_slice(), finding), (&expected[..], None));
    }

    #[test]
    fn a_trace_context_comes_with_its_record() {
        let context = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("valid");
        let mut aggregate = Aggregate::new();
        aggregate.push(UserRecord::new("alpha", "hello").with_trace_context(context.clone()));
        aggregate.push(UserRecord::new("beta", "world"));
        let source = KinesisRecord { data: aggregate.encode(), ..kinesis_record("") };

        let records = user_records(vec![source], None, &FrameReader::new(), |finding| panic!("{finding:?}"));

        let contexts: Vec<_> = records.iter().map(Record::trace_context).collect();
        assert_eq!(contexts, [Some(&context), None]);
    }

    #[test]
    fn drops_and_reports_an_aggregate_with_one_record_of_another_shard() {
        let lower_half = HashKeyRange { start: HashKey::MIN, end: HashKey(u128::MAX / 2) };

        let (records, finding) = taken_apart(kinesis_record(V1), Some(&lower_half));

        assert_eq!(records, []);
        assert_eq!(finding, Some(Finding::OtherShard { sequence_number: "100".parse().unwrap(), records: 2 }));
    }

    #[test]
    fn places_an_undivided_aggregate_at_its_last_user_record() {
        let plain = KinesisRecord { data: Bytes::from_static(b"{}"), ..kinesis_record("") };

        let records = undivided(vec![kinesis_record(V1), plain, kinesis_record(N5), framed(9)], &FrameReader::new());

        assert_eq!(records.iter().map(|record| record.sub_sequence_number).collect::<Vec<_>>(), [1, 0, 1, 8]);
        assert_eq!(records[3].data, framed(9).data);
        assert_eq!(records[0].data, kinesis_record(V1).data);
    }

    /// An aggregate of as many records (alpha, "hello"), compressed.
    fn framed(records: usize) -> KinesisRecord {
        let mut aggregate = Aggregate::new();
        (0..records).for_each(|_| aggregate.push(UserRecord::new("alpha", "hello")));
        let frame = FrameWriter::new(Compression::Lz4, None).frame(&aggregate.encode());
        KinesisRecord { data: frame.expect("shorter"), ..kinesis_record("") }
    }

    #[test]
    fn a_compressed_aggregate_yields_its_user_records_if_they_belong_to_the_shard() {
        let (records, finding) = taken_apart(framed(20), Some(&HashKeyRange::FULL));

        let expected: Vec<_> = (0..20).map(|n| ("alpha".to_owned(), Bytes::from("hello"), n)).collect();
        assert_eq!((records, finding), (expected, None));
        let nowhere = HashKeyRange { start: HashKey(0), end: HashKey(0) };
        let (records, finding) = taken_apart(framed(20), Some(&nowhere));
        assert!(records.is_empty() && matches!(finding, Some(Finding::OtherShard { records: 20, .. })), "{finding:?}");
    }

    #[test]
    fn a_frame_that_cannot_be_opened_is_delivered_as_it_is_and_reported() {
        let mut damaged = framed(20);
        damaged.data = damaged.data.slice(..damaged.data.len() - 1);

        let (records, finding) = taken_apart(damaged.clone(), Some(&HashKeyRange::FULL));

        assert_eq!(records, [("a".to_owned(), damaged.data.clone(), 0)]);
        let Some(Finding::Unopened { sequence_number, error }) = finding else { panic!("{finding:?}") };
        assert_eq!(sequence_number, damaged.sequence_number);
        assert!(error.to_string().ends_with("another length than its header says"), "{error}");
    }

    #[test]
    fn drops_nothing_without_a_known_range() {
        assert_eq!(taken_apart(kinesis_record(V1), None).0.len(), 2);
    }

    #[test]
    fn a_plain_record_of_another_shard_is_delivered() {
        let plain = KinesisRecord { data: Bytes::from_static(b"{}"), ..kinesis_record("") };
        let nowhere = HashKeyRange { start: HashKey(0), end: HashKey(0) };

        assert_eq!(taken_apart(plain, Some(&nowhere)).0, [("a".to_owned(), "{}".into(), 0)]);
    }

    #[test]
    fn delivers_every_record_of_a_damaged_aggregate_and_reports_the_damage() {
        let (records, finding) = taken_apart(kinesis_record(N5), None);

        assert_eq!(records, [("p".to_owned(), "ok".into(), 0), ("a".to_owned(), "bad".into(), 1)]);
        assert!(matches!(finding, Some(Finding::Malformed { records: 1, .. })), "{finding:?}");
    }
}
