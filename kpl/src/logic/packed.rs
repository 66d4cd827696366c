//! User records encoded in an aggregate: the stub of each ticket, and its course.

use std::{fmt, mem::take};

use super::pending::{Course, Detach, Pending};
use crate::{
    aggregated::{Aggregate, Numbering, Sealed},
    config::Limits,
    hash_key::{HashKey, HashKeyRange},
    record::UserRecord,
    record_number::RecordNumber,
};

/// User records in an open or sealed aggregate, with the duty to resolve them.
#[derive(Debug)]
pub(crate) struct Packed<T: Detach, C: Content = Aggregate> {
    pub(crate) content: C,
    /// `None` without a record.
    hash_keys: Option<HashKeys>,
    pub(crate) stubs: Vec<T::Stub>,
    /// One for each record, in order.
    pub(crate) courses: Vec<Course>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashKeys {
    pub(crate) first: HashKey,
    pub(crate) range: HashKeyRange,
}

impl HashKeys {
    pub(crate) fn of(key: HashKey) -> Self {
        Self { first: key, range: HashKeyRange { start: key, end: key } }
    }

    fn with(self, key: HashKey) -> Self {
        let HashKeyRange { start, end } = self.range;
        Self { range: HashKeyRange { start: start.min(key), end: end.max(key) }, ..self }
    }

    pub(crate) fn are_mixed(self) -> bool {
        self.range.start != self.range.end
    }

    pub(crate) fn are_in(self, range: &HashKeyRange) -> bool {
        range.contains(self.range.start) && range.contains(self.range.end)
    }
}

pub(crate) trait Content: Default + fmt::Debug {
    /// The records with their numbers.
    fn into_user_records(self) -> Vec<(UserRecord, Option<RecordNumber>)>;
}

impl Content for Aggregate {
    fn into_user_records(self) -> Vec<(UserRecord, Option<RecordNumber>)> {
        self.numbered_user_records()
    }
}

impl Content for Sealed {
    fn into_user_records(self) -> Vec<(UserRecord, Option<RecordNumber>)> {
        self.user_records()
    }
}

impl<T: Detach> Packed<T> {
    pub(crate) fn new() -> Self {
        Self { content: Aggregate::new(), hash_keys: None, stubs: Vec::new(), courses: Vec::new() }
    }

    /// All of `records`, with the numbers that they have.
    pub(crate) fn of(records: Vec<Pending<T>>) -> Self {
        let mut packed = Self::new();
        for record in records {
            let numbering = record.course.number().map_or(Numbering::Without, Numbering::Known);
            packed.content.try_push_numbered(record.as_ref(), numbering, usize::MAX);
            packed.carry(record);
        }
        packed
    }

    /// Adds a record, or returns it if the aggregate would exceed `max_bytes`.
    pub(crate) fn try_push(
        &mut self,
        record: Pending<T>,
        numbering: Numbering,
        max_bytes: usize,
    ) -> Result<(), Pending<T>> {
        if !self.content.try_push_numbered(record.as_ref(), numbering, max_bytes) {
            return Err(record);
        }
        self.carry(record);
        Ok(())
    }

    pub(crate) fn reaches(&self, limits: Limits) -> bool {
        self.len() >= limits.max_records || self.content.size_bytes() == limits.max_bytes
    }

    fn carry(&mut self, record: Pending<T>) {
        self.hash_keys = self.hash_keys.map(|keys| keys.with(record.hash_key)).or(Some(HashKeys::of(record.hash_key)));
        self.stubs.push(record.ticket.detach());
        self.courses.push(record.course);
    }

    /// Moves all records to a sealed aggregate. The room for encoded records stays.
    pub(crate) fn seal(&mut self) -> Packed<T, Sealed> {
        let content = Sealed::new(&self.content);
        self.content.clear();
        let (mut stubs, mut courses) = (take(&mut self.stubs), take(&mut self.courses));
        shrink(&mut stubs);
        shrink(&mut courses);
        Packed { content, hash_keys: self.hash_keys.take(), stubs, courses }
    }
}

impl<T: Detach, C: Content> Packed<T, C> {
    pub(crate) fn len(&self) -> usize {
        self.courses.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.courses.is_empty()
    }

    /// Hash keys of the records; there is at least one.
    pub(crate) fn hash_keys(&self) -> HashKeys {
        self.hash_keys.expect("there is a record")
    }

    pub(crate) fn into_stubs(mut self) -> impl Iterator<Item = (T::Stub, Course)> {
        take(&mut self.stubs).into_iter().zip(take(&mut self.courses))
    }

    /// Takes out the records as they were before.
    pub(crate) fn unpack(&mut self) -> Vec<Pending<T>> {
        let (stubs, courses) = (take(&mut self.stubs), take(&mut self.courses));
        self.hash_keys = None;
        if stubs.is_empty() {
            return Vec::new();
        }
        let records = take(&mut self.content).into_user_records();
        assert_eq!(records.len(), stubs.len(), "what is encoded can be read");
        let attach = |((stub, (record, number)), mut course): ((_, (UserRecord, _)), Course)| {
            if let Some(number) = number {
                course.set_number(number);
            }
            Pending { hash_key: record.hash_key(), ticket: T::attach(stub, record), course }
        };
        stubs.into_iter().zip(records).zip(courses).map(attach).collect()
    }
}

/// Frees unused room, unless it is little.
fn shrink<R>(records: &mut Vec<R>) {
    if records.capacity() > records.len() + records.len() / 8 {
        records.shrink_to_fit();
    }
}

/// Drops the tickets with their records, which are thus returned.
impl<T: Detach, C: Content> Drop for Packed<T, C> {
    fn drop(&mut self) {
        drop(self.unpack());
    }
}
