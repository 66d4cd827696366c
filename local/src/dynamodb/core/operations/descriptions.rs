//! Tables as answers describe them.

use serde_json::{Value as Json, json};

use super::super::key::KeySchema;
use super::super::table::{Index, Projection, Table, Throughput};
use super::super::value::stored_bytes;
use crate::{ACCOUNT_ID, REGION};

/// States of a table: every change is done at once, but the answer says that it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Creating,
    Active,
    Updating,
    Deleting,
}

pub(in super::super) fn arn(table: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:table/{table}")
}

pub(super) fn description(table: &Table, phase: &Phase) -> Json {
    let settings = &table.settings;
    let status = match phase {
        Phase::Creating => "CREATING",
        Phase::Active => "ACTIVE",
        Phase::Updating => "UPDATING",
        Phase::Deleting => "DELETING",
    };
    let attribute = |(name, kind): (&String, &String)| json!({ "AttributeName": name, "AttributeType": kind });
    let mut description = json!({
        "TableName": table.name,
        "TableStatus": status,
        "TableArn": arn(&table.name),
        "TableId": settings.id,
        "CreationDateTime": settings.created.as_seconds(),
        "AttributeDefinitions": settings.attributes.iter().map(attribute).collect::<Vec<_>>(),
        "KeySchema": key_schema(&table.key),
        "ItemCount": table.items.len(),
        "TableSizeBytes": table.bytes,
        "ProvisionedThroughput": throughput(settings.provisioned),
        "DeletionProtectionEnabled": settings.is_protected,
    });
    if settings.is_on_demand {
        description["BillingModeSummary"] = json!({ "BillingMode": "PAY_PER_REQUEST" });
        if let Some(since) = settings.on_demand_since {
            description["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"] = since.as_seconds().into();
        }
    }
    if let Some(class) = &settings.class {
        description["TableClassSummary"] = json!({ "TableClass": class });
    }
    if let Some(on_demand) = &settings.on_demand {
        description["OnDemandThroughput"] = on_demand.clone();
    }
    if !table.indexes.is_empty() {
        let status = if *phase == Phase::Creating { "CREATING" } else { "ACTIVE" };
        let index = |(name, index): (&String, &Index)| index_description(table, (name, index), status);
        description["GlobalSecondaryIndexes"] = table.indexes.iter().map(index).collect();
    }
    description
}

fn index_description(table: &Table, (name, index): (&str, &Index), status: &str) -> Json {
    let held = |position| table.items.get(position).map(|item| stored_bytes(&index.projected(item, &table.key)));
    let bytes: usize = index.entries.iter().filter_map(|(_, position)| held(position)).sum();
    let projection = match &index.projection {
        Projection::All => json!({ "ProjectionType": "ALL" }),
        Projection::KeysOnly => json!({ "ProjectionType": "KEYS_ONLY" }),
        Projection::Include(names) => json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": names }),
    };
    let mut description = json!({
        "IndexName": name,
        "IndexStatus": status,
        "IndexArn": format!("{}/index/{name}", arn(&table.name)),
        "KeySchema": key_schema(&index.key),
        "Projection": projection,
        "ItemCount": index.entries.len(),
        "IndexSizeBytes": bytes,
        "ProvisionedThroughput": throughput(index.provisioned),
    });
    if let Some(on_demand) = &index.on_demand {
        description["OnDemandThroughput"] = on_demand.clone();
    }
    description
}

fn key_schema(key: &KeySchema) -> Json {
    let element =
        |(n, name): (usize, &str)| json!({ "AttributeName": name, "KeyType": if n == 0 { "HASH" } else { "RANGE" } });
    key.names().enumerate().map(element).collect()
}

fn throughput(throughput: Throughput) -> Json {
    json!({
        "ReadCapacityUnits": throughput.reads, "WriteCapacityUnits": throughput.writes, "NumberOfDecreasesToday": 0,
    })
}
