use std::collections::HashSet;

use super::*;

impl<T: Detach> Stripes<T> {
    pub(crate) fn taking(&self) -> usize {
        self.newest.stripes.len()
    }

    pub(crate) fn limit(&mut self, max: usize) {
        self.packing.max_stripes = max;
    }
}

#[test]
fn keys_that_differ_in_few_bits_are_spread_over_the_stripes() {
    for shift in [0, 20, 40, 63, 64, 80, 100, 120] {
        for generation in [1, 2] {
            let mut counts = [0; 8];
            (0..256_u128).for_each(|n| counts[(mix(HashKey(n << shift), generation) & 7) as usize] += 1);
            assert!(counts.iter().all(|count| (12..64).contains(count)), "{counts:?} of keys shifted by {shift}");
        }
    }
}

#[test]
fn keys_that_share_a_stripe_are_parted_in_another_generation() {
    let of =
        |generation| (0..1000_u128).filter(|n| mix(HashKey(n << 100), generation) & 7 == 0).collect::<HashSet<_>>();
    let (one, other) = (of(1), of(2));
    assert!(one.intersection(&other).count() < one.len() / 2);
}
