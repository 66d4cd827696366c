//! The record processor of a shard: its child.

use kcl::{BoxError, Checkpointer, RecordBatch, RecordProcessor, Redeliver, ShardContext};
use tracing::{debug, info};

use crate::{
    child::{Answer, Child, ChildError, Launcher, store::Store},
    wire::Action,
};

/// Drives the child of one shard. A failure of the child is one of the processor: what is not checkpointed is delivered
/// again, to another child.
#[derive(Debug)]
pub(crate) struct Processor {
    launcher: Launcher,
    shard_id: String,
    child: Option<Child>,
    has_had_records: bool,
    /// Kept for the end of the shard, where there is none.
    store: Option<Store>,
}

impl Processor {
    pub(crate) fn new(launcher: Launcher, shard: &ShardContext) -> Self {
        Self { launcher, shard_id: shard.shard_id.to_string(), child: None, has_had_records: false, store: None }
    }

    /// The child; an error if it ended while nothing was asked of it, which is no record's fault.
    fn child(&self) -> Result<&Child, Redeliver> {
        let lost = |error: &ChildError| Redeliver(error.clone().into());
        let Some(child) = &self.child else { return Err(Redeliver("no child was started".into())) };
        child.end().map_or(Ok(child), |end| Err(lost(end)))
    }

    async fn finish(&self, action: Action, store: Option<Store>) -> Result<Answer, Redeliver> {
        self.child()?.finish(action, store).await.map_err(|error| Redeliver(error.into()))
    }
}

impl RecordProcessor for Processor {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        let child = self.launcher.start(&self.shard_id).await?;
        let child = self.child.insert(child);
        child.initialize(&self.shard_id, &shard.checkpoint).await?;
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if !std::mem::replace(&mut self.has_had_records, true) {
            info!(shard_id = self.shard_id, records = batch.records.len(), "first records of a child");
        }
        let store = self.store.insert(Store::Lease(checkpointer.clone())).clone();
        self.child()?.process(batch, store).await?;
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        let answer = self.finish(Action::ShardEnded, self.store.clone()).await?;
        if answer.is_end_covered { Ok(()) } else { Err(ChildError::EndNotCheckpointed.into()) }
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.finish(Action::ShutdownRequested, Some(Store::Lease(checkpointer.clone()))).await?;
        self.lease_lost().await;
        Ok(())
    }

    async fn lease_lost(&mut self) {
        if let Err(error) = self.finish(Action::LeaseLost, None).await {
            debug!(shard_id = self.shard_id, error = %error.0, "child was not told that the lease is lost");
        }
    }
}
