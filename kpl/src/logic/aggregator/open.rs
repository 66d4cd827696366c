//! Open aggregates of one shard: a single one, or one for each key.

use std::collections::{BTreeMap, HashMap};

use super::Packing;
use crate::{
    aggregated::Numbering,
    config::{AggregateKey, Limits},
    hash_key::HashKey,
    logic::{
        kinesis_record::KinesisRecord,
        numbers::Numbers,
        packed::Packed,
        pending::{Course, Detach, Pending},
    },
};

#[expect(clippy::large_enum_variant, reason = "there is one for each lane, and the large one is the usual one")]
pub(super) enum Open<T: Detach> {
    One(One<T>),
    ByKey(ByKey<T>),
}

pub(super) struct One<T: Detach> {
    packed: Packed<T>,
    key: AggregateKey,
    /// `None` if records are not numbered.
    numbers: Option<Numbers>,
    /// Number of records of the previous one.
    expected: usize,
    /// Maximum room that a full aggregate leaves to the next one.
    max_room_bytes: usize,
}

impl<T: Detach> One<T> {
    fn try_push(&mut self, record: Pending<T>, limits: Limits) -> Result<Option<KinesisRecord<T>>, Pending<T>> {
        if self.packed.is_empty() {
            self.packed.stubs.reserve_exact(self.expected);
            self.packed.courses.reserve_exact(self.expected);
        }
        let numbering = numbering(self.numbers.as_ref(), &record);
        self.packed.try_push(record, numbering, limits.max_bytes)?;
        Ok(if self.packed.reaches(limits) { self.take(true) } else { None })
    }

    /// Takes the aggregate out. The next one gets the room of one that `is_full`.
    fn take(&mut self, is_full: bool) -> Option<KinesisRecord<T>> {
        self.expected = self.packed.len();
        let record = complete(&mut self.packed, self.numbers.as_mut(), self.key);
        if !is_full || self.packed.content.room_bytes() > self.max_room_bytes {
            self.packed = Packed::new();
        }
        record
    }
}

pub(super) struct ByKey<T: Detach> {
    /// By number of the first record.
    groups: BTreeMap<u64, Packed<T>>,
    /// Numbers of the groups of a hash key: one, unless partition keys share an explicit hash key.
    first_numbers: HashMap<HashKey, Vec<u64>>,
    key: AggregateKey,
    /// `None` if records are not numbered.
    numbers: Option<Numbers>,
}

impl<T: Detach> Open<T> {
    pub(super) fn new(packing: &Packing) -> Self {
        let (key, max_room_bytes) = (packing.key, packing.room_bytes);
        match packing.by_key {
            true => {
                let (groups, first_numbers) = (BTreeMap::new(), HashMap::new());
                Self::ByKey(ByKey { groups, first_numbers, key, numbers: None })
            }
            false => Self::One(One { packed: Packed::new(), key, numbers: None, expected: 0, max_room_bytes }),
        }
    }

    pub(super) fn set_max_room(&mut self, bytes: usize) {
        if let Self::One(one) = self {
            one.max_room_bytes = bytes;
        }
    }

    /// The numbers of this shard's records; `None` if they are not numbered.
    pub(super) fn numbers(&mut self) -> &mut Option<Numbers> {
        match self {
            Self::One(One { numbers, .. }) | Self::ByKey(ByKey { numbers, .. }) => numbers,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Bytes of the open aggregates.
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::One(one) => one.packed.content.size_bytes(),
            Self::ByKey(ByKey { groups, .. }) => groups.values().map(|group| group.content.size_bytes()).sum(),
        }
    }

    pub(super) fn is_single(&self) -> bool {
        match self {
            Self::One(one) => one.packed.len() == 1,
            Self::ByKey(ByKey { groups, .. }) => groups.len() == 1 && groups.values().all(|group| group.len() == 1),
        }
    }

    pub(super) fn first(&self) -> Option<&Course> {
        match self {
            Self::One(one) => one.packed.courses.first(),
            Self::ByKey(ByKey { groups, .. }) => groups.first_key_value()?.1.courses.first(),
        }
    }

    /// Adds a record. Returns the aggregate that it completes, or the record if it does not fit.
    pub(super) fn try_push(
        &mut self,
        record: Pending<T>,
        limits: Limits,
    ) -> Result<Option<KinesisRecord<T>>, Pending<T>> {
        match self {
            Self::One(one) => one.try_push(record, limits),
            Self::ByKey(by_key) => by_key.try_push(record, limits),
        }
    }

    /// Takes out the aggregate that `record` belongs to and does not fit.
    pub(super) fn take_for(&mut self, record: &Pending<T>) -> Option<KinesisRecord<T>> {
        match self {
            Self::One(one) => one.take(true),
            Self::ByKey(by_key) => by_key.group_of(record).and_then(|number| by_key.take(number)),
        }
    }

    /// Takes out the aggregate that begins first, if `wanted` holds for its first record.
    pub(super) fn take_if(&mut self, wanted: impl Fn(&Course) -> bool) -> Option<KinesisRecord<T>> {
        if !self.first().is_some_and(wanted) {
            return None;
        }
        match self {
            Self::One(one) => one.take(false),
            Self::ByKey(by_key) => {
                let (&number, _) = by_key.groups.first_key_value()?;
                by_key.take(number)
            }
        }
    }
}

impl<T: Detach> ByKey<T> {
    fn group_of(&self, record: &Pending<T>) -> Option<u64> {
        let key = record.as_ref().partition_key();
        let has_key = |number: &&u64| {
            self.groups.get(number).is_some_and(|group| group.content.first_partition_key() == Some(key))
        };
        self.first_numbers.get(&record.hash_key)?.iter().find(has_key).copied()
    }

    fn try_push(&mut self, record: Pending<T>, limits: Limits) -> Result<Option<KinesisRecord<T>>, Pending<T>> {
        let (hash_key, number) = (record.hash_key, self.group_of(&record).unwrap_or(record.course.number));
        let mut group = self.groups.remove(&number).unwrap_or_else(Packed::new);
        let is_new = group.is_empty();
        let numbering = numbering(self.numbers.as_ref(), &record);
        let pushed = group.try_push(record, numbering, limits.max_bytes);
        if group.is_empty() {
            return pushed.map(|()| None);
        }
        let is_full = pushed.is_ok() && group.reaches(limits);
        self.groups.insert(number, group);
        if is_new {
            self.first_numbers.entry(hash_key).or_default().push(number);
        }
        pushed.map(|()| if is_full { self.take(number) } else { None })
    }

    fn take(&mut self, number: u64) -> Option<KinesisRecord<T>> {
        let mut group = self.groups.remove(&number)?;
        let hash_key = group.hash_keys().first;
        if let Some(numbers) = self.first_numbers.get_mut(&hash_key) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.first_numbers.remove(&hash_key);
            }
        }
        complete(&mut group, self.numbers.as_mut(), self.key)
    }
}

/// The number of a record among others: the one it was sent with, else the next one, unless there are none.
fn numbering<T>(numbers: Option<&Numbers>, record: &Pending<T>) -> Numbering {
    match (numbers, record.course.number().filter(|_| record.course.was_sent())) {
        (None, _) => Numbering::Without,
        (Some(_), Some(number)) => Numbering::Known(number),
        (Some(_), None) => Numbering::Fresh,
    }
}

fn complete<T: Detach>(
    packed: &mut Packed<T>,
    numbers: Option<&mut Numbers>,
    key: AggregateKey,
) -> Option<KinesisRecord<T>> {
    if let Some(numbers) = numbers {
        packed.content.number(|count| numbers.take(count));
    }
    KinesisRecord::of(packed, key)
}
