//! Finds the last record of a shard before a time, by few looks at it. Pure.
//!
//! The service returns the first record at or after a time. So looks go back from the end in growing steps until a
//! record before the end turns up, then close in on the last one, until the rest can be read.

use std::time::{Duration, SystemTime};

/// First step back, and what each further one is multiplied by.
const STEP: Duration = Duration::from_secs(1);
const GROWTH: u32 = 8;
/// Longer than streams retain records: 365 days.
const RETENTION: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Span that is read rather than searched.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Look for the first record at or after this time.
    Look(SystemTime),
    /// Read from this time on: a record is there, and the wanted one is at most a second later.
    ReadFrom(SystemTime),
    /// There is no record before the end.
    Nothing,
}

#[derive(Debug, Clone)]
pub(crate) struct Seek {
    end: SystemTime,
    /// Arrival of the latest known record before the end.
    found: Option<SystemTime>,
    /// No record arrived from then on until the end.
    silent_from: SystemTime,
    step: Duration,
    /// The maximum step back found nothing.
    exhausted: bool,
}

impl Seek {
    /// Looks for the last record before `end`.
    pub(crate) fn before(end: SystemTime) -> Self {
        Self { end, found: None, silent_from: end, step: STEP, exhausted: false }
    }

    pub(crate) fn next(&self) -> Next {
        let Some(found) = self.found else {
            return match self.end.checked_sub(self.step) {
                Some(time) if !self.exhausted => Next::Look(time),
                _ => Next::Nothing,
            };
        };
        match self.silent_from.duration_since(found) {
            Ok(left) if left > SHORT => Next::Look(found + left / 2),
            _ => Next::ReadFrom(found),
        }
    }

    /// The first record at or after `time` arrived then; None: there is none.
    pub(crate) fn saw(&mut self, time: SystemTime, first: Option<SystemTime>) {
        match first.filter(|first| *first < self.end) {
            Some(first) => self.found = Some(self.found.map_or(first, |found| found.max(first))),
            None => {
                self.silent_from = time;
                if self.found.is_none() {
                    self.exhausted = self.step == RETENTION;
                    self.step = (self.step * GROWTH).min(RETENTION);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + RETENTION * 10 + Duration::from_millis(millis)
    }

    /// Carries the search out on a shard with records that arrived then; returns what it comes to, and the looks it took.
    fn search(arrivals: &[u64], end: u64) -> (Next, u32) {
        let (mut seek, mut looks) = (Seek::before(at(end)), 0);
        loop {
            match seek.next() {
                Next::Look(time) => {
                    looks += 1;
                    seek.saw(time, arrivals.iter().map(|arrival| at(*arrival)).find(|arrival| *arrival >= time));
                }
                other => return (other, looks),
            }
        }
    }

    #[test]
    fn a_shard_without_a_record_before_the_time_has_nothing() {
        assert_eq!(search(&[], 1_000).0, Next::Nothing);
        assert_eq!(search(&[1_000, 2_000], 1_000).0, Next::Nothing);
    }

    #[test]
    fn a_busy_shard_takes_one_look() {
        let arrivals: Vec<u64> = (0..100_000).step_by(100).collect();

        assert_eq!(search(&arrivals, 50_000), (Next::ReadFrom(at(49_000)), 1));
    }

    proptest! {
        #[test]
        fn seek_starts_at_most_1s_before_the_last_record(
            mut arrivals in prop::collection::vec(0_u64..30_000_000_000, 1..50),
            end in 0_u64..30_000_000_000,
        ) {
            arrivals.sort_unstable();
            let last = arrivals.iter().rfind(|arrival| **arrival < end);
            let (next, looks) = search(&arrivals, end);
            match (next, last) {
                (Next::ReadFrom(from), Some(last)) => {
                    prop_assert!(from <= at(*last) && at(*last) <= from + SHORT);
                    prop_assert!(arrivals.iter().any(|arrival| at(*arrival) == from));
                }
                (next, last) => prop_assert_eq!((next, last), (Next::Nothing, None)),
            }
            prop_assert!(looks <= 50, "{} looks", looks);
        }
    }
}
