//! Tables of leader, workers and migration state: the lease table, or beside it the two tables of KCL 3.0 to 3.4.

use tracing::warn;

use super::{DynamoDbLeaseTable, error::while_looking_for, item, s, table};
use crate::{
    error::TableError,
    locked::locked,
    logic::table_migration::{Layout, Status, layout},
    model::LegacyTables,
    table::item::{
        Item,
        migration::{COORDINATOR_KEY, MIGRATION, STATUS},
    },
};

/// A table, and its key attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntityTable {
    pub(super) table: String,
    pub(super) key: &'static str,
}

/// Tables of the items that are not leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntityTables {
    /// The leader's lock and the migration state from KCL 2.x.
    pub(super) lock: EntityTable,
    /// The other table that may have the migration state.
    pub(super) other_state: Option<EntityTable>,
    pub(super) workers: EntityTable,
    /// The other table that may have items of workers.
    pub(super) other_workers: Option<EntityTable>,
}

impl EntityTables {
    pub(super) fn new(layout: Layout, lease_table: &str, legacy: &LegacyTables) -> Self {
        let ours = EntityTable { table: lease_table.to_owned(), key: item::LEASE_KEY };
        let coordinator = EntityTable { table: legacy.coordinator_state.clone(), key: COORDINATOR_KEY };
        let metrics = EntityTable { table: legacy.worker_metrics.clone(), key: item::WORKER_ID };
        let other_state = (layout != Layout::OneTable).then(|| ours.clone());
        let (lock, workers, other_workers) = match layout {
            Layout::OneTable => (ours.clone(), ours, None),
            Layout::Legacy => (coordinator, metrics, Some(ours)),
            Layout::Migrating => (coordinator, ours, Some(metrics)),
        };
        Self { lock, other_state, workers, other_workers }
    }
}

impl DynamoDbLeaseTable {
    pub(super) fn entity_tables(&self) -> EntityTables {
        locked(&self.entity_tables).clone()
    }

    pub(crate) fn is_only_table(&self) -> bool {
        let entity_tables = self.entity_tables();
        [&entity_tables.lock, &entity_tables.workers].into_iter().all(|place| place.table == self.table)
            && entity_tables.other_workers.is_none()
    }

    /// At the start: goes where the fleet is.
    pub(crate) async fn find_layout(&self) -> Result<(), TableError> {
        let found = self.layout().await?;
        if found == Layout::Legacy {
            let metrics = &self.legacy.worker_metrics;
            if table::describe(&self.client, metrics).await?.is_none() {
                let reason = format!("its fleet of KCL 3.0 to 3.4 must also have a table {metrics}, and there is none");
                return Err(TableError::WrongTable { table: self.legacy.coordinator_state.clone(), reason });
            }
        }
        *locked(&self.entity_tables) = EntityTables::new(found, &self.table, &self.legacy);
        Ok(())
    }

    /// Later: follows the fleet when its migration to one table is complete. True: it is now.
    pub(crate) async fn follow_migration(&self) -> Result<bool, TableError> {
        let one_table = EntityTables::new(Layout::OneTable, &self.table, &self.legacy);
        if self.entity_tables() == one_table || self.layout().await? != Layout::OneTable {
            return Ok(false);
        }
        *locked(&self.entity_tables) = one_table;
        Ok(true)
    }

    async fn layout(&self) -> Result<Layout, TableError> {
        let legacy = &self.legacy.coordinator_state;
        let item: Option<Item>;
        let status = match table::describe(&self.client, legacy).await {
            Ok(None) => Status::NoTable,
            Ok(Some(_)) => {
                let place = EntityTable { table: legacy.clone(), key: COORDINATOR_KEY };
                item = self.get_from(&place, MIGRATION).await?;
                let text = item.as_ref().map(|item| item.get(STATUS).and_then(|status| status.as_s().ok()));
                text.map_or(Status::Unstarted, |text| Status::Item(text.map_or("(unreadable)", String::as_str)))
            }
            Err(TableError::AccessDenied { .. }) => {
                // Fleets that never had the table need no permission to look at it.
                warn!(
                    table = legacy,
                    "not allowed to look for a table of KCL 3.0 to 3.4; make sure that there is none"
                );
                Status::NoTable
            }
            Err(error) => return Err(while_looking_for(error, &self.table)),
        };
        let refused = |reason| TableError::WrongTable { table: legacy.clone(), reason };
        layout(status, self.legacy.migrate).map_err(refused)
    }

    pub(super) async fn get_from(&self, place: &EntityTable, key: &str) -> Result<Option<Item>, TableError> {
        let get = self.client.get_item().table_name(&place.table).key(place.key, s(key)).consistent_read(true);
        let output = get.send().await.map_err(|error| place.call("dynamodb:GetItem").failed(error))?;
        Ok(output.item)
    }
}
