//! Unresolved records: their lowest number, for flushes, and the age of the oldest.
//!
//! - (A) The lowest number is exact for records put before a flush: it exceeds theirs once every one is resolved.
//! - (B) The age of the oldest record is never too small, and too great by at most 10 ms or one part in 64.
//! - (C) Without flushes there are at most 1,024 spans; with flushes, twice as many as there ever were
//!   unresolved records, or [`CROWD`].

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const MIN_WIDTH: Duration = Duration::from_millis(10);
/// Parts of the oldest record's age, one of which a new span covers.
const PARTS: u32 = 256;
/// Minimum number of spans at which those without unresolved records are joined to the ones before.
const CROWD: usize = 32;
/// Number of spans at which neighbours are joined, too, unless a flush stands between them.
const JOIN_AT: usize = 512;

/// Counts of unresolved records by span: put between two flushes and within a short time.
pub(crate) struct Unresolved {
    spans: VecDeque<Span>,
    /// Number of the record put next, from 0.
    pub(crate) next: u64,
    pub(crate) records: usize,
    /// Number of spans at which some are joined.
    crowd: usize,
}

struct Span {
    /// Number of its first record.
    first: u64,
    arrived: Instant,
    records: usize,
    /// A flush waits for this span and those before.
    flushed: bool,
}

impl Unresolved {
    pub(crate) fn new() -> Self {
        Self { spans: VecDeque::new(), next: 0, records: 0, crowd: CROWD }
    }

    /// Adds a record; returns its number.
    pub(crate) fn put(&mut self, now: Instant) -> u64 {
        let first = self.next;
        self.next += 1;
        self.records += 1;
        let (oldest, age) = (self.oldest(), |arrived| now.saturating_duration_since(arrived));
        let width = || MIN_WIDTH.max(oldest.map_or(Duration::ZERO, age) / PARTS);
        match self.spans.back_mut().filter(|last| !last.flushed) {
            Some(last) if last.arrived == now || age(last.arrived) < width() => last.records += 1,
            _ => {
                if self.spans.len() >= self.crowd {
                    self.join();
                }
                self.spans.push_back(Span { first, arrived: now, records: 1, flushed: false });
            }
        }
        first
    }

    pub(crate) fn flush(&mut self) {
        if let Some(last) = self.spans.back_mut() {
            last.flushed = true;
        }
    }

    /// Removes the records of these numbers, which ascend.
    pub(crate) fn resolved(&mut self, numbers: impl ExactSizeIterator<Item = u64>) {
        self.records -= numbers.len();
        // The span of a record is most often that of the one before.
        let (mut at, mut end) = (0, 0);
        for number in numbers {
            if number >= end {
                at = self.spans.partition_point(|span| span.first <= number) - 1;
                end = self.spans.get(at + 1).map_or(u64::MAX, |next| next.first);
            }
            self.spans[at].records -= 1;
        }
        while self.spans.pop_front_if(|front| front.records == 0).is_some() {}
    }

    /// Number below which all records are resolved.
    pub(crate) fn lowest(&self) -> u64 {
        self.spans.front().map_or(self.next, |front| front.first)
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.spans.front().map(|front| front.arrived)
    }

    fn join(&mut self) {
        let are_many = self.spans.len() >= JOIN_AT;
        let mut joined = VecDeque::with_capacity(self.spans.len());
        while let Some(mut span) = self.spans.pop_front() {
            let neighbour = if are_many { self.spans.pop_front_if(|_| !span.flushed) } else { None };
            let empty = std::iter::from_fn(|| self.spans.pop_front_if(|next| next.records == 0));
            for next in neighbour.into_iter().chain(empty) {
                span.records += next.records;
                span.flushed |= next.flushed;
            }
            joined.push_back(span);
        }
        self.crowd = CROWD.max(2 * joined.len());
        self.spans = joined;
    }
}

#[cfg(test)]
mod tests;
