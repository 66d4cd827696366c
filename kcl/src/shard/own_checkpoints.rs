//! The worker's own checkpoints of one processor: when they are due, beside whatever the shard does.
//!
//! (A) At most one is under way. (B) One that was not stored is due again soon.

use std::{
    future::{Future, pending},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, FutureExt as _};
use tokio::time::sleep_until;

use crate::{
    checkpointer::Checkpointer, context::Context, error::CheckpointError, keeper::LeaseHandle, logic::shard::due::Due,
    time::now,
};

/// Pause after a checkpoint that was not stored.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct OwnCheckpoints {
    context: Arc<Context>,
    lease: LeaseHandle,
    checkpointer: Checkpointer,
    /// None: only the processor checkpoints.
    due: Option<Due>,
    not_before: Option<Instant>,
    under_way: Option<(Due, BoxFuture<'static, Result<(), CheckpointError>>)>,
}

impl OwnCheckpoints {
    pub(super) fn new(context: Arc<Context>, lease: LeaseHandle, checkpointer: Checkpointer) -> Self {
        let due = context.settings.checkpoint_every.map(Due::new);
        Self { context, lease, checkpointer, due, not_before: None, under_way: None }
    }

    /// Does `work`, and makes the checkpoints that are due meanwhile; one that is under way goes on beside the next.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                // biased: work that never waits must not keep a checkpoint from being made.
                biased;
                () = self.step() => {}
                done = &mut work => return done,
            }
        }
    }

    /// Waits for the next thing to do, and does it. Cancellation: safe, all changes are made after the last await.
    async fn step(&mut self) {
        if let Some((_, write)) = &mut self.under_way {
            let written = write.await;
            self.written(written);
            return;
        }
        let Some(due) = &mut self.due else { return pending().await };
        let at = due.at().map(|at| self.not_before.map_or(at, |not_before| at.max(not_before)));
        tokio::select! {
            records = self.checkpointer.processed_more() => due.processed(records, now()),
            () = sleep_until(at.unwrap_or_else(now).into()), if at.is_some() => {
                let (checkpointer, lease) = (self.checkpointer.clone(), self.lease.clone());
                let write = async move { checkpointer.checkpoint_processed(&lease).await };
                self.under_way = Some((due.begin(), write.boxed()));
            }
        }
    }

    fn written(&mut self, written: Result<(), CheckpointError>) {
        let (begun, due) = (self.under_way.take().map(|(begun, _)| begun), &mut self.due);
        self.not_before = written.is_err().then(|| now() + RETRY);
        if let (Err(error), Some(begun), Some(due)) = (written, begun, due) {
            due.not_stored(&begun);
            // The loss of the lease, the other reason, interrupts the work.
            if let CheckpointError::Table(error) = error {
                self.context.table_failed(&error);
            }
        }
    }
}
