use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn series(id: u64) -> NonZero<u64> {
    NonZero::new(id).expect("not zero")
}

fn number(id: u64, number: u64) -> RecordNumber {
    RecordNumber::new(series(id), number)
}

fn checkpoint(sub_sequence_number: u64) -> Checkpoint {
    // As long as those of Kinesis.
    let number = "49590338271490256608559692538361571095921575989136588898";
    Checkpoint::from_wire(number, sub_sequence_number).expect("valid")
}

#[test]
fn numbers_below_what_is_known_and_series_that_fell_out_are_undecided() {
    let mut numbers = Numbers::default();
    assert_eq!(numbers.known(number(1, 0)), Known::New);
    numbers.add(series(1), 5, 9);

    assert_eq!([4, 5, 9, 10].map(|of| numbers.known(number(1, of))), {
        [Known::Undecided, Known::Delivered, Known::Delivered, Known::New]
    });
    for other in 2..=MAX_SERIES as u64 + 1 {
        assert_eq!(numbers.known(number(other, 0)), Known::New);
        numbers.add(series(other), 0, 0);
    }
    assert_eq!(numbers.known(number(1, 5)), Known::Undecided, "used longest ago");
    assert_eq!(numbers.known(number(2, 0)), Known::Delivered);
}

#[test]
fn the_lowest_numbers_of_a_series_fall_out_first() {
    let mut numbers = Numbers::default();
    (0..=MAX_SPANS as u64).for_each(|span| numbers.add(series(1), 3 * span, 3 * span));

    assert_eq!([0, 1, 3, 4].map(|of| numbers.known(number(1, of))), {
        [Known::Undecided, Known::New, Known::Delivered, Known::New]
    });
}

#[test]
fn what_is_lower_than_the_first_number_seen_stays_undecided() {
    let mut numbers = Numbers::default();
    numbers.add(series(1), 5, 9);
    numbers.add(series(1), 2, 2);
    let mut all = Numbers::default();
    all.add_all(&numbers);

    for numbers in [numbers, all] {
        assert_eq!([1, 2, 3, 5, 10].map(|of| numbers.known(number(1, of))), {
            [Known::Undecided, Known::Delivered, Known::Undecided, Known::Delivered, Known::New]
        });
    }
}

#[test]
fn what_is_written_counts_for_its_checkpoint_alone() {
    let mut numbers = Numbers::default();
    numbers.add(series(7), 0, u64::MAX);
    let written = numbers.write(&checkpoint(3));

    let read = Numbers::read(&written, &checkpoint(3)).expect("its own");
    assert_eq!(read.known(number(7, u64::MAX)), Known::Delivered);
    for other in [checkpoint(2), Checkpoint::ShardEnd, Checkpoint::TrimHorizon] {
        assert_eq!(Numbers::read(&written, &other), None);
    }
    for len in 0..written.len() {
        let read = Numbers::read(&written[..len], &checkpoint(3));
        assert!(read.is_none_or(|read| read.rows.is_empty()), "{len} bytes");
    }
}

#[test]
fn the_series_used_last_are_kept_within_a_kilobyte() {
    let mut numbers = Numbers::default();
    (1..=500).for_each(|id| numbers.add(series(u64::MAX - id), 0, 1 << 40));

    let written = numbers.write(&checkpoint(0));

    assert!((1_000..=MAX_BYTES).contains(&written.len()), "{} bytes", written.len());
    let read = Numbers::read(&written, &checkpoint(0)).expect("its own");
    let kept = (1..=500).filter(|id| read.known(number(u64::MAX - id, 0)) == Known::Delivered).collect::<Vec<_>>();
    assert!(kept.len() > 40, "{}", kept.len());
    assert_eq!(kept.first().copied(), Some(501 - kept.len() as u64));
    assert_eq!(read.known(number(u64::MAX - 1, 0)), Known::Undecided);
}

proptest! {
    #[test]
    fn holds_what_was_added_and_nothing_else(
        added in prop::collection::vec((1..4_u64, 0..60_u64, 0..9_u64), 0..60),
        written in any::<bool>(),
    ) {
        let (mut numbers, mut expected) = (Numbers::default(), BTreeSet::new());
        for (id, first, further) in added {
            numbers.add(series(id), first, first + further);
            expected.extend((first..=first + further).map(|of| number(id, of)));
        }
        if written {
            numbers = Numbers::read(&numbers.write(&checkpoint(1)), &checkpoint(1)).expect("its own");
        }
        for (id, of) in (1..4).flat_map(|id| (0..80).map(move |of| (id, of))) {
            let is_known = numbers.known(number(id, of)) == Known::Delivered;
            prop_assert_eq!(is_known, expected.contains(&number(id, of)), "{} {}", id, of);
        }
        for row in &numbers.rows {
            prop_assert!(row.spans.is_sorted_by(|one, two| one.1 + 1 < two.0));
        }
    }

    #[test]
    fn whatever_is_written_fits_and_names_only_what_was_added(
        added in prop::collection::vec((any::<u64>(), any::<u64>(), 0..1000_u64), 0..300),
    ) {
        let mut numbers = Numbers::default();
        for (id, first, further) in &added {
            numbers.add(series(id % 90 + 1), *first, first.saturating_add(*further));
        }
        let written = numbers.write(&checkpoint(u64::MAX));
        prop_assert!(written.len() <= MAX_BYTES);
        let read = Numbers::read(&written, &checkpoint(u64::MAX)).expect("its own");
        for row in &read.rows {
            for (first, last) in &row.spans {
                for of in [*first, *last] {
                    prop_assert_eq!(numbers.known(RecordNumber::new(row.series, of)), Known::Delivered);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let own = [&[FORMAT, COMPLETE, 9][..], b"SHARD_END", &[0], &bytes].concat();
        if let Some(read) = Numbers::read(&own, &Checkpoint::ShardEnd) {
            prop_assert!(read.rows.iter().all(|row| !row.spans.is_empty()));
        }
        let _ = Numbers::read(&bytes, &Checkpoint::ShardEnd);
    }
}
