//! A queue of one namespace's data that wait to be sent. Pure.
//!
//! (A) Of a refused batch a half is sent next, until the datum at fault is alone. That one is lost, the others are sent. (B) If
//! one datum after the other is at fault and none is accepted between them, a batch is lost: it is not the data then.

use std::collections::VecDeque;

use crate::{batch, datum::Datum};

/// Data at fault in a row after which a batch is given up.
const MAX_FAULTS: u32 = 4;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    data: VecDeque<Datum>,
    /// Number of the first data of which at least one is at fault.
    suspects: usize,
    /// Data at fault since a batch was accepted.
    faults: u32,
    /// Values of all data, besides their statistics.
    values: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn values(&self) -> usize {
        self.values
    }

    pub(crate) fn add(&mut self, datum: Datum) {
        self.values += datum.stats.distinct();
        self.data.push_back(datum);
    }

    /// Drops the oldest.
    pub(crate) fn drop_first(&mut self) {
        self.take(1);
    }

    /// Takes the first batch: of data that are suspected, half of them.
    pub(crate) fn take_batch(&mut self) -> Vec<Datum> {
        let (count, suspects) = (batch::next(&self.data), self.suspects);
        let batch = self.take(if suspects == 0 { count } else { count.min(suspects.div_ceil(2)) });
        // They are until the answer says otherwise.
        self.suspects = suspects;
        batch
    }

    fn take(&mut self, count: usize) -> Vec<Datum> {
        let taken: Vec<Datum> = self.data.drain(..count.min(self.data.len())).collect();
        self.values -= taken.iter().map(|datum| datum.stats.distinct()).sum::<usize>();
        self.suspects = self.suspects.saturating_sub(taken.len());
        taken
    }

    /// So many data of the last batch were accepted.
    pub(crate) fn accepted(&mut self, count: usize) {
        self.suspects = self.suspects.saturating_sub(count);
        self.faults = 0;
    }

    /// Puts a batch back that was not sent.
    pub(crate) fn put_back(&mut self, batch: Vec<Datum>) {
        for datum in batch.into_iter().rev() {
            self.values += datum.stats.distinct();
            self.data.push_front(datum);
        }
    }

    /// A batch was refused for its data. Returns how many are lost for it.
    pub(crate) fn refused(&mut self, batch: Vec<Datum>) -> usize {
        let count = batch.len();
        if count > 1 {
            self.suspects = count;
            self.put_back(batch);
            return 0;
        }
        (self.suspects, self.faults) = (0, self.faults + 1);
        if self.faults < MAX_FAULTS {
            return count;
        }
        self.faults = 0;
        count + self.take(batch::next(&self.data)).len()
    }

    /// Drops all. Returns how many that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.take(usize::MAX).len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{datum::Dimensions, stats::Stats};

    fn queue(data: usize) -> Queue {
        let mut queue = Queue::default();
        for n in 0..data {
            let mut stats = Stats::default();
            stats.add(1.0, 1.0);
            let (namespace, name) = ("a".to_owned(), n.to_string());
            queue.add(Datum { namespace, name, dimensions: Dimensions::new(), unit: None, stats, at: None });
        }
        queue
    }

    /// Requests, data accepted, and data lost, of a CloudWatch that refuses batches with one of these.
    fn sent(mut queue: Queue, at_fault: &[usize]) -> (usize, Vec<usize>, usize) {
        let (mut requests, mut accepted, mut lost) = (0, Vec::new(), 0);
        while queue.len() > 0 {
            let batch = queue.take_batch();
            let numbers: Vec<usize> = batch.iter().map(|datum| datum.name.parse().expect("a number")).collect();
            requests += 1;
            if numbers.iter().any(|number| at_fault.contains(number)) {
                lost += queue.refused(batch);
            } else {
                queue.accepted(batch.len());
                accepted.extend(numbers);
            }
        }
        assert_eq!((queue.values(), queue.suspects), (0, 0));
        (requests, accepted, lost)
    }

    #[test]
    fn one_datum_at_fault_is_lost_alone() {
        let (requests, accepted, lost) = sent(queue(1000), &[617]);

        assert_eq!((accepted.len(), lost), (999, 1));
        assert!(requests <= 30, "{requests} requests");
    }

    #[test]
    fn a_batch_of_which_nothing_is_accepted_is_given_up() {
        let all: Vec<usize> = (0..2000).collect();

        let (requests, accepted, lost) = sent(queue(2000), &all);

        assert_eq!((accepted.len(), lost), (0, 2000));
        assert!(requests <= 100, "{requests} requests");
    }

    #[test]
    fn a_batch_that_was_not_sent_comes_first_again() {
        let mut queue = queue(1500);
        let batch = queue.take_batch();
        assert_eq!((batch.len(), queue.len(), queue.values()), (1000, 500, 500));

        queue.put_back(batch);
        queue.drop_first();

        assert_eq!((queue.values(), queue.take_batch()[0].name.as_str(), queue.clear()), (1499, "1", 499));
    }

    proptest! {
        #[test]
        fn few_faults_lose_nothing_else(data in 1_usize..1200, places in prop::collection::vec(any::<prop::sample::Index>(), 0..3)) {
            let mut at_fault: Vec<usize> = places.iter().map(|place| place.index(data)).collect();
            at_fault.sort_unstable();
            at_fault.dedup();
            let (_, accepted, lost) = sent(queue(data), &at_fault);
            prop_assert_eq!(lost, at_fault.len());
            prop_assert_eq!(accepted, (0..data).filter(|number| !at_fault.contains(number)).collect::<Vec<_>>());
        }
    }
}
