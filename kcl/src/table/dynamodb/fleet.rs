//! Items that are not leases: leader's lock, workers, migration state, in the tables of [`layout`](super::layout).

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
};

use aws_sdk_dynamodb::{
    operation::{
        put_item::builders::PutItemFluentBuilder,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::{AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure},
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
    locked::locked,
    model::{Beat, LockItem, Look, Mark, StreamIdentity, WorkerId, WorkerItem},
    table::item::Item,
    time::now,
};

impl EntityTable {
    pub(super) fn call(&self, action: &'static str) -> Call<'_> {
        Call { action, table: &self.table }
    }
}

impl DynamoDbLeaseTable {
    pub(crate) async fn fleet_version(&self) -> Result<Option<String>, TableError> {
        let found = self.migration_item().await?;
        Ok(found.as_ref().map(|item| item::client_version(item).unwrap_or("(unreadable)").to_owned()))
    }

    /// The stream that workers of this library noted for the application.
    pub(crate) async fn noted_stream(&self) -> Result<Option<StreamIdentity>, TableError> {
        Ok(self.migration_item().await?.as_ref().and_then(item::read_stream))
    }

    async fn migration_item(&self) -> Result<Option<Item>, TableError> {
        let entity_tables = self.entity_tables();
        match (self.get_from(&entity_tables.lock, item::MIGRATION_KEY).await?, &entity_tables.other_state) {
            (None, Some(other)) => self.get_from(other, item::MIGRATION_KEY).await,
            (found, _) => Ok(found),
        }
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
        let output = self.report(&place, worker).return_values(ReturnValue::AllOld).send().await;
        let output = output.map_err(|error| place.call("dynamodb:UpdateItem").failed(error))?;
        Ok(output.attributes.as_ref().and_then(item::read_worker))
    }

    pub(crate) async fn beat(&self, worker: &WorkerItem, last: u64) -> Result<Beat, TableError> {
        let place = self.entity_tables().workers;
        let update = self.report(&place, worker).return_values(ReturnValue::AllOld);
        let update = if_still(update, worker, Some(last))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let read = |item: Option<&Item>| item.and_then(item::read_worker).map(Box::new);
        match update.send().await {
            Ok(output) => Ok(Beat::Confirmed(read(output.attributes()))),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Beat::Refused(read(refused.item())))
                }
                _ => Err(place.call("dynamodb:UpdateItem").failed(error)),
            },
        }
    }

    pub(crate) async fn mark_worker(&self, worker: &WorkerItem, mark: Mark) -> Result<bool, TableError> {
        let place = self.entity_tables().workers;
        let (mark, beat) = match mark {
            Mark::Fenced => (item::FENCED, worker.beat),
            Mark::Look => (item::LOOK, None),
        };
        let update = self.client.update_item().table_name(&place.table).key(place.key, s(worker.id.as_str()));
        let update = if_still(update, worker, beat)
            .update_expression("SET #p.#m = :m")
            .expression_attribute_values(":m", s(mark));
        place.call("dynamodb:UpdateItem").applied(update.send().await, CONDITION_FAILED)
    }

    /// Notes that a worker gets no leases, or that it gets some again. False: there is no such worker.
    pub(crate) async fn drain_worker(&self, id: &WorkerId, drained: bool) -> Result<bool, TableError> {
        let place = self.entity_tables().workers;
        let update = self.client.update_item().table_name(&place.table).key(place.key, s(id.as_str()));
        let update = update
            .condition_expression("attribute_exists(#lut)")
            .expression_attribute_names("#lut", item::WORKER_LAST_UPDATE)
            .expression_attribute_names("#d", item::WORKER_DRAINED);
        let update = if drained {
            update.update_expression("SET #d = :d").expression_attribute_values(":d", s("true"))
        } else {
            update.update_expression("REMOVE #d")
        };
        place.call("dynamodb:UpdateItem").applied(update.send().await, CONDITION_FAILED)
    }

    /// An update that writes a worker's whole item, but for what others note there.
    fn report(&self, place: &EntityTable, worker: &WorkerItem) -> UpdateItemFluentBuilder {
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
        set_and_remove(update, set, &[])
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
        Ok(self.read_lock(&place, self.get_from(&place, item::LOCK_KEY).await?.as_ref()))
    }

    fn read_lock(&self, place: &EntityTable, found: Option<&Item>) -> Option<LockItem> {
        let lock = found.and_then(item::read_lock);
        if found.is_some()
            && lock.is_none()
            && let Some(logged) = locked(&self.unreadable).note(0, now())
        {
            let repeated = logged.repeated();
            warn!(table = place.table, repeated, "the leader's lock item cannot be read, nobody can lead; delete it");
        }
        lock
    }

    pub(crate) async fn look(&self, me: &WorkerId, leader: Option<&WorkerId>) -> Result<Look, TableError> {
        if let Some(Some(look)) = self.if_batches_are_allowed(self.look_at_once(me, leader)).await? {
            return Ok(look);
        }
        let (lock, worker) = (self.get_lock().await?, self.get_worker(me).await?);
        let leader = match leader {
            Some(leader) if leader == me => worker.clone(),
            Some(leader) => self.get_worker(leader).await?,
            None => None,
        };
        Ok(Look { lock, worker, leader })
    }

    /// Result of `read`; `None` from the first time on that BatchGetItem is denied.
    pub(super) async fn if_batches_are_allowed<R>(
        &self,
        read: impl Future<Output = Result<R, TableError>>,
    ) -> Result<Option<R>, TableError> {
        if !self.may_batch.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match read.await {
            Err(TableError::AccessDenied { .. }) => {
                self.may_batch.store(false, Ordering::Relaxed);
                warn!(table = self.table, "without dynamodb:BatchGetItem, lock, workers and leases take a read each");
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// None: the table has left out a part.
    async fn look_at_once(&self, me: &WorkerId, leader: Option<&WorkerId>) -> Result<Option<Look>, TableError> {
        let EntityTables { lock, workers, .. } = self.entity_tables();
        let call = lock.call("dynamodb:BatchGetItem");
        let other = leader.filter(|leader| *leader != me);
        let wanted_workers = [Some(me), other].into_iter().flatten().map(|id| (&workers, id.as_str()));
        let mut keys: HashMap<String, Vec<Item>> = HashMap::new();
        for (place, key) in [(&lock, item::LOCK_KEY)].into_iter().chain(wanted_workers) {
            keys.entry(place.table.clone()).or_default().push(Item::from([(place.key.to_owned(), s(key))]));
        }
        let mut batch = self.client.batch_get_item();
        for (table, keys) in keys {
            let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(leader.is_some());
            batch = batch.request_items(table, keys.build().map_err(|error| call.unbuilt(error))?);
        }
        let output = batch.send().await.map_err(|error| call.failed(error))?;
        if output.unprocessed_keys().is_some_and(|keys| !keys.is_empty()) {
            return Ok(None);
        }
        let found = |place: &EntityTable, key: &str| {
            let items = output.responses().and_then(|tables| tables.get(&place.table)).into_iter().flatten();
            items.into_iter().find(|item| item.get(place.key) == Some(&s(key)))
        };
        let worker = |id: &WorkerId| found(&workers, id.as_str()).and_then(item::read_worker);
        let lock = self.read_lock(&lock, found(&lock, item::LOCK_KEY));
        Ok(Some(Look { lock, worker: worker(me), leader: leader.and_then(worker) }))
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

    pub(super) async fn delete_if(
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

/// Adds the condition that a worker's item is of the same run, without a fence, and with this heartbeat if one is given.
fn if_still(mut update: UpdateItemFluentBuilder, worker: &WorkerItem, beat: Option<u64>) -> UpdateItemFluentBuilder {
    let mut condition = "#p.#i = :i AND (attribute_not_exists(#p.#m) OR #p.#m <> :fenced)".to_owned();
    if let Some(beat) = beat {
        condition += " AND #p.#b = :b";
        update = update
            .expression_attribute_names("#b", item::WORKER_BEAT)
            .expression_attribute_values(":b", s(beat.to_string()));
    }
    update
        .condition_expression(condition)
        .expression_attribute_names("#p", item::WORKER_PROPERTIES)
        .expression_attribute_names("#i", item::WORKER_INSTANCE)
        .expression_attribute_names("#m", item::WORKER_MARK)
        .expression_attribute_values(":i", s(worker.instance.as_deref().unwrap_or_default()))
        .expression_attribute_values(":fenced", s(item::FENCED))
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
