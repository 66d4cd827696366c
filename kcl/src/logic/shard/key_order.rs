//! Order of the records of a batch that are processed several at a time. Pure.
//!
//! (A) Records of one partition key are processed one after the other, in order. (B) The watermark counts the records
//! before the first one that is not done: a checkpoint there covers nothing unprocessed. (C) Older records come first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

#[derive(Debug)]
pub(crate) struct KeyOrder {
    /// The next record with the same partition key, for each record.
    next_of_key: Vec<Option<usize>>,
    done: Vec<bool>,
    watermark: usize,
    furthest: usize,
    ready: BinaryHeap<Reverse<usize>>,
}

impl KeyOrder {
    pub(crate) fn new<'a>(keys: impl Iterator<Item = &'a str>) -> Self {
        let mut last_of_key = HashMap::new();
        let (mut next_of_key, mut ready): (Vec<Option<usize>>, _) = (Vec::new(), BinaryHeap::new());
        for (at, key) in keys.enumerate() {
            next_of_key.push(None);
            match last_of_key.insert(key, at) {
                Some(before) => next_of_key[before] = Some(at),
                None => ready.push(Reverse(at)),
            }
        }
        let done = vec![false; next_of_key.len()];
        Self { next_of_key, done, watermark: 0, furthest: 0, ready }
    }

    /// A record before `limit` that may be processed now; None if all that are left wait for others.
    pub(crate) fn start(&mut self, limit: usize) -> Option<usize> {
        self.ready.peek().filter(|Reverse(at)| *at < limit)?;
        let Reverse(at) = self.ready.pop()?;
        self.furthest = self.furthest.max(at + 1);
        Some(at)
    }

    /// End of the started records: those before it that are not done are the gaps.
    pub(crate) fn furthest(&self) -> usize {
        self.furthest
    }

    pub(crate) fn done(&mut self, at: usize) {
        self.done[at] = true;
        self.ready.extend(self.next_of_key[at].map(Reverse));
        self.watermark += self.done[self.watermark..].iter().take_while(|done| **done).count();
    }

    /// Number of records processed from the first on.
    pub(crate) fn watermark(&self) -> usize {
        self.watermark
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_the_order_of_a_key_and_a_watermark_of_what_is_done(
            keys in prop::collection::vec("[a-d]", 0..40),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 40),
            concurrency in 1_usize..6,
        ) {
            let mut window = KeyOrder::new(keys.iter().map(String::as_str));
            let (mut running, mut done) = (Vec::new(), Vec::new());
            for choice in &choices {
                while running.len() < concurrency && let Some(at) = window.start(keys.len()) {
                    prop_assert!(!running.iter().any(|other: &usize| keys[*other] == keys[at]), "same key twice");
                    running.push(at);
                }
                if running.is_empty() {
                    break;
                }
                let at = running.swap_remove(choice.index(running.len()));
                window.done(at);
                done.push(at);
                prop_assert!((0..window.watermark()).all(|at| done.contains(&at)));
                prop_assert!(!done.contains(&window.watermark()));
            }

            prop_assert_eq!(done.len(), keys.len());
            prop_assert_eq!(window.watermark(), keys.len());
            for key in ["a", "b", "c", "d"] {
                let of_key: Vec<_> = done.iter().filter(|at| keys[**at] == key).collect();
                prop_assert!(of_key.is_sorted());
            }
        }
    }

    #[test]
    fn the_gaps_are_filled_without_going_further() {
        let mut window = KeyOrder::new(["a", "a", "b", "a", "c", "d"].into_iter());
        assert_eq!([(); 3].map(|()| window.start(6)), [Some(0), Some(2), Some(4)]);
        let furthest = window.furthest();
        for at in [2, 4] {
            window.done(at);
            assert_eq!(window.start(furthest), None);
        }

        for (at, next) in [(0, Some(1)), (1, Some(3)), (3, None)] {
            window.done(at);
            assert_eq!(window.start(furthest), next);
        }

        assert_eq!((window.watermark(), furthest), (5, 5));
    }

    #[test]
    fn one_at_a_time_is_in_order() {
        let mut window = KeyOrder::new(["a", "b", "a", "b"].into_iter());
        let mut order = Vec::new();
        while let Some(at) = window.start(4) {
            order.push(at);
            window.done(at);
        }
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
