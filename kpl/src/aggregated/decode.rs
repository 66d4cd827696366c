//! Decoding of aggregated records, without copying data.
//!
//! As in the KCL, an aggregate has the magic, more than 16 bytes behind it, a right digest and a protobuf body with all required
//! fields. Anything else is a plain record and no error. Of an aggregate whose records point outside its tables, the KCL
//! delivers the records up to there and drops the rest; here each is returned.

mod envelope;

pub use self::envelope::Enveloped;
use super::{
    tag,
    tags::Tags,
    wire::{Field, Reader},
};
use crate::{
    digest::LANES,
    hash_key::{HashKey, HashKeyRange},
    record_number::RecordNumber,
    shared_text::{SharedText, TextPack},
    trace_context::TraceContext,
};
use bytes::Bytes;

/// Content of a Kinesis record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decoded {
    /// Not an aggregate: the Kinesis record's data is the user's.
    Plain,
    /// User records in the order they were put; a record's position is its sub-sequence number. May be empty.
    Aggregate(Vec<AggregatedRecord>),
    /// The same of an aggregate with at least one user record whose keys cannot be read.
    Malformed(Vec<Result<AggregatedRecord, MalformedRecord>>),
}

/// A user record of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregatedRecord {
    /// The user's partition key; those of an aggregate share one allocation.
    pub partition_key: SharedText,
    /// The user's explicit hash key.
    pub explicit_hash_key: Option<HashKey>,
    /// The user's data, a slice of the Kinesis record.
    pub data: Bytes,
    /// The trace context in which it was put. One that cannot be read is left out.
    pub trace_context: Option<Box<TraceContext>>,
    /// The number that its producer gave it, if it numbers its records.
    pub number: Option<RecordNumber>,
}

impl AggregatedRecord {
    /// Hash key of the record: the explicit one, else the MD5 of its partition key.
    pub fn hash_key(&self) -> HashKey {
        self.explicit_hash_key.unwrap_or_else(|| HashKey::of_partition_key(&self.partition_key))
    }

    /// Returns whether the record belongs into a shard that owns `range`.
    pub fn belongs_in(&self, range: &HashKeyRange) -> bool {
        range.contains(self.hash_key())
    }
}

/// A user record whose keys cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("user record {position} of the aggregate is malformed: {reason}")]
#[non_exhaustive]
pub struct MalformedRecord {
    /// Position in the aggregate, from 0.
    pub position: usize,
    /// The reason.
    pub reason: MalformedReason,
    /// The user's data, a slice of the Kinesis record.
    pub data: Bytes,
}

impl MalformedRecord {
    /// The record under another partition key, in place of the keys that cannot be read. Without its trace context and number.
    pub fn with_partition_key(self, partition_key: SharedText) -> AggregatedRecord {
        let (explicit_hash_key, trace_context, number) = (None, None, None);
        AggregatedRecord { partition_key, explicit_hash_key, data: self.data, trace_context, number }
    }
}

/// Reason why a user record is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the texts of the errors have the meaning of the fields")]
pub enum MalformedReason {
    /// The partition key table has no such entry.
    #[error("partition key index {index} is outside of a table of {len}")]
    #[non_exhaustive]
    PartitionKeyIndex { index: u64, len: usize },
    /// The explicit hash key table has no such entry.
    #[error("explicit hash key index {index} is outside of a table of {len}")]
    #[non_exhaustive]
    ExplicitHashKeyIndex { index: u64, len: usize },
    /// The entry of the explicit hash key table is not a decimal integer.
    #[error("explicit hash key is not a decimal integer")]
    ExplicitHashKey,
    /// The explicit hash key is an integer that no shard owns. A KCL discards the aggregate, as one of another shard.
    #[error("explicit hash key is outside of 0 to 2^128 - 1")]
    ExplicitHashKeyOutside,
}

/// Decodes a Kinesis record's data. Never panics, whatever the bytes.
pub fn decode(data: &Bytes) -> Decoded {
    let enveloped = Enveloped::of(data);
    let Some(aggregate) = enveloped.as_ref().and_then(Enveloped::parse) else { return Decoded::Plain };
    let mut readable = Vec::with_capacity(aggregate.len());
    for record in aggregate.records() {
        let Ok(record) = record else { return Decoded::Malformed(aggregate.records().collect()) };
        readable.push(record);
    }
    Decoded::Aggregate(readable)
}

/// An aggregate that is checked, before its user records are looked up in its tables. For consumers of many records:
/// nothing is allocated for a user record without trace context, and each partition key is hashed once at most.
#[derive(Debug, Clone)]
pub struct ParsedAggregate<'a> {
    data: &'a Bytes,
    partition_keys: Vec<SharedText>,
    hash_keys: Vec<Result<HashKey, MalformedReason>>,
    records: Vec<RawRecord<'a>>,
    /// By position of the record. Apart, because most have none.
    trace_contexts: Vec<(usize, Box<TraceContext>)>,
    /// By position of their first record: each ends where the next one begins. One without number is of records without.
    runs: Vec<(usize, Option<RecordNumber>)>,
}

#[derive(Debug, Clone)]
struct RawRecord<'a> {
    partition_key_index: u64,
    hash_key_index: Option<u64>,
    data: &'a [u8],
}

impl<'a> ParsedAggregate<'a> {
    pub(super) fn of_body(data: &'a Bytes, body: &'a [u8]) -> Option<Self> {
        let mut parsed = Self::empty(data);
        let (mut reader, mut partition_keys) = (Reader { rest: body }, TextPack::new());
        while !reader.rest.is_empty() {
            match reader.field()? {
                (tag::PARTITION_KEY, Field::Bytes(key)) => partition_keys.push(&String::from_utf8_lossy(key)),
                (tag::EXPLICIT_HASH_KEY, Field::Bytes(key)) => parsed.hash_keys.push(explicit_hash_key(key)),
                (tag::RECORD, Field::Bytes(record)) => parsed.push(record)?,
                _ => {} // unknown fields are skipped
            }
        }
        parsed.partition_keys.extend(partition_keys.texts());
        Some(parsed)
    }

    fn empty(data: &'a Bytes) -> Self {
        let (partition_keys, hash_keys) = (Vec::new(), Vec::new());
        let (trace_contexts, runs) = (Vec::new(), Vec::new());
        Self { data, partition_keys, hash_keys, records: Vec::new(), trace_contexts, runs }
    }

    fn push(&mut self, record: &'a [u8]) -> Option<()> {
        let mut tags = Tags::default();
        let record = RawRecord::parse(record, &mut tags)?;
        if let Some(context) = tags.trace_context() {
            self.trace_contexts.push((self.records.len(), Box::new(context)));
        }
        self.runs.extend(tags.number().map(|number| (self.records.len(), number)));
        self.records.push(record);
        Some(())
    }

    /// The table of partition keys, entries that no user record uses included.
    pub fn partition_keys(&self) -> &[SharedText] {
        &self.partition_keys
    }

    /// The table of explicit hash keys, entries that no user record uses included; an error for one that is no hash key.
    pub fn explicit_hash_keys(&self) -> &[Result<HashKey, MalformedReason>] {
        &self.hash_keys
    }

    /// Number of user records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether it holds no user record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns whether all user records whose keys can be read belong into a shard that owns `range`; else a KCL discards the whole
    /// aggregate. An explicit hash key above 2^128 - 1 or below 0 belongs into none.
    pub fn belongs_in(&self, range: &HashKeyRange) -> bool {
        if *range == HashKeyRange::FULL && self.hash_keys.iter().all(Result::is_ok) {
            return true;
        }
        let mut is_hashed = vec![false; self.partition_keys.len()];
        for record in &self.records {
            match self.keys_of(record) {
                Ok((_, Some(hash_key))) if !range.contains(hash_key) => return false,
                Ok((index, None)) => is_hashed[index] = true,
                Err(MalformedReason::ExplicitHashKeyOutside) => return false,
                Ok(_) | Err(_) => {}
            }
        }
        let hashed = self.partition_keys.iter().zip(is_hashed).filter(|(_, is_hashed)| *is_hashed);
        all_within(hashed.map(|(key, _)| &**key), range)
    }

    /// The user records in the order they were put; a record's position is its sub-sequence number.
    pub fn records(&self) -> impl Iterator<Item = Result<AggregatedRecord, MalformedRecord>> {
        let mut trace_contexts = self.trace_contexts.iter().peekable();
        let (mut runs, mut run) = (self.runs.iter().peekable(), None);
        self.records.iter().enumerate().map(move |(position, record)| {
            run = runs.next_if(|(first, _)| *first == position).or(run);
            let number = run.and_then(|(first, number)| number.as_ref()?.after((position - first) as u64));
            let data = self.data.slice_ref(record.data);
            let trace_context = trace_contexts.next_if(|(of, _)| *of == position).map(|(_, context)| context.clone());
            match self.keys_of(record) {
                Ok((index, explicit_hash_key)) => {
                    let partition_key = self.partition_keys[index].clone();
                    Ok(AggregatedRecord { partition_key, explicit_hash_key, data, trace_context, number })
                }
                Err(reason) => Err(MalformedRecord { position, reason, data }),
            }
        })
    }

    /// Place of a user record's partition key in the table, and its explicit hash key.
    fn keys_of(&self, record: &RawRecord<'_>) -> Result<(usize, Option<HashKey>), MalformedReason> {
        let index = record.partition_key_index;
        let partition_key =
            place(&self.partition_keys, index).map_err(|len| MalformedReason::PartitionKeyIndex { index, len })?;
        let hash_key = record.hash_key_index.map(|index| {
            let place = place(&self.hash_keys, index);
            self.hash_keys[place.map_err(|len| MalformedReason::ExplicitHashKeyIndex { index, len })?].clone()
        });
        Ok((partition_key, hash_key.transpose()?))
    }
}

impl<'a> RawRecord<'a> {
    fn parse(record: &'a [u8], tags: &mut Tags<'a>) -> Option<Self> {
        let (mut partition_key_index, mut hash_key_index, mut data) = (None, None, None);
        let mut reader = Reader { rest: record };
        while !reader.rest.is_empty() {
            match reader.field()? {
                (tag::PARTITION_KEY_INDEX, Field::Integer(index)) => partition_key_index = Some(index),
                (tag::EXPLICIT_HASH_KEY_INDEX, Field::Integer(index)) => hash_key_index = Some(index),
                (tag::DATA, Field::Bytes(bytes)) => data = Some(bytes),
                (tag::TAG, Field::Bytes(bytes)) => tags.read(bytes)?,
                _ => {}
            }
        }
        Some(Self { partition_key_index: partition_key_index?, hash_key_index, data: data? })
    }
}

/// Reads an explicit hash key as the KCL does: any decimal integer, with a sign if there is one.
fn explicit_hash_key(text: &[u8]) -> Result<HashKey, MalformedReason> {
    let digits = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(MalformedReason::ExplicitHashKey);
    }
    let key = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    key.filter(|key| !text.starts_with(b"-") || *key == HashKey::MIN).ok_or(MalformedReason::ExplicitHashKeyOutside)
}

/// Returns whether all these partition keys belong into `range`.
fn all_within<'a>(mut partition_keys: impl Iterator<Item = &'a str>, range: &HashKeyRange) -> bool {
    loop {
        let mut hash_keys = HashKey::of_each_partition_key(partition_keys.by_ref());
        let count = hash_keys.len();
        if !hash_keys.all(|hash_key| range.contains(hash_key)) {
            return false;
        }
        if count < LANES {
            return true;
        }
    }
}

fn place<T>(table: &[T], index: u64) -> Result<usize, usize> {
    usize::try_from(index).ok().filter(|index| *index < table.len()).ok_or(table.len())
}

#[cfg(test)]
mod tests;
