//! The end of a shard: leases for its children, the processor's last word, and SHARD_END in its own lease.

use std::sync::Arc;

use bytes::Bytes;
use kpl::ShardId;

use super::{Interrupt, NoEnd, ShardTask, backoff};
use crate::{
    checkpointer::Checkpointer,
    contained::{Contained, Outcome, contained},
    error::BoxError,
    event::Event,
    metrics::calls::timed,
    model::{Checkpoint, CheckpointWrite, ChildShard, Lease},
    processor::{ProcessorFactory, RecordProcessor, Redeliver, Unfinished},
};

/// The other parent of a merged child has no lease yet although it holds records: the child must wait for it too.
#[derive(Debug, thiserror::Error)]
#[error("child {child} cannot have a lease before its other parent {sibling} has one")]
struct SiblingMissing {
    child: ShardId,
    sibling: ShardId,
}

impl<F: ProcessorFactory> ShardTask<F> {
    /// Carries the end out, step by step; each is tried until it succeeds or the work has to stop.
    pub(super) async fn end(
        &mut self,
        mut processor: Contained<F::Processor>,
        checkpointer: &Checkpointer,
        children: &[ChildShard],
    ) -> Result<(), NoEnd> {
        let mut is_last_call_made = false;
        let metrics = Arc::clone(&self.metrics);
        let numbers = checkpointer.with_progress(|progress| progress.numbers_at(&Checkpoint::ShardEnd));
        let end = self.carry_out_end(&mut processor, (children, numbers), &mut is_last_call_made);
        match metrics.ended.counted(end).await {
            Err(NoEnd::Interrupted(interrupt)) if !is_last_call_made => {
                Err(self.say_goodbye(interrupt, processor, checkpointer).await)
            }
            other => other,
        }
    }

    /// `is_last_call_made`: `shard_ended` returned `Ok`, or did not return in time.
    async fn carry_out_end(
        &mut self,
        processor: &mut Contained<F::Processor>,
        (children, numbers): (&[ChildShard], Option<Bytes>),
        is_last_call_made: &mut bool,
    ) -> Result<(), NoEnd> {
        let mut failures = 0;
        while let Err(error) = self.create_children(children).await {
            failures += 1;
            let (stream_id, error) = (self.stream.id.clone(), crate::event::chain(error.as_ref()));
            self.context.events.emit(Event::ShardSyncFailed { stream_id, error });
            self.pause(backoff(failures)).await?;
        }
        self.tell_processor(processor, is_last_call_made).await?;
        self.store_end(children, numbers).await?;
        self.context.nudges.assign.notify_one();
        let children = children.iter().map(|child| child.id.clone()).collect();
        self.context.events.emit(Event::ShardEnded { shard: self.shard(), children });
        Ok(())
    }

    async fn create_children(&self, children: &[ChildShard]) -> Result<(), BoxError> {
        if let [only] = children
            && only.parents.len() < 2
        {
            self.metrics.missing_merge_parents.increment(1);
        }
        for child in children {
            if self.context.table.get(&self.lease.sibling_key(&child.id)).await?.is_some() {
                continue;
            }
            // In a replay the child is held back until all its parents are done.
            if self.context.settings.purpose.has_leader() {
                self.check_sibling(child).await?;
            }
            let lease = self.stream.lease(Lease {
                parents: child.parents.clone(),
                hash_key_range: Some(child.hash_key_range),
                epoch: self.lease.epoch,
                ..Lease::unowned(child.id.clone(), Checkpoint::TrimHorizon)
            });
            // A conflict: the other parent of a merge was faster.
            let _ = self.metrics.child_created(self.context.table.create(&lease)).await?;
        }
        Ok(())
    }

    /// A merged child waits for those parents that have leases, so the other parent must have one, unless it is trimmed.
    async fn check_sibling(&self, child: &ChildShard) -> Result<(), BoxError> {
        for sibling in child.parents.iter().filter(|parent| **parent != self.lease.shard_id) {
            if self.context.table.get(&self.lease.sibling_key(sibling)).await?.is_some() {
                continue;
            }
            let listed = self.stream.try_list(false).await?;
            if listed.iter().any(|shard| shard.id == *sibling) {
                self.metrics.missing_merge_parent_leases.increment(1);
                return Err(SiblingMissing { child: child.id.clone(), sibling: sibling.clone() }.into());
            }
        }
        Ok(())
    }

    async fn tell_processor(
        &self,
        processor: &mut Contained<F::Processor>,
        is_last_call_made: &mut bool,
    ) -> Result<(), NoEnd> {
        let grace = self.context.settings.shutdown_grace;
        let mut failures = 0;
        loop {
            let call = self.noticed(timed(&self.metrics.shutdown, async { processor.shard_ended().await }));
            let outcome = contained(call, self.interrupted(), grace).await;
            *is_last_call_made = matches!(outcome, Outcome::Returned(()) | Outcome::Abandoned);
            match outcome {
                Outcome::Returned(()) => return Ok(()),
                Outcome::Abandoned => return Err(self.interrupted().await.into()),
                // Records were given to the application and will not be confirmed: they must be delivered again.
                Outcome::Failed(error) if error.is::<Unfinished>() || error.is::<Redeliver>() => {
                    return Err(error.into());
                }
                Outcome::Failed(error) => {
                    failures += 1;
                    let pause = backoff(failures);
                    self.report_failure(&error, Some(pause));
                    self.note_failures(failures);
                    self.pause(pause).await?;
                }
            }
        }
    }

    async fn store_end(&self, children: &[ChildShard], numbers: Option<Bytes>) -> Result<(), Interrupt> {
        let children: Vec<ShardId> = children.iter().map(|child| child.id.clone()).collect();
        let write = CheckpointWrite::Commit { checkpoint: Checkpoint::ShardEnd, children, numbers };
        self.stored(|| self.metrics.end.counted(self.handle.checkpoint(write.clone()))).await
    }
}
