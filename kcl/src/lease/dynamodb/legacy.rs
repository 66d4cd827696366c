//! The layout of KCL 3.0 to 3.4, where leader and migration state lived in a table of their own. A worker that overlooked
//! it would elect a second leader.

use aws_sdk_dynamodb::Client;
use tracing::warn;

use super::{Call, s, table};
use crate::lease::store::StoreError;

const SUFFIX: &str = "-CoordinatorState";
const KEY: &str = "key";
const MIGRATION: &str = "TableMigration3.5";
const STATUS: &str = "tm";
const COMPLETE: &str = "TABLE_MIGRATION_STATUS_COMPLETE";

/// The table, unless there is none or its migration to the lease table is complete.
pub(super) async fn table_in_use(client: &Client, application: &str) -> Result<Option<String>, StoreError> {
    let legacy = format!("{application}{SUFFIX}");
    match table::describe(client, &legacy).await {
        Ok(None) => return Ok(None),
        Ok(Some(_)) => {}
        Err(StoreError::AccessDenied { .. }) => {
            // Fleets that never had the table need no permission to look at it.
            warn!(table = legacy, "not allowed to look for a table of KCL 3.0 to 3.4; make sure that there is none");
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let get = client.get_item().table_name(&legacy).key(KEY, s(MIGRATION)).consistent_read(true).send().await;
    let output = get.map_err(|error| Call { action: "dynamodb:GetItem", table: &legacy }.failed(error))?;
    let status = output.item.as_ref().and_then(|item| item.get(STATUS)).and_then(|status| status.as_s().ok());
    Ok((status.map(String::as_str) != Some(COMPLETE)).then_some(legacy))
}
