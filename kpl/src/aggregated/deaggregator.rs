//! Deaggregation for consumers other than a KCL: AWS Lambda functions, GetRecords loops, Firehose transforms.

use bytes::Bytes;

use super::{AggregatedRecord, Enveloped, MAGIC, MalformedRecord, ParsedAggregate};
use crate::{
    compressed::{FrameError, FrameReader},
    hash_key::{HashKey, HashKeyRange},
    record_number::RecordNumber,
    shared_text::SharedText,
    trace_context::TraceContext,
};

/// Makes user records out of Kinesis records, whether they are aggregates or not, and [compressed](crate::compressed) or not.
///
/// ```
/// use kpl::{UserRecord, aggregated::{Aggregate, Deaggregator}};
///
/// let mut aggregate = Aggregate::new();
/// aggregate.push(UserRecord::new("AAPL", "bought"));
/// aggregate.push(UserRecord::new("AMZN", "sold"));
///
/// let records = Deaggregator::new().deaggregate("a", &aggregate.encode()).records;
/// assert_eq!((&*records[1].partition_key, &records[1].data[..]), ("AMZN", &b"sold"[..]));
/// let plain = Deaggregator::new().deaggregate("AAPL", &"bought".into()).records;
/// assert_eq!((plain.len(), plain[0].sub_sequence_number), (1, None));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deaggregator {
    range: Option<HashKeyRange>,
    frames: FrameReader,
}

/// The user records of a Kinesis record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Deaggregated {
    /// In the order they were put.
    pub records: Vec<DeaggregatedRecord>,
    /// Number of user records that were left out because the shard does not own all of them.
    pub discarded: usize,
}

/// A user record, as it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeaggregatedRecord {
    /// The user's partition key.
    pub partition_key: SharedText,
    /// The user's explicit hash key, which is known of a record from an aggregate only.
    pub explicit_hash_key: Option<HashKey>,
    /// The user's data, a slice of the Kinesis record's, or of what it unfolds to.
    pub data: Bytes,
    /// Place in the aggregate, from 0; `None` for a Kinesis record that is none.
    pub sub_sequence_number: Option<u64>,
    /// The trace context in which it was put, which is known of a record from an aggregate only.
    pub trace_context: Option<Box<TraceContext>>,
    /// The number that its producer gave it, likewise: equal in what it wrote twice.
    pub number: Option<RecordNumber>,
}

/// Reason why a Kinesis record cannot be deaggregated, for callers that do not accept damage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeaggregateError {
    /// It begins as an aggregate does, but its digest or its body is wrong. Rarely, a user's data begin so.
    #[error("{size_bytes} bytes begin as an aggregate does, but are none: their digest or body is wrong")]
    #[non_exhaustive]
    Damaged {
        /// Bytes of the Kinesis record's data.
        size_bytes: usize,
    },
    /// The shard that a user record belongs to is unknown.
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    /// It begins as a compressed frame does, and cannot be opened. Rarely, a user's data begin so.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Deaggregator {
    /// Takes apart whatever is an aggregate, wherever it was found.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out aggregates with a record outside of `range`, the shard's, as a KCL does: they were
    /// stored while the stream was resharded, and their producer stores all of their records again.
    #[must_use = "the deaggregator is returned with the range set"]
    pub fn within(self, range: HashKeyRange) -> Self {
        Self { range: Some(range), ..self }
    }

    /// Opens frames with this reader: with its dictionaries, and its limit on what they unfold to.
    #[must_use = "the deaggregator is returned with the reader set"]
    pub fn opening_with(self, frames: FrameReader) -> Self {
        Self { frames, ..self }
    }

    /// Leniently: what is no sound frame or aggregate is a plain record, and a user record whose keys cannot be read has the Kinesis
    /// record's partition key. Nothing else is ever left out.
    pub fn deaggregate(&self, partition_key: &str, data: &Bytes) -> Deaggregated {
        let opened = self.frames.open(data).and_then(Result::ok);
        let data = opened.as_ref().unwrap_or(data);
        let enveloped = Enveloped::of(data);
        let Some(aggregate) = enveloped.as_ref().and_then(Enveloped::parse) else { return plain(partition_key, data) };
        let under_outer_key = |bad: MalformedRecord| bad.with_partition_key(partition_key.into());
        self.owned(&aggregate, aggregate.records().map(|record| record.unwrap_or_else(under_outer_key)))
    }

    /// Strictly: what looks like a frame or an aggregate has to be one.
    ///
    /// # Errors
    /// If the Kinesis record begins as a frame and cannot be opened, begins as an aggregate and is none, or if a user record of it
    /// cannot be read.
    pub fn deaggregate_strictly(&self, partition_key: &str, data: &Bytes) -> Result<Deaggregated, DeaggregateError> {
        let opened = self.frames.open(data).transpose()?;
        let data = opened.as_ref().unwrap_or(data);
        let enveloped = Enveloped::of(data);
        match enveloped.as_ref().and_then(Enveloped::parse) {
            Some(aggregate) => {
                let records = aggregate.records().collect::<Result<Vec<_>, _>>()?;
                Ok(self.owned(&aggregate, records.into_iter()))
            }
            None if data.starts_with(&MAGIC) => Err(DeaggregateError::Damaged { size_bytes: data.len() }),
            None => Ok(plain(partition_key, data)),
        }
    }

    /// The records of `aggregate`, unless the shard does not own all of them.
    fn owned(&self, aggregate: &ParsedAggregate<'_>, records: impl Iterator<Item = AggregatedRecord>) -> Deaggregated {
        if self.range.is_some_and(|range| !aggregate.belongs_in(&range)) {
            return Deaggregated { records: Vec::new(), discarded: aggregate.len() };
        }
        let records = records.zip(0..).map(|(record, position)| {
            let AggregatedRecord { partition_key, explicit_hash_key, data, trace_context, number } = record;
            let sub_sequence_number = Some(position);
            DeaggregatedRecord { partition_key, explicit_hash_key, data, sub_sequence_number, trace_context, number }
        });
        Deaggregated { records: records.collect(), discarded: 0 }
    }
}

fn plain(partition_key: &str, data: &Bytes) -> Deaggregated {
    let (partition_key, data) = (partition_key.into(), data.clone());
    let (explicit_hash_key, sub_sequence_number, trace_context, number) = (None, None, None, None);
    let record =
        DeaggregatedRecord { partition_key, explicit_hash_key, data, sub_sequence_number, trace_context, number };
    Deaggregated { records: vec![record], discarded: 0 }
}

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};

    use super::{super::Aggregate, *};
    use crate::{
        compressed::{Compression, FrameWriter},
        record::UserRecord,
    };

    /// `alpha` is in the lower half of the hash keys, `beta` in the upper one.
    fn alpha_and_beta() -> Bytes {
        let mut aggregate = Aggregate::new();
        aggregate.push(UserRecord::new("alpha", "hello"));
        aggregate.push(UserRecord::new("beta", "world"));
        aggregate.encode()
    }

    fn half() -> HashKeyRange {
        HashKeyRange { start: HashKey::MIN, end: HashKey(u128::MAX / 2) }
    }

    /// Two records, of which the second one points outside of the table of partition keys.
    fn malformed() -> Bytes {
        let body = b"\x0a\x05alpha\x1a\x06\x08\x00\x1a\x02ok\x1a\x07\x08\x05\x1a\x03bad";
        [&MAGIC[..], body, &Md5::digest(body)].concat().into()
    }

    #[test]
    fn an_aggregate_is_left_out_as_a_whole_where_a_record_does_not_belong() {
        let (data, all) = (alpha_and_beta(), HashKeyRange::FULL);

        assert_eq!(Deaggregator::new().within(all).deaggregate("a", &data).records.len(), 2);
        let left_out = Deaggregated { records: Vec::new(), discarded: 2 };
        assert_eq!(Deaggregator::new().within(half()).deaggregate("a", &data), left_out);
        assert_eq!(Deaggregator::new().within(half()).deaggregate_strictly("a", &data), Ok(left_out));
    }

    #[test]
    fn a_plain_record_is_never_left_out() {
        let plain = Deaggregator::new().within(half()).deaggregate("beta", &"world".into());

        assert_eq!((plain.records.len(), plain.discarded), (1, 0));
        assert_eq!(&*plain.records[0].partition_key, "beta");
    }

    #[test]
    fn takes_damaged_data_for_plain_or_an_error() {
        let mut damaged = alpha_and_beta().to_vec();
        *damaged.last_mut().expect("not empty") ^= 1;
        let damaged = Bytes::from(damaged);

        assert_eq!(Deaggregator::new().deaggregate("k", &damaged).records[0].data, damaged);
        let error = Deaggregator::new().deaggregate_strictly("k", &damaged).expect_err("damaged");
        let text = "55 bytes begin as an aggregate does, but are none: their digest or body is wrong";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn opens_frames_and_takes_those_that_it_cannot_for_plain_or_an_error() {
        let writer = FrameWriter::new(Compression::Lz4, None);
        let mut aggregate = Aggregate::new();
        (0..20).for_each(|_| aggregate.push(UserRecord::new("alpha", "hello")));
        let frame = writer.frame(&aggregate.encode()).expect("shorter");
        let lower = Deaggregator::new().within(half());

        assert_eq!(lower.deaggregate("a", &frame), lower.deaggregate("a", &aggregate.encode()));
        assert_eq!(lower.deaggregate_strictly("a", &frame).map(|found| found.records.len()), Ok(20));
        let careful = lower.clone().opening_with(FrameReader::new().with_max_bytes(100));
        assert_eq!(careful.deaggregate("k", &frame).records[0].data, frame);
        let error = careful.deaggregate_strictly("k", &frame).expect_err("too long");
        assert!(error.to_string().ends_with("bytes of content, above the limit of 100"), "{error}");
        let plain = writer.frame(&[b'x'; 500]).expect("shorter");
        assert_eq!(lower.deaggregate("k", &plain).records[0].data, vec![b'x'; 500]);
    }

    #[test]
    fn leaves_an_aggregate_with_a_hash_key_of_no_shard_out_of_every_shard() {
        let body = [
            &b"\x0a\x01p\x12\x27340282366920938463463374607431768211456"[..],
            b"\x1a\x07\x08\x00\x10\x00\x1a\x01x\x1a\x05\x08\x00\x1a\x01y",
        ];
        let body = body.concat();
        let data = [&MAGIC[..], &body, &Md5::digest(&body)].concat().into();

        let left_out = Deaggregator::new().within(HashKeyRange::FULL).deaggregate("outer", &data);
        let everywhere = Deaggregator::new().deaggregate("outer", &data);

        assert_eq!((left_out.records.len(), left_out.discarded), (0, 2));
        let keys: Vec<_> = everywhere.records.iter().map(|record| &*record.partition_key).collect();
        assert_eq!(keys, ["outer", "p"]);
    }

    #[test]
    fn a_record_that_cannot_be_read_goes_under_the_outer_key_or_is_an_error() {
        let lenient = Deaggregator::new().within(half()).deaggregate("outer", &malformed());

        let keys: Vec<_> = lenient.records.iter().map(|record| &*record.partition_key).collect();
        assert_eq!(keys, ["alpha", "outer"]);
        assert_eq!(lenient.records[1].sub_sequence_number, Some(1));
        let error = Deaggregator::new().deaggregate_strictly("outer", &malformed()).expect_err("malformed");
        let text = "user record 1 of the aggregate is malformed: partition key index 5 is outside of a table of 1";
        assert_eq!(error.to_string(), text);
    }
}
