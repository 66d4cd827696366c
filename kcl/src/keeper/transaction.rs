//! Checkpoints that are written in one transaction with items of the application's.
//!
//! (A) Until the outcome is known nothing else writes the lease: a renewal would cancel a transaction that is under way.
//! (B) Each try has the same token and parameters, and they all end within a third of the lease duration.
//! (C) What has no answer by then, or was refused, is settled by a renewal: the lease either is as the transaction left it,
//!     or has another counter from then on, and a try that is still under way cannot take effect any more.

use std::time::Instant;

use aws_sdk_dynamodb::types::TransactWriteItem;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Keeper;
use crate::{
    error::{CheckpointError, TransactionError, may_pass},
    logic::{backoff::Backoff, shard::RENEWALS},
    model::CheckpointWrite,
    table::dynamodb::transactions::{Transacted, Transaction},
    time::now,
};

/// Pauses between tries: those that a conflict with another transaction takes.
const BACKOFF: Backoff = Backoff::of_millis(25, 400);
/// Tries that have time for an answer each, however slow.
const SLOW_TRIES: u32 = 2;

impl Keeper {
    pub(super) async fn transact(
        &mut self,
        write: CheckpointWrite,
        items: Vec<TransactWriteItem>,
        retired: &CancellationToken,
    ) -> Result<(), TransactionError> {
        // The counter is the condition, so it must be known.
        self.settle().await;
        if !self.is_held() {
            return Err(CheckpointError::LeaseLost.into());
        }
        if retired.is_cancelled() {
            return Err(CheckpointError::ProcessorFailed.into());
        }
        if write.is_done_in(&self.lease) {
            return Err(TransactionError::AlreadyStored);
        }
        let begun = now();
        self.confirmed = self.beat().map_or(self.confirmed, |beat| self.confirmed.max(beat));
        self.measure(begun);
        let count = items.len();
        let transaction = self.context.table.transaction(&self.lease, &write, items)?;
        match self.tries(&transaction, begun).await {
            Ok(()) => {
                self.lease.counter += 1;
                self.stored(&write, begun);
                self.note_write(true, false);
                Ok(())
            }
            Err(error) => self.settled(&write, error, count).await,
        }
    }

    /// Tries a transaction until an answer leaves nothing open, or the time is over.
    async fn tries(&self, transaction: &Transaction, begun: Instant) -> Result<(), TransactionError> {
        let end = (begun + self.context.settings.lease_duration / RENEWALS).min(self.expiry());
        let patience = (end - begun) / SLOW_TRIES;
        let mut failures = 0;
        loop {
            let until = (now() + patience).min(end);
            let failed = match self.context.table.transact(transaction, until).await {
                Ok(Transacted::Applied) => return Ok(()),
                Ok(Transacted::Refused { code, source }) => return Err(TransactionError::Refused { code, source }),
                Ok(Transacted::Canceled(reasons)) => {
                    let passes = may_pass(&reasons);
                    let canceled = TransactionError::Canceled { reasons };
                    if !passes {
                        return Err(canceled);
                    }
                    canceled
                }
                Err(error) => {
                    self.context.table_failed(&error);
                    let passes = error.may_pass();
                    let failed = CheckpointError::Table(error).into();
                    if !passes {
                        return Err(failed);
                    }
                    failed
                }
            };
            failures += 1;
            let next = now() + BACKOFF.pause(failures, fastrand::f64());
            if next >= end {
                return Err(failed);
            }
            sleep_until(next.into()).await;
        }
    }

    /// Finds out what became of a transaction that failed as the last try says, and renews the lease at once.
    async fn settled(
        &mut self,
        write: &CheckpointWrite,
        mut failed: TransactionError,
        items: usize,
    ) -> Result<(), TransactionError> {
        self.note_write(false, true);
        self.settle().await;
        if !self.is_held() {
            return Err(CheckpointError::LeaseLost.into());
        }
        if write.is_done_in(&self.lease) {
            return Ok(());
        }
        if let TransactionError::Canceled { reasons } = &mut failed {
            reasons.truncate(items);
        }
        Err(failed)
    }
}
