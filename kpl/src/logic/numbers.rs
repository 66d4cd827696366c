//! Numbers of the records of one stripe. Pure.
//!
//! - (A) No number is given twice: a series belongs to one stripe, and counts up.
//! - (B) A record has its number from the first request that it is in, whatever becomes of it. Until then it may get another one.

use std::num::NonZero;

use crate::record_number::RecordNumber;

/// Bits of a series that tell apart stripes of a generation, and generations of a lane.
const STRIPE_BITS: u32 = 3;
const GENERATION_BITS: u32 = 32;

/// The series of a lane, one for each of its stripes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series(u64);

/// The numbers of a stripe that are not given yet. No clone: each number is given once.
#[derive(Debug)]
pub(crate) struct Numbers {
    next: RecordNumber,
}

impl Series {
    /// Those of lane `number`, of a producer whose series begin at `first`.
    pub(crate) fn of_lane(first: u64, number: u64) -> Self {
        Self(first.wrapping_add(number << (STRIPE_BITS + GENERATION_BITS)))
    }

    /// The numbers of a stripe, which must be asked for once.
    pub(crate) fn numbers(self, generation: u32, stripe: usize) -> Numbers {
        let series = self.0.wrapping_add(u64::from(generation) << STRIPE_BITS).wrapping_add(stripe as u64);
        Numbers { next: RecordNumber::new(NonZero::new(series).unwrap_or(NonZero::<u64>::MAX), 0) }
    }
}

impl Numbers {
    /// The first of `count` numbers.
    pub(crate) fn take(&mut self, count: u64) -> RecordNumber {
        let first = self.next;
        self.next = RecordNumber::new(first.series(), first.number() + count);
        first
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn series_of_all_stripes_differ() {
        let mut seen = HashSet::new();
        for lane in 1..20 {
            for generation in [0, 1, 2, u32::MAX] {
                for stripe in 0..8 {
                    let series = Series::of_lane(u64::MAX - 77, lane).numbers(generation, stripe).take(1).series();
                    assert!(seen.insert(series), "{lane} {generation} {stripe}");
                }
            }
        }
    }

    #[test]
    fn each_number_is_given_once() {
        let mut numbers = Series::of_lane(7, 1).numbers(0, 0);
        assert_eq!([3, 1, 2].map(|count| numbers.take(count).number()), [0, 3, 4]);
    }
}
