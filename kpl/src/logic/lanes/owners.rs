//! Lookup of the lane that owns a hash key, in constant time for any number of lanes.

use crate::hash_key::HashKey;

/// Maximum number of leading bits that are looked up.
const MAX_BITS: u32 = 14;

/// Last hash keys of lanes that stand in order and cover every hash key.
pub(crate) struct Owners {
    ends: Vec<HashKey>,
    /// By leading bits: the first lane that owns a hash key with them; at the end, the last lane.
    starts: Vec<u32>,
    bits: u32,
}

impl Owners {
    pub(crate) fn new(ends: Vec<HashKey>) -> Self {
        // Twice as many starts as lanes: most lead straight to the owner.
        let bits = (ends.len().next_power_of_two().ilog2() + 1).min(MAX_BITS);
        let min = |first_bits: u32| HashKey(u128::from(first_bits) << (128 - bits));
        let start = |first_bits| ends.partition_point(|end| *end < min(first_bits)) as u32;
        let mut starts: Vec<u32> = (0..1 << bits).map(start).collect();
        starts.push(ends.len().saturating_sub(1) as u32);
        Self { ends, starts, bits }
    }

    pub(crate) fn index_of(&self, key: HashKey) -> usize {
        let first_bits = (key.0 >> (128 - self.bits)) as usize;
        let (first, last) = (self.starts[first_bits] as usize, self.starts[first_bits + 1] as usize);
        first + self.ends[first..last].partition_point(|end| *end < key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_owner_is_the_first_lane_that_ends_at_the_key_or_behind(
            ends in prop::collection::btree_set(prop_oneof![any::<u128>(), 0..50_u128, (u128::MAX - 50)..u128::MAX], 0..60),
            keys in prop::collection::vec(any::<u128>(), 50),
        ) {
            let ends: Vec<HashKey> = ends.into_iter().filter(|end| *end < u128::MAX).chain([u128::MAX]).map(HashKey).collect();
            let owners = Owners::new(ends.clone());
            let around = ends.iter().flat_map(|end| [end.0.saturating_sub(1), end.0, end.0.saturating_add(1)]);

            for key in keys.into_iter().chain(around).map(HashKey) {
                let owner = owners.index_of(key);
                prop_assert!(key <= ends[owner] && (owner == 0 || ends[owner - 1] < key));
            }
        }
    }
}
