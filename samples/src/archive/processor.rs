//! The record processor of an archive.

use std::fmt;

use kcl::{
    BoxError, Checkpoint, Checkpointer, Position, RecordBatch, RecordProcessor, Redeliver, ShardContext, SinkMark,
};

use super::{Archive, chain::Chain, keeper::Keeper};

/// Archives the records of one shard, and checkpoints what is in an object. Made by [`Archive::processor`].
///
/// While the store fails, the records stay in the stream or in memory: an object that is due by its size fails its batch, which
/// is delivered again and held against no record; one that is due by its age is tried again, with a warning in the log.
pub struct ArchiveProcessor {
    archive: Archive,
    shard: ShardContext,
    /// End of the objects that the checkpoint does not know.
    found: Option<Position>,
    /// From `initialize` until the lease is lost.
    keeper: Option<Keeper>,
}

impl fmt::Debug for ArchiveProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveProcessor")
            .field("shard", &self.shard)
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

impl ArchiveProcessor {
    pub(super) fn new(archive: Archive, shard: ShardContext) -> Self {
        Self { archive, shard, found: None, keeper: None }
    }

    async fn write(&self) -> Result<(), BoxError> {
        match &self.keeper {
            Some(keeper) => keeper.write().await,
            None => Ok(()),
        }
    }
}

impl RecordProcessor for ArchiveProcessor {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        let chain = Chain::of(shard, self.archive.objects.clone(), self.archive.format.kind());
        self.found = chain.end(&shard.checkpoint).await?;
        let start = self.found.clone().map_or_else(|| shard.checkpoint.clone(), Checkpoint::At);
        self.keeper = Some(Keeper::start(self.archive.clone(), chain, start));
        Ok(())
    }

    fn sink_mark(&self) -> Option<SinkMark> {
        self.found.clone().map(|position| self.shard.mark(position))
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let keeper = self.keeper.as_ref().ok_or("the processor is not initialized")?;
        keeper.add(batch.records, checkpointer).await.map_err(redelivered)
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.write().await
    }

    async fn shutdown_requested(&mut self, _: &Checkpointer) -> Result<(), BoxError> {
        self.write().await
    }

    async fn lease_lost(&mut self) {
        self.keeper = None;
    }
}

/// The error that has records delivered again, held against none.
fn redelivered(error: BoxError) -> BoxError {
    if error.is::<Redeliver>() { error } else { Redeliver(error).into() }
}
