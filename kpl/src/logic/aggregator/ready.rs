//! Complete Kinesis records of one stripe, in the order of their first records' numbers, with their sums.

use std::collections::VecDeque;

use crate::{
    aggregated::Sealed,
    digest::LANES,
    logic::{
        kinesis_record::KinesisRecord,
        pending::{Detach, Pending},
    },
};

pub(crate) struct Ready<T: Detach> {
    records: VecDeque<KinesisRecord<T>>,
    /// Bytes of all, partition keys included.
    pub(crate) bytes: usize,
    /// Number of those that are aggregates.
    pub(crate) aggregates: usize,
}

impl<T: Detach> Default for Ready<T> {
    fn default() -> Self {
        Self { records: VecDeque::new(), bytes: 0, aggregates: 0 }
    }
}

impl<T: Detach> Ready<T> {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&KinesisRecord<T>> {
        self.records.front()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&KinesisRecord<T>> {
        self.records.get(place)
    }

    /// Those that begin before this number.
    pub(super) fn before(&self, number: u64) -> impl Iterator<Item = &KinesisRecord<T>> {
        self.records.iter().take(self.place_of(number))
    }

    pub(super) fn add(&mut self, record: KinesisRecord<T>) {
        let place = self.place_of(record.first().number);
        self.bytes += record.size_bytes();
        self.aggregates += usize::from(record.is_aggregate());
        self.records.insert(place, record);
    }

    /// Place of a Kinesis record that begins with this number.
    fn place_of(&self, number: u64) -> usize {
        match self.records.back() {
            Some(last) if last.first().number > number => {
                self.records.partition_point(|other| other.first().number < number)
            }
            _ => self.records.len(),
        }
    }

    pub(super) fn pop(&mut self) -> Option<KinesisRecord<T>> {
        let record = self.records.pop_front()?;
        self.bytes -= record.size_bytes();
        self.aggregates -= usize::from(record.is_aggregate());
        Some(record)
    }

    /// Takes out the user records of all.
    pub(super) fn take_all(&mut self) -> Vec<Pending<T>> {
        (self.bytes, self.aggregates) = (0, 0);
        self.records.drain(..).flat_map(KinesisRecord::into_records).collect()
    }

    /// Digests the first ones, if enough have no digest: together they cost little more than one.
    pub(super) fn digest_ahead(&mut self) {
        let next = self.records.iter_mut().take(LANES).filter_map(KinesisRecord::content_mut);
        let without: Vec<_> = next.filter(|sealed| !sealed.has_digest()).collect();
        if without.len() > LANES / 2 {
            Sealed::digest_all(without.into_iter());
        }
    }
}
