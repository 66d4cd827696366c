//! The migration of a fleet from the tables of KCL 3.4 to the lease table, as its items show it. Bake times cannot be
//! shortened: the item's time is set back instead.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::{Instant, sleep};

use super::fleet::APPLICATION;
use super::served::Served;

/// Maximum time until a leader takes the next step: a report counts for 60 s, and it looks every 30 s.
const PATIENCE: Duration = Duration::from_secs(150);
const MIGRATION: &str = "TableMigration3.5";

/// The state of the migration.
#[derive(Debug)]
pub(super) struct TableMigration {
    dynamodb: Client,
}

impl TableMigration {
    pub(super) fn of(served: &Served) -> anyhow::Result<Self> {
        Ok(Self { dynamodb: Client::new(&served.dynamodb()?) })
    }

    /// Waits until a leader has brought it to this status; returns that leader.
    pub(super) async fn reaches(&self, status: &str) -> anyhow::Result<String> {
        let wanted = format!("TABLE_MIGRATION_STATUS_{status}");
        let begun = Instant::now();
        loop {
            let item = self.item(&old_table(), "key").await?;
            let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
            if text("tm").as_ref() == Some(&wanted) {
                return text("mb").context("a status has a modifier");
            }
            ensure!(begun.elapsed() < PATIENCE, "not {wanted} within {PATIENCE:?}: {item:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Sets the time of its status back.
    pub(super) async fn age(&self, by: Duration) -> anyhow::Result<()> {
        let update = self.dynamodb.update_item().table_name(old_table());
        let update = update
            .key("key", AttributeValue::S(MIGRATION.to_owned()))
            .update_expression("SET mts = mts - :age")
            .expression_attribute_values(":age", AttributeValue::N(by.as_millis().to_string()));
        update.send().await.context("the item cannot be aged")?;
        Ok(())
    }

    /// Asserts that the lease table has the end of it, too.
    pub(super) async fn is_in_the_lease_table(&self) -> anyhow::Result<()> {
        let item = self.item(APPLICATION, "leaseKey").await?;
        let complete = AttributeValue::S("TABLE_MIGRATION_STATUS_COMPLETE".to_owned());
        ensure!(item.get("tm") == Some(&complete), "the lease table says {item:?}");
        Ok(())
    }

    async fn item(&self, table: &str, key: &str) -> anyhow::Result<HashMap<String, AttributeValue>> {
        let get = self.dynamodb.get_item().table_name(table).consistent_read(true);
        let found = get.key(key, AttributeValue::S(MIGRATION.to_owned())).send().await?;
        Ok(found.item.unwrap_or_default())
    }
}

fn old_table() -> String {
    format!("{APPLICATION}-CoordinatorState")
}
