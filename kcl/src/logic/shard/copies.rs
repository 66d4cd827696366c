//! Copies: records that their producer wrote again, recognised by their numbers. Pure.
//!
//! (A) A record is left out only if one with its number was delivered before, in this shard or a parent: handed out since the
//!     processor began, or before the checkpoint that it began at.
//! (B) What is kept with a checkpoint names numbers at or before it alone: what is delivered again after it is no copy.
//! (C) Memory is bounded. What falls out is delivered again if a copy of it comes.

use std::{cmp::Ordering, collections::VecDeque};

use kpl::RecordNumber;

use self::numbers::Known;
pub(crate) use self::numbers::Numbers;
use crate::model::{Checkpoint, Position, Record};

mod numbers;

/// Maximum runs that are kept one by one; older ones are kept together, and count in a checkpoint behind all of them.
const MAX_RUNS: usize = 8_192;

/// The numbers that were delivered, now and as of any checkpoint that may be stored.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    /// All of them.
    now: Numbers,
    /// Those at or before the stored checkpoint.
    stored: Numbers,
    /// Those behind it up to this position, if there were too many runs.
    joined: Option<(Position, Numbers)>,
    /// Those behind, as they were noted: in order, but for those that are read again.
    runs: VecDeque<Run>,
}

/// Records with successive positions in a Kinesis record, and successive numbers.
#[derive(Debug, Clone)]
struct Run {
    first: Position,
    number: RecordNumber,
    records: u64,
}

/// Numbers of records that were looked through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sifted {
    /// Left out as copies.
    pub(crate) copies: u64,
    /// Delivered, although they may be copies of what is not known any more.
    pub(crate) undecided: u64,
}

impl Run {
    fn goes_on_with(&self, position: &Position, number: RecordNumber) -> bool {
        let (of, next) = (&self.first, self.number.number().checked_add(self.records));
        number.series() == self.number.series()
            && Some(number.number()) == next
            && position.sub_sequence_number == of.sub_sequence_number + self.records
            && position.sequence_number == of.sequence_number
    }

    /// Number of its records up to this position.
    fn records_by(&self, position: &Position) -> u64 {
        match self.first.sequence_number.cmp(&position.sequence_number) {
            Ordering::Less => self.records,
            Ordering::Greater => 0,
            Ordering::Equal => {
                let behind = position.sub_sequence_number.saturating_add(1);
                behind.saturating_sub(self.first.sub_sequence_number).min(self.records)
            }
        }
    }

    fn add_to(&self, numbers: &mut Numbers, records: u64) {
        if let Some(further) = records.checked_sub(1) {
            numbers.add(self.number.series(), self.number.number(), self.number.number() + further);
        }
    }
}

impl Copies {
    /// Copies of a processor that goes on from a checkpoint, with the numbers `delivered` by then.
    pub(crate) fn after(delivered: Numbers) -> Self {
        Self { now: delivered.clone(), stored: delivered, joined: None, runs: VecDeque::new() }
    }

    /// Removes copies from records that are about to be handed out, in order.
    pub(crate) fn sift(&mut self, records: &mut Vec<Record>) -> Sifted {
        let mut sifted = Sifted::default();
        records.retain(|record| {
            let Some(number) = record.number else { return true };
            let known = self.now.known(number);
            match known {
                Known::Delivered => sifted.copies += 1,
                Known::Undecided => sifted.undecided += 1,
                Known::New => {}
            }
            if known != Known::Delivered {
                self.delivered(&record.position(), number);
            }
            known != Known::Delivered
        });
        sifted
    }

    /// Notes a record that is handed out, or was processed before although the checkpoint does not say so.
    pub(crate) fn delivered(&mut self, position: &Position, number: RecordNumber) {
        self.now.add(number.series(), number.number(), number.number());
        match self.runs.back_mut() {
            Some(last) if last.goes_on_with(position, number) => last.records += 1,
            _ => {
                if self.runs.len() == MAX_RUNS {
                    self.join();
                }
                self.runs.push_back(Run { first: position.clone(), number, records: 1 });
            }
        }
    }

    /// Joins the older half of the runs. They count behind the last of all, in whatever order they were noted.
    fn join(&mut self) {
        let (mut end, mut numbers) =
            self.joined.take().map_or_else(Default::default, |(end, numbers)| (Some(end), numbers));
        for run in self.runs.drain(..MAX_RUNS / 2) {
            run.add_to(&mut numbers, run.records);
            let sub_sequence_number = run.first.sub_sequence_number + run.records - 1;
            end = end.max(Some(Position { sub_sequence_number, ..run.first }));
        }
        self.joined = end.map(|end| (end, numbers));
    }

    /// The numbers at or before a checkpoint, not before the stored one.
    pub(crate) fn at(&self, checkpoint: &Checkpoint) -> Numbers {
        let position = match checkpoint {
            Checkpoint::At(position) => position,
            Checkpoint::ShardEnd => return self.now.clone(),
            _ => return Numbers::default(),
        };
        let mut numbers = self.stored.clone();
        if let Some((_, joined)) = self.joined.as_ref().filter(|(end, _)| end <= position) {
            numbers.add_all(joined);
        }
        for run in &self.runs {
            run.add_to(&mut numbers, run.records_by(position));
        }
        numbers
    }

    /// A checkpoint is stored.
    pub(crate) fn stored_at(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint::At(position) = checkpoint else { return };
        self.stored = self.at(checkpoint);
        self.joined.take_if(|(end, _)| *end <= *position);
        while self.runs.pop_front_if(|run| run.records_by(position) == run.records).is_some() {}
    }
}

#[cfg(test)]
mod tests;
