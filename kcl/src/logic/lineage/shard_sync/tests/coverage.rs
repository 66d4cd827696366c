//! Coverage of the hash key space.

use kpl::HashKey;
use proptest::prelude::*;

use super::*;

fn range(start: u128, end: u128) -> HashKeyRange {
    HashKeyRange { start: HashKey(start), end: HashKey(end) }
}

#[test]
fn ranges_in_any_order_with_overlaps_cover_the_space() {
    assert_eq!(find_hole([range(50, u128::MAX), range(0, 60), range(10, 20)]), None);
    assert_eq!(find_hole([HashKeyRange::FULL]), None);
}

#[test]
fn the_first_hole_is_found_at_the_start_in_the_middle_and_at_the_end() {
    assert_eq!(find_hole([]), Some(HashKeyRange::FULL));
    assert_eq!(find_hole([range(1, u128::MAX)]), Some(range(0, 0)));
    assert_eq!(find_hole([range(0, 9), range(11, u128::MAX)]), Some(range(10, 10)));
    assert_eq!(find_hole([range(0, u128::MAX - 1)]), Some(range(u128::MAX, u128::MAX)));
}

proptest! {
    #[test]
    fn cutting_the_space_leaves_no_hole_and_taking_one_piece_away_does(mut cuts in prop::collection::btree_set(1..u128::MAX, 1..20), gone: prop::sample::Index) {
        cuts.insert(0);
        let starts: Vec<u128> = cuts.into_iter().collect();
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
        let mut pieces: Vec<_> = starts.iter().copied().zip(ends).map(|(start, end)| range(start, end)).collect();
        prop_assert_eq!(find_hole(pieces.clone()), None);

        let taken = pieces.remove(gone.index(pieces.len()));
        prop_assert_eq!(find_hole(pieces), Some(taken));
    }
}
