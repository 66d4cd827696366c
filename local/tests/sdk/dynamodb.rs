//! DynamoDB as lease tables use it.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexUpdate, KeySchemaElement, KeyType, PointInTimeRecoverySpecification, PointInTimeRecoveryStatus,
    Projection, ProjectionType, PutRequest, ReturnValue, ReturnValuesOnConditionCheckFailure, ScalarAttributeType,
    TableStatus, Tag, WriteRequest,
};
use kinesis_local::LocalAws;

const INDEX: &str = "by-owner";

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
}

fn hash_key(name: &str) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap()
}

fn keys_only() -> Projection {
    Projection::builder().projection_type(ProjectionType::KeysOnly).build()
}

/// A DynamoDB with an empty table named `leases`.
async fn leases() -> Client {
    let dynamodb = Client::new(&LocalAws::start().await.sdk_config());
    let create = dynamodb.create_table().table_name("leases").billing_mode(BillingMode::PayPerRequest);
    let create = create.key_schema(hash_key("leaseKey")).attribute_definitions(attribute("leaseKey"));
    create.send().await.unwrap();
    dynamodb
}

async fn put(dynamodb: &Client, key: &str, owner: &str) {
    let put = dynamodb.put_item().table_name("leases").item("leaseKey", text(key)).item("leaseOwner", text(owner));
    put.item("leaseCounter", number(0)).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_created_once() {
    let dynamodb = leases().await;
    let create = || {
        let put = dynamodb.put_item().table_name("leases").item("leaseKey", text("s0"));
        put.condition_expression("attribute_not_exists(leaseKey)").send()
    };

    create().await.unwrap();

    assert!(create().await.unwrap_err().into_service_error().is_conditional_check_failed_exception());
}

#[tokio::test(start_paused = true)]
async fn a_stale_renewal_is_refused_and_shows_what_is_there() {
    let dynamodb = leases().await;
    put(&dynamodb, "s0", "w1").await;
    let renew = |counter: u64| {
        let update = dynamodb.update_item().table_name("leases").key("leaseKey", text("s0"));
        update
            .update_expression("SET leaseCounter = leaseCounter + :one")
            .condition_expression("leaseCounter = :c AND leaseOwner = :w")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":c", number(counter))
            .expression_attribute_values(":w", text("w1"))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
    };

    let renewed = renew(0).await.unwrap();
    let stale = renew(0).await.unwrap_err().into_service_error();

    assert_eq!(renewed.attributes().unwrap()["leaseCounter"], number(1));
    let aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(stale) = stale
    else {
        panic!("{stale:?}");
    };
    assert_eq!(stale.item().unwrap()["leaseCounter"], number(1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_deleted_by_its_owner_only() {
    let dynamodb = leases().await;
    put(&dynamodb, "s0", "w1").await;
    let delete = |owner: &str| {
        let delete = dynamodb.delete_item().table_name("leases").key("leaseKey", text("s0"));
        delete.condition_expression("leaseOwner = :w").expression_attribute_values(":w", text(owner)).send()
    };

    assert!(delete("w2").await.unwrap_err().into_service_error().is_conditional_check_failed_exception());
    delete("w1").await.unwrap();

    let gone = dynamodb.get_item().table_name("leases").key("leaseKey", text("s0")).send().await.unwrap();
    assert!(gone.item().is_none());
}

#[tokio::test(start_paused = true)]
async fn segments_and_pages_of_a_scan_find_every_lease_once() {
    let dynamodb = leases().await;
    for n in 0..30 {
        put(&dynamodb, &format!("s{n}"), "w1").await;
    }

    let mut found = Vec::new();
    for segment in 0..4 {
        let mut start = None;
        loop {
            let scan = dynamodb.scan().table_name("leases").consistent_read(true).total_segments(4).segment(segment);
            let page = scan.limit(3).set_exclusive_start_key(start).send().await.unwrap();
            found.extend(page.items().iter().map(|item| item["leaseKey"].as_s().unwrap().clone()));
            start = page.last_evaluated_key().cloned();
            if start.is_none() {
                break;
            }
        }
    }

    found.sort();
    let mut all: Vec<_> = (0..30).map(|n| format!("s{n}")).collect();
    all.sort();
    assert_eq!(found, all);
}

#[tokio::test(start_paused = true)]
async fn an_index_comes_with_the_table_or_later() {
    let dynamodb = leases().await;
    put(&dynamodb, "s0", "w1").await;
    let action = CreateGlobalSecondaryIndexAction::builder()
        .index_name(INDEX)
        .key_schema(hash_key("leaseOwner"))
        .projection(keys_only())
        .build()
        .unwrap();
    let update = dynamodb.update_table().table_name("leases").attribute_definitions(attribute("leaseOwner"));
    update
        .global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().create(action).build())
        .send()
        .await
        .unwrap();

    let index = GlobalSecondaryIndex::builder().index_name(INDEX).key_schema(hash_key("leaseOwner"));
    let create = dynamodb.create_table().table_name("others").billing_mode(BillingMode::PayPerRequest);
    let create = create.key_schema(hash_key("leaseKey")).attribute_definitions(attribute("leaseKey"));
    let create = create.attribute_definitions(attribute("leaseOwner"));
    create.global_secondary_indexes(index.projection(keys_only()).build().unwrap()).send().await.unwrap();
    let put = dynamodb.put_item().table_name("others").item("leaseKey", text("s0")).item("leaseOwner", text("w1"));
    put.send().await.unwrap();

    for table in ["leases", "others"] {
        let query = dynamodb.query().table_name(table).index_name(INDEX).key_condition_expression("leaseOwner = :w");
        let owned = |owner: &str| query.clone().expression_attribute_values(":w", text(owner)).send();
        assert_eq!(owned("w1").await.unwrap().items()[0]["leaseKey"], text("s0"), "{table}");
        assert_eq!(owned("w2").await.unwrap().count(), 0, "{table}");
    }
}

#[tokio::test(start_paused = true)]
async fn tables_show_what_they_were_made_with() {
    let dynamodb = leases().await;
    let describe = async || dynamodb.describe_table().table_name("leases").send().await.unwrap().table.unwrap();

    let table = describe().await;
    let arn = table.table_arn().unwrap();
    assert_eq!(arn, "arn:aws:dynamodb:us-east-1:000000000000:table/leases");
    assert_eq!(table.table_status(), Some(&TableStatus::Active));
    let tag = Tag::builder().key("team").value("data").build().unwrap();
    dynamodb.tag_resource().resource_arn(arn).tags(tag.clone()).send().await.unwrap();
    assert_eq!(dynamodb.list_tags_of_resource().resource_arn(arn).send().await.unwrap().tags(), [tag]);

    dynamodb.update_table().table_name("leases").deletion_protection_enabled(true).send().await.unwrap();
    assert_eq!(describe().await.deletion_protection_enabled(), Some(true));
    let refused = dynamodb.delete_table().table_name("leases").send().await;
    assert_eq!(super::code(refused), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn missing_and_existing_tables_are_told_apart() {
    let dynamodb = leases().await;

    let missing = dynamodb.describe_table().table_name("none").send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
    let create = dynamodb.create_table().table_name("leases").billing_mode(BillingMode::PayPerRequest);
    let create = create.key_schema(hash_key("leaseKey")).attribute_definitions(attribute("leaseKey"));
    assert!(create.send().await.unwrap_err().into_service_error().is_resource_in_use_exception());
    let put = dynamodb.put_item().table_name("none").item("leaseKey", text("s0")).send().await;
    assert!(put.unwrap_err().into_service_error().is_resource_not_found_exception());
    let unknown = dynamodb.list_backups().send().await;
    assert_eq!(super::code(unknown), "UnknownOperationException");
}

#[tokio::test(start_paused = true)]
async fn a_batch_holds_up_to_25_writes() {
    let dynamodb = leases().await;
    let write = |n: usize| {
        let item = HashMap::from([("leaseKey".to_owned(), text(&format!("s{n}")))]);
        WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build().unwrap()).build()
    };
    let batch =
        async |n: usize| dynamodb.batch_write_item().request_items("leases", (0..n).map(write).collect()).send().await;

    assert_eq!(super::code(batch(26).await), "ValidationException");
    assert!(batch(25).await.unwrap().unprocessed_items().is_none_or(HashMap::is_empty));
    assert_eq!(dynamodb.scan().table_name("leases").send().await.unwrap().count(), 25);
}

#[tokio::test(start_paused = true)]
async fn point_in_time_recovery_can_be_turned_on_and_off() {
    let dynamodb = leases().await;
    let turn = async |on: bool| {
        let specification =
            PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(on).build().unwrap();
        let update = dynamodb.update_continuous_backups().table_name("leases");
        update.point_in_time_recovery_specification(specification).send().await.unwrap();
        let describe = dynamodb.describe_continuous_backups().table_name("leases").send().await.unwrap();
        let recovery = describe.continuous_backups_description.unwrap().point_in_time_recovery_description.unwrap();
        assert_eq!(recovery.earliest_restorable_date_time().is_some(), on);
        recovery.point_in_time_recovery_status.unwrap()
    };

    assert_eq!(turn(true).await, PointInTimeRecoveryStatus::Enabled);
    assert_eq!(turn(false).await, PointInTimeRecoveryStatus::Disabled);
    let missing = dynamodb.describe_continuous_backups().table_name("none").send().await.unwrap_err();
    assert!(missing.into_service_error().is_table_not_found_exception());
}
