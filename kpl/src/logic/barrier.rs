//! Decides when a flush is complete: when every record that was put before it is resolved, whatever came since.

use std::collections::VecDeque;

/// Minimum of spans at which those without unresolved records are looked for.
const CROWD: usize = 32;

/// Counts unresolved records between flushes. A flush without unresolved records of its own is one with the flush before it:
/// spans are thus at most twice as many as unresolved records, or [`CROWD`].
#[derive(Debug)]
pub(crate) struct Barrier {
    /// From one flush to the next; the last one is still growing.
    spans: VecDeque<Span>,
    /// Unresolved records of all spans.
    unresolved: usize,
    /// Number of spans at which those without unresolved records are dropped.
    crowd: usize,
}

#[derive(Debug)]
struct Span {
    /// Number of the first record that belongs here.
    first: u64,
    unresolved: usize,
}

impl Barrier {
    pub(crate) fn new() -> Self {
        Self { spans: VecDeque::from([Span { first: 0, unresolved: 0 }]), unresolved: 0, crowd: CROWD }
    }

    /// A record was put.
    pub(crate) fn put(&mut self) {
        self.unresolved += 1;
        self.growing().unresolved += 1;
    }

    /// All records below number `next` are to be flushed.
    pub(crate) fn flush(&mut self, next: u64) {
        let is_only = self.spans.len() == 1;
        let growing = self.growing();
        if growing.unresolved == 0 && !is_only {
            growing.first = next;
            return;
        }
        if self.spans.len() >= self.crowd {
            self.thin_out();
        }
        self.spans.push_back(Span { first: next, unresolved: 0 });
    }

    /// Drops spans without unresolved records but the first one, which completes flushes.
    fn thin_out(&mut self) {
        let first = self.spans[0].first;
        self.spans.retain(|span| span.unresolved > 0 || span.first == first);
        self.crowd = CROWD.max(2 * self.spans.len());
    }

    /// The records of these numbers, which ascend, are resolved.
    pub(crate) fn resolved(&mut self, numbers: impl ExactSizeIterator<Item = u64> + Clone) {
        let Some(first) = numbers.clone().next() else { return };
        self.unresolved -= numbers.len();
        match self.spans.back_mut() {
            // As without a flush just now: all of them belong to the last span.
            Some(last) if last.first <= first => last.unresolved -= numbers.len(),
            _ => numbers.for_each(|number| self.one_resolved(number)),
        }
    }

    fn one_resolved(&mut self, number: u64) {
        let behind = self.spans.partition_point(|span| span.first <= number);
        self.spans[behind - 1].unresolved -= 1;
    }

    /// The number below which all records are resolved, if that completes flushes: those of that number and lower ones.
    pub(crate) fn completed(&mut self) -> Option<u64> {
        let mut below = None;
        while self.spans.len() > 1 && self.spans[0].unresolved == 0 {
            self.spans.pop_front();
            below = Some(self.spans[0].first);
        }
        below
    }

    /// Number of records that are not resolved.
    pub(crate) fn unresolved(&self) -> usize {
        self.unresolved
    }

    fn growing(&mut self) -> &mut Span {
        self.spans.back_mut().expect("the last span stays")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flush_waits_for_earlier_records_only() {
        let mut barrier = Barrier::new();
        barrier.put(); // 0
        barrier.put(); // 1
        barrier.flush(2);
        barrier.put(); // 2

        barrier.resolved([1].into_iter());
        assert_eq!(barrier.completed(), None);
        barrier.resolved([0].into_iter());
        assert_eq!(barrier.completed(), Some(2));
        assert_eq!(barrier.completed(), None);
        assert_eq!(barrier.unresolved(), 1);
    }

    #[test]
    fn flushes_complete_in_order() {
        let mut barrier = Barrier::new();
        barrier.put(); // 0
        barrier.flush(1);
        barrier.put(); // 1
        barrier.flush(2);
        barrier.flush(2);

        barrier.resolved([1].into_iter());
        assert_eq!(barrier.completed(), None);
        barrier.resolved([0].into_iter());
        assert_eq!(barrier.completed(), Some(2));
        assert_eq!(barrier.completed(), None);
    }

    #[test]
    fn a_flush_of_nothing_is_complete_at_once() {
        let mut barrier = Barrier::new();

        barrier.flush(0);

        assert_eq!(barrier.completed(), Some(0));
    }

    #[test]
    fn a_flush_of_the_records_of_the_one_before_takes_no_space() {
        let mut barrier = Barrier::new();
        barrier.put(); // 0

        (0..1000).for_each(|_| barrier.flush(1));

        assert_eq!(barrier.spans.len(), 2);
    }

    #[test]
    fn flushes_take_no_more_space_than_records_that_are_unresolved() {
        let mut barrier = Barrier::new();
        barrier.put(); // 0

        for number in 1..1000 {
            barrier.put();
            barrier.flush(number + 1);
            barrier.resolved([number].into_iter());
        }

        assert!(barrier.spans.len() <= CROWD, "{} spans", barrier.spans.len());
        assert_eq!(barrier.unresolved(), 1);
    }

    proptest! {
        #[test]
        fn flushes_complete_as_if_each_record_were_watched(
            steps in prop::collection::vec((0..3_u8, any::<prop::sample::Index>()), 1..300),
        ) {
            let (mut barrier, mut next, mut unresolved, mut flushes) = (Barrier::new(), 0, Vec::new(), VecDeque::new());
            for (step, index) in steps {
                match step {
                    0 => {
                        barrier.put();
                        unresolved.push(next);
                        next += 1;
                    }
                    1 => {
                        barrier.flush(next);
                        flushes.push_back(next);
                    }
                    _ if unresolved.is_empty() => {}
                    _ => barrier.resolved([unresolved.remove(index.index(unresolved.len()))].into_iter()),
                }
                let below = barrier.completed();
                let is_complete = |flush: &u64| unresolved.first().is_none_or(|first| flush <= first);
                prop_assert_eq!(below.is_some(), flushes.front().is_some_and(is_complete));
                while flushes.pop_front_if(|flush| below.is_some_and(|below| *flush <= below)).is_some() {}
                prop_assert!(!flushes.front().is_some_and(is_complete));
                prop_assert_eq!(barrier.unresolved(), unresolved.len());
                prop_assert!(barrier.spans.len() <= CROWD.max(2 * unresolved.len() + 2));
            }
        }
    }
}
