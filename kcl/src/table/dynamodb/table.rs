//! Creates the lease table and its owner index and waits for them.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
        GlobalSecondaryIndexUpdate, KeySchemaElement, KeyType, Projection, ProjectionType, ProvisionedThroughput,
        ScalarAttributeType, TableDescription, TableStatus,
    },
};
use tracing::info;

use super::{Call, INDEX, error::IN_USE};
use crate::{
    error::TableError,
    table::item::{LEASE_KEY, LEASE_OWNER},
};

/// Pauses between looks at a table or index that is being made.
const POLL: Duration = Duration::from_millis(500);
/// Maximum time for a table to become ACTIVE. Source: KCL's table wait.
const TABLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Creates or checks table and index; the index may still be building. Returns the segments of a scan.
pub(super) async fn prepare(client: &Client, table: &str, may_create: bool) -> Result<i32, TableError> {
    let description = match describe(client, table).await? {
        Some(description) => description,
        None if !may_create => return Err(TableError::TableMissing { table: table.to_owned() }),
        None => {
            create(client, table).await?;
            wait_until_active(client, table).await?
        }
    };
    check_key(table, &description)?;
    let description = match description.table_status() {
        Some(TableStatus::Active | TableStatus::Updating) => description,
        _ => wait_until_active(client, table).await?,
    };
    if !description.global_secondary_indexes().iter().any(|index| index.index_name() == Some(INDEX)) {
        if !may_create {
            let reason = format!("it has no index {INDEX} from leaseOwner to leaseKey");
            return Err(TableError::WrongTable { table: table.to_owned(), reason });
        }
        add_index(client, table, &description).await?;
    }
    Ok(segments(description.table_size_bytes().unwrap_or(0)))
}

/// Refuses a table with another key than a lease table's; one that is missing passes.
pub(super) async fn check_shape(client: &Client, table: &str) -> Result<(), TableError> {
    match describe(client, table).await? {
        Some(description) => check_key(table, &description),
        None => Ok(()),
    }
}

/// One segment for each 0.2 GB, 1 to 32. Source: KCL `leaseTableScanTotalSegments`, when it is 0.
fn segments(table_bytes: i64) -> i32 {
    const BYTES: i64 = 200_000_000;
    const MAX_SEGMENTS: i64 = 32;
    let segments = (table_bytes.max(0) + BYTES - 1) / BYTES;
    i32::try_from(segments.clamp(1, MAX_SEGMENTS)).unwrap_or(1)
}

pub(super) async fn describe(client: &Client, table: &str) -> Result<Option<TableDescription>, TableError> {
    let call = Call { action: "dynamodb:DescribeTable", table };
    match client.describe_table().table_name(table).send().await {
        Ok(output) => Ok(output.table),
        Err(error) => match call.failed(error) {
            TableError::TableMissing { .. } => Ok(None),
            other => Err(other),
        },
    }
}

fn check_key(table: &str, description: &TableDescription) -> Result<(), TableError> {
    let keys: Vec<&str> = description.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
    if keys == [LEASE_KEY] {
        return Ok(());
    }
    let reason = format!("its key is {keys:?}, a lease table has the one key attribute {LEASE_KEY:?}");
    Err(TableError::WrongTable { table: table.to_owned(), reason })
}

async fn create(client: &Client, table: &str) -> Result<(), TableError> {
    info!(table, "creating the lease table");
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .set_key_schema(Some(index_keys()))
        .projection(keys_only())
        .build()
        .expect("index has name, keys and projection");
    let created = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(LEASE_KEY, KeyType::Hash))
        .set_attribute_definitions(Some(key_attributes()))
        .global_secondary_indexes(index);
    // False: another worker was faster.
    Call { action: "dynamodb:CreateTable", table }.applied(created.send().await, IN_USE).map(|_| ())
}

async fn add_index(client: &Client, table: &str, description: &TableDescription) -> Result<(), TableError> {
    info!(table, index = INDEX, "adding the owner index to the lease table");
    let on_demand = description.billing_mode_summary().and_then(|summary| summary.billing_mode())
        == Some(&BillingMode::PayPerRequest);
    let throughput = description.provisioned_throughput().filter(|_| !on_demand).map(|table| {
        ProvisionedThroughput::builder()
            .read_capacity_units(table.read_capacity_units().unwrap_or(1).max(1))
            .write_capacity_units(table.write_capacity_units().unwrap_or(1).max(1))
            .build()
            .expect("both capacities are set")
    });
    let action = CreateGlobalSecondaryIndexAction::builder()
        .index_name(INDEX)
        .set_key_schema(Some(index_keys()))
        .projection(keys_only())
        .set_provisioned_throughput(throughput)
        .build()
        .expect("index has name, keys and projection");
    let updated = client
        .update_table()
        .table_name(table)
        .set_attribute_definitions(Some(key_attributes()))
        .global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().create(action).build());
    // False: another worker was faster.
    Call { action: "dynamodb:UpdateTable", table }.applied(updated.send().await, IN_USE).map(|_| ())
}

async fn wait_until_active(client: &Client, table: &str) -> Result<TableDescription, TableError> {
    let poll = async {
        loop {
            if let Some(description) = describe(client, table).await?
                && matches!(description.table_status(), Some(TableStatus::Active | TableStatus::Updating))
            {
                return Ok(description);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(TABLE_TIMEOUT, poll).await.unwrap_or_else(|_| {
        let reason = format!("it did not become ACTIVE within {} s", TABLE_TIMEOUT.as_secs());
        Err(TableError::WrongTable { table: table.to_owned(), reason })
    })
}

fn index_keys() -> Vec<KeySchemaElement> {
    vec![key(LEASE_OWNER, KeyType::Hash), key(LEASE_KEY, KeyType::Range)]
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("name and type are set")
}

fn keys_only() -> Projection {
    Projection::builder().projection_type(ProjectionType::KeysOnly).build()
}

fn key_attributes() -> Vec<AttributeDefinition> {
    let text = AttributeDefinition::builder().attribute_type(ScalarAttributeType::S);
    let attribute = |name| text.clone().attribute_name(name).build().expect("name and type are set");
    [LEASE_KEY, LEASE_OWNER].map(attribute).to_vec()
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn a_table_is_scanned_in_one_segment_for_each_fifth_of_a_gigabyte() {
        assert_eq!([0, 200_000_000, 200_000_001, i64::MAX / 2].map(segments), [1, 1, 2, 32]);
    }
}
