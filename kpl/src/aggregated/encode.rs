//! Writes aggregated records. The size of the result is known exactly before and after each record is added, and each
//! record's data is copied once, into the finished buffer.

use std::{collections::HashMap, hash::BuildHasher as _};

use bytes::Bytes;
use foldhash::quality::RandomState;
use md5::{Digest as _, Md5};

use super::{ENVELOPE_LEN, MAGIC, tag};
use crate::{HashKey, UserRecord};

/// User records that are to become one Kinesis record.
///
/// `R` is whatever the caller carries along with each user record.
///
/// ```
/// use kpl::{UserRecord, aggregated::Aggregate};
///
/// let mut aggregate = Aggregate::new();
/// for record in [UserRecord::new("alpha", "hello"), UserRecord::new("beta", "world")] {
///     let size = aggregate.size_with(&record);
///     aggregate.push(record);
///     assert_eq!(aggregate.size_bytes(), size);
/// }
/// assert_eq!(aggregate.encode().len(), 55);
/// ```
#[derive(Debug, Clone)]
pub struct Aggregate<R> {
    records: Vec<R>,
    /// For each record, the index of its partition key and of its explicit hash key.
    indexes: Vec<(u32, Option<u32>)>,
    partition_keys: KeyTable,
    hash_keys: HashMap<HashKey, u32>,
    body_len: usize,
}

/// What one more record would add.
struct Addition {
    partition_key: Slot,
    hash_key_index: Option<u32>,
    body_len: usize,
}

impl<R: AsRef<UserRecord>> Aggregate<R> {
    /// An aggregate without records; allocates nothing.
    pub fn new() -> Self {
        Self {
            records: Vec::new(),
            indexes: Vec::new(),
            partition_keys: KeyTable::default(),
            hash_keys: HashMap::new(),
            body_len: 0,
        }
    }

    /// Makes room for as many more records.
    #[cfg(feature = "producer")]
    pub(crate) fn reserve(&mut self, records: usize) {
        self.records.reserve(records);
        self.indexes.reserve(records);
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records in the order they were pushed.
    pub fn records(&self) -> &[R] {
        &self.records
    }

    /// The records, for changes to what is carried along with each user record.
    ///
    /// The user records themselves must stay as they are.
    #[cfg(feature = "producer")]
    pub(crate) fn records_mut(&mut self) -> &mut [R] {
        &mut self.records
    }

    /// The records in the order they were pushed.
    pub fn into_records(self) -> Vec<R> {
        self.records
    }

    /// Length of what [`encode`](Self::encode) would return, in bytes.
    pub fn size_bytes(&self) -> usize {
        ENVELOPE_LEN + self.body_len
    }

    /// Length of what [`encode`](Self::encode) would return if `record` were pushed, in bytes.
    pub fn size_with(&self, record: &UserRecord) -> usize {
        ENVELOPE_LEN + self.addition(record).body_len
    }

    /// Pushes `record` unless the encoded aggregate would then be longer than `max_bytes`; in that case hands it back.
    ///
    /// # Errors
    /// The record, if it does not fit.
    pub fn try_push(&mut self, record: R, max_bytes: usize) -> Result<(), R> {
        let addition = self.addition(record.as_ref());
        if ENVELOPE_LEN + addition.body_len > max_bytes {
            return Err(record);
        }
        self.commit(record, &addition);
        Ok(())
    }

    /// Pushes `record` behind the others.
    pub fn push(&mut self, record: R) {
        let addition = self.addition(record.as_ref());
        self.commit(record, &addition);
    }

    /// The aggregated record, of [`size_bytes`](Self::size_bytes) bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.size_bytes());
        out.extend_from_slice(&MAGIC);
        for &first in &self.partition_keys.first_records {
            put_bytes(&mut out, tag::PARTITION_KEY, self.record(first).partition_key().as_bytes());
        }
        self.encode_hash_keys(&mut out);
        for (record, &(partition_key_index, hash_key_index)) in self.records.iter().zip(&self.indexes) {
            let data = record.as_ref().data();
            out.push(tag::RECORD);
            put_varint(&mut out, record_len(partition_key_index, hash_key_index, data.len()) as u64);
            out.push(tag::PARTITION_KEY_INDEX);
            put_varint(&mut out, partition_key_index.into());
            if let Some(index) = hash_key_index {
                out.push(tag::EXPLICIT_HASH_KEY_INDEX);
                put_varint(&mut out, index.into());
            }
            put_bytes(&mut out, tag::DATA, data);
        }
        let digest = Md5::digest(&out[MAGIC.len()..]);
        out.extend_from_slice(&digest);
        debug_assert_eq!(out.len(), self.size_bytes(), "the predicted size is exact");
        out.into()
    }

    fn encode_hash_keys(&self, out: &mut Vec<u8>) {
        let mut table: Vec<_> = self.hash_keys.iter().map(|(&key, &index)| (index, key)).collect();
        table.sort_unstable();
        for (_, key) in table {
            put_bytes(out, tag::EXPLICIT_HASH_KEY, key.to_string().as_bytes());
        }
    }

    fn record(&self, index: u32) -> &UserRecord {
        self.records[index as usize].as_ref()
    }

    fn addition(&self, record: &UserRecord) -> Addition {
        let mut body_len = self.body_len;
        let partition_key =
            self.partition_keys.find(record.partition_key(), |first| self.record(first).partition_key());
        if let Slot::Vacant { .. } = partition_key {
            body_len += bytes_field_len(record.partition_key().len());
        }
        let hash_key_index = record.explicit_hash_key().map(|key| match self.hash_keys.get(&key) {
            Some(&index) => index,
            None => {
                body_len += bytes_field_len(decimal_len(key));
                self.hash_keys.len() as u32
            }
        });
        body_len += bytes_field_len(record_len(partition_key.index(), hash_key_index, record.data().len()));
        Addition { partition_key, hash_key_index, body_len }
    }

    fn commit(&mut self, record: R, addition: &Addition) {
        if let (Some(key), Some(index)) = (record.as_ref().explicit_hash_key(), addition.hash_key_index) {
            self.hash_keys.entry(key).or_insert(index);
        }
        let index = addition.partition_key.index();
        self.partition_keys.fill(&addition.partition_key, self.records.len() as u32);
        self.indexes.push((index, addition.hash_key_index));
        self.records.push(record);
        self.body_len = addition.body_len;
    }
}

impl<R: AsRef<UserRecord>> Default for Aggregate<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds the table index of a partition key. Open addressing over indexes of the records that brought the keys, so that
/// no key is copied.
#[derive(Debug, Clone, Default)]
struct KeyTable {
    hasher: RandomState,
    /// Hash and table index by probe position; a power of two in number, at most half of them taken.
    slots: Vec<Option<(u32, u32)>>,
    /// By table index: the first record with that key.
    first_records: Vec<u32>,
}

enum Slot {
    Taken { index: u32 },
    Vacant { index: u32, hash: u32 },
}

impl Slot {
    fn index(&self) -> u32 {
        match *self {
            Self::Taken { index } | Self::Vacant { index, .. } => index,
        }
    }
}

impl KeyTable {
    fn find<'a>(&self, key: &str, key_of: impl Fn(u32) -> &'a str) -> Slot {
        let hash = self.hasher.hash_one(key) as u32;
        let vacant = Slot::Vacant { index: self.first_records.len() as u32, hash };
        if self.slots.is_empty() {
            return vacant;
        }
        let mask = self.slots.len() - 1;
        let mut position = hash as usize & mask;
        while let Some((taken_hash, index)) = self.slots[position] {
            if taken_hash == hash && key_of(self.first_records[index as usize]) == key {
                return Slot::Taken { index };
            }
            position = (position + 1) & mask;
        }
        vacant
    }

    fn fill(&mut self, slot: &Slot, record: u32) {
        let &Slot::Vacant { index, hash } = slot else { return };
        self.first_records.push(record);
        if self.first_records.len() * 2 > self.slots.len() {
            let larger = vec![None; (self.slots.len() * 2).max(8)];
            for (hash, index) in std::mem::replace(&mut self.slots, larger).into_iter().flatten() {
                self.insert(hash, index);
            }
        }
        self.insert(hash, index);
    }

    fn insert(&mut self, hash: u32, index: u32) {
        let mask = self.slots.len() - 1;
        let mut position = hash as usize & mask;
        while self.slots[position].is_some() {
            position = (position + 1) & mask;
        }
        self.slots[position] = Some((hash, index));
    }
}

fn record_len(partition_key_index: u32, hash_key_index: Option<u32>, data_len: usize) -> usize {
    let hash_key_len = hash_key_index.map_or(0, |index| 1 + varint_len(index.into()));
    1 + varint_len(partition_key_index.into()) + hash_key_len + bytes_field_len(data_len)
}

fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn varint_len(value: u64) -> usize {
    // Seven bits a byte, and at least one byte.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn decimal_len(key: HashKey) -> usize {
    key.0.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::{super::message, *};

    fn aggregate_of(records: &[UserRecord]) -> Aggregate<UserRecord> {
        let mut aggregate = Aggregate::new();
        records.iter().cloned().for_each(|record| aggregate.push(record));
        aggregate
    }

    fn position_or_push(table: &mut Vec<String>, key: String) -> u64 {
        let position = table.iter().position(|known| *known == key);
        position.unwrap_or_else(|| {
            table.push(key);
            table.len() - 1
        }) as u64
    }

    /// The same records through `prost`.
    fn encode_by_prost(records: &[UserRecord]) -> Vec<u8> {
        let mut all = message::AggregatedRecord::default();
        for record in records {
            let partition_key_index = position_or_push(&mut all.partition_key_table, record.partition_key().to_owned());
            let explicit_hash_key_index = record
                .explicit_hash_key()
                .map(|key| position_or_push(&mut all.explicit_hash_key_table, key.to_string()));
            let data = record.data().to_vec();
            all.records.push(message::Record { partition_key_index, explicit_hash_key_index, data, tags: vec![] });
        }
        let body = all.encode_to_vec();
        [&MAGIC[..], &body, &Md5::digest(&body)].concat()
    }

    fn any_record() -> impl Strategy<Value = UserRecord> {
        let key = prop_oneof!["[a-c]{1,2}", "\\PC{1,40}"];
        let hash_key = prop::option::of(prop_oneof![0..3_u128, any::<u128>(), Just(u128::MAX)]);
        (key, hash_key, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(key, hash_key, data)| {
            let record = UserRecord::new(key, data);
            match hash_key {
                Some(hash_key) => record.with_explicit_hash_key(HashKey(hash_key)),
                None => record,
            }
        })
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_an_independent_encoder(records in prop::collection::vec(any_record(), 0..200)) {
            prop_assert_eq!(aggregate_of(&records).encode(), encode_by_prost(&records));
        }

        #[test]
        fn the_size_is_known_before_and_after_each_record(records in prop::collection::vec(any_record(), 1..60)) {
            let mut aggregate = Aggregate::new();
            for record in &records {
                let predicted = aggregate.size_with(record);
                aggregate.push(record.clone());
                prop_assert_eq!(aggregate.size_bytes(), predicted);
                prop_assert_eq!(aggregate.encode().len(), predicted);
            }
        }

        #[test]
        fn varint_lengths_agree_with_the_bytes_written(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(varint_len(value), out.len());
        }
    }

    #[test]
    fn a_record_that_does_not_fit_is_handed_back() {
        let record = UserRecord::new("alpha", "hello");
        let mut aggregate = Aggregate::new();
        let size = aggregate.size_with(&record);

        assert_eq!(aggregate.try_push(record.clone(), size - 1), Err(record.clone()));
        assert!(aggregate.is_empty());
        assert_eq!(aggregate.try_push(record, size), Ok(()));
        assert_eq!((aggregate.len(), aggregate.size_bytes()), (1, size));
    }

    #[test]
    fn a_thousand_keys_keep_their_indexes() {
        let keys: Vec<String> = (0..1000).map(|n| format!("key-{n}")).collect();
        let records: Vec<_> = keys.iter().chain(&keys).map(|key| UserRecord::new(key, "x")).collect();

        assert_eq!(aggregate_of(&records).encode(), encode_by_prost(&records));
    }

    #[test]
    fn hash_keys_have_as_many_digits_as_printed() {
        for key in [0, 1, 9, 10, 99, 100, u128::MAX / 10, u128::MAX] {
            assert_eq!(decimal_len(HashKey(key)), key.to_string().len(), "{key}");
        }
    }
}
