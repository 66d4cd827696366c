//! Checkpoints together with items of the application's.

use aws_sdk_dynamodb::types::TransactWriteItem;

use super::{Attempt, Checkpointer};
use crate::{
    error::TransactionError,
    model::{Checkpoint, Position},
};

impl Checkpointer {
    /// Writes items to DynamoDB and stores that all records delivered so far are processed, all in one transaction: both
    /// take place or neither does, whatever fails. If the items are the effects of these records and nothing else is written
    /// for them, each record has its effect exactly once.
    ///
    /// ```
    /// use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
    /// use kcl::{BoxError, Checkpointer, RecordBatch};
    ///
    /// /// Counts records, each once.
    /// async fn count(batch: &RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
    ///     let count = AttributeValue::N(batch.records.len().to_string());
    ///     let update = Update::builder()
    ///         .table_name("Totals")
    ///         .key("name", AttributeValue::S("records".to_owned()))
    ///         .update_expression("ADD amount :count")
    ///         .expression_attribute_values(":count", count)
    ///         .build()?;
    ///     let items = vec![TransactWriteItem::builder().update(update).build()];
    ///     Ok(checkpointer.checkpoint_with(items).await?)
    /// }
    /// ```
    ///
    /// Limits are those of DynamoDB's TransactWriteItems: 99 items, the lease is the hundredth; 4 MB in all; no item twice;
    /// tables of the lease table's account and region. The credentials need the actions that each item would need by itself,
    /// such as `dynamodb:PutItem`. A transaction costs twice the write units of its items written singly.
    ///
    /// A transaction is tried for a third of the lease duration, 3.3 s by default, with one token; meanwhile the lease is
    /// written by nothing else, so a handoff waits. Without items it is a plain [`checkpoint`](Self::checkpoint). For the
    /// last records of a shard it may be called in `shard_ended`, by a clone: the leases of the child shards are there by
    /// then. Use no plain checkpoint and no checkpoints [of the
    /// worker's own](crate::WorkerBuilder::build_checkpointing) for records whose effects are not written yet.
    ///
    /// # Errors
    /// See [`TransactionError`], which says what became of the items.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether the transaction takes place, and counts as a failed checkpoint. A later call
    /// for the same records finds out: it fails with [`TransactionError::AlreadyStored`] if it did.
    pub async fn checkpoint_with(&self, items: Vec<TransactWriteItem>) -> Result<(), TransactionError> {
        self.transact(self.everything(), items).await
    }

    /// As [`checkpoint_with`](Self::checkpoint_with), for all records up to and including this position.
    ///
    /// # Errors
    /// As for [`checkpoint_with`](Self::checkpoint_with), and
    /// [`OutOfRange`](crate::CheckpointError::OutOfRange) for a position before the last checkpoint or not delivered yet.
    ///
    /// # Cancellation
    /// As for [`checkpoint_with`](Self::checkpoint_with).
    pub async fn checkpoint_position_with(
        &self,
        position: Position,
        items: Vec<TransactWriteItem>,
    ) -> Result<(), TransactionError> {
        self.transact(self.in_range(&position)?, items).await
    }

    async fn transact(
        &self,
        position: Option<Position>,
        items: Vec<TransactWriteItem>,
    ) -> Result<(), TransactionError> {
        if items.is_empty() {
            return Ok(self.commit(position).await?);
        }
        let Some(position) = position else {
            self.shared.lease.check()?;
            return Err(TransactionError::AlreadyStored);
        };
        let checkpoint = Checkpoint::At(position);
        let mut attempt = Attempt::begin(&self.shared);
        let write = self.with_progress(|progress| progress.commit(checkpoint.clone()));
        let written = self.shared.metrics.checkpoints.counted(self.shared.lease.transact(write, items)).await;
        // One that fails because of its items is held against the records that they are made of.
        attempt.stored = written.as_ref().err().is_none_or(TransactionError::is_of_items);
        if let Ok(()) | Err(TransactionError::AlreadyStored) = written {
            self.shared.stored_at(checkpoint);
        }
        written
    }
}
