//! The aggregates that records may still join: one for all of them, or one for each key.

use std::collections::{BTreeMap, HashMap};

use super::{Limits, Spare};
use crate::{
    hash_key::HashKey,
    logic::{
        packed::Packed,
        pending::{Course, Detach, Pending},
    },
};

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each lane, and the large one is the usual one")]
pub(super) enum Open<T: Detach> {
    One(One<T>),
    ByKey(ByKey<T>),
}

/// One aggregate after the other.
#[derive(Debug)]
pub(super) struct One<T: Detach> {
    packed: Packed<T>,
    /// Records of the last one: the next will have as many, so there is room for them from the beginning.
    expected: usize,
}

impl<T: Detach> One<T> {
    fn try_push(
        &mut self,
        record: Pending<T>,
        limits: Limits,
        spare: &mut Spare,
    ) -> Result<Option<Packed<T>>, Pending<T>> {
        if self.packed.is_empty() {
            self.packed = Packed::within(spare.take(), self.expected);
        }
        self.packed.try_push(record, limits.max_bytes)?;
        Ok(limits.are_reached(&self.packed).then(|| self.take()))
    }

    fn take(&mut self) -> Packed<T> {
        self.expected = self.packed.len();
        std::mem::replace(&mut self.packed, Packed::new())
    }
}

/// Aggregates whose records have the same partition key and the same hash key.
#[derive(Debug)]
pub(super) struct ByKey<T: Detach> {
    /// By the number of the first record.
    groups: BTreeMap<u64, Packed<T>>,
    /// Numbers of the groups that have a hash key: one, unless partition keys share an explicit hash key.
    numbers: HashMap<HashKey, Vec<u64>>,
}

impl<T: Detach> Open<T> {
    pub(super) fn new(by_key: bool) -> Self {
        match by_key {
            true => Self::ByKey(ByKey { groups: BTreeMap::new(), numbers: HashMap::new() }),
            false => Self::One(One { packed: Packed::new(), expected: 0 }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Whether there is but one record.
    pub(super) fn is_single(&self) -> bool {
        match self {
            Self::One(one) => one.packed.len() == 1,
            Self::ByKey(ByKey { groups, .. }) => groups.len() == 1 && groups.values().all(|group| group.len() == 1),
        }
    }

    /// The record that was put first.
    pub(super) fn first(&self) -> Option<&Course> {
        match self {
            Self::One(one) => one.packed.courses().first(),
            Self::ByKey(ByKey { groups, .. }) => groups.first_key_value()?.1.courses().first(),
        }
    }

    /// Adds a record. Returns the aggregate that is complete with it, or the record if it does not fit.
    pub(super) fn try_push(
        &mut self,
        record: Pending<T>,
        limits: Limits,
        spare: &mut Spare,
    ) -> Result<Option<Packed<T>>, Pending<T>> {
        match self {
            Self::One(one) => one.try_push(record, limits, spare),
            Self::ByKey(by_key) => by_key.try_push(record, limits),
        }
    }

    /// Takes the aggregate out that `record` would join.
    pub(super) fn take_for(&mut self, record: &Pending<T>) -> Option<Packed<T>> {
        match self {
            Self::One(one) => Some(one.take()),
            Self::ByKey(by_key) => by_key.group_of(record).map(|number| by_key.take(number)),
        }
    }

    /// Takes the aggregate out that begins first, if its first record is one of those asked for.
    pub(super) fn take_if(&mut self, wanted: impl Fn(&Course) -> bool) -> Option<Packed<T>> {
        if !self.first().is_some_and(wanted) {
            return None;
        }
        match self {
            Self::One(one) => Some(one.take()),
            Self::ByKey(by_key) => {
                let (&number, _) = by_key.groups.first_key_value()?;
                Some(by_key.take(number))
            }
        }
    }
}

impl<T: Detach> ByKey<T> {
    fn group_of(&self, record: &Pending<T>) -> Option<u64> {
        let key = record.as_ref().partition_key();
        let has_key = |number: &&u64| {
            self.groups.get(number).is_some_and(|group| group.content().first_partition_key() == Some(key))
        };
        self.numbers.get(&record.hash_key)?.iter().find(has_key).copied()
    }

    fn try_push(&mut self, record: Pending<T>, limits: Limits) -> Result<Option<Packed<T>>, Pending<T>> {
        let (hash_key, number) = (record.hash_key, self.group_of(&record).unwrap_or(record.course.number));
        let mut group = self.groups.remove(&number).unwrap_or_else(Packed::new);
        let is_new = group.is_empty();
        let pushed = group.try_push(record, limits.max_bytes);
        if group.is_empty() {
            return pushed.map(|()| None);
        }
        let is_full = pushed.is_ok() && limits.are_reached(&group);
        self.groups.insert(number, group);
        if is_new {
            self.numbers.entry(hash_key).or_default().push(number);
        }
        pushed.map(|()| is_full.then(|| self.take(number)))
    }

    fn take(&mut self, number: u64) -> Packed<T> {
        let group = self.groups.remove(&number).unwrap_or_else(Packed::new);
        if !group.is_empty()
            && let hash_key = group.hash_keys().first
            && let Some(numbers) = self.numbers.get_mut(&hash_key)
        {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.numbers.remove(&hash_key);
            }
        }
        group
    }
}
