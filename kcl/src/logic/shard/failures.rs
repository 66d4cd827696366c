//! Failures of a shard's processors, and the cut of the records for the next try. Pure.
//!
//! (A) A batch that failed is tried again as it was: records before and after it come in batches of their own.
//! (B) With isolation, a batch of more than one record that fails is tried again as its first half; only single records
//!     use their attempts up. (C) Only what used its attempts up is left out, and only it.
//! (D) Failures are in a row as long as no processor gets further than all before it.

use crate::model::{Checkpoint, Position, Record};

/// Ranges left out and not checkpointed yet that are remembered; beyond it nothing more is given up.
const MAX_LEFT_OUT: usize = 1000;

/// First and last record.
pub(crate) type Range = (Position, Position);

#[derive(Debug, Clone)]
pub(crate) struct BatchSpan {
    first: Position,
    /// The last of the first half.
    middle: Position,
    last: Position,
    pub(crate) records: usize,
}

impl BatchSpan {
    pub(crate) fn of(records: &[Record]) -> Option<Self> {
        let (first, last) = range(records)?;
        let middle = records.get((records.len() / 2).saturating_sub(1))?.position();
        Some(Self { first, middle, last, records: records.len() })
    }

    /// The extent of one record, which failed by itself.
    pub(crate) fn single(position: Position) -> Self {
        Self { first: position.clone(), middle: position.clone(), last: position, records: 1 }
    }

    pub(crate) fn last(&self) -> &Position {
        &self.last
    }

    pub(crate) fn contains(&self, position: &Position) -> bool {
        (&self.first..=&self.last).contains(&position)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Deliver(usize),
    LeaveOut(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Retry,
    GiveUp { attempts: u32 },
}

#[derive(Debug, Clone)]
struct Suspect {
    range: Range,
    failures: u32,
    /// Ends of the wider batches that failed, the smallest last: what passes is skipped, what follows is halved.
    wider: Vec<Position>,
}

/// The failures of one shard, over all its processors on this worker.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    attempts: Option<u32>,
    isolate: bool,
    suspect: Option<Suspect>,
    /// In order, without overlaps.
    left_out: Vec<Range>,
    in_a_row: u32,
    /// Progress of the processor that came furthest.
    reached: Option<Checkpoint>,
}

impl Failures {
    /// No failures yet. `attempts` is how often a batch may fail, None for ever.
    pub(crate) fn new(attempts: Option<u32>, isolate: bool) -> Self {
        Self { attempts, isolate, suspect: None, left_out: Vec::new(), in_a_row: 0, reached: None }
    }

    /// Chooses the treatment of these records, at least one.
    pub(crate) fn next(&self, records: &[Record]) -> Piece {
        if self.suspect.is_none() && self.left_out.is_empty() {
            return Piece::Deliver(records.len());
        }
        let Some(first) = records.first().map(Record::position) else { return Piece::Deliver(0) };
        let up_to = |last: &Position| records.partition_point(|record| record.position() <= *last);
        let before = |first: &Position| records.partition_point(|record| record.position() < *first);
        let next_left_out = self.left_out.iter().find(|(_, last)| first <= *last);
        let mut count = records.len();
        if let Some((start, last)) = next_left_out {
            if *start <= first {
                return Piece::LeaveOut(up_to(last));
            }
            count = before(start);
        }
        if let Some(Suspect { range: (start, last), .. }) = &self.suspect {
            count = match first < *start {
                true => count.min(before(start)),
                false if first <= *last => count.min(up_to(last)),
                false => count,
            };
        }
        Piece::Deliver(count)
    }

    /// A processor that came this far has failed. Returns the failures in a row.
    pub(crate) fn processor_failed(&mut self, reached: &Checkpoint) -> u32 {
        let is_further = self.reached.as_ref().is_none_or(|before| reached > before);
        self.in_a_row = if is_further { 1 } else { self.in_a_row.saturating_add(1) };
        if is_further {
            self.reached = Some(reached.clone());
        }
        self.in_a_row
    }

    /// True if one more failure of these records, or of one of them, would use its attempts up.
    pub(crate) fn is_last_attempt(&self, records: &[Record]) -> bool {
        let failures = range(records).map_or(0, |range| self.failures_of(&range));
        self.attempts.is_some_and(|attempts| failures + 1 >= attempts) && self.left_out.len() < MAX_LEFT_OUT
    }

    pub(crate) fn failed(&mut self, batch: &BatchSpan) -> Verdict {
        let range = (batch.first.clone(), batch.last.clone());
        let failures = self.failures_of(&range).saturating_add(1);
        let mut wider = self.suspect.take().map(|suspect| suspect.wider).unwrap_or_default();
        if self.isolate && batch.records > 1 {
            wider.retain(|end| *end > range.1);
            wider.push(range.1);
            self.suspect = Some(Suspect { range: (range.0, batch.middle.clone()), failures: 0, wider });
            return Verdict::Retry;
        }
        self.suspect = Some(Suspect { range, failures, wider });
        match self.attempts {
            // Beyond the bound it is tried for ever rather than forgotten.
            Some(attempts) if failures >= attempts && self.left_out.len() < MAX_LEFT_OUT => {
                Verdict::GiveUp { attempts: failures }
            }
            _ => Verdict::Retry,
        }
    }

    pub(crate) fn processed(&mut self, last: &Position) {
        if self.suspect.as_ref().is_some_and(|suspect| suspect.range.1 <= *last) {
            self.widen(last);
        }
    }

    /// Nothing is suspected up to here: the rest of the batch that failed before is.
    fn widen(&mut self, last: &Position) {
        let Some(Suspect { mut wider, .. }) = self.suspect.take() else { return };
        wider.retain(|end| end > last);
        if let Some(end) = wider.pop() {
            self.suspect = Some(Suspect { range: (last.clone(), end), failures: 0, wider });
        }
    }

    pub(crate) fn leave_out(&mut self, range: Range) {
        self.widen(&range.1);
        let at = self.left_out.partition_point(|(first, _)| *first < range.0);
        self.left_out.insert(at, range);
        self.in_a_row = 0;
    }

    /// Forgets what the checkpoint covers, as it is not delivered again.
    pub(crate) fn checkpointed(&mut self, checkpoint: &Checkpoint) {
        self.left_out.retain(|(_, last)| Checkpoint::At(last.clone()) > *checkpoint);
        if let Checkpoint::At(position) = checkpoint {
            self.processed(position);
        }
    }

    fn failures_of(&self, range: &Range) -> u32 {
        self.suspect.as_ref().filter(|suspect| suspect.range == *range).map_or(0, |suspect| suspect.failures)
    }
}

pub(crate) fn range(records: &[Record]) -> Option<Range> {
    Some((records.first()?.position(), records.last()?.position()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(range: std::ops::Range<u32>) -> Vec<Record> {
        range.map(|n| Record::new("key", "", (n + 1).to_string().parse().unwrap())).collect()
    }

    fn batch(records: &[Record]) -> BatchSpan {
        BatchSpan::of(records).unwrap()
    }

    #[test]
    fn a_batch_that_failed_is_tried_again_as_it_was() {
        let mut failures = Failures::new(Some(3), false);
        assert_eq!(failures.failed(&batch(&records(10..20))), Verdict::Retry);

        let all = records(0..30);

        assert_eq!(failures.next(&all), Piece::Deliver(10));
        assert_eq!(failures.next(&all[10..]), Piece::Deliver(10));
        assert_eq!(failures.failed(&batch(&all[10..20])), Verdict::Retry);
        assert!(failures.is_last_attempt(&all[10..20]));
        assert_eq!(failures.failed(&batch(&all[10..20])), Verdict::GiveUp { attempts: 3 });
        failures.leave_out(range(&all[10..20]).unwrap());
        assert_eq!(failures.next(&all), Piece::Deliver(10));
        assert_eq!(failures.next(&all[10..]), Piece::LeaveOut(10));
        assert_eq!(failures.next(&all[20..]), Piece::Deliver(10));
    }

    #[test]
    fn forgets_records_that_a_checkpoint_covers() {
        let mut failures = Failures::new(Some(1), false);
        let all = records(0..30);
        failures.leave_out(range(&all[10..20]).unwrap());

        failures.checkpointed(&Checkpoint::At(all[18].position()));
        assert_eq!(failures.next(&all[10..]), Piece::LeaveOut(10));
        failures.checkpointed(&Checkpoint::At(all[19].position()));
        assert_eq!(failures.next(&all[10..]), Piece::Deliver(20));
    }

    #[test]
    fn gives_nothing_up_without_a_limit() {
        let mut failures = Failures::new(None, true);

        for _ in 0..1000 {
            assert_eq!(failures.failed(&batch(&records(0..1))), Verdict::Retry);
        }
        assert!(!failures.is_last_attempt(&records(0..1)));
    }

    #[test]
    fn grows_no_failed_batch_without_a_limit() {
        let mut failures = Failures::new(None, false);
        let all = records(0..30);
        failures.failed(&batch(&all[10..20]));

        assert_eq!(failures.next(&all), Piece::Deliver(10));
        assert_eq!(failures.next(&all[10..]), Piece::Deliver(10));
    }

    #[test]
    fn a_checkpoint_within_a_batch_that_failed_leaves_its_rest_suspected() {
        let mut failures = Failures::new(Some(9), true);
        let all = records(0..32);
        failures.failed(&batch(&all[0..16]));

        failures.checkpointed(&Checkpoint::At(all[9].position()));

        assert_eq!(failures.next(&all[10..]), Piece::Deliver(6));
    }

    #[test]
    fn failures_are_in_a_row_until_a_processor_gets_further() {
        let mut failures = Failures::new(Some(1), false);
        let reached = |number: u32| Checkpoint::At(records(number..number + 1)[0].position());

        let counts = [3, 3, 3, 2, 4, 4].map(|number| failures.processor_failed(&reached(number)));
        assert_eq!(counts, [1, 2, 3, 4, 1, 2]);

        failures.leave_out(range(&records(5..6)).unwrap());
        assert_eq!(failures.processor_failed(&reached(4)), 1);
    }

    /// Delivers all records with a processor that fails at `poison`, starting over after each failure. Returns how often
    /// each record was processed, which were given up, and the number of failures.
    fn run(failures: &mut Failures, all: &[Record], poison: &[bool]) -> (Vec<u32>, Vec<usize>, u32) {
        let (mut processed, mut given_up, mut count) = (vec![0; all.len()], Vec::new(), 0);
        'restart: loop {
            let mut at = 0;
            while at < all.len() {
                match failures.next(&all[at..]) {
                    Piece::LeaveOut(n) => at += n,
                    Piece::Deliver(n) if poison[at..at + n].contains(&true) => {
                        count += 1;
                        assert!(count < 10_000, "no end");
                        if let Verdict::GiveUp { .. } = failures.failed(&batch(&all[at..at + n])) {
                            given_up.extend(at..at + n);
                            failures.leave_out(range(&all[at..at + n]).unwrap());
                        }
                        continue 'restart;
                    }
                    Piece::Deliver(n) => {
                        processed[at..at + n].iter_mut().for_each(|times| *times += 1);
                        at += n;
                        failures.processed(&all[at - 1].position());
                    }
                }
            }
            return (processed, given_up, count);
        }
    }

    proptest! {
        #[test]
        fn isolation_gives_exactly_the_poison_up(poison in prop::collection::vec(prop::bool::weighted(0.1), 1..60), attempts in 1_u32..4) {
            let all = records(0..u32::try_from(poison.len()).unwrap());
            let mut failures = Failures::new(Some(attempts), true);

            let (processed, given_up, count) = run(&mut failures, &all, &poison);

            let expected: Vec<usize> = (0..poison.len()).filter(|at| poison[*at]).collect();
            for (at, times) in processed.iter().enumerate() {
                prop_assert_eq!(*times > 0, !poison[at], "record {}", at);
            }
            prop_assert_eq!(&given_up, &expected);
            let halvings = 8 * u32::try_from(expected.len()).unwrap();
            prop_assert!(count <= halvings + attempts * u32::try_from(expected.len()).unwrap(), "{} failures", count);
        }

        #[test]
        fn processes_or_gives_up_records_with_their_batch_without_isolation(poison in prop::collection::vec(prop::bool::weighted(0.1), 1..60), attempts in 1_u32..4) {
            let all = records(0..u32::try_from(poison.len()).unwrap());
            let mut failures = Failures::new(Some(attempts), false);

            let (processed, given_up, _) = run(&mut failures, &all, &poison);

            for (at, times) in processed.iter().enumerate() {
                prop_assert_eq!(*times > 0, !given_up.contains(&at));
            }
        }
    }
}
