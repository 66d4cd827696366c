//! The migration from the tables of KCL 3.0 to 3.4 to the lease table: what the tables show of it, and its steps.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::BuildError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, error::TransactionCanceledException},
};

use super::{DynamoDbLeaseTable, conditional::set_and_remove, error::CONDITION_FAILED, item, layout::EntityTable, s};
use crate::{
    error::TableError,
    logic::table_migration::steps::{Sight, Status, Step},
    model::WorkerId,
    table::item::{
        Item,
        migration::{COORDINATOR_KEY, MIGRATION, STATUS, migration_item, migration_status, moved, read_report},
    },
};

/// Items moved by one transaction: each takes two of its 100 operations.
/// Source: KCL, batches of that migration.
const MOVED_AT_ONCE: usize = 25;
const TRANSACT: &str = "dynamodb:TransactWriteItems";

impl DynamoDbLeaseTable {
    /// State of the migration; None if the fleet is in one table.
    pub(crate) async fn migration_sight(&self) -> Result<Option<Sight>, TableError> {
        if self.is_only_table() || self.entity_tables().lock.table == self.table {
            return Ok(None);
        }
        let state = self.coordinator_items().await?;
        let mut sight = Sight { status: self.status(&state)?, ..Sight::default() };
        sight.left = left(&state).map(|(key, _)| key.to_owned()).collect();
        let unknown = left(&state).filter(|(key, item)| moved(key, item).is_none());
        sight.unknown = unknown.map(|(key, _)| key.to_owned()).collect();
        let old = self.scan_all(&self.legacy.worker_metrics, self.client.scan()).await?;
        sight.old_reports = old.iter().filter_map(read_report).collect();
        for found in self.scan_all(&self.table, self.client.scan()).await? {
            match item::read_lease(&found) {
                Some(lease) => sight.owners.extend(lease.owner),
                None => sight.new_reports.extend(read_report(&found)),
            }
        }
        Ok(Some(sight))
    }

    /// Takes a step, if the migration is where the step begins, and where it matters only while `me` has the lock. False: it is
    /// not so.
    pub(crate) async fn migrate(&self, step: Step, me: &WorkerId, now_millis: u64) -> Result<bool, TableError> {
        let place = self.coordinator();
        match step {
            Step::Create(status) => {
                let item = migration_item(None, status, me, now_millis);
                self.put_if_absent(&place, MIGRATION, item).await
            }
            Step::Withdraw => {
                let values = vec![(":tm", s(Status::Init.as_wire()))];
                self.delete_if(&place, MIGRATION, format!("{STATUS} = :tm"), values).await
            }
            Step::Change { from, to } => self.change(from, to, me, now_millis).await,
            Step::Move => {
                let is_moved = self.move_items(me).await?;
                Ok(is_moved && self.change(Status::Deployed, Status::Pending, me, now_millis).await?)
            }
            Step::Complete => self.complete(me, now_millis).await,
        }
    }

    fn coordinator(&self) -> EntityTable {
        EntityTable { table: self.legacy.coordinator_state.clone(), key: COORDINATOR_KEY }
    }

    async fn coordinator_items(&self) -> Result<Vec<Item>, TableError> {
        self.scan_all(&self.legacy.coordinator_state, self.client.scan().consistent_read(true)).await
    }

    fn status(&self, items: &[Item]) -> Result<Option<(Status, u64)>, TableError> {
        let Some(found) = items.iter().find(|item| item.get(COORDINATOR_KEY) == Some(&s(MIGRATION))) else {
            return Ok(None);
        };
        let unknown = || TableError::WrongTable {
            table: self.legacy.coordinator_state.clone(),
            reason: format!("its item {MIGRATION} has an unknown status or no time"),
        };
        migration_status(found).map(Some).ok_or_else(unknown)
    }

    async fn change(&self, from: Status, to: Status, me: &WorkerId, now_millis: u64) -> Result<bool, TableError> {
        let place = self.coordinator();
        let Some(before) = self.get_from(&place, MIGRATION).await? else { return Ok(false) };
        let mut state = migration_item(Some(&before), to, me, now_millis);
        let mut attribute = |name: &str| state.remove(name).unwrap_or_else(|| AttributeValue::Null(true));
        let set = vec![
            (STATUS, ":tm", attribute(STATUS)),
            ("mb", ":mb", attribute("mb")),
            ("mts", ":mts", attribute("mts")),
            ("h", ":h", attribute("h")),
        ];
        let update = self.client.update_item().table_name(&place.table).key(place.key, s(MIGRATION));
        let update = set_and_remove(update, set, &[])
            .condition_expression(format!("{STATUS} = :from"))
            .expression_attribute_values(":from", s(from.as_wire()));
        place.call("dynamodb:UpdateItem").applied(update.send().await, CONDITION_FAILED)
    }

    /// Moves the items that are left in the old table. True: there is none any more.
    async fn move_items(&self, me: &WorkerId) -> Result<bool, TableError> {
        let items = self.coordinator_items().await?;
        let to_move: Vec<_> = left(&items).collect();
        for batch in to_move.chunks(MOVED_AT_ONCE) {
            let mut writes = vec![self.while_leading(me)];
            for (key, item) in batch {
                let Some(moved) = moved(key, item) else { return Ok(false) };
                writes.push(self.put_in(&self.place(), key, moved, "attribute_not_exists(#k)", HashMap::new()));
                writes.push(self.delete_from(&self.coordinator(), key));
            }
            if !self.transacted(writes).await? {
                return Ok(false);
            }
        }
        Ok(left(&self.coordinator_items().await?).next().is_none())
    }

    async fn complete(&self, me: &WorkerId, now_millis: u64) -> Result<bool, TableError> {
        let place = self.coordinator();
        let Some(before) = self.get_from(&place, MIGRATION).await? else { return Ok(false) };
        let item = || migration_item(Some(&before), Status::Complete, me, now_millis);
        let pending = HashMap::from([(":tm".to_owned(), s(Status::Pending.as_wire()))]);
        let writes = vec![
            self.while_leading(me),
            self.put_in(&self.place(), MIGRATION, item(), "attribute_not_exists(#k)", HashMap::new()),
            self.put_in(&place, MIGRATION, item(), &format!("attribute_exists(#k) AND {STATUS} = :tm"), pending),
        ];
        self.transacted(writes).await
    }

    fn while_leading(&self, me: &WorkerId) -> Result<TransactWriteItem, BuildError> {
        let place = self.coordinator();
        let check = ConditionCheck::builder()
            .table_name(&place.table)
            .key(place.key, s(item::LOCK_KEY))
            .condition_expression(format!("{} = :me", item::LOCK_OWNER))
            .expression_attribute_values(":me", s(me.as_str()));
        Ok(TransactWriteItem::builder().condition_check(check.build()?).build())
    }

    fn put_in(
        &self,
        place: &EntityTable,
        key: &str,
        mut item: Item,
        condition: &str,
        values: HashMap<String, AttributeValue>,
    ) -> Result<TransactWriteItem, BuildError> {
        item.insert(place.key.to_owned(), s(key));
        let put = Put::builder().table_name(&place.table).set_item(Some(item)).condition_expression(condition);
        let put = put.expression_attribute_names("#k", place.key);
        let put = put.set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()));
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }

    fn delete_from(&self, place: &EntityTable, key: &str) -> Result<TransactWriteItem, BuildError> {
        let delete = Delete::builder().table_name(&place.table).key(place.key, s(key));
        Ok(TransactWriteItem::builder().delete(delete.build()?).build())
    }

    /// False: a condition does not hold, or another transaction has an item.
    async fn transacted(&self, writes: Vec<Result<TransactWriteItem, BuildError>>) -> Result<bool, TableError> {
        let call = self.call(TRANSACT);
        let writes: Result<Vec<_>, _> = writes.into_iter().collect();
        let writes = writes.map_err(|error| call.unbuilt(error))?;
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) if is_race(cancelled) => {
                    Ok(false)
                }
                _ => Err(call.failed(error)),
            },
        }
    }
}

/// True if a transaction was cancelled for nothing but conditions and other transactions.
fn is_race(cancelled: &TransactionCanceledException) -> bool {
    let races = ["None", "ConditionalCheckFailed", "TransactionConflict"];
    let reasons = cancelled.cancellation_reasons();
    reasons.iter().all(|reason| reason.code().is_none_or(|code| races.contains(&code)))
}

/// Items of the old table but for the leader's lock and the migration's own, by key.
fn left(items: &[Item]) -> impl Iterator<Item = (&str, &Item)> {
    let keyed = items.iter().filter_map(|item| Some((item.get(COORDINATOR_KEY)?.as_s().ok()?.as_str(), item)));
    keyed.filter(|(key, _)| ![item::LOCK_KEY, MIGRATION].contains(key))
}
