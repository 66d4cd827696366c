//! User records that are encoded into an aggregate already. Of each only the stub of its ticket is left, and how it fares.

use std::fmt;

use super::{
    aggregator::Spare,
    pending::{Course, Detach, Pending},
};
use crate::{
    aggregated::{Aggregate, Sealed},
    hash_key::{HashKey, HashKeyRange},
    record::UserRecord,
};

/// User records in an aggregate, and who waits for them: in one that grows, or in one that is complete.
#[derive(Debug)]
pub(crate) struct Packed<T: Detach, C: Content = Aggregate> {
    content: C,
    /// `None` without a record.
    hash_keys: Option<HashKeys>,
    stubs: Vec<T::Stub>,
    courses: Vec<Course>,
}

/// Hash keys of one or several records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashKeys {
    /// Of the first record.
    pub(crate) first: HashKey,
    least: HashKey,
    greatest: HashKey,
}

impl HashKeys {
    pub(crate) fn of(key: HashKey) -> Self {
        Self { first: key, least: key, greatest: key }
    }

    fn with(self, key: HashKey) -> Self {
        Self { least: self.least.min(key), greatest: self.greatest.max(key), ..self }
    }

    /// Whether they are not all the same.
    pub(crate) fn are_mixed(self) -> bool {
        self.least != self.greatest
    }

    /// The least range with all of them.
    pub(crate) fn range(self) -> HashKeyRange {
        HashKeyRange { start: self.least, end: self.greatest }
    }

    /// Whether all of them are in `range`.
    pub(crate) fn are_in(self, range: &HashKeyRange) -> bool {
        range.contains(self.least) && range.contains(self.greatest)
    }
}

/// The user records of an aggregate.
pub(crate) trait Content: Default + fmt::Debug {
    fn into_user_records(self) -> Vec<UserRecord>;
}

impl Content for Aggregate {
    fn into_user_records(self) -> Vec<UserRecord> {
        self.user_records()
    }
}

impl Content for Sealed {
    fn into_user_records(self) -> Vec<UserRecord> {
        self.user_records()
    }
}

impl<T: Detach> Packed<T> {
    pub(crate) fn new() -> Self {
        Self::within(Aggregate::new(), 0)
    }

    /// Of these records, in their order.
    pub(crate) fn of(records: Vec<Pending<T>>) -> Self {
        let mut packed = Self::new();
        for record in records {
            packed.content.push(&record);
            packed.carry(record);
        }
        packed
    }

    /// Without records, in an aggregate that has none but may have room, with room for as many.
    pub(crate) fn within(content: Aggregate, records: usize) -> Self {
        Self { content, hash_keys: None, stubs: Vec::with_capacity(records), courses: Vec::with_capacity(records) }
    }

    /// Adds a record, unless the aggregate would then be longer than `max_bytes`: then hands it back.
    pub(crate) fn try_push(&mut self, record: Pending<T>, max_bytes: usize) -> Result<(), Pending<T>> {
        if !self.content.try_push(record.as_ref(), max_bytes) {
            return Err(record);
        }
        self.carry(record);
        Ok(())
    }

    fn carry(&mut self, record: Pending<T>) {
        self.hash_keys = self.hash_keys.map(|keys| keys.with(record.hash_key)).or(Some(HashKeys::of(record.hash_key)));
        self.stubs.push(record.ticket.detach());
        self.courses.push(record.course);
    }

    /// No more records join.
    pub(crate) fn seal(mut self, spare: &mut Spare) -> Packed<T, Sealed> {
        let content = self.content.seal();
        spare.keep(std::mem::take(&mut self.content));
        let (mut stubs, mut courses) = (std::mem::take(&mut self.stubs), std::mem::take(&mut self.courses));
        shrink(&mut stubs);
        shrink(&mut courses);
        Packed { content, hash_keys: self.hash_keys, stubs, courses }
    }
}

impl<T: Detach, C: Content> Packed<T, C> {
    pub(crate) fn len(&self) -> usize {
        self.courses.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.courses.is_empty()
    }

    pub(crate) fn content(&self) -> &C {
        &self.content
    }

    pub(crate) fn content_mut(&mut self) -> &mut C {
        &mut self.content
    }

    /// Where the records belong. There is at least one.
    pub(crate) fn hash_keys(&self) -> HashKeys {
        self.hash_keys.expect("there is a record")
    }

    pub(crate) fn courses(&self) -> &[Course] {
        &self.courses
    }

    pub(crate) fn courses_mut(&mut self) -> &mut [Course] {
        &mut self.courses
    }

    /// The records as they were before.
    pub(crate) fn unpack(mut self) -> Vec<Pending<T>> {
        self.take_apart()
    }

    /// What is left of the tickets, without their records.
    pub(crate) fn into_stubs(mut self) -> impl Iterator<Item = (T::Stub, Course)> {
        std::mem::take(&mut self.stubs).into_iter().zip(std::mem::take(&mut self.courses))
    }

    fn take_apart(&mut self) -> Vec<Pending<T>> {
        let (stubs, courses) = (std::mem::take(&mut self.stubs), std::mem::take(&mut self.courses));
        if stubs.is_empty() {
            return Vec::new();
        }
        let records = std::mem::take(&mut self.content).into_user_records();
        assert_eq!(records.len(), stubs.len(), "what is encoded can be read");
        let attach = |((stub, record), course): ((_, UserRecord), _)| Pending {
            hash_key: record.hash_key(),
            ticket: T::attach(stub, record),
            course,
        };
        stubs.into_iter().zip(records).zip(courses).map(attach).collect()
    }
}

/// Gives room back that is not needed, unless it is little.
fn shrink<R>(records: &mut Vec<R>) {
    if records.capacity() > records.len() + records.len() / 8 {
        records.shrink_to_fit();
    }
}

/// Drops the tickets as they were, with their records: who waits for them gets them back.
impl<T: Detach, C: Content> Drop for Packed<T, C> {
    fn drop(&mut self) {
        drop(self.take_apart());
    }
}
