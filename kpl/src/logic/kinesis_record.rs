//! A Kinesis record with the user records that it carries: an entry of a PutRecords request.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    packed::{HashKeys, Packed},
    pending::{Course, Detach, Pending},
};
use crate::{
    aggregated::{AGGREGATE_PARTITION_KEY, Numbering, Sealed, is_opened},
    compressed::FrameWriter,
    config::AggregateKey,
    delivered::{Delivered, Stored},
    kinesis::{Entry, KinesisError},
    record_number::RecordNumber,
};

/// A user record, as it is or as a compressed frame; or an aggregate of at least two, or of one that has a number or a trace context,
/// or data that consumers would open.
#[derive(Debug)]
pub(crate) enum KinesisRecord<T: Detach> {
    Plain(Pending<T>, Option<Bytes>),
    Aggregate(Packed<T, Sealed>, AggregateKey),
}

impl<T: Detach> KinesisRecord<T> {
    /// A record alone: as it is, unless consumers would open its data, or it has a number or a trace context. Then it is an aggregate
    /// of one, if that has no more than `max_bytes`.
    pub(crate) fn alone(record: Pending<T>, key: AggregateKey, max_bytes: usize) -> Self {
        let number = record.course.number();
        Self::alone_numbered(record, number, key, max_bytes)
    }

    /// The same with this number, unless that makes it too long.
    pub(crate) fn alone_numbered(
        record: Pending<T>,
        number: Option<RecordNumber>,
        key: AggregateKey,
        max_bytes: usize,
    ) -> Self {
        let user_record = record.as_ref();
        let is_traced = user_record.trace_context().is_some() && !record.course.is_plain();
        if number.is_none() && !is_traced && !is_opened(user_record.data()) {
            return Self::Plain(record, None);
        }
        let mut packed = Packed::new();
        match packed.try_push(record, number.map_or(Numbering::Without, Numbering::Known), max_bytes) {
            Ok(()) => Self::Aggregate(packed.seal(), key),
            Err(record) if number.is_some() => Self::alone_numbered(record, None, key, max_bytes),
            Err(record) => Self::Plain(record, None),
        }
    }

    /// All records out of `packed`: an aggregate, unless there is but one record without number. `None` without a record.
    pub(crate) fn of(packed: &mut Packed<T>, key: AggregateKey) -> Option<Self> {
        match packed.len() {
            0 => None,
            1 if !packed.content.is_numbered() => {
                packed.unpack().pop().map(|record| Self::alone(record, key, usize::MAX))
            }
            _ => Some(Self::Aggregate(packed.seal(), key)),
        }
    }

    /// All of `records`, in their order, as one Kinesis record. `None` without a record.
    pub(crate) fn packed(records: Vec<Pending<T>>, key: AggregateKey) -> Option<Self> {
        Self::of(&mut Packed::of(records), key)
    }

    /// Compresses the data, unless that makes them no shorter. Returns their length before and after.
    pub(crate) fn compress(&mut self, writer: &Arc<FrameWriter>) -> (usize, usize) {
        match self {
            Self::Plain(record, frame) => {
                let data = record.as_ref().data();
                *frame = writer.frame(data);
                (data.len(), frame.as_ref().unwrap_or(data).len())
            }
            Self::Aggregate(packed, _) => (packed.content.compress(writer), packed.content.size_bytes),
        }
    }

    pub(crate) fn attempt_failed(&mut self, error: &KinesisError, started: Instant, now: Instant) {
        let courses = match self {
            Self::Plain(record, _) => std::slice::from_mut(&mut record.course),
            Self::Aggregate(packed, _) => &mut packed.courses,
        };
        courses.iter_mut().for_each(|course| course.attempt_failed(error, started, now));
    }

    pub(crate) fn courses(&self) -> &[Course] {
        match self {
            Self::Plain(record, _) => std::slice::from_ref(&record.course),
            Self::Aggregate(packed, _) => &packed.courses,
        }
    }

    pub(crate) fn into_records(self) -> Vec<Pending<T>> {
        match self {
            Self::Plain(record, _) => vec![record],
            Self::Aggregate(mut packed, _) => packed.unpack(),
        }
    }

    /// The record that arrived first and decides the shard.
    pub(crate) fn first(&self) -> &Course {
        self.courses().first().expect("a Kinesis record holds at least one user record")
    }

    /// The record that arrived last.
    pub(crate) fn last(&self) -> &Course {
        self.courses().last().expect("a Kinesis record holds at least one user record")
    }

    /// Source of the aggregate's partition key; without effect on a plain record.
    pub(crate) fn key(&self) -> AggregateKey {
        match self {
            Self::Plain(..) => AggregateKey::default(),
            Self::Aggregate(_, key) => *key,
        }
    }

    pub(crate) fn hash_keys(&self) -> HashKeys {
        match self {
            Self::Plain(record, _) => HashKeys::of(record.hash_key),
            Self::Aggregate(packed, _) => packed.hash_keys(),
        }
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self, Self::Aggregate(..))
    }

    /// Size that Kinesis counts: data and partition key.
    pub(crate) fn size_bytes(&self) -> usize {
        let key_bytes = match self {
            Self::Plain(record, _) => record.as_ref().partition_key().len(),
            Self::Aggregate(packed, key) => key.bytes(packed.content.first_partition_key()),
        };
        self.data_bytes() + key_bytes
    }

    pub(crate) fn data_bytes(&self) -> usize {
        match self {
            Self::Plain(record, frame) => frame.as_ref().unwrap_or(record.as_ref().data()).len(),
            Self::Aggregate(packed, _) => packed.content.size_bytes,
        }
    }

    /// The record as it is sent. An aggregate must have its digest.
    pub(crate) fn entry(&self) -> Entry {
        let explicit_hash_key = self.hash_keys().first;
        match self {
            Self::Plain(record, frame) => {
                let record = record.as_ref();
                let data = frame.as_ref().unwrap_or(record.data()).clone();
                let partition_key = record.partition_key().to_owned();
                Entry { partition_key, explicit_hash_key, is_implied: record.explicit_hash_key().is_none(), data }
            }
            Self::Aggregate(packed, key) => {
                let (partition_key, data) = (self.aggregate_key(packed, *key), packed.content.to_bytes());
                Entry { partition_key, explicit_hash_key, is_implied: false, data }
            }
        }
    }

    /// The aggregate, to give it its digest.
    pub(crate) fn content_mut(&mut self) -> Option<&mut Sealed> {
        match self {
            Self::Plain(..) => None,
            Self::Aggregate(packed, _) => Some(&mut packed.content),
        }
    }

    fn aggregate_key(&self, packed: &Packed<T, Sealed>, key: AggregateKey) -> String {
        match key {
            AggregateKey::Constant => AGGREGATE_PARTITION_KEY.to_owned(),
            AggregateKey::FirstRecord => packed.content.first_partition_key().to_owned(),
            // Neighbours differ, and another attempt has the same.
            AggregateKey::Spread => format!("{:08x}", self.first().number as u32),
        }
    }

    /// Stub and outcome of each user record, in order.
    pub(crate) fn deliver(self, stored: &Arc<Stored>) -> impl Iterator<Item = (T::Stub, Delivered)> {
        let (plain, packed) = match self {
            Self::Plain(Pending { ticket, course, .. }, _) => {
                (Some((ticket.detach(), course.deliver(stored.clone(), None))), None)
            }
            Self::Aggregate(packed, _) => (None, Some(packed.into_stubs())),
        };
        let packed = (0..).zip(packed.into_iter().flatten());
        plain
            .into_iter()
            .chain(packed.map(|(position, (stub, course))| (stub, course.deliver(stored.clone(), Some(position)))))
    }
}
