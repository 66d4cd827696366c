//! SHELL: the lease table in DynamoDB. Translates the contract of [`store`](super::store) into calls; decides nothing.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client, config::timeout::TimeoutConfig, operation::update_item::builders::UpdateItemFluentBuilder,
    types::ReturnValuesOnConditionCheckFailure,
};
use aws_types::SdkConfig;
use futures::future::{BoxFuture, FutureExt as _};

use self::{
    conditional::{added, owners_unchanged, written},
    error::Call,
    layout::{Place, Places},
    read::Index,
};
use super::{
    LeaseStore,
    item::{self, Entity, Item, n, s},
};
use crate::{
    clock::ServiceClock,
    error::StoreError,
    logic::table_migration::Layout,
    model::{
        checkpoint::Checkpoint,
        checkpoint_write::CheckpointWrite,
        lease::{Conditional, Lease, LeaseKey, WorkerId},
        legacy_tables::LegacyTables,
        lock_item::LockItem,
        stream_id::StreamIdentity,
        table_scan::{Addition, FleetVersion, TableScan},
        worker_item::WorkerItem,
    },
};

mod conditional;
mod error;
mod fleet;
mod layout;
mod read;
mod table;

/// Name of the index from owner to lease key, shared with Java KCL 3.x.
const INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

/// Longest time for one call with its retries. Source: KCL `dynamoDbRequestTimeout`.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for one try: a fraction of a lease's life, so that a lost answer does not cost the lease.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// The lease table of one application.
#[derive(Debug)]
pub(crate) struct DynamoDbLeaseStore {
    client: Client,
    table: String,
    legacy: LegacyTables,
    places: Mutex<Places>,
    /// Whether table and index may be created.
    may_create: bool,
    index: Mutex<Index>,
    /// Parts in which the table is scanned at the same time.
    segments: AtomicI32,
}

impl DynamoDbLeaseStore {
    /// The application's own time-outs win over ours.
    pub(crate) fn new(
        aws: &SdkConfig,
        clock: ServiceClock,
        table: String,
        legacy: LegacyTables,
        may_create: bool,
    ) -> Self {
        let ours = TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let timeouts = aws.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let timeouts = timeouts.take_unset_from(ours);
        let config = aws_sdk_dynamodb::config::Builder::from(aws).timeout_config(timeouts.build());
        let client = Client::from_conf(config.interceptor(clock).build());
        Self {
            client,
            places: Mutex::new(Places::new(Layout::OneTable, &table, &legacy)),
            table,
            legacy,
            may_create,
            index: Mutex::default(),
            segments: AtomicI32::new(1),
        }
    }

    fn call(&self, action: &'static str) -> Call<'_> {
        Call { action, table: &self.table }
    }

    fn update(&self, key: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key(item::LEASE_KEY, s(key))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    async fn get_item(&self, key: &str) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).key(item::LEASE_KEY, s(key)).consistent_read(true);
        let output = get.send().await.map_err(|error| self.call("dynamodb:GetItem").failed(error))?;
        Ok(output.item)
    }
}

impl LeaseStore for DynamoDbLeaseStore {
    fn prepare(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let segments = table::prepare(&self.client, &self.table, self.may_create).await?;
            self.segments.store(segments, Ordering::Relaxed);
            Ok(())
        }
        .boxed()
    }

    fn fleet_version(&self) -> BoxFuture<'_, Result<FleetVersion, StoreError>> {
        self.read_version().boxed()
    }

    fn find_layout(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.find_layout().boxed()
    }

    fn follow_migration(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.follow_migration().boxed()
    }

    fn declare_v3<'a>(&'a self, me: &'a WorkerId, now_millis: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.put_version(item::v3_item(me, now_millis)).boxed()
    }

    fn claim_stream<'a>(&'a self, stream: &'a StreamIdentity) -> BoxFuture<'a, Result<StreamIdentity, StoreError>> {
        self.note_stream(stream).boxed()
    }

    fn sample(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        async move { Ok(self.first_items().await?.iter().filter_map(item::read_lease).collect()) }.boxed()
    }

    fn scan(&self) -> BoxFuture<'_, Result<TableScan, StoreError>> {
        async move {
            let mut scan = TableScan::default();
            let segments = self.segments.load(Ordering::Relaxed);
            let scans = (0..segments).map(|segment| self.scan_items(Some((segment, segments)), None));
            for item in futures::future::try_join_all(scans).await?.into_iter().flatten() {
                match item::classify(&item) {
                    Entity::Lease(lease) => scan.leases.push(*lease),
                    Entity::Worker(worker) => scan.workers.push(worker),
                    Entity::Malformed(key) => scan.malformed.push(key),
                    Entity::Other => {}
                }
            }
            scan.workers.extend(self.workers_elsewhere().await?);
            scan.workers = fleet::freshest(scan.workers);
            Ok(scan)
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Lease>, StoreError>> {
        async move {
            let Some(found) = self.get_item(key.as_str()).await? else { return Ok(None) };
            let unreadable = || StoreError::Unreadable { table: self.table.clone(), key: key.as_str().to_owned() };
            item::read_lease(&found).map(Some).ok_or_else(unreadable)
        }
        .boxed()
    }

    fn keys_owned_by<'a>(&'a self, owner: &'a WorkerId) -> BoxFuture<'a, Result<Vec<LeaseKey>, StoreError>> {
        async move {
            let items = self.items_owned_by(owner).await?;
            let key = |item: &Item| Some(LeaseKey::from(item.get(item::LEASE_KEY)?.as_s().ok()?.as_str()));
            Ok(items.iter().filter_map(key).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        async move {
            let place = Place { table: self.table.clone(), key: item::LEASE_KEY };
            let created = self.put_if_absent(&place, lease.key.as_str(), item::new_lease_item(lease)).await?;
            Ok(if created { Conditional::Applied } else { Conditional::Conflict(None) })
        }
        .boxed()
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let mut condition = "leaseCounter = :c".to_owned();
        if !lease.in_handoff() {
            condition.push_str(" AND attribute_not_exists(checkpointOwner)");
        }
        let mut set = "SET leaseCounter = :next".to_owned();
        let mut update = self
            .update(lease.key.as_str())
            .condition_expression(condition)
            .expression_attribute_values(":c", n(lease.counter))
            .expression_attribute_values(":next", n(lease.counter + 1));
        if let Some(throughput) = lease.throughput_kbps {
            set.push_str(", throughputKBps = :t");
            update = update.expression_attribute_values(":t", n(throughput));
        }
        if let Some(instance) = &lease.instance {
            set.push_str(", ownerInstance = :i");
            update = update.expression_attribute_values(":i", s(&**instance));
        }
        self.conditional_update(update.update_expression(set)).boxed()
    }

    fn checkpoint<'a>(
        &'a self,
        lease: &'a Lease,
        write: &'a CheckpointWrite,
    ) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let update = self
            .update(lease.key.as_str())
            .condition_expression("leaseCounter = :c")
            .expression_attribute_values(":c", n(lease.counter))
            .expression_attribute_values(":next", n(lease.counter + 1));
        self.conditional_update(written(update, write)).boxed()
    }

    fn assign<'a>(&'a self, lease: &'a Lease, to: &'a WorkerId) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let mut add = "ADD leaseCounter :one".to_owned();
        if lease.counts_as_switch(to) {
            add.push_str(", ownerSwitchesSinceCheckpoint :one");
        }
        let (update, condition) = owners_unchanged(self.update(lease.key.as_str()), lease);
        let update = update
            .update_expression(format!("SET leaseOwner = :to REMOVE checkpointOwner {add}"))
            .condition_expression(condition)
            .expression_attribute_values(":to", s(to.as_str()))
            .expression_attribute_values(":one", n(1));
        self.conditional_update(update).boxed()
    }

    fn begin_handoff<'a>(
        &'a self,
        lease: &'a Lease,
        to: &'a WorkerId,
    ) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let (update, condition) = owners_unchanged(self.update(lease.key.as_str()), lease);
        let Some(owner) = lease.owner.as_ref().filter(|_| !lease.in_handoff()) else {
            return async { Ok(Conditional::Conflict(Some(Box::new(lease.clone())))) }.boxed();
        };
        let update = update
            .update_expression("SET leaseOwner = :to, checkpointOwner = :from")
            .condition_expression(condition)
            .expression_attribute_values(":to", s(to.as_str()))
            .expression_attribute_values(":from", s(owner.as_str()));
        self.conditional_update(update).boxed()
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let remove = if lease.in_handoff() { "checkpointOwner" } else { "leaseOwner" };
        let (update, condition) = owners_unchanged(self.update(lease.key.as_str()), lease);
        let update = update
            .update_expression(format!("REMOVE {remove} ADD leaseCounter :one"))
            .condition_expression(condition)
            .expression_attribute_values(":one", n(1));
        self.conditional_update(update).boxed()
    }

    fn add_to<'a>(&'a self, key: &'a LeaseKey, addition: &'a Addition) -> BoxFuture<'a, Result<(), StoreError>> {
        let update = added(self.update(key.as_str()), addition).condition_expression("attribute_exists(leaseKey)");
        // A lease that is gone needs nothing more.
        async move { self.conditional_update(update).await.map(|_| ()) }.boxed()
    }

    fn delete_ended<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Conditional, StoreError>> {
        let condition = "attribute_not_exists(leaseKey) OR #cp = :end".to_owned();
        let delete = self.client.delete_item().table_name(&self.table).key(item::LEASE_KEY, s(key.as_str()));
        let delete = delete
            .condition_expression(condition)
            .expression_attribute_names("#cp", item::CHECKPOINT)
            .expression_attribute_values(":end", s(Checkpoint::ShardEnd.as_wire()));
        async move {
            match delete.send().await {
                Ok(_) => Ok(Conditional::Applied),
                Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                    Ok(Conditional::Conflict(None))
                }
                Err(error) => Err(self.call("dynamodb:DeleteItem").failed(error)),
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<(), StoreError>> {
        let delete = self.client.delete_item().table_name(&self.table).key(item::LEASE_KEY, s(key.as_str()));
        async move {
            delete.send().await.map_err(|error| self.call("dynamodb:DeleteItem").failed(error))?;
            Ok(())
        }
        .boxed()
    }

    fn report_worker<'a>(&'a self, worker: &'a WorkerItem) -> BoxFuture<'a, Result<Option<WorkerItem>, StoreError>> {
        self.write_worker(worker).boxed()
    }

    fn get_worker<'a>(&'a self, id: &'a WorkerId) -> BoxFuture<'a, Result<Option<WorkerItem>, StoreError>> {
        self.read_worker(id).boxed()
    }

    fn delete_worker<'a>(&'a self, worker: &'a WorkerItem) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.remove_worker(worker).boxed()
    }

    fn get_lock(&self) -> BoxFuture<'_, Result<Option<LockItem>, StoreError>> {
        self.read_lock().boxed()
    }

    fn put_lock<'a>(
        &'a self,
        lock: &'a LockItem,
        seen: Option<&'a LockItem>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.write_lock(lock, seen).boxed()
    }

    fn delete_lock<'a>(&'a self, lock: &'a LockItem) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.remove_lock(lock).boxed()
    }
}

#[cfg(test)]
mod tests;
