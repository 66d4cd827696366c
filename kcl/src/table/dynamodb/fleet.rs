//! Items that are not leases: leader's lock, workers, migration state, in the tables of [`layout`](super::layout).

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
};

use aws_sdk_dynamodb::{
    operation::put_item::builders::PutItemFluentBuilder,
    types::{AttributeValue, KeysAndAttributes, ReturnValue},
};
use tracing::warn;

use super::{
    Call, DynamoDbLeaseTable,
    conditional::set_and_remove,
    error::CONDITION_FAILED,
    item,
    layout::{EntityTable, EntityTables},
    n, s,
};
use crate::{
    error::TableError,
    model::{LockItem, Look, StreamIdentity, WorkerId, WorkerItem},
    table::item::Item,
};

impl EntityTable {
    pub(super) fn call(&self, action: &'static str) -> Call<'_> {
        Call { action, table: &self.table }
    }
}

impl DynamoDbLeaseTable {
    pub(crate) async fn fleet_version(&self) -> Result<Option<String>, TableError> {
        let entity_tables = self.entity_tables();
        let mut found = self.get_from(&entity_tables.lock, item::MIGRATION_KEY).await?;
        if let (None, Some(other)) = (&found, &entity_tables.other_state) {
            found = self.get_from(other, item::MIGRATION_KEY).await?;
        }
        Ok(found.as_ref().map(|item| item::client_version(item).unwrap_or("(unreadable)").to_owned()))
    }

    pub(crate) async fn declare_v3(&self, me: &WorkerId, now_millis: u64) -> Result<bool, TableError> {
        self.put_if_absent(&self.entity_tables().lock, item::MIGRATION_KEY, item::v3_item(me, now_millis)).await
    }

    /// Notes the stream beside the migration state, wherever that is.
    pub(crate) async fn claim_stream(&self, stream: &StreamIdentity) -> Result<StreamIdentity, TableError> {
        let entity_tables = self.entity_tables();
        let place = match &entity_tables.other_state {
            Some(other) if self.get_from(&entity_tables.lock, item::MIGRATION_KEY).await?.is_none() => other,
            _ => &entity_tables.lock,
        };
        let update = self
            .client
            .update_item()
            .table_name(&place.table)
            .key(place.key, s(item::MIGRATION_KEY))
            .update_expression("SET #a = if_not_exists(#a, :a), #c = if_not_exists(#c, :c)")
            .condition_expression("attribute_exists(#k)")
            .expression_attribute_names("#k", place.key)
            .expression_attribute_names("#a", item::STREAM_ARN)
            .expression_attribute_names("#c", item::STREAM_CREATED)
            .expression_attribute_values(":a", s(stream.arn.as_str()))
            .expression_attribute_values(":c", n(stream.created_seconds))
            .return_values(ReturnValue::AllNew);
        let output = update.send().await.map_err(|error| place.call("dynamodb:UpdateItem").failed(error))?;
        Ok(output.attributes.as_ref().and_then(item::read_stream).unwrap_or_else(|| stream.clone()))
    }

    pub(super) async fn workers_elsewhere(&self) -> Result<Vec<WorkerItem>, TableError> {
        let entity_tables = self.entity_tables();
        let elsewhere = [Some(entity_tables.workers), entity_tables.other_workers];
        let Some(place) = elsewhere.into_iter().flatten().find(|place| place.table != self.table) else {
            return Ok(Vec::new());
        };
        let items = self.scan_all(&place.table, self.client.scan()).await?;
        Ok(items.iter().filter_map(item::read_worker).collect())
    }

    pub(crate) async fn put_worker(&self, worker: &WorkerItem) -> Result<Option<WorkerItem>, TableError> {
        let place = self.entity_tables().workers;
        let (metrics, limits) = item::worker_metrics(worker);
        let set = vec![
            (item::WORKER_LAST_UPDATE, ":lut", n(worker.last_update_seconds)),
            (item::WORKER_METRICS, ":sts", metrics),
            (item::WORKER_LIMITS, ":opr", limits),
            (item::WORKER_PROPERTIES, ":p", item::worker_properties(worker)),
            (item::ENTITY_TYPE, ":type", s("WORKER_METRIC_STATS")),
            // This library understands the migration to one table, as of this report.
            ("sup", ":sup", n(1)),
            ("slu", ":slu", n(worker.last_update_seconds)),
        ];
        let update = self.client.update_item().table_name(&place.table).key(place.key, s(worker.id.as_str()));
        let update = set_and_remove(update, set, &[]).return_values(ReturnValue::AllOld);
        let output = update.send().await.map_err(|error| place.call("dynamodb:UpdateItem").failed(error))?;
        Ok(output.attributes.as_ref().and_then(item::read_worker))
    }

    pub(crate) async fn get_worker(&self, id: &WorkerId) -> Result<Option<WorkerItem>, TableError> {
        Ok(self.get_from(&self.entity_tables().workers, id.as_str()).await?.as_ref().and_then(item::read_worker))
    }

    pub(crate) async fn delete_worker(&self, worker: &WorkerItem) -> Result<bool, TableError> {
        let entity_tables = self.entity_tables();
        for place in [Some(entity_tables.workers), entity_tables.other_workers].into_iter().flatten() {
            let mut condition = format!("{} = :lut", item::WORKER_LAST_UPDATE);
            let mut values = vec![(":lut", n(worker.last_update_seconds))];
            if let Some(instance) = &worker.instance {
                condition.push_str(" AND properties.instance = :i");
                values.push((":i", s(instance.as_str())));
            }
            if self.delete_if(&place, worker.id.as_str(), condition, values).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) async fn get_lock(&self) -> Result<Option<LockItem>, TableError> {
        let place = self.entity_tables().lock;
        Ok(read_lock(&place, self.get_from(&place, item::LOCK_KEY).await?.as_ref()))
    }

    pub(crate) async fn look(&self, me: &WorkerId) -> Result<Look, TableError> {
        if self.may_batch.load(Ordering::Relaxed) {
            match self.look_at_once(me).await {
                Ok(Some(look)) => return Ok(look),
                Ok(None) => {}
                Err(TableError::AccessDenied { .. }) => {
                    self.may_batch.store(false, Ordering::Relaxed);
                    warn!(table = self.table, "without dynamodb:BatchGetItem, lock and worker take a read each");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Look { lock: self.get_lock().await?, worker: self.get_worker(me).await? })
    }

    /// None: the table has left out a part.
    async fn look_at_once(&self, me: &WorkerId) -> Result<Option<Look>, TableError> {
        let EntityTables { lock, workers, .. } = self.entity_tables();
        let mut keys: HashMap<String, Vec<Item>> = HashMap::new();
        for (place, key) in [(&lock, item::LOCK_KEY), (&workers, me.as_str())] {
            keys.entry(place.table.clone()).or_default().push(Item::from([(place.key.to_owned(), s(key))]));
        }
        let mut batch = self.client.batch_get_item();
        for (table, keys) in keys {
            let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(false);
            batch = batch.request_items(table, keys.build().expect("keys are set"));
        }
        let output = batch.send().await.map_err(|error| lock.call("dynamodb:BatchGetItem").failed(error))?;
        if output.unprocessed_keys().is_some_and(|keys| !keys.is_empty()) {
            return Ok(None);
        }
        let found = |place: &EntityTable, key: &str| {
            let items = output.responses().and_then(|tables| tables.get(&place.table)).into_iter().flatten();
            items.into_iter().find(|item| item.get(place.key) == Some(&s(key)))
        };
        let worker = found(&workers, me.as_str()).and_then(item::read_worker);
        Ok(Some(Look { lock: read_lock(&lock, found(&lock, item::LOCK_KEY)), worker }))
    }

    pub(crate) async fn put_lock(&self, lock: &LockItem, seen: Option<&LockItem>) -> Result<bool, TableError> {
        let (place, item) = (self.entity_tables().lock, item::lock_item(lock));
        let Some(seen) = seen else { return self.put_if_absent(&place, item::LOCK_KEY, item).await };
        let put = self
            .put(&place, item::LOCK_KEY, item)
            .condition_expression(format!("{} = :v", item::LOCK_VERSION))
            .expression_attribute_values(":v", s(seen.version.as_str()));
        self.conditional_put(&place, put).await
    }

    pub(crate) async fn delete_lock(&self, lock: &LockItem) -> Result<bool, TableError> {
        let condition = format!("{} = :v AND {} = :o", item::LOCK_VERSION, item::LOCK_OWNER);
        let values = vec![(":v", s(lock.version.as_str())), (":o", s(lock.owner.as_str()))];
        self.delete_if(&self.entity_tables().lock, item::LOCK_KEY, condition, values).await
    }

    pub(super) async fn put_if_absent(&self, place: &EntityTable, key: &str, item: Item) -> Result<bool, TableError> {
        let put = self.put(place, key, item).condition_expression("attribute_not_exists(#k)");
        self.conditional_put(place, put.expression_attribute_names("#k", place.key)).await
    }

    fn put(&self, place: &EntityTable, key: &str, mut item: Item) -> PutItemFluentBuilder {
        item.insert(place.key.to_owned(), s(key));
        self.client.put_item().table_name(&place.table).set_item(Some(item))
    }

    async fn conditional_put(&self, place: &EntityTable, put: PutItemFluentBuilder) -> Result<bool, TableError> {
        place.call("dynamodb:PutItem").applied(put.send().await, CONDITION_FAILED)
    }

    async fn delete_if(
        &self,
        place: &EntityTable,
        key: &str,
        condition: String,
        values: Vec<(&'static str, AttributeValue)>,
    ) -> Result<bool, TableError> {
        let mut delete = self.client.delete_item().table_name(&place.table).key(place.key, s(key));
        for (name, value) in values {
            delete = delete.expression_attribute_values(name, value);
        }
        place.call("dynamodb:DeleteItem").applied(delete.condition_expression(condition).send().await, CONDITION_FAILED)
    }
}

fn read_lock(place: &EntityTable, found: Option<&Item>) -> Option<LockItem> {
    let lock = found.and_then(item::read_lock);
    if found.is_some() && lock.is_none() {
        warn!(table = place.table, "the leader's lock item cannot be read, nobody can lead; delete it");
    }
    lock
}

/// The items written last, one for each worker.
pub(super) fn freshest(workers: Vec<WorkerItem>) -> Vec<WorkerItem> {
    let mut freshest: BTreeMap<WorkerId, WorkerItem> = BTreeMap::new();
    for worker in workers {
        let known = freshest.get(&worker.id);
        if known.is_none_or(|known| known.last_update_seconds < worker.last_update_seconds) {
            freshest.insert(worker.id.clone(), worker);
        }
    }
    freshest.into_values().collect()
}
