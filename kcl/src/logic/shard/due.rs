//! Due time of the worker's own checkpoint. Pure.
//!
//! (A) Due is what was processed and is not covered. (B) At most the interval or the count passes before it is due.

use std::{mem, time::Instant};

use crate::model::{CheckpointEvery, MAX_DURATION};

#[derive(Debug, Clone)]
pub(crate) struct Due {
    every: CheckpointEvery,
    records: u64,
    oldest: Option<Instant>,
}

impl Due {
    pub(crate) fn new(every: CheckpointEvery) -> Self {
        let every = CheckpointEvery { interval: every.interval.min(MAX_DURATION), ..every };
        Self { every, records: 0, oldest: None }
    }

    pub(crate) fn processed(&mut self, records: usize, now: Instant) {
        if records > 0 {
            self.records += records as u64;
            self.oldest.get_or_insert(now);
        }
    }

    /// A checkpoint of everything processed begins. Returns what it covers.
    pub(crate) fn begin(&mut self) -> Self {
        mem::replace(self, Self::new(self.every))
    }

    /// A checkpoint that was begun is not stored.
    pub(crate) fn not_stored(&mut self, begun: &Self) {
        self.records += begun.records;
        self.oldest = begun.oldest.or(self.oldest);
    }

    /// Time when a checkpoint is due; None as long as nothing was processed.
    pub(crate) fn at(&self) -> Option<Instant> {
        let oldest = self.oldest?;
        Some(if self.records >= u64::from(self.every.records) { oldest } else { oldest + self.every.interval })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const EVERY: CheckpointEvery = CheckpointEvery { records: 10, interval: Duration::from_secs(5) };

    #[test]
    fn counts_alone_with_an_interval_that_never_ends() {
        let mut due = Due::new(CheckpointEvery { records: 10, interval: Duration::MAX });
        let start = crate::tests::some_time();
        due.processed(9, start);
        assert!(due.at() > Some(start + Duration::from_secs(1_000_000)));

        due.processed(1, start);

        assert_eq!(due.at(), Some(start));
    }

    #[test]
    fn is_due_by_count_or_age_but_not_before_anything_was_processed() {
        let (mut due, start) = (Due::new(EVERY), crate::tests::some_time());
        due.processed(0, start);
        assert_eq!(due.at(), None);

        due.processed(4, start);
        due.processed(5, start + Duration::from_secs(4));
        assert_eq!(due.at(), Some(start + Duration::from_secs(5)));

        due.processed(1, start + Duration::from_secs(4));
        assert_eq!(due.at(), Some(start));
    }

    #[test]
    fn is_due_again_after_a_checkpoint_that_was_not_stored() {
        let (mut due, start) = (Due::new(EVERY), crate::tests::some_time());
        due.processed(4, start);

        let begun = due.begin();
        assert_eq!(due.at(), None);
        due.processed(5, start + Duration::from_secs(4));
        assert_eq!(due.at(), Some(start + Duration::from_secs(9)));

        due.not_stored(&begun);
        assert_eq!(due.at(), Some(start + Duration::from_secs(5)));
        due.processed(1, start + Duration::from_secs(4));
        assert_eq!(due.at(), Some(start));
    }
}
