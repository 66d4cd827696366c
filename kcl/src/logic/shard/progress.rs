//! Progress of a shard's processor: the bounds of its checkpoints. Pure.
//!
//! (A) A checkpoint never moves back. (B) It never goes beyond what was handed to the processor.
//! (C) What is handed out lies after the checkpoint and after everything handed out before.
//! (D) The worker's own checkpoint covers only what is processed, and ends no prepared checkpoint of what is not.

use std::mem;

use bytes::Bytes;

use super::copies::{Copies, Numbers, Sifted};
use crate::model::{Checkpoint, CheckpointWrite, Position, Record};

#[derive(Debug, Clone)]
pub(crate) struct Progress {
    stored: Checkpoint,
    delivered: Option<Position>,
    /// Everything handed out up to here is processed.
    processed: Option<Position>,
    /// Records processed since [`take_fresh`](Self::take_fresh) was last called.
    fresh: usize,
    /// The furthest checkpoint that was prepared, or may have been.
    prepared: Option<Position>,
    /// `None`: copies are delivered.
    copies: Option<Box<Copies>>,
}

/// A position outside of what may be checkpointed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutOfRange {
    pub(crate) stored: Checkpoint,
    pub(crate) delivered: Option<Position>,
}

impl Progress {
    pub(crate) fn starting_at(stored: Checkpoint) -> Self {
        Self { stored, delivered: None, processed: None, fresh: 0, prepared: None, copies: None }
    }

    /// Leaves out copies, of what was `delivered` before, too.
    pub(crate) fn without_copies(self, delivered: Numbers) -> Self {
        Self { copies: Some(Box::new(Copies::after(delivered))), ..self }
    }

    /// Removes copies from records that will be handed out next. Returns the position of the last record, if it is removed.
    pub(crate) fn sift(&mut self, records: &mut Vec<Record>) -> (Sifted, Option<Position>) {
        let Some(copies) = &mut self.copies else { return Default::default() };
        let Some(end) = records.last().map(Record::position) else { return Default::default() };
        let sifted = copies.sift(records);
        (sifted, Some(end).filter(|end| records.last().map(Record::position).as_ref() != Some(end)))
    }

    /// Notes a record that was processed before, if it lies behind the checkpoint: the processor's sink says so.
    pub(crate) fn was_processed(&mut self, record: &Record) {
        let position = record.position();
        if let (Some(copies), Some(number)) = (&mut self.copies, record.number())
            && Checkpoint::At(position.clone()) > self.stored
        {
            copies.delivered(&position, number);
        }
    }

    /// The write of a checkpoint.
    pub(crate) fn commit(&self, checkpoint: Checkpoint) -> CheckpointWrite {
        let numbers = self.numbers_at(&checkpoint);
        CheckpointWrite::Commit { checkpoint, children: Vec::new(), numbers }
    }

    /// Numbers that are kept with a checkpoint to recognise copies.
    pub(crate) fn numbers_at(&self, checkpoint: &Checkpoint) -> Option<Bytes> {
        self.copies.as_ref().map(|copies| copies.at(checkpoint).write(checkpoint).into())
    }

    pub(crate) fn stored(&self) -> &Checkpoint {
        &self.stored
    }

    /// True if this position comes after everything handed out or checkpointed, so that it is still to be delivered.
    pub(crate) fn is_new(&self, position: &Position) -> bool {
        let after_stored = match &self.stored {
            Checkpoint::At(stored) => position > stored,
            Checkpoint::ShardEnd => false,
            _ => true,
        };
        after_stored && self.delivered.as_ref().is_none_or(|delivered| position > delivered)
    }

    pub(crate) fn deliver(&mut self, position: Position) {
        debug_assert!(self.is_new(&position), "records are handed out in order");
        self.delivered = Some(position);
    }

    /// Everything up to `position` was processed before, whatever the lease's checkpoint says.
    pub(crate) fn resume_after(&mut self, position: Position) {
        self.deliver(position.clone());
        self.processed(&position, 0);
    }

    /// Everything handed out up to `position` is processed: `records` more than before.
    pub(crate) fn processed(&mut self, position: &Position, records: usize) {
        debug_assert!(self.delivered.as_ref() >= Some(position), "what is processed was handed out");
        if self.processed.as_ref() < Some(position) {
            self.processed = Some(position.clone());
            self.fresh += records;
        }
    }

    /// Number of records processed since the last call.
    pub(crate) fn take_fresh(&mut self) -> usize {
        mem::take(&mut self.fresh)
    }

    /// Progress of the processing, checkpointed or not.
    pub(crate) fn reached(&self) -> Checkpoint {
        self.processed
            .clone()
            .map_or(self.stored.clone(), |processed| Checkpoint::At(processed).max(self.stored.clone()))
    }

    /// Position of the worker's own checkpoint; None if there is nothing to store.
    pub(crate) fn own(&self) -> Option<Position> {
        let position = self.everything(Some(self.processed.as_ref()?))?;
        (self.prepared <= self.processed).then_some(position)
    }

    /// A checkpoint at `position` is about to be prepared.
    pub(crate) fn prepare(&mut self, position: Position) {
        self.prepared = self.prepared.take().max(Some(position));
    }

    /// Position of a checkpoint of everything handed out, or seen up to `limit`; None if that is stored already.
    pub(crate) fn everything(&self, limit: Option<&Position>) -> Option<Position> {
        let position =
            self.delivered.as_ref().map(|delivered| limit.map_or(delivered, |limit| limit.min(delivered)))?;
        (Checkpoint::At(position.clone()) > self.stored).then(|| position.clone())
    }

    /// Checks a checkpoint at `position`; None if it is stored already.
    pub(crate) fn at(&self, position: &Position) -> Result<Option<Position>, OutOfRange> {
        let out_of_range = || OutOfRange { stored: self.stored.clone(), delivered: self.delivered.clone() };
        let requested = Checkpoint::At(position.clone());
        if requested == self.stored {
            return Ok(None);
        }
        let delivered = self.delivered.as_ref().ok_or_else(out_of_range)?;
        if requested < self.stored || position > delivered {
            return Err(out_of_range());
        }
        Ok(Some(position.clone()))
    }

    pub(crate) fn stored_at(&mut self, checkpoint: Checkpoint) {
        if checkpoint > self.stored {
            if let Some(copies) = &mut self.copies {
                copies.stored_at(&checkpoint);
            }
            self.stored = checkpoint;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(sequence_number: u32, sub_sequence_number: u64) -> Position {
        Position { sequence_number: sequence_number.to_string().parse().unwrap(), sub_sequence_number }
    }

    fn delivered(stored: Checkpoint, up_to: Position) -> Progress {
        let mut progress = Progress::starting_at(stored);
        progress.deliver(up_to);
        progress
    }

    #[test]
    fn a_checkpoint_in_the_middle_of_an_aggregate_lets_its_tail_through() {
        let progress = Progress::starting_at(Checkpoint::At(at(100, 3)));

        assert!(!progress.is_new(&at(100, 3)));
        assert!(progress.is_new(&at(100, 4)));
    }

    #[test]
    fn nothing_is_written_before_anything_was_delivered() {
        assert_eq!(Progress::starting_at(Checkpoint::TrimHorizon).everything(None), None);
    }

    #[test]
    fn a_position_beyond_what_was_delivered_is_refused() {
        let progress = delivered(Checkpoint::TrimHorizon, at(100, 3));

        assert_eq!(progress.at(&at(100, 3)), Ok(Some(at(100, 3))));
        assert!(progress.at(&at(100, 4)).is_err());
        assert!(Progress::starting_at(Checkpoint::TrimHorizon).at(&at(1, 0)).is_err());
    }

    #[test]
    fn refuses_a_position_before_the_stored_one_which_is_done_already() {
        let progress = delivered(Checkpoint::At(at(50, 0)), at(100, 0));

        assert!(progress.at(&at(49, 9)).is_err());
        assert_eq!(progress.at(&at(50, 0)), Ok(None));
    }

    #[test]
    fn a_limit_holds_a_checkpoint_of_everything_back() {
        let progress = delivered(Checkpoint::At(at(50, 0)), at(100, 0));

        assert_eq!(progress.everything(None), Some(at(100, 0)));
        assert_eq!(progress.everything(Some(&at(70, 0))), Some(at(70, 0)));
        assert_eq!(progress.everything(Some(&at(50, 0))), None, "stored already");
    }

    #[test]
    fn covers_processed_records_and_ends_no_prepared_checkpoint_beyond_them() {
        let mut progress = delivered(Checkpoint::At(at(50, 0)), at(100, 0));
        assert_eq!(progress.own(), None);

        progress.processed(&at(70, 0), 20);
        progress.processed(&at(60, 0), 10);
        assert_eq!((progress.own(), progress.take_fresh(), progress.take_fresh()), (Some(at(70, 0)), 20, 0));

        progress.prepare(at(80, 0));
        assert_eq!(progress.own(), None);
        progress.processed(&at(100, 0), 30);
        assert_eq!(progress.own(), Some(at(100, 0)));
        progress.stored_at(Checkpoint::At(at(100, 0)));
        assert_eq!(progress.own(), None);
    }

    proptest! {
        #[test]
        fn a_checkpoint_never_moves_back_nor_beyond_what_was_delivered(steps in prop::collection::vec((1_u32..20, 0_u64..3, any::<bool>()), 1..60)) {
            let mut progress = Progress::starting_at(Checkpoint::TrimHorizon);
            let mut highest = None;
            for (sequence_number, sub, deliver) in steps {
                let position = at(sequence_number, sub);
                let before = progress.stored().clone();
                if deliver {
                    if progress.is_new(&position) {
                        highest = Some(position.clone());
                        progress.deliver(position);
                    }
                } else if let Ok(Some(write)) = progress.at(&position) {
                    progress.stored_at(Checkpoint::At(write));
                }
                prop_assert!(*progress.stored() >= before);
                if let Checkpoint::At(stored) = progress.stored() {
                    prop_assert!(Some(stored) <= highest.as_ref());
                }
            }
        }
    }
}
