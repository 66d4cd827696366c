//! Records of an answer of the AWS SDK, in the library's own words. Their texts share allocations, and their data are the
//! answer's: nothing is allocated for a record alone.

use std::time::SystemTime;

use aws_sdk_kinesis::types::Record;
use kpl::{SequenceNumber, SharedText, TextPack, id::ParseSequenceNumberError};

use crate::model::KinesisRecord;

/// Maximum bytes of the partition keys and sequence numbers that share an allocation, unless one record's alone have more:
/// an application that keeps one record keeps as much.
const SHARED_BYTES: usize = 4096;

/// A record whose sequence number cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The records before it. They are returned first; then it is the first to be read, and fails the read: nothing is
    /// skipped.
    pub(super) before: Vec<KinesisRecord>,
    pub(super) error: ParseSequenceNumberError,
}

pub(super) fn records(answer: Vec<Record>) -> Result<Vec<KinesisRecord>, Unreadable> {
    let (mut read, mut pack) = (Vec::with_capacity(answer.len()), TextPack::new());
    let mut left = answer.into_iter();
    while !left.as_slice().is_empty() {
        let count = fill(&mut pack, left.as_slice());
        let mut texts = pack.texts();
        for record in left.by_ref().take(count) {
            let (number, partition_key) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
            match kinesis_record(record, number, partition_key) {
                Ok(record) => read.push(record),
                Err(error) => return Err(Unreadable { before: read, error }),
            }
        }
    }
    Ok(read)
}

/// Packs the texts of the first records; returns of how many.
fn fill(pack: &mut TextPack, records: &[Record]) -> usize {
    let texts = |record: &Record| record.sequence_number.len() + partition_key(record).len();
    let fit = records.iter().take_while(|record| {
        let fits = pack.size_bytes() == 0 || pack.size_bytes() + texts(record) <= SHARED_BYTES;
        if fits {
            pack.push(&record.sequence_number);
            pack.push(partition_key(record));
        }
        fits
    });
    fit.count()
}

/// Streams that distribute records by themselves take records without a key.
fn partition_key(record: &Record) -> &str {
    record.partition_key().unwrap_or_default()
}

fn kinesis_record(
    record: Record,
    number: SharedText,
    partition_key: SharedText,
) -> Result<KinesisRecord, ParseSequenceNumberError> {
    let arrival = record.approximate_arrival_timestamp;
    Ok(KinesisRecord {
        sequence_number: SequenceNumber::try_from(number)?,
        partition_key,
        data: record.data.into_bytes(),
        approximate_arrival: arrival.and_then(|time| SystemTime::try_from(time).ok()),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;

    use super::*;

    fn record(number: &str, key: Option<&str>) -> Record {
        let record =
            Record::builder().sequence_number(number).data(Blob::new("0")).set_partition_key(key.map(Into::into));
        record.build().unwrap()
    }

    #[test]
    fn records_share_the_allocation_of_their_texts_up_to_4_kib() {
        let number = "49590338271490256608559692538361571095921575989136588898";
        let answer = (0..200).map(|n| record(number, Some(&format!("key-{n:03}"))));

        let read = records(answer.collect()).unwrap();

        let keys: Vec<_> = read.iter().map(|record| record.partition_key.to_string()).collect();
        assert_eq!(keys, (0..200).map(|n| format!("key-{n:03}")).collect::<Vec<_>>());
        assert!(read.iter().all(|record| record.sequence_number.as_str() == number));
        let shares = |n: usize| read[n].partition_key.shares_with(&read[n - 1].partition_key);
        let first: Vec<_> = (1..200).filter(|n| !shares(*n)).collect();
        assert_eq!(first, [65, 130, 195], "63 bytes each");
    }

    #[test]
    fn texts_of_more_than_4_kib_are_alone_and_a_record_may_have_no_key() {
        let long = "k".repeat(5_000);

        let read = records(vec![record("1", Some(&long)), record("2", None), record("3", Some("c"))]).unwrap();

        let keys: Vec<_> = read.iter().map(|record| &*record.partition_key).collect();
        assert_eq!(keys, [&long, "", "c"]);
        assert!(!read[1].partition_key.shares_with(&read[0].partition_key));
        assert!(read[1].partition_key.shares_with(&read[2].partition_key));
    }

    #[test]
    fn returns_the_records_before_an_unreadable_one() {
        for (numbers, before) in [(&["1", "2", "x", "4"][..], 2), (&["", "2"], 0)] {
            let refused = records(numbers.iter().map(|number| record(number, None)).collect()).unwrap_err();
            assert_eq!(
                (refused.before.len(), refused.error),
                (before, numbers[before].parse::<SequenceNumber>().unwrap_err())
            );
        }
    }
}
