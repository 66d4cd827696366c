//! Delays of DynamoDB when asked for: eventually consistent reads, indexes that take time.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate,
    IndexStatus, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType, TableStatus,
};
use kinesis_local::{Builder, LocalAws};
use tokio::time::sleep;

use super::{code, message};

const LAG: Duration = Duration::from_secs(2);

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
}

fn hash_key(name: &str) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap()
}

async fn leases(builder: Builder) -> Client {
    let dynamodb = Client::new(&builder.start().await.sdk_config());
    let create = dynamodb.create_table().table_name("leases").billing_mode(BillingMode::PayPerRequest);
    create.key_schema(hash_key("k")).attribute_definitions(attribute("k")).send().await.unwrap();
    dynamodb
}

async fn put(dynamodb: &Client, key: &str, owner: &str) {
    let put = dynamodb.put_item().table_name("leases").item("k", text(key)).item("owner", text(owner));
    put.send().await.unwrap();
}

async fn add_index(dynamodb: &Client) {
    let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
    let action = CreateGlobalSecondaryIndexAction::builder().index_name("by-owner").key_schema(hash_key("owner"));
    let action = action.projection(projection).build().unwrap();
    let update = GlobalSecondaryIndexUpdate::builder().create(action).build();
    let update = dynamodb.update_table().table_name("leases").global_secondary_index_updates(update);
    update.attribute_definitions(attribute("owner")).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_read_sees_the_past_unless_it_asks_for_consistency() {
    let dynamodb = leases(LocalAws::builder().dynamodb_reads_lag(LAG)).await;
    put(&dynamodb, "s0", "w1").await;
    let owner = async |consistent: bool| {
        let get = dynamodb.get_item().table_name("leases").key("k", text("s0")).consistent_read(consistent);
        let item = get.send().await.unwrap().item;
        item.map(|item| item["owner"].as_s().unwrap().clone())
    };
    let scanned = async || dynamodb.scan().table_name("leases").send().await.unwrap().count();

    assert_eq!((owner(true).await, owner(false).await), (Some("w1".to_owned()), None));
    assert_eq!(scanned().await, 0);

    sleep(Duration::from_secs(1)).await;
    put(&dynamodb, "s0", "w2").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!((owner(true).await, owner(false).await), (Some("w2".to_owned()), Some("w1".to_owned())));
    assert_eq!(scanned().await, 1);

    sleep(Duration::from_secs(1)).await;
    assert_eq!(owner(false).await, Some("w2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_not_repeated() {
    let dynamodb = leases(LocalAws::builder().dynamodb_reads_lag(LAG)).await;
    put(&dynamodb, "s0", "w1").await;
    let steal = dynamodb.put_item().table_name("leases").item("k", text("s0")).item("owner", text("w2"));
    let refused = steal.condition_expression("attribute_not_exists(k)").send().await;
    assert_eq!(code(refused), "ConditionalCheckFailedException");

    sleep(LAG).await;

    let found = dynamodb.get_item().table_name("leases").key("k", text("s0")).send().await.unwrap();
    assert_eq!(found.item().unwrap()["owner"], text("w1"));
}

#[tokio::test(start_paused = true)]
async fn an_index_lags_behind_its_table() {
    let dynamodb = leases(LocalAws::builder().dynamodb_reads_lag(LAG)).await;
    put(&dynamodb, "s0", "w1").await;
    add_index(&dynamodb).await;
    put(&dynamodb, "s1", "w1").await;
    let owned = async || {
        let query = dynamodb.query().table_name("leases").index_name("by-owner");
        let query = query.key_condition_expression("#o = :o").expression_attribute_names("#o", "owner");
        query.expression_attribute_values(":o", text("w1")).send().await.unwrap().count()
    };

    assert_eq!(owned().await, 1);
    sleep(LAG).await;
    assert_eq!(owned().await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_index_cannot_be_read_until_it_is_built() {
    let dynamodb = leases(LocalAws::builder().indexes_take(Duration::from_secs(60))).await;
    put(&dynamodb, "s0", "w1").await;
    add_index(&dynamodb).await;
    let described = async || {
        let table = dynamodb.describe_table().table_name("leases").send().await.unwrap().table.unwrap();
        let index = &table.global_secondary_indexes()[0];
        (table.table_status().unwrap().clone(), index.index_status().unwrap().clone(), index.backfilling())
    };
    let query = || {
        let query = dynamodb.query().table_name("leases").index_name("by-owner");
        let query = query.key_condition_expression("#o = :o").expression_attribute_names("#o", "owner");
        query.expression_attribute_values(":o", text("w1")).send()
    };

    assert_eq!(described().await, (TableStatus::Updating, IndexStatus::Creating, Some(true)));
    assert_eq!(code(query().await), "ValidationException");
    dynamodb.scan().table_name("leases").send().await.unwrap();

    sleep(Duration::from_secs(60)).await;
    assert_eq!(described().await, (TableStatus::Active, IndexStatus::Active, None));
    assert_eq!(query().await.unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_active_index_cannot_be_queried_for_a_while() {
    let minute = Duration::from_secs(60);
    let dynamodb = leases(LocalAws::builder().indexes_take(minute).indexes_lag(minute)).await;
    put(&dynamodb, "s0", "w1").await;
    add_index(&dynamodb).await;
    let status = async || {
        let table = dynamodb.describe_table().table_name("leases").send().await.unwrap().table.unwrap();
        table.global_secondary_indexes()[0].index_status().unwrap().clone()
    };
    let query = || {
        let query = dynamodb.query().table_name("leases").index_name("by-owner");
        let query = query.key_condition_expression("#o = :o").expression_attribute_names("#o", "owner");
        query.expression_attribute_values(":o", text("w1")).send()
    };

    sleep(minute).await;
    assert_eq!(status().await, IndexStatus::Active);
    let refused = query().await;
    assert_eq!(message(refused), "The table does not have the specified index: by-owner");
    assert_eq!(code(query().await), "ValidationException");

    sleep(minute).await;
    assert_eq!(query().await.unwrap().count(), 1);
}
