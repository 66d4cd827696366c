//! Changes to single leases and workers of an application, from outside.

use crate::{
    clock::ServiceClock,
    error::TableError,
    model::{Conditional, Lease, LegacyTables, Mark, WorkerId},
    table::dynamodb::DynamoDbLeaseTable,
    worker::validate::{TABLE_NAME, is_table_name},
};

/// The leases and workers of an application, for operators. Each write takes place only if what it is about is as it was read
/// a moment before.
///
/// Needs `dynamodb:GetItem` and `dynamodb:UpdateItem`, and to delete `dynamodb:Scan` and `dynamodb:DeleteItem`.
#[derive(Debug)]
pub struct Fleet {
    pub(super) table: DynamoDbLeaseTable,
}

/// Outcome of a change by [`Fleet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a change may not have taken place"]
#[non_exhaustive]
pub enum FleetChange {
    /// Written.
    Applied,
    /// Not written: it was changed in the meantime, or is not in a state in which this can be done.
    Refused,
    /// Not written: there is no such lease or worker.
    Missing,
}

impl Fleet {
    /// Finds the tables of an application. Nothing is written.
    ///
    /// # Errors
    /// The tables cannot be looked for, or DynamoDB accepts no table of this name.
    ///
    /// # Cancellation
    /// Safe at any time.
    pub async fn open(client: &aws_sdk_dynamodb::Client, table: impl Into<String>) -> Result<Self, TableError> {
        let table = table.into();
        if !is_table_name(&table) {
            return Err(TableError::WrongTable { reason: format!("its name is not {TABLE_NAME}"), table });
        }
        let clock = ServiceClock::new(&aws_types::SdkConfig::builder().build()); // nothing is written that has a time
        let legacy = LegacyTables::of(&table);
        let table = DynamoDbLeaseTable::new(client.config().clone(), clock, table, legacy, false);
        table.find_layout().await?;
        Ok(Self { table })
    }

    /// Takes a lease away from its owner, whose processor is told that it is lost; the leader gives it to a worker, perhaps the same.
    /// Records since the last checkpoint are processed again. Refused if nobody owns it.
    ///
    /// # Errors
    /// The table cannot be read or written.
    ///
    /// # Cancellation
    /// The lease may be released or not.
    pub async fn release(&self, lease_key: &str) -> Result<FleetChange, TableError> {
        let Some(lease) = self.table.get(&lease_key.into()).await? else { return Ok(FleetChange::Missing) };
        if lease.owner.is_none() {
            return Ok(FleetChange::Refused);
        }
        let released = self.table.release(&lease).await?;
        self.changed(&lease, &released).await
    }

    /// Asks the owner of a lease to hand it over to another worker, which it does when its call has returned and is
    /// checkpointed. Refused if nobody owns the lease, if it is being handed over already, or if `to` owns it.
    ///
    /// # Errors
    /// The table cannot be read or written.
    ///
    /// # Cancellation
    /// The handover may have begun or not.
    pub async fn hand_over(&self, lease_key: &str, to: &WorkerId) -> Result<FleetChange, TableError> {
        let Some(lease) = self.table.get(&lease_key.into()).await? else { return Ok(FleetChange::Missing) };
        if lease.owner.as_ref() == Some(to) || self.table.get_worker(to).await?.is_none() {
            return Ok(FleetChange::Refused);
        }
        let begun = self.table.begin_handoff(&lease, to).await?;
        self.changed(&lease, &begun).await
    }

    /// Deletes the lease of a shard that is processed to its end; refused if it is not.
    ///
    /// # Errors
    /// The table cannot be read or written.
    ///
    /// # Cancellation
    /// The lease may be deleted or not.
    pub async fn delete_ended(&self, lease_key: &str) -> Result<FleetChange, TableError> {
        let key = lease_key.into();
        if self.table.get(&key).await?.is_none() {
            return Ok(FleetChange::Missing);
        }
        Ok(applied(&self.table.delete_ended(&key).await?))
    }

    /// Deletes the lease of a stream that is no longer read, whoever owned it. Refused if its counter is not `counter` any more, of
    /// [`LeaseStatus`](crate::LeaseStatus): then a worker wrote it in the meantime. An owner that lives by its heartbeat does not
    /// write it: the caller sees by its report that it is gone.
    ///
    /// # Errors
    /// The table cannot be read or written.
    ///
    /// # Cancellation
    /// The lease may be deleted or not.
    pub async fn delete_unwritten(&self, lease_key: &str, counter: u64) -> Result<FleetChange, TableError> {
        let key = lease_key.into();
        if self.table.get(&key).await?.is_none() {
            return Ok(FleetChange::Missing);
        }
        Ok(applied(&self.table.delete_unwritten(&key, counter).await?))
    }

    /// Deletes the item of a worker that has not reported since `last_report_seconds`, of [`WorkerStatus`](crate::WorkerStatus).
    ///
    /// # Errors
    /// The table cannot be read or written.
    ///
    /// # Cancellation
    /// The item may be deleted or not.
    pub async fn forget_worker(&self, worker: &WorkerId, last_report_seconds: u64) -> Result<FleetChange, TableError> {
        let found = self.table.scan().await?.workers.into_iter().find(|item| item.id == *worker);
        let Some(item) = found else { return Ok(FleetChange::Missing) };
        let is_same = item.last_update_seconds == last_report_seconds;
        let is_deleted = is_same && self.table.delete_worker(&item).await?;
        Ok(if is_deleted { FleetChange::Applied } else { FleetChange::Refused })
    }

    /// Notes that a worker gets no more leases, until `drained` is false, even if no other worker lives. Leaders of this library heed
    /// it; those of Java do not.
    /// The leases that it has stay with it: see [`hand_over`](Self::hand_over).
    ///
    /// # Errors
    /// The table cannot be written.
    ///
    /// # Cancellation
    /// It may be noted or not.
    pub async fn set_drained(&self, worker: &WorkerId, drained: bool) -> Result<FleetChange, TableError> {
        let is_noted = self.table.drain_worker(worker, drained).await?;
        Ok(if is_noted { FleetChange::Applied } else { FleetChange::Missing })
    }

    /// Has the owner look at its leases, which it would otherwise not do before its next write.
    async fn changed(&self, lease: &Lease, outcome: &Conditional) -> Result<FleetChange, TableError> {
        if let (Conditional::Applied, Some(owner)) = (outcome, lease.actual_owner())
            && let Some(item) = self.table.get_worker(owner).await?
        {
            self.table.mark_worker(&item, Mark::Look).await?; // false: it reported in the meantime, and looks by itself
        }
        Ok(applied(outcome))
    }
}

fn applied(outcome: &Conditional) -> FleetChange {
    match outcome {
        Conditional::Applied => FleetChange::Applied,
        Conditional::Conflict(_) => FleetChange::Refused,
    }
}
