//! SHELL: the lease table in DynamoDB. Translates into calls; decides nothing.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client, Config,
    config::{retry::RetryPartition, timeout::TimeoutConfig},
};
use kpl::repeats::Repeats;

use super::item::{self, n, s};
use crate::{
    clock::ServiceClock,
    error::TableError,
    logic::table_migration::Layout,
    metrics::lease_table::TableRecorder,
    model::{LegacyTables, TableUsage},
};
use conflicts::Conflicts;
use error::Call;
use layout::{EntityTable, EntityTables};
use leases::Index;
use meter::Meter;
use renewals::Renewals;

mod adoption;
mod conditional;
mod conflicts;
mod error;
mod fleet;
mod layout;
mod leases;
mod meter;
mod migration;
mod renewals;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod transactions;

/// Name of the index from owner to lease key, shared with Java KCL 3.x.
const INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

/// Maximum duration of one call with its retries. Source: KCL `dynamoDbRequestTimeout`.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum duration of one try: a fraction of a lease's life, so that a lost answer does not cost the lease.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct DynamoDbLeaseTable {
    client: Client,
    table: String,
    legacy: LegacyTables,
    entity_tables: Mutex<EntityTables>,
    may_create: bool,
    index: Mutex<Index>,
    /// Parts in which the table is scanned at the same time.
    segments: AtomicI32,
    meter: Meter,
    renewals: Arc<Renewals>,
    /// False once BatchGetItem was found to be denied.
    may_batch: AtomicBool,
    /// The line that the leader's lock cannot be read. Protected for the length of one look.
    unreadable: Mutex<Repeats>,
}

impl DynamoDbLeaseTable {
    /// The application's own time-outs win over ours, as does its own budget of retries. Without one, a client shares the
    /// SDK's budget with every other client of the process and region: one that fails for long would use up the retries of
    /// lease writes.
    pub(crate) fn new(
        aws: impl Into<Config>,
        clock: ServiceClock,
        table: String,
        legacy: LegacyTables,
        may_create: bool,
    ) -> Self {
        let ours = TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let aws = aws.into();
        let timeouts = aws.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let timeouts = timeouts.take_unset_from(ours);
        let meter = Meter::of(table.clone());
        let retries = aws.retry_partition().cloned().unwrap_or_else(|| RetryPartition::custom("kcl").build());
        let config =
            aws.to_builder().timeout_config(timeouts.build()).retry_classifier(Conflicts).retry_partition(retries);
        let client = Client::from_conf(config.interceptor(clock).interceptor(meter.clone()).build());
        Self {
            renewals: Arc::new(Renewals::new(client.clone(), table.clone())),
            client,
            entity_tables: Mutex::new(EntityTables::new(Layout::OneTable, &table, &legacy)),
            table,
            legacy,
            may_create,
            index: Mutex::default(),
            segments: AtomicI32::new(1),
            meter,
            may_batch: AtomicBool::new(true),
            unreadable: Mutex::default(),
        }
    }

    /// Refuses a table with another key than a lease table's; one that is missing passes.
    pub(crate) async fn check_shape(&self) -> Result<(), TableError> {
        table::check_shape(&self.client, &self.table).await
    }

    pub(crate) async fn prepare(&self) -> Result<(), TableError> {
        let segments = table::prepare(&self.client, &self.table, self.may_create).await?;
        self.segments.store(segments, Ordering::Relaxed);
        Ok(())
    }

    /// Requests and units since this table was opened.
    pub(crate) fn usage(&self) -> TableUsage {
        self.meter.total()
    }

    /// Records the usage of each request from now on.
    pub(crate) fn record_to(&self, recorder: TableRecorder) {
        self.meter.record_to(recorder);
    }

    fn call(&self, action: &'static str) -> Call<'_> {
        Call { action, table: &self.table }
    }

    fn place(&self) -> EntityTable {
        EntityTable { table: self.table.clone(), key: item::LEASE_KEY }
    }
}
