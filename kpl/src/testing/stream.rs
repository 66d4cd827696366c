//! A stream's content: open shards that can be split and merged, and the records that were stored.

use bytes::Bytes;

use super::Reaction;
use crate::{
    aggregated::{Decoded, decode},
    delivered::Stored,
    hash_key::{HashKey, HashKeyRange},
    id::{SequenceNumber, ShardId},
    kinesis::{Entry, EntryResult, KinesisError, Shard},
    record_number::RecordNumber,
    trace_context::TraceContext,
};

/// A stream in memory, without time and without calls.
#[derive(Debug, Clone)]
pub struct FakeStream {
    /// In the order of their ranges.
    shards: Vec<Shard>,
    shards_made: usize,
    records: Vec<StoredRecord>,
}

#[derive(Debug, Clone)]
struct StoredRecord {
    entry: Entry,
    stored: Stored,
    range: HashKeyRange,
}

/// A user record as a KCL would deliver it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveredRecord {
    /// The shard that holds it.
    pub shard_id: ShardId,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// Its place in an aggregate.
    pub sub_sequence_number: Option<u64>,
    /// The user's partition key.
    pub partition_key: String,
    /// The user's data.
    pub data: Bytes,
    /// Its trace context.
    pub trace_context: Option<Box<TraceContext>>,
    /// Its number.
    pub number: Option<RecordNumber>,
}

impl FakeStream {
    /// A stream of `shards` shards that divide the hash keys evenly.
    ///
    /// # Panics
    /// If `shards` is 0.
    pub fn new(shards: usize) -> Self {
        let width = u128::MAX / shards as u128;
        let mut stream = Self { shards: Vec::new(), shards_made: 0, records: Vec::new() };
        for n in 0..shards as u128 {
            let start = if n == 0 { 0 } else { n * width + 1 };
            let end = if n + 1 == shards as u128 { u128::MAX } else { (n + 1) * width };
            stream.open(HashKeyRange { start: HashKey(start), end: HashKey(end) }, n as usize);
        }
        stream
    }

    /// The open shards in the order of their ranges.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Splits an open shard in the middle. A shard that is closed or owns a single hash key stays as it is.
    pub fn split(&mut self, shard_id: &ShardId) {
        let Some(position) = self.shards.iter().position(|shard| shard.shard_id == *shard_id) else {
            return;
        };
        let HashKeyRange { start, end } = self.shards[position].hash_key_range;
        if start == end {
            return;
        }
        let middle = start.0 + (end.0 - start.0) / 2;
        self.shards.remove(position);
        self.open(HashKeyRange { start: HashKey(middle + 1), end }, position);
        self.open(HashKeyRange { start, end: HashKey(middle) }, position);
    }

    /// Merges an open shard with the one that follows in the order of hash keys. The last shard stays as it is.
    pub fn merge_with_next(&mut self, shard_id: &ShardId) {
        let Some(position) = self.shards.iter().position(|shard| shard.shard_id == *shard_id) else {
            return;
        };
        if position + 1 == self.shards.len() {
            return;
        }
        let end = self.shards.remove(position + 1).hash_key_range.end;
        let start = self.shards.remove(position).hash_key_range.start;
        self.open(HashKeyRange { start, end }, position);
    }

    fn open(&mut self, hash_key_range: HashKeyRange, position: usize) {
        let shard_id = format!("shardId-{:012}", self.shards_made).into();
        self.shards_made += 1;
        self.shards.insert(position, Shard { shard_id, hash_key_range });
    }

    /// Does with the entries as `reaction` says. `None` if there is never to be an answer.
    ///
    /// # Panics
    /// If that is the reaction.
    pub fn put(&mut self, entries: &[Entry], reaction: &Reaction) -> Option<Result<Vec<EntryResult>, KinesisError>> {
        let failing = match reaction {
            Reaction::Fail(error) => return Some(Err(error.clone())),
            Reaction::Panic => panic!("put records panics"),
            Reaction::FailEntries(failing) => failing.as_slice(),
            Reaction::Accept | Reaction::Answer(_) | Reaction::Hang => &[],
        };
        let mut results = Vec::with_capacity(entries.len());
        for (position, entry) in entries.iter().enumerate() {
            match failing.iter().find(|(failing, _)| *failing == position) {
                Some((_, error)) => results.push(Err(error.clone())),
                None => results.push(Ok(self.store(entry))),
            }
        }
        match reaction {
            Reaction::Hang => None,
            Reaction::Answer(count) => {
                let filler = results.last().cloned();
                results.resize(*count, filler?);
                Some(Ok(results))
            }
            _ => Some(Ok(results)),
        }
    }

    /// Stores an entry in the open shard that owns its hash key.
    fn store(&mut self, entry: &Entry) -> Stored {
        let owner = |shard: &&Shard| shard.hash_key_range.contains(entry.explicit_hash_key);
        let Shard { shard_id, hash_key_range } =
            self.shards.iter().find(owner).cloned().expect("the shards cover every hash key");
        let number = format!("{:056}", self.records.len() + 1);
        let sequence_number = number.parse().expect("digits");
        let stored = Stored { shard_id, sequence_number };
        self.records.push(StoredRecord { entry: entry.clone(), stored: stored.clone(), range: hash_key_range });
        stored
    }

    /// The user records that a KCL would deliver, in the order they were stored: all of an aggregate, or none if one of
    /// them does not belong to the shard.
    pub fn delivered(&self) -> Vec<DeliveredRecord> {
        self.records.iter().flat_map(StoredRecord::delivered).collect()
    }
}

impl StoredRecord {
    fn delivered(&self) -> Vec<DeliveredRecord> {
        let one = |sub_sequence_number, partition_key: &str, data| DeliveredRecord {
            shard_id: self.stored.shard_id.clone(),
            sequence_number: self.stored.sequence_number.clone(),
            sub_sequence_number,
            partition_key: partition_key.to_owned(),
            data,
            trace_context: None,
            number: None,
        };
        match decode(&self.entry.data) {
            Decoded::Aggregate(records) if records.iter().all(|record| record.belongs_in(&self.range)) => {
                let records = records.into_iter().zip(0..);
                let delivered = records.map(|(record, n)| DeliveredRecord {
                    trace_context: record.trace_context,
                    number: record.number,
                    ..one(Some(n), &record.partition_key, record.data)
                });
                delivered.collect()
            }
            Decoded::Aggregate(_) => Vec::new(),
            Decoded::Malformed(_) => panic!("the producer made a malformed aggregate"),
            Decoded::Plain => vec![one(None, &self.entry.partition_key, self.entry.data.clone())],
        }
    }
}
