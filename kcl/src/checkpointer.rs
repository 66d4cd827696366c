//! How a processor stores its progress.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    checkpoint::{Checkpoint, Position},
    coordination::keeper::LeaseHandle,
    error::CheckpointError,
    lease::store::CheckpointWrite,
    logic::progress::Progress,
    record::Record,
};

/// Stores the progress of one shard in its lease. Cheap to clone; may be kept and used from other tasks, and fails with
/// [`CheckpointError::LeaseLost`] once the lease is gone.
///
/// Every checkpoint is one DynamoDB write: checkpoint every few seconds, not for each record.
#[derive(Debug, Clone)]
#[doc(alias = "RecordProcessorCheckpointer")]
pub struct Checkpointer {
    lease: LeaseHandle,
    /// Guards the shard's progress; locked for a few lines, never across an await.
    progress: Arc<Mutex<Progress>>,
}

impl Checkpointer {
    pub(crate) fn new(lease: LeaseHandle, progress: Progress) -> Self {
        Self { lease, progress: Arc::new(Mutex::new(progress)) }
    }

    /// Stores that all records delivered so far are processed. Does nothing if that is stored already.
    ///
    /// # Errors
    /// See [`CheckpointError`]. The records stay unconfirmed and are delivered again after a restart.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether the checkpoint is stored; the lease is not harmed.
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        let position = self.with_progress(|progress| progress.everything());
        self.store(position).await
    }

    /// Stores that all records up to and including `record` are processed.
    ///
    /// # Errors
    /// See [`CheckpointError`]: among others, a record before the last checkpoint or not delivered yet is refused.
    ///
    /// # Cancellation
    /// As for [`checkpoint`](Self::checkpoint).
    pub async fn checkpoint_at(&self, record: &Record) -> Result<(), CheckpointError> {
        let attempted = record.position();
        let position = self.with_progress(|progress| progress.at(&attempted)).map_err(|range| {
            CheckpointError::OutOfRange { attempted, stored: range.stored, delivered: range.delivered }
        })?;
        self.store(position).await
    }

    /// The checkpoint in the lease table, as far as this processor knows.
    pub fn last(&self) -> Checkpoint {
        self.with_progress(|progress| progress.stored().clone())
    }

    /// Resolves when the lease is lost or given up.
    ///
    /// # Cancellation
    /// Safe at any time.
    pub async fn lease_lost(&self) {
        self.lease.lost().await;
    }

    pub(crate) fn with_progress<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        // Progress is consistent between any two of its statements, so a panic elsewhere does not spoil it.
        look(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn store(&self, position: Option<Position>) -> Result<(), CheckpointError> {
        let Some(position) = position else {
            return if self.lease.is_lost() { Err(CheckpointError::LeaseLost) } else { Ok(()) };
        };
        let checkpoint = Checkpoint::At(position);
        self.lease.checkpoint(CheckpointWrite { checkpoint: checkpoint.clone(), children: Vec::new() }).await?;
        self.with_progress(|progress| progress.stored_at(checkpoint));
        Ok(())
    }
}
