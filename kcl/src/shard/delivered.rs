//! Numbers of records that were delivered before a processor begins: by earlier ones of its shard, and of the parents.

use super::{Interrupt, PARENT_POLL, ShardTask};
use crate::{
    logic::shard::{Numbers, Progress},
    model::{Checkpoint, Copies},
    processor::ProcessorFactory,
};

impl<F: ProcessorFactory> ShardTask<F> {
    /// Takes over what the parents, which are processed to their ends, keep in their leases: nothing if this shard was reset since,
    /// for then its records are wanted again, whoever delivered them.
    pub(super) async fn inherit(&mut self) -> Result<(), Interrupt> {
        if self.context.settings.copies == Copies::Deliver || self.own_numbers().is_some() {
            return Ok(());
        }
        let mut looks = 0;
        for parent in self.lease.parents.clone() {
            let key = self.lease.sibling_key(&parent);
            let lease = loop {
                match self.context.reported(self.context.table.get(&key).await) {
                    Some(lease) => break lease,
                    None => looks += 1,
                }
                self.pause(PARENT_POLL.ceiling(looks)).await?;
            };
            let lease = lease.filter(|lease| lease.epoch >= self.lease.epoch);
            let numbers = lease.and_then(|lease| Numbers::read(lease.numbers.as_deref()?, &lease.checkpoint));
            self.inherited.add_all(&numbers.unwrap_or_else(Numbers::unknown));
        }
        Ok(())
    }

    /// Numbers of what was delivered at or before the lease's checkpoint. `None`: copies are delivered.
    pub(super) fn delivered_numbers(&self) -> Option<Numbers> {
        if self.context.settings.copies == Copies::Deliver {
            return None;
        }
        let checkpoint = &self.lease.checkpoint;
        Some(self.own_numbers().unwrap_or_else(|| {
            let mut numbers = self.inherited.clone();
            if let Checkpoint::At(_) | Checkpoint::ShardEnd = checkpoint {
                numbers.add_all(&Numbers::unknown());
            }
            numbers
        }))
    }

    /// Numbers that the lease keeps for its checkpoint.
    fn own_numbers(&self) -> Option<Numbers> {
        Numbers::read(self.lease.numbers.as_deref()?, &self.lease.checkpoint)
    }

    pub(super) fn progress(&self) -> Progress {
        let progress = Progress::starting_at(self.lease.checkpoint.clone());
        match self.delivered_numbers() {
            Some(numbers) => progress.without_copies(numbers),
            None => progress,
        }
    }
}
