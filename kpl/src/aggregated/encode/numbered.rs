//! Numbered records of an aggregate: the number of the first of each run is written, as a tag.

use super::{Aggregate, user_records};
use crate::{
    record::UserRecord,
    record_number::{RecordNumber, TEXT_LEN},
};

/// The number of a record that is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbering {
    Without,
    /// It gets its number once the aggregate is complete.
    Fresh,
    Known(RecordNumber),
}

/// State that the records so far leave to the next one.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbered {
    run: Run,
    fresh: Vec<Fresh>,
}

/// The run that the last record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Run {
    #[default]
    None,
    Fresh,
    /// The number of a next record.
    Known(Option<RecordNumber>),
}

/// A run that gets its numbers later.
#[derive(Debug, Clone)]
struct Fresh {
    /// Place of the first number in the records' fields.
    at: usize,
    records: u64,
}

impl Numbered {
    pub(super) fn clear(&mut self) {
        self.run = Run::None;
        self.fresh.clear();
    }

    /// Value of the tag that a record needs, unless it goes on with the run.
    pub(super) fn value(&self, numbering: Numbering) -> Option<Vec<u8>> {
        match (numbering, self.run) {
            (Numbering::Without, Run::None) | (Numbering::Fresh, Run::Fresh) => None,
            (Numbering::Known(number), Run::Known(next)) if next == Some(number) => None,
            (Numbering::Without, _) => Some(Vec::new()),
            (Numbering::Fresh, _) => Some(vec![b'0'; TEXT_LEN]),
            (Numbering::Known(number), _) => Some(number.text().to_vec()),
        }
    }

    /// Notes a record whose fields end at `end`, with the value of its tag.
    fn pushed(&mut self, numbering: Numbering, is_tagged: bool, end: usize) {
        match self.fresh.last_mut() {
            Some(fresh) if numbering == Numbering::Fresh && !is_tagged => fresh.records += 1,
            _ if numbering == Numbering::Fresh => self.fresh.push(Fresh { at: end - TEXT_LEN, records: 1 }),
            _ => {}
        }
        self.run = match numbering {
            Numbering::Without => Run::None,
            Numbering::Fresh => Run::Fresh,
            Numbering::Known(number) => Run::Known(number.after(1)),
        };
    }
}

impl Aggregate {
    /// Pushes `record` behind the others with a number, by which consumers recognise it if it is written again. Written is the
    /// number of the first record of each run of successive ones.
    pub fn push_numbered(&mut self, record: impl AsRef<UserRecord>, number: RecordNumber) {
        self.try_push_numbered(record.as_ref(), Numbering::Known(number), usize::MAX);
    }

    /// As [`try_push`](Self::try_push), with a number.
    pub(crate) fn try_push_numbered(&mut self, record: &UserRecord, numbering: Numbering, max_bytes: usize) -> bool {
        let value = self.numbered.value(numbering);
        let is_pushed = self.try_push_tagged(record, value.as_deref(), max_bytes);
        if is_pushed {
            self.numbered.pushed(numbering, value.is_some(), self.records.len());
        }
        is_pushed
    }

    /// The records in the order they were pushed, decoded again, with the numbers that they have by now.
    pub(crate) fn numbered_user_records(&self) -> Vec<(UserRecord, Option<RecordNumber>)> {
        user_records(&self.without_digest().into())
    }

    /// Gives numbers to the records that wait for them: `take` returns the first of so many. No record is pushed after that.
    pub(crate) fn number(&mut self, mut take: impl FnMut(u64) -> RecordNumber) {
        for Fresh { at, records } in self.numbered.fresh.drain(..) {
            self.records[at..at + TEXT_LEN].copy_from_slice(&take(records).text());
        }
    }

    /// Returns whether the last record has a number, or will have one.
    pub(crate) fn is_numbered(&self) -> bool {
        self.numbered.run != Run::None
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use proptest::prelude::*;

    use super::*;
    use crate::aggregated::{Decoded, decode};

    fn known(series: u64, number: u64) -> RecordNumber {
        RecordNumber::new(NonZero::new(series).expect("not zero"), number)
    }

    /// The numbers read from an aggregate of records with these.
    fn read(numberings: &[Numbering]) -> (Vec<Option<RecordNumber>>, usize) {
        let mut aggregate = Aggregate::new();
        for numbering in numberings {
            assert!(aggregate.try_push_numbered(&UserRecord::new("k", "data"), *numbering, usize::MAX));
        }
        let mut next = 1000;
        aggregate.number(|count| {
            next += count;
            known(9, next - count)
        });
        let Decoded::Aggregate(records) = decode(&aggregate.encode()) else { panic!("an aggregate") };
        (records.iter().map(|record| record.number).collect(), aggregate.size_bytes())
    }

    #[test]
    fn a_run_of_sixteen_takes_less_than_four_bytes_a_record() {
        let (numbers, with) = read(&[Numbering::Fresh; 16]);
        let (_, without) = read(&[Numbering::Without; 16]);

        assert_eq!(numbers, (1000..1016).map(|number| Some(known(9, number))).collect::<Vec<_>>());
        assert_eq!(with - without, 44);
    }

    #[test]
    fn the_last_number_of_a_series_is_followed_by_none() {
        let last = Numbering::Known(known(1, u64::MAX));
        let (numbers, _) = read(&[last, Numbering::Known(known(2, 0)), last]);

        assert_eq!(numbers, [known(1, u64::MAX), known(2, 0), known(1, u64::MAX)].map(Some));
    }

    #[test]
    fn a_record_pushed_without_number_ends_the_run() {
        let [first, second, third] = ["a", "b", "c"].map(|data| UserRecord::new("k", data));
        let mut aggregate = Aggregate::new();
        aggregate.push_numbered(&first, known(1, 0));
        let size = aggregate.size_with(&second);
        aggregate.push(&second);
        assert_eq!(aggregate.size_bytes(), size);
        aggregate.push_numbered(&third, known(1, 1));

        let Decoded::Aggregate(records) = decode(&aggregate.encode()) else { panic!("an aggregate") };

        let numbers: Vec<_> = records.into_iter().map(|record| record.number).collect();
        assert_eq!(numbers, [Some(known(1, 0)), None, Some(known(1, 1))]);
    }

    fn any_numbering() -> impl Strategy<Value = Numbering> {
        let number = (1..3_u64, 0..4_u64).prop_map(|(series, number)| Numbering::Known(known(series, number)));
        prop_oneof![Just(Numbering::Without), Just(Numbering::Fresh), number]
    }

    proptest! {
        #[test]
        fn each_record_is_read_with_its_number_whatever_its_neighbours_have(
            numberings in prop::collection::vec(any_numbering(), 1..40),
        ) {
            let mut fresh = 1000..;
            let expected: Vec<_> = numberings.iter().map(|numbering| match numbering {
                Numbering::Without => None,
                Numbering::Fresh => fresh.next().map(|number| known(9, number)),
                Numbering::Known(number) => Some(*number),
            }).collect();

            prop_assert_eq!(read(&numberings).0, expected);
        }
    }
}
