//! Which tables the fleet's leader, workers and migration state live in: the lease table alone, or beside it the two tables
//! of KCL 3.0 to 3.4.

use std::sync::{MutexGuard, PoisonError};

use tracing::warn;

use super::{DynamoDbLeaseStore, error::while_looking_for, item, s, table};
use crate::{
    error::StoreError,
    logic::table_migration::{Layout, Status, layout},
    model::legacy_tables::LegacyTables,
    table::item::Item,
};

const MIGRATION: &str = "TableMigration3.5";
const STATUS: &str = "tm";

/// A table, and its key attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) table: String,
    pub(super) key: &'static str,
}

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// The leader's lock.
    pub(super) lock: Place,
    /// The workers' items that we write.
    pub(super) workers: Place,
    /// Where the workers' items of others may be too.
    pub(super) other_workers: Option<Place>,
    /// The migration state from KCL 2.x: where we write it first, and look for it first.
    pub(super) state: Place,
    pub(super) other_state: Option<Place>,
}

impl Places {
    pub(super) fn new(layout: Layout, lease_table: &str, legacy: &LegacyTables) -> Self {
        let ours = Place { table: lease_table.to_owned(), key: item::LEASE_KEY };
        let coordinator = Place { table: legacy.coordinator_state.clone(), key: "key" };
        let metrics = Place { table: legacy.worker_metrics.clone(), key: item::WORKER_ID };
        match layout {
            Layout::OneTable => {
                Self { lock: ours.clone(), workers: ours.clone(), other_workers: None, state: ours, other_state: None }
            }
            Layout::Legacy => Self {
                lock: coordinator.clone(),
                workers: metrics,
                other_workers: Some(ours.clone()),
                state: coordinator,
                other_state: Some(ours),
            },
            Layout::Migrating => Self {
                lock: coordinator.clone(),
                workers: ours.clone(),
                other_workers: Some(metrics),
                state: coordinator,
                other_state: Some(ours),
            },
        }
    }
}

impl DynamoDbLeaseStore {
    pub(super) fn places(&self) -> Places {
        self.lock_places().clone()
    }

    fn lock_places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At the start: goes where the fleet is.
    pub(super) async fn find_layout(&self) -> Result<(), StoreError> {
        let found = self.layout().await?;
        if found == Layout::Legacy {
            let metrics = &self.legacy.worker_metrics;
            if table::describe(&self.client, metrics).await?.is_none() {
                let reason = format!("its fleet of KCL 3.0 to 3.4 must also have a table {metrics}, and there is none");
                return Err(StoreError::WrongTable { table: self.legacy.coordinator_state.clone(), reason });
            }
        }
        *self.lock_places() = Places::new(found, &self.table, &self.legacy);
        Ok(())
    }

    /// Later: follows the fleet when its migration to one table is complete. True: it is now.
    pub(super) async fn follow_migration(&self) -> Result<bool, StoreError> {
        let one_table = Places::new(Layout::OneTable, &self.table, &self.legacy);
        if self.places() == one_table || self.layout().await? != Layout::OneTable {
            return Ok(false);
        }
        *self.lock_places() = one_table;
        Ok(true)
    }

    async fn layout(&self) -> Result<Layout, StoreError> {
        let legacy = &self.legacy.coordinator_state;
        let item: Option<Item>;
        let status = match table::describe(&self.client, legacy).await {
            Ok(None) => Status::NoTable,
            Ok(Some(_)) => {
                let place = Place { table: legacy.clone(), key: "key" };
                item = self.get_from(&place, MIGRATION).await?;
                let text = item.as_ref().map(|item| item.get(STATUS).and_then(|status| status.as_s().ok()));
                text.map_or(Status::Unstarted, |text| Status::Item(text.map_or("(unreadable)", String::as_str)))
            }
            Err(StoreError::AccessDenied { .. }) => {
                // Fleets that never had the table need no permission to look at it.
                warn!(
                    table = legacy,
                    "not allowed to look for a table of KCL 3.0 to 3.4; make sure that there is none"
                );
                Status::NoTable
            }
            Err(error) => return Err(while_looking_for(error, &self.table)),
        };
        let refused = |reason| StoreError::WrongTable { table: legacy.clone(), reason };
        layout(status, self.legacy.migrate).map_err(refused)
    }

    pub(super) async fn get_from(&self, place: &Place, key: &str) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&place.table).key(place.key, s(key)).consistent_read(true);
        let output = get.send().await.map_err(|error| place.call("dynamodb:GetItem").failed(error))?;
        Ok(output.item)
    }
}
