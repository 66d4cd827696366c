//! One shard: its place in the lineage, its hash keys, and its records.
//!
//! (A) Records are in the order of their sequence numbers, without a gap but at the front, where retention trims.
//! (B) A closed shard takes no records; its ending sequence number is above its last record's.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::sync::Notify;

use super::hash_key::HashKeyRange;
use super::limits::Retained;
use super::sequence::{Era, SequenceNumber};
use super::shard_meters::ShardMeters;
use crate::timestamp::Millis;

/// `shardId-000000000000` and so on, in the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ShardId(pub(super) u32);

impl ShardId {
    const PREFIX: &str = "shardId-";
    const DIGITS: usize = 12;

    /// Reads an id of this form; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?;
        let well_formed = digits.len() == Self::DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        well_formed.then(|| digits.parse().ok().map(Self))?
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:0width$}", Self::PREFIX, self.0, width = Self::DIGITS)
    }
}

impl Serialize for ShardId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Every result of PutRecords holds one, so without the formatting machinery.
        let mut buffer = *b"shardId-000000000000";
        let mut value = self.0;
        for digit in buffer.iter_mut().rev() {
            if value == 0 {
                break;
            }
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
        serializer.serialize_str(std::str::from_utf8(&buffer).expect("ASCII is text"))
    }
}

/// About what a record takes besides its data and its key: its fields, and two allocations.
const OVERHEAD: usize = 144;

/// A record as it is stored. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(super) sequence_number: SequenceNumber,
    pub(super) partition_key: Arc<str>,
    pub(super) data: Bytes,
    pub(super) is_encrypted: bool,
}

impl Record {
    /// Size that counts against the limits: data and partition key.
    pub(super) fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// Size in memory.
    fn kept_bytes(&self) -> usize {
        self.size_bytes() + OVERHEAD
    }
}

/// A record that has no number yet.
#[derive(Debug)]
pub(super) struct NewRecord<'r> {
    pub(super) partition_key: &'r str,
    pub(super) data: Bytes,
    pub(super) is_encrypted: bool,
}

/// The end of a shard: time and position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(super) at: Millis,
    pub(super) ending: SequenceNumber,
}

/// Properties of a new shard.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) id: ShardId,
    pub(super) range: HashKeyRange,
    pub(super) parents: Vec<ShardId>,
    pub(super) retained: Retained,
}

/// A shard, open or closed.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) id: ShardId,
    /// None for the shards of a new stream, one after a split, two (the one with the lower hash keys first) after a merge.
    pub(super) parents: Vec<ShardId>,
    pub(super) children: Vec<ShardId>,
    pub(super) range: HashKeyRange,
    pub(super) opened_at: Millis,
    pub(super) starting: SequenceNumber,
    pub(super) closed: Option<Closed>,
    /// Notifies subscribers when the shard receives records or ends.
    pub(super) changed: Arc<Notify>,
    pub(super) meters: ShardMeters,
    last: SequenceNumber,
    records: VecDeque<Record>,
    retained: Retained,
}

impl Shard {
    pub(super) fn open(opening: Opening, era: Era, now: Millis) -> Self {
        let Opening { id, range, parents, retained } = opening;
        let starting = SequenceNumber::first(era, now);
        Self {
            id,
            parents,
            children: Vec::new(),
            range,
            opened_at: now,
            starting,
            closed: None,
            changed: Arc::default(),
            meters: ShardMeters::default(),
            last: starting,
            records: VecDeque::new(),
            retained,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Stores a record at the tip.
    pub(super) fn append(&mut self, record: NewRecord<'_>, now: Millis) -> SequenceNumber {
        debug_assert!(self.is_open(), "records go to open shards only");
        self.last = self.last.next(now);
        let NewRecord { partition_key, data, is_encrypted } = record;
        let partition_key = partition_key.into();
        let record = Record { sequence_number: self.last, partition_key, data, is_encrypted };
        self.retained.add(record.kept_bytes());
        self.records.push_back(record);
        self.changed.notify_waiters();
        self.last
    }

    /// Ends the shard; its children continue it.
    pub(super) fn close(&mut self, children: &[ShardId], now: Millis) {
        debug_assert!(self.is_open(), "a shard ends once");
        self.children = children.to_vec();
        self.closed = Some(Closed { at: now, ending: self.last.ending(now) });
        self.changed.notify_waiters();
    }

    /// Forgets the records that arrived before `horizon`.
    pub(super) fn trim(&mut self, horizon: Millis) {
        while let Some(record) = self.records.pop_front_if(|record| record.sequence_number.arrival() < horizon) {
            self.retained.subtract(record.kept_bytes());
        }
    }

    /// The position right after the newest record.
    pub(super) fn tip(&self) -> SequenceNumber {
        self.last.successor()
    }

    /// The position of the first record that arrived at `time` or later.
    pub(super) fn at_time(&self, time: Millis) -> SequenceNumber {
        SequenceNumber::at_time(self.starting.era(), time)
    }

    /// True if the number can belong to a record of this shard, by its era.
    pub(super) fn owns(&self, number: SequenceNumber) -> bool {
        number.era() == self.starting.era()
    }

    /// At most `limit` records from position `from` on, together at most `max_bytes` (but one in any case).
    pub(super) fn read(&self, from: SequenceNumber, limit: usize, max_bytes: usize) -> Batch<'_> {
        let start = self.records.partition_point(|record| record.sequence_number < from);
        let mut bytes = 0;
        let mut end = start;
        for record in self.records.range(start..).take(limit) {
            if bytes + record.size_bytes() > max_bytes && end > start {
                break;
            }
            bytes += record.size_bytes();
            end += 1;
        }
        Batch { shard: self, range: start..end, bytes }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        for record in &self.records {
            self.retained.subtract(record.kept_bytes());
        }
    }
}

/// A run of records in a shard.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    shard: &'a Shard,
    range: Range<usize>,
    bytes: usize,
}

impl Batch<'_> {
    pub(super) fn to_vec(&self) -> Vec<Record> {
        self.shard.records.range(self.range.clone()).cloned().collect()
    }

    /// The size of all records together.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// The last record of the run.
    pub(super) fn last(&self) -> Option<&Record> {
        self.shard.records.range(self.range.clone()).next_back()
    }

    /// True if nothing follows the position at present.
    pub(super) fn reaches_tip(&self) -> bool {
        self.range.end == self.shard.records.len()
    }
}
