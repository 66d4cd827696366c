//! Decides when a flush is complete: when every record that was put before it is resolved, whatever came since.

use std::collections::VecDeque;

/// Counts unresolved records between flushes.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// From one flush to the next; the last one is still growing.
    spans: VecDeque<Span>,
}

#[derive(Debug)]
struct Span {
    /// Number of the first record that belongs here.
    first: u64,
    unresolved: usize,
}

impl Barrier {
    pub(crate) fn new() -> Self {
        Self { spans: VecDeque::from([Span { first: 0, unresolved: 0 }]) }
    }

    /// A record was put.
    pub(crate) fn put(&mut self) {
        self.growing().unresolved += 1;
    }

    /// All records below number `next` are to be flushed.
    pub(crate) fn flush(&mut self, next: u64) {
        self.spans.push_back(Span { first: next, unresolved: 0 });
    }

    /// The records of these numbers, which ascend, are resolved.
    pub(crate) fn resolved(&mut self, numbers: impl ExactSizeIterator<Item = u64> + Clone) {
        let Some(first) = numbers.clone().next() else { return };
        match self.spans.back_mut() {
            // As without a flush just now: all of them belong to the last span.
            Some(last) if last.first <= first => last.unresolved -= numbers.len(),
            _ => numbers.for_each(|number| self.one_resolved(number)),
        }
    }

    fn one_resolved(&mut self, number: u64) {
        let span = self.spans.iter_mut().rev().find(|span| span.first <= number);
        span.expect("a span outlives its records").unresolved -= 1;
    }

    /// Whether one more flush is complete. Flushes complete in order.
    pub(crate) fn next_complete(&mut self) -> bool {
        let complete = self.spans.len() > 1 && self.spans[0].unresolved == 0;
        if complete {
            self.spans.pop_front();
        }
        complete
    }

    /// Number of records that are not resolved.
    pub(crate) fn unresolved(&self) -> usize {
        self.spans.iter().map(|span| span.unresolved).sum()
    }

    fn growing(&mut self) -> &mut Span {
        self.spans.back_mut().expect("the last span stays")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_waits_for_earlier_records_only() {
        let mut barrier = Barrier::new();
        barrier.put(); // 0
        barrier.put(); // 1
        barrier.flush(2);
        barrier.put(); // 2

        barrier.resolved([1].into_iter());
        assert!(!barrier.next_complete());
        barrier.resolved([0].into_iter());
        assert!(barrier.next_complete());
        assert!(!barrier.next_complete());
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
        assert!(!barrier.next_complete());
        barrier.resolved([0].into_iter());
        assert!(barrier.next_complete() && barrier.next_complete() && barrier.next_complete());
        assert!(!barrier.next_complete());
    }

    #[test]
    fn a_flush_of_nothing_is_complete_at_once() {
        let mut barrier = Barrier::new();

        barrier.flush(0);

        assert!(barrier.next_complete());
    }
}
