//! State of a fleet's migration from the tables of KCL 3.0 to 3.4 to the lease table.

use std::time::{Duration, SystemTime};

use super::change::Fleet;
use crate::{
    error::TableError,
    logic::table_migration::steps::{Status, next},
};

/// Migration of a fleet from the tables of KCL 3.0 to 3.4 to the lease table, as its tables show it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableMigration {
    /// Its status, for example `TABLE_MIGRATION_STATUS_DEPLOYED`; `None` while nobody has begun.
    pub status: Option<&'static str>,
    /// Time of that status.
    pub since: Option<SystemTime>,
    /// Reasons why the next step is not due, beside time.
    pub waits_for: Vec<String>,
    /// Time before which the next step is not taken.
    pub until: Option<SystemTime>,
    /// Keys of the items that are still to be moved.
    pub left: Vec<String>,
}

impl Fleet {
    /// Reads the state of the migration to one table; `None` for a fleet that is in one table. Nothing is written: the fleet's
    /// leader takes the steps. `migrate`: as if the leader was built with
    /// [`migrate_to_one_table`](crate::WorkerBuilder::migrate_to_one_table). `now` is by the services' time.
    ///
    /// # Errors
    /// A table cannot be read, or has a status that is not known.
    ///
    /// # Cancellation
    /// Safe at any time.
    pub async fn table_migration(&self, migrate: bool, now: SystemTime) -> Result<Option<TableMigration>, TableError> {
        let Some(sight) = Box::pin(self.table.migration_sight()).await? else { return Ok(None) };
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // Who has not begun begins without being asked.
        let waiting = next(&sight, migrate && sight.status.is_some(), seconds).err().unwrap_or_default();
        let at = |since_1970: Duration| SystemTime::UNIX_EPOCH.checked_add(since_1970);
        Ok(Some(TableMigration {
            status: sight.status.map(|(status, _)| Status::as_wire(status)),
            since: sight.status.and_then(|(_, millis)| at(Duration::from_millis(millis))),
            waits_for: waiting.reasons,
            until: waiting.until_seconds.and_then(|seconds| at(Duration::from_secs(seconds))),
            left: sight.left,
        }))
    }
}
