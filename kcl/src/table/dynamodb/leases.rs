//! Leases in the table.

use std::{
    mem,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{
    operation::{
        delete_item::builders::DeleteItemFluentBuilder,
        scan::builders::ScanFluentBuilder,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::{KeysAndAttributes, ReturnValuesOnConditionCheckFailure},
};

use tokio::time::{sleep, sleep_until};
use tracing::{info, warn};

use super::{
    Call, DynamoDbLeaseTable, INDEX,
    conditional::{Assignment, added, owners_unchanged, set_and_remove, written},
    error::CONDITION_FAILED,
    fleet, item, n, s,
};
use crate::{
    error::TableError,
    event::chain,
    locked::locked,
    logic::backoff::Backoff,
    model::{Addition, Checkpoint, CheckpointWrite, Conditional, Lease, LeaseKey, TableScan, WorkerId},
    table::item::{Entity, Item},
    time::now,
};

/// Pause before an index that could not be queried is queried again.
const QUERY_RETRY: Duration = Duration::from_secs(10);
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
const MAX_BATCH: usize = 100;
/// Batches in a row of which nothing is read before the call fails, and the pauses between them: 4 s in all at most.
const MAX_FRUITLESS: u32 = 6;
const BATCH_BACKOFF: Backoff = Backoff::of_millis(200, 1_600);
/// Maximum number of items, some 16 read units, that a worker which stops reads in place of a query.
const MAX_SCANNED: i32 = 250;
/// Minimum time between two scans in place of a query: each reads the whole table.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Time of the next query; None unless the last one failed.
    query_at: Option<Instant>,
    /// Time of the next scan of the table in its place.
    scan_at: Option<Instant>,
}

impl DynamoDbLeaseTable {
    pub(crate) async fn scan(&self) -> Result<TableScan, TableError> {
        self.scan_by(false).await
    }

    pub(crate) async fn scan_strongly(&self) -> Result<TableScan, TableError> {
        self.scan_by(true).await
    }

    async fn scan_by(&self, strongly: bool) -> Result<TableScan, TableError> {
        let mut scan = TableScan::default();
        let segments = self.segments.load(Ordering::Relaxed);
        let scans = (0..segments).map(|segment| {
            let scan = self.client.scan().segment(segment).total_segments(segments);
            let scan = scan.consistent_read(strongly);
            self.scan_all(&self.table, scan)
        });
        for item in futures::future::try_join_all(scans).await?.into_iter().flatten() {
            match item::classify(&item) {
                Entity::Lease(lease) => scan.leases.push(*lease),
                Entity::Worker(worker) => scan.workers.push(worker),
                Entity::Lock(lock) => scan.lock = Some(lock),
                Entity::Malformed(key) => scan.malformed.push(key),
                Entity::Other => {}
            }
        }
        scan.workers.extend(self.workers_elsewhere().await?);
        scan.workers = fleet::freshest(scan.workers);
        Ok(scan)
    }

    /// One page of the table, of 100 items at most.
    pub(crate) async fn sample(&self) -> Result<Vec<Lease>, TableError> {
        let scan = self.client.scan().table_name(&self.table).limit(100);
        let page = scan.send().await.map_err(|error| self.call("dynamodb:Scan").failed(error))?;
        Ok(page.items().iter().filter_map(item::read_lease).collect())
    }

    pub(crate) async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        let Some(found) = self.get_from(&self.place(), key.as_str()).await? else { return Ok(None) };
        let unreadable = || TableError::Unreadable { table: self.table.clone(), key: key.as_str().to_owned() };
        item::read_lease(&found).map(Some).ok_or_else(unreadable)
    }

    pub(crate) async fn keys_owned_by(&self, owner: &WorkerId) -> Result<Vec<LeaseKey>, TableError> {
        let items = self.items_owned_by(owner).await?;
        let key = |item: &Item| Some(LeaseKey::from(item.get(item::LEASE_KEY)?.as_s().ok()?.as_str()));
        Ok(items.iter().filter_map(key).collect())
    }

    /// By a scan where one page holds the table, as the index may lag; else by the index: workers that stop together, each
    /// with a scan of a large table, would use up its read limit for minutes.
    pub(crate) async fn owned_by(&self, owner: &WorkerId) -> Result<Vec<Lease>, TableError> {
        let scan = self.client.scan().table_name(&self.table).limit(MAX_SCANNED);
        let page = scan.send().await.map_err(|error| self.call("dynamodb:Scan").failed(error))?;
        let mut leases: Vec<Lease> = match page.last_evaluated_key() {
            None => page.items().iter().filter_map(item::read_lease).collect(),
            Some(_) => self.get_all(&self.keys_owned_by(owner).await?).await?,
        };
        leases.retain(|lease| lease.owner.as_ref() == Some(owner));
        Ok(leases)
    }

    pub(crate) async fn create(&self, lease: &Lease) -> Result<Conditional, TableError> {
        let created = self.put_if_absent(&self.place(), lease.key.as_str(), item::new_lease_item(lease)).await?;
        Ok(Conditional::without_item(created))
    }

    pub(crate) async fn checkpoint(&self, lease: &Lease, write: &CheckpointWrite) -> Result<Conditional, TableError> {
        self.conditional_update(self.checkpoint_update(lease, write)).await
    }

    pub(super) fn checkpoint_update(&self, lease: &Lease, write: &CheckpointWrite) -> UpdateItemFluentBuilder {
        let update = self.counted_update(lease).condition_expression("leaseCounter = :c");
        let throughput = lease.throughput_kbps.map(|throughput| (item::THROUGHPUT, ":t", n(throughput)));
        let set = [next_counter(lease)].into_iter().chain(throughput).collect();
        written(update, set, write)
    }

    /// Every call asks for the rest of the one before, which a limit of DynamoDB cut off.
    pub(crate) async fn get_all(&self, keys: &[LeaseKey]) -> Result<Vec<Lease>, TableError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MAX_BATCH) {
            let items = match self.if_batches_are_allowed(self.get_batch(keys)).await? {
                Some(items) => items,
                None => self.get_each(keys).await?,
            };
            found.extend(items.iter().filter_map(item::read_lease));
        }
        Ok(found)
    }

    async fn get_each(&self, keys: &[LeaseKey]) -> Result<Vec<Item>, TableError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.extend(self.get_from(&self.place(), key.as_str()).await?);
        }
        Ok(found)
    }

    /// Items with these keys, at most [`MAX_BATCH`], in any order. Each call asks for what the one before left out.
    async fn get_batch(&self, keys: &[LeaseKey]) -> Result<Vec<Item>, TableError> {
        let call = self.call("dynamodb:BatchGetItem");
        let key = |key: &LeaseKey| Item::from([(item::LEASE_KEY.to_owned(), s(key.as_str()))]);
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys.iter().map(key).collect()));
        let mut wanted = Some(wanted.build().map_err(|error| call.unbuilt(error))?);
        let (mut found, mut fruitless) = (Vec::new(), 0);
        while let Some(request) = wanted.take() {
            let get = self.client.batch_get_item().request_items(&self.table, request);
            let output = get.send().await.map_err(|error| call.failed(error))?;
            let read = output.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
            fruitless = if read.is_empty() { fruitless + 1 } else { 0 };
            found.extend(read);
            wanted = output.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
            if wanted.is_some() && fruitless > 0 {
                if fruitless == MAX_FRUITLESS {
                    let source = format!("keys were left unprocessed {fruitless} times in a row").into();
                    return Err(TableError::Throttled { action: call.action, table: self.table.clone(), source });
                }
                sleep(BATCH_BACKOFF.pause(fruitless, fastrand::f64())).await;
            }
        }
        Ok(found)
    }

    pub(crate) async fn assign(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        self.conditional_update(self.assignment(lease, to)).await
    }

    pub(crate) async fn seize(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        let update = self.assignment(lease, to);
        let condition = update.get_condition_expression().clone().unwrap_or_default();
        let update = update.condition_expression(format!("{condition} AND {} = :c", item::LEASE_COUNTER));
        self.conditional_update(update.expression_attribute_values(":c", n(lease.counter))).await
    }

    fn assignment(&self, lease: &Lease, to: &WorkerId) -> UpdateItemFluentBuilder {
        let mut add = "ADD leaseCounter :one".to_owned();
        if lease.counts_as_switch(to) {
            add.push_str(", ownerSwitchesSinceCheckpoint :one");
        }
        // The run that held it last, perhaps of this very worker, must not count as one that holds it now; unless it does,
        // and a handoff is taken back.
        let instance = if lease.actual_owner() == Some(to) { "" } else { ", ownerInstance" };
        owners_unchanged(self.update(&lease.key), lease)
            .update_expression(format!("SET leaseOwner = :to REMOVE checkpointOwner{instance} {add}"))
            .expression_attribute_values(":to", s(to.as_str()))
            .expression_attribute_values(":one", n(1))
    }

    pub(crate) async fn begin_handoff(&self, lease: &Lease, to: &WorkerId) -> Result<Conditional, TableError> {
        let Some(owner) = lease.owner.as_ref().filter(|_| !lease.in_handoff()) else {
            return Ok(Conditional::Conflict(Some(Box::new(lease.clone()))));
        };
        let update = owners_unchanged(self.update(&lease.key), lease)
            .update_expression("SET leaseOwner = :to, checkpointOwner = :from")
            .expression_attribute_values(":to", s(to.as_str()))
            .expression_attribute_values(":from", s(owner.as_str()));
        self.conditional_update(update).await
    }

    pub(crate) async fn release(&self, lease: &Lease) -> Result<Conditional, TableError> {
        let remove = if lease.in_handoff() { "checkpointOwner" } else { "leaseOwner" };
        let update = owners_unchanged(self.update(&lease.key), lease)
            .update_expression(format!("REMOVE {remove} ADD leaseCounter :one"))
            .expression_attribute_values(":one", n(1));
        self.conditional_update(update).await
    }

    pub(crate) async fn add_to(&self, key: &LeaseKey, addition: &Addition) -> Result<(), TableError> {
        let update = set_and_remove(self.update(key), added(addition), &[]);
        let update = update.condition_expression("attribute_exists(leaseKey)");
        // A lease that is gone needs nothing more.
        self.conditional_update(update).await.map(|_| ())
    }

    pub(crate) async fn delete_ended(&self, key: &LeaseKey) -> Result<Conditional, TableError> {
        let delete = self
            .delete_item(key)
            .condition_expression("attribute_not_exists(leaseKey) OR #cp = :end")
            .expression_attribute_names("#cp", item::CHECKPOINT)
            .expression_attribute_values(":end", s(Checkpoint::ShardEnd.as_wire()));
        let deleted = self.call("dynamodb:DeleteItem").applied(delete.send().await, CONDITION_FAILED)?;
        Ok(Conditional::without_item(deleted))
    }

    pub(crate) async fn delete_unwritten(&self, key: &LeaseKey, counter: u64) -> Result<Conditional, TableError> {
        let delete = self
            .delete_item(key)
            .condition_expression("leaseCounter = :c")
            .expression_attribute_values(":c", n(counter));
        let deleted = self.call("dynamodb:DeleteItem").applied(delete.send().await, CONDITION_FAILED)?;
        Ok(Conditional::without_item(deleted))
    }

    pub(crate) async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        let deleted = self.delete_item(key).send().await;
        deleted.map_err(|error| self.call("dynamodb:DeleteItem").failed(error))?;
        Ok(())
    }

    pub(super) async fn scan_all(&self, table: &str, scan: ScanFluentBuilder) -> Result<Vec<Item>, TableError> {
        let items: Result<Vec<Item>, _> = scan.table_name(table).into_paginator().items().send().collect().await;
        items.map_err(|error| Call { action: "dynamodb:Scan", table }.failed(error))
    }

    /// From the index, or by a scan while the index cannot be queried: slower and dearer, but a worker must find its
    /// leases. Waits if it scanned a moment ago.
    pub(super) async fn items_owned_by(&self, owner: &WorkerId) -> Result<Vec<Item>, TableError> {
        if locked(&self.index).query_at.is_none_or(|at| at <= now()) {
            match self.query_index(owner).await {
                Ok(items) => {
                    if mem::take(&mut *locked(&self.index)).query_at.is_some() {
                        info!(table = self.table, index = INDEX, "the index can be queried again");
                    }
                    return Ok(items);
                }
                Err(error) => {
                    // Throttling may be over at once.
                    let pause = if let TableError::Throttled { .. } = error { Duration::ZERO } else { QUERY_RETRY };
                    if locked(&self.index).query_at.replace(now() + pause).is_none() {
                        let error = chain(&error);
                        warn!(table = self.table, index = INDEX, error, "cannot query the index, scanning the table");
                    }
                }
            }
        }
        let now = now();
        let scan_at = locked(&self.index).scan_at.unwrap_or(now).max(now);
        locked(&self.index).scan_at = Some(scan_at + SCAN_INTERVAL);
        sleep_until(scan_at.into()).await;
        let scan = self.client.scan().filter_expression("#o = :o").expression_attribute_names("#o", item::LEASE_OWNER);
        self.scan_all(&self.table, scan.expression_attribute_values(":o", s(owner.as_str()))).await
    }

    async fn query_index(&self, owner: &WorkerId) -> Result<Vec<Item>, TableError> {
        let query = self.client.query().table_name(&self.table).index_name(INDEX);
        let query = query
            .key_condition_expression("#o = :o")
            .expression_attribute_names("#o", item::LEASE_OWNER)
            .expression_attribute_values(":o", s(owner.as_str()));
        let items: Result<Vec<Item>, _> = query.into_paginator().items().send().collect().await;
        items.map_err(|error| self.call("dynamodb:Query").failed(error))
    }

    fn delete_item(&self, key: &LeaseKey) -> DeleteItemFluentBuilder {
        self.client.delete_item().table_name(&self.table).key(item::LEASE_KEY, s(key.as_str()))
    }

    pub(super) fn update(&self, key: &LeaseKey) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key(item::LEASE_KEY, s(key.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// An update with the counter as it is, `:c`.
    fn counted_update(&self, lease: &Lease) -> UpdateItemFluentBuilder {
        self.update(&lease.key).expression_attribute_values(":c", n(lease.counter))
    }

    pub(super) async fn conditional_update(&self, update: UpdateItemFluentBuilder) -> Result<Conditional, TableError> {
        let Err(error) = update.send().await else { return Ok(Conditional::Applied) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(Conditional::Conflict(failed.item().and_then(item::read_lease).map(Box::new)))
            }
            _ => Err(self.call("dynamodb:UpdateItem").failed(error)),
        }
    }
}

fn next_counter(lease: &Lease) -> Assignment {
    (item::LEASE_COUNTER, ":next", n(lease.counter + 1))
}
