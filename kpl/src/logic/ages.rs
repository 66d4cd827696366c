//! Knows how long the oldest record that is not resolved has been waiting.
//!
//! Records that arrive within ten milliseconds count as one, to keep this cheap; while the oldest has been waiting for long,
//! those within one part in 256 of its age. The number of such spans is bounded: when there are too many, neighbours become
//! one. An age is thus rather too great than too small.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const SHORTEST_SPAN: Duration = Duration::from_millis(10);
const MOST_SPANS: usize = 512;
/// Parts of the age of the oldest record, of which a new span covers one.
const PARTS: u32 = 256;

/// Counts unresolved records by the time of their arrival.
#[derive(Debug)]
pub(crate) struct Ages {
    spans: VecDeque<Span>,
}

#[derive(Debug)]
struct Span {
    /// Number of the first record that belongs here.
    first: u64,
    arrived: Instant,
    unresolved: usize,
}

impl Ages {
    pub(crate) fn new() -> Self {
        Self { spans: VecDeque::new() }
    }

    /// Record `number` arrives. Numbers grow.
    pub(crate) fn put(&mut self, number: u64, now: Instant) {
        let since = |arrived| now.saturating_duration_since(arrived);
        let oldest = self.oldest();
        let width = || oldest.map_or(SHORTEST_SPAN, |oldest| SHORTEST_SPAN.max(since(oldest) / PARTS));
        match self.spans.back_mut() {
            // Those that are taken together arrive together.
            Some(last) if last.arrived == now => last.unresolved += 1,
            Some(last) if since(last.arrived) < width() => last.unresolved += 1,
            _ => {
                if self.spans.len() == MOST_SPANS {
                    self.merge_neighbours();
                }
                self.spans.push_back(Span { first: number, arrived: now, unresolved: 1 });
            }
        }
    }

    /// The records of these numbers, which ascend, are resolved.
    pub(crate) fn resolved(&mut self, numbers: impl Iterator<Item = u64>) {
        // The span of the one before is most often that of the next.
        let (mut at, mut end) = (0, 0);
        for number in numbers {
            if number >= end {
                at = self.spans.partition_point(|span| span.first <= number) - 1;
                end = self.spans.get(at + 1).map_or(u64::MAX, |next| next.first);
            }
            self.spans[at].unresolved -= 1;
        }
        while self.spans.front().is_some_and(|front| front.unresolved == 0) {
            self.spans.pop_front();
        }
    }

    /// When the oldest record arrived that is not resolved.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.spans.front().map(|front| front.arrived)
    }

    fn merge_neighbours(&mut self) {
        let mut merged = VecDeque::with_capacity(MOST_SPANS);
        while let Some(mut span) = self.spans.pop_front() {
            span.unresolved += self.spans.pop_front().map_or(0, |next| next.unresolved);
            merged.push_back(span);
        }
        self.spans = merged;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::start;

    #[test]
    fn the_oldest_unresolved_record_counts() {
        let (mut ages, now) = (Ages::new(), start());
        let at = |ms: u64| now + Duration::from_millis(ms);

        assert_eq!(ages.oldest(), None);
        (0..4).for_each(|n| ages.put(n, at(n * 20)));
        ages.resolved([1].into_iter());
        assert_eq!(ages.oldest(), Some(at(0)));
        ages.resolved([0].into_iter());
        assert_eq!(ages.oldest(), Some(at(40)));
        ages.resolved([2, 3].into_iter());
        assert_eq!(ages.oldest(), None);
    }

    #[test]
    fn a_record_that_is_stuck_for_long_costs_no_more() {
        let (mut ages, now) = (Ages::new(), start());
        ages.put(0, now);

        for n in 1..100_000 {
            ages.put(n, now + Duration::from_millis(20 * n));
            ages.resolved([n].into_iter());
        }

        assert!(ages.spans.len() <= MOST_SPANS);
        assert_eq!(ages.oldest(), Some(now));
    }

    #[test]
    fn ages_are_fine_again_soon_after_a_long_outage() {
        let (mut ages, began) = (Ages::new(), start());
        let outage = 3600 * 20;
        (0..outage).for_each(|n| ages.put(n, began + Duration::from_millis(50 * n)));
        let well = began + Duration::from_millis(50 * outage);
        assert_eq!(ages.oldest(), Some(began));

        ages.resolved(0..outage);
        // 200 records a second, and each is resolved after 20 ms: the stream never has none.
        for n in 0..2000 {
            let now = well + Duration::from_millis(5 * n);
            ages.put(outage + n, now);
            if n >= 4 {
                ages.resolved([outage + n - 4].into_iter());
                let age = now - ages.oldest().expect("there are records");
                assert!(n < 10 || age <= Duration::from_millis(30), "{age:?} after {n}");
            }
        }
    }

    #[test]
    fn an_age_of_a_backlog_is_hardly_too_great() {
        let (mut ages, began) = (Ages::new(), start());
        let mut put = 0;
        for n in 0..360_000_u64 {
            ages.put(n, began + Duration::from_millis(10 * n));
            put = n;
        }
        let now = began + Duration::from_millis(10 * put);

        // Of an hour, the older half is resolved one after the other.
        for n in 0..180_000_u64 {
            ages.resolved([n].into_iter());
            let (found, truly) =
                (now - ages.oldest().expect("some are left"), now - began - Duration::from_millis(10 * (n + 1)));
            assert!(found >= truly && found - truly <= (truly / 64).max(SHORTEST_SPAN), "{found:?} for {truly:?}");
        }
    }

    proptest! {
        #[test]
        fn ages_are_never_too_small(order in Just((0..2000_u64).collect::<Vec<_>>()).prop_shuffle(), gap_ms in 0..50_u64) {
            let (mut ages, now) = (Ages::new(), start());
            let arrived = |number: u64| now + Duration::from_millis(number * gap_ms);
            (0..2000).for_each(|number| ages.put(number, arrived(number)));

            let mut left: std::collections::BTreeSet<_> = (0..2000).collect();
            for number in order {
                ages.resolved([number].into_iter());
                left.remove(&number);
                let oldest = left.first().map(|number| arrived(*number));
                prop_assert_eq!(ages.oldest().is_some(), oldest.is_some());
                prop_assert!(ages.oldest() <= oldest);
            }
        }
    }
}
