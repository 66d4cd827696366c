//! User records that are encoded into an aggregate already. Of each only the stub of its ticket is left, and how it fares.

use super::pending::{Course, Detach, Pending};
use crate::{
    UserRecord,
    aggregated::{Aggregate, Room, shrink},
};

/// An aggregate and who waits for its records.
#[derive(Debug)]
pub(crate) struct Packed<T: Detach> {
    content: Aggregate,
    stubs: Vec<T::Stub>,
    courses: Vec<Course>,
}

/// What an aggregate took, for the next one to begin with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected {
    content: Room,
    records: usize,
}

impl<T: Detach> Packed<T> {
    pub(crate) fn new() -> Self {
        Self { content: Aggregate::new(), stubs: Vec::new(), courses: Vec::new() }
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

    /// Makes room for as much as another one took.
    pub(crate) fn reserve(&mut self, expected: Expected) {
        self.content.reserve(expected.content);
        self.stubs.reserve(expected.records);
        self.courses.reserve(expected.records);
    }

    pub(crate) fn expected(&self) -> Expected {
        Expected { content: self.content.room(), records: self.len() }
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
        self.stubs.push(record.ticket.detach());
        self.courses.push(record.course);
    }

    /// No more records are expected: gives back what only they would need.
    pub(crate) fn complete(&mut self) {
        self.content.shrink();
        shrink(&mut self.stubs);
        shrink(&mut self.courses);
    }

    pub(crate) fn len(&self) -> usize {
        self.courses.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.courses.is_empty()
    }

    pub(crate) fn content(&self) -> &Aggregate {
        &self.content
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
        let records: Vec<UserRecord> = std::mem::take(&mut self.content).user_records();
        assert_eq!(records.len(), stubs.len(), "what is encoded can be read");
        let attach = |((stub, record), course)| Pending { ticket: T::attach(stub, record), course };
        stubs.into_iter().zip(records).zip(courses).map(attach).collect()
    }
}

/// Drops the tickets as they were, with their records: who waits for them gets them back.
impl<T: Detach> Drop for Packed<T> {
    fn drop(&mut self) {
        drop(self.take_apart());
    }
}
