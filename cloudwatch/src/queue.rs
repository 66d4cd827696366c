//! A queue of data that wait to be sent. Pure.
//!
//! (A) It holds at most its bound; of more the oldest are lost, and counted.

use std::collections::VecDeque;

use crate::{batch, datum::Datum};

#[derive(Debug)]
pub(crate) struct Queue {
    data: VecDeque<Datum>,
    bound: usize,
}

impl Queue {
    pub(crate) fn new(bound: usize) -> Self {
        Self { data: VecDeque::new(), bound }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Adds data. Returns how many were lost for it.
    pub(crate) fn add(&mut self, data: Vec<Datum>) -> usize {
        self.data.extend(data);
        let surplus = self.data.len().saturating_sub(self.bound);
        self.data.drain(..surplus);
        surplus
    }

    /// Takes the first batch.
    pub(crate) fn take_batch(&mut self) -> Vec<Datum> {
        let count = batch::next(&self.data);
        self.data.drain(..count).collect()
    }

    /// Puts a batch back that was not sent. Returns how many were lost for it.
    pub(crate) fn put_back(&mut self, batch: Vec<Datum>) -> usize {
        for datum in batch.into_iter().rev() {
            self.data.push_front(datum);
        }
        self.add(Vec::new())
    }

    /// Drops what is left. Returns how many that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.data.drain(..).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{datum::Dimensions, stats::Stats};

    fn data(names: std::ops::Range<u32>) -> Vec<Datum> {
        let datum = |n: u32| Datum {
            namespace: "a".to_owned(),
            name: n.to_string(),
            dimensions: Dimensions::new(),
            unit: None,
            stats: Stats::of(1.0, 1.0, [1.0; 2]),
            at: None,
        };
        names.map(datum).collect()
    }

    #[test]
    fn the_oldest_are_lost_beyond_the_bound() {
        let mut queue = Queue::new(5);
        assert_eq!(queue.add(data(0..4)), 0);
        assert_eq!(queue.add(data(4..7)), 2);
        let batch = queue.take_batch();
        assert_eq!(batch.iter().map(|datum| datum.name.as_str()).collect::<Vec<_>>(), ["2", "3", "4", "5", "6"]);
        assert_eq!((queue.put_back(batch), queue.is_empty()), (0, false));
        assert_eq!(queue.add(data(7..8)), 1);
        assert_eq!((queue.take_batch()[0].name.as_str(), queue.clear()), ("3", 0));
    }
}
