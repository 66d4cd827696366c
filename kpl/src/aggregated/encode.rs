//! Encoding of aggregated records. A user record is encoded when it is added, so that nothing else of it is kept, and the
//! size of the result is known exactly.

#[cfg_attr(not(feature = "producer"), expect(dead_code, reason = "only a producer numbers what was pushed before"))]
mod numbered;
#[cfg(feature = "producer")]
mod sealed;
mod tables;

use bytes::Bytes;

use self::tables::{HashKeys, PartitionKeys, Place};
#[cfg(feature = "producer")]
pub(crate) use self::{numbered::Numbering, sealed::Sealed};
use super::{
    AggregatedRecord, DIGEST_LEN, MAGIC, ParsedAggregate, tag, tags,
    wire::{bytes_field_len, put_bytes, put_varint, varint_len},
};
use crate::{digest::digest_each, record::UserRecord, record_number::RecordNumber};

/// User records that will share a Kinesis record.
///
/// ```
/// use kpl::{UserRecord, aggregated::Aggregate};
///
/// let mut aggregate = Aggregate::new();
/// for record in [UserRecord::new("alpha", "hello"), UserRecord::new("beta", "world")] {
///     let size = aggregate.size_with(&record);
///     aggregate.push(&record);
///     assert_eq!(aggregate.size_bytes(), size);
/// }
/// assert_eq!(aggregate.encode().len(), 55);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Aggregate {
    partition_keys: PartitionKeys,
    hash_keys: HashKeys,
    /// The records' fields as they will follow those of the tables.
    records: Vec<u8>,
    len: usize,
    numbered: numbered::Numbered,
}

/// Minimum room of an aggregate, in bytes.
const MIN_ROOM: usize = 1024;

struct Addition {
    partition_key: Place,
    hash_key: Option<Place>,
    /// Length of the record's field without its tag and its own length.
    record_len: usize,
    /// Length of everything.
    len: usize,
}

impl Aggregate {
    /// An aggregate without records; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The partition key of the first record.
    pub fn first_partition_key(&self) -> Option<&str> {
        self.partition_keys.first()
    }

    /// The records in the order they were pushed, decoded again.
    pub fn user_records(&self) -> Vec<UserRecord> {
        user_records(&self.without_digest().into()).into_iter().map(|(record, _)| record).collect()
    }

    /// Length of what [`encode`](Self::encode) would return, in bytes.
    pub fn size_bytes(&self) -> usize {
        let body = self.partition_keys.fields.len() + self.hash_keys.fields.len() + self.records.len();
        MAGIC.len() + body + DIGEST_LEN
    }

    /// Length of what [`encode`](Self::encode) would return if `record` were pushed, in bytes.
    pub fn size_with(&self, record: &UserRecord) -> usize {
        let number = self.numbered.value(numbered::Numbering::Without);
        self.addition(record, number.as_deref()).len
    }

    /// Pushes `record` unless the encoded aggregate would then be longer than `max_bytes`; says whether it was pushed.
    pub fn try_push(&mut self, record: &UserRecord, max_bytes: usize) -> bool {
        self.try_push_numbered(record, numbered::Numbering::Without, max_bytes)
    }

    /// Pushes `record` behind the others.
    pub fn push(&mut self, record: impl AsRef<UserRecord>) {
        self.try_push(record.as_ref(), usize::MAX);
    }

    /// The aggregated record, of [`size_bytes`](Self::size_bytes) bytes. Without records every reader takes it for plain data.
    pub fn encode(&self) -> Bytes {
        let mut encoded = self.without_digest();
        encoded.extend(digest_each([&encoded[MAGIC.len()..]]).flatten());
        encoded.into()
    }

    fn without_digest(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size_bytes());
        for part in [&MAGIC[..], &self.partition_keys.fields, &self.hash_keys.fields, &self.records] {
            out.extend_from_slice(part);
        }
        out
    }

    /// `number` is the value of its tag, if the record has one.
    fn try_push_tagged(&mut self, record: &UserRecord, number: Option<&[u8]>, max_bytes: usize) -> bool {
        let addition = self.addition(record, number);
        let fits = addition.len <= max_bytes;
        if fits {
            self.add(record, number, &addition, max_bytes);
        }
        fits
    }

    fn addition(&self, record: &UserRecord, number: Option<&[u8]>) -> Addition {
        let partition_key = self.partition_keys.find(record.partition_key());
        let hash_key = record.explicit_hash_key().map(|key| self.hash_keys.find(key));
        let hash_key_len = hash_key.as_ref().map_or(0, |place| 1 + varint_len(place.index.into()));
        let partition_key_len = 1 + varint_len(partition_key.index.into());
        let tags_len = record.trace_context().map_or(0, tags::context_len) + number.map_or(0, tags::number_len);
        let record_len = partition_key_len + hash_key_len + bytes_field_len(record.data().len()) + tags_len;
        let tables = partition_key.adds_bytes + hash_key.as_ref().map_or(0, |place| place.adds_bytes);
        let len = self.size_bytes() + tables + bytes_field_len(record_len);
        Addition { partition_key, hash_key, record_len, len }
    }

    fn add(&mut self, record: &UserRecord, number: Option<&[u8]>, addition: &Addition, max_bytes: usize) {
        let &Addition { ref partition_key, ref hash_key, record_len, len } = addition;
        self.partition_keys.fill(partition_key, record.partition_key());
        let out = &mut self.records;
        let needed = out.len() + bytes_field_len(record_len);
        if needed > out.capacity() {
            // Twice as much, but not more than an aggregate may hold: many are open at a time.
            let room = (2 * out.capacity()).min(max_bytes).max(MIN_ROOM).max(needed);
            out.reserve_exact(room - out.len());
        }
        out.push(tag::RECORD);
        put_varint(out, record_len as u64);
        out.push(tag::PARTITION_KEY_INDEX);
        put_varint(out, partition_key.index.into());
        if let (Some(key), Some(place)) = (record.explicit_hash_key(), hash_key) {
            self.hash_keys.fill(place, key);
            out.push(tag::EXPLICIT_HASH_KEY_INDEX);
            put_varint(out, place.index.into());
        }
        put_bytes(out, tag::DATA, record.data());
        if let Some(context) = record.trace_context() {
            tags::put_context(out, context);
        }
        if let Some(value) = number {
            tags::put_number(out, value);
        }
        self.len += 1;
        debug_assert_eq!(self.size_bytes(), len, "the predicted size is exact");
    }
}

/// The records of what was encoded here, with their numbers: magic and protobuf, without a digest.
fn user_records(encoded: &Bytes) -> Vec<(UserRecord, Option<RecordNumber>)> {
    let user_record = |record: AggregatedRecord| {
        // A copy, or each record would hold on to all of them.
        let plain = UserRecord::new(&*record.partition_key, Bytes::copy_from_slice(&record.data));
        let with_hash_key = record.explicit_hash_key.into_iter().fold(plain, UserRecord::with_explicit_hash_key);
        let contexts = record.trace_context.into_iter().map(|context| *context);
        (contexts.fold(with_hash_key, UserRecord::with_trace_context), record.number)
    };
    let aggregate = ParsedAggregate::of_body(encoded, &encoded[MAGIC.len()..]);
    aggregate.iter().flat_map(ParsedAggregate::records).flatten().map(user_record).collect()
}

#[cfg(test)]
mod tests;
