//! Units that requests to DynamoDB consume, requests that are refused by name, and statements by keys.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, BillingMode,
    GlobalSecondaryIndex, KeySchemaElement, KeyType, LocalSecondaryIndex, Projection, ProjectionType, Put,
    ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, ScalarAttributeType, StreamSpecification,
    TransactWriteItem,
};
use kinesis_local::LocalAws;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
}

fn key(name: &str, key_type: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(key_type).build().unwrap()
}

fn keys_only() -> Projection {
    Projection::builder().projection_type(ProjectionType::KeysOnly).build()
}

/// A DynamoDB with a table `tab` of key `k`, and an index by `o`.
async fn table() -> Client {
    table_of(&LocalAws::start().await).await
}

async fn table_of(aws: &LocalAws) -> Client {
    let dynamodb = Client::new(&aws.sdk_config());
    let create = dynamodb.create_table().table_name("tab").billing_mode(BillingMode::PayPerRequest);
    let create = create.key_schema(key("k", KeyType::Hash)).attribute_definitions(attribute("k"));
    let index = GlobalSecondaryIndex::builder().index_name("by-o").key_schema(key("o", KeyType::Hash));
    let create = create.attribute_definitions(attribute("o"));
    create.global_secondary_indexes(index.projection(keys_only()).build().unwrap()).send().await.unwrap();
    dynamodb
}

#[tokio::test(start_paused = true)]
async fn consumed_capacity_follows_the_public_rules() {
    let dynamodb = table().await;
    let put = |owner: &str, bytes: usize| {
        let put = dynamodb.put_item().table_name("tab").item("k", text("a")).item("o", text(owner));
        put.item("data", text(&"x".repeat(bytes))).return_consumed_capacity(ReturnConsumedCapacity::Indexes).send()
    };
    let written = async |owner: &str, bytes: usize| {
        let consumed = put(owner, bytes).await.unwrap().consumed_capacity.unwrap();
        let index = consumed.global_secondary_indexes().and_then(|all| all["by-o"].capacity_units());
        (consumed.table().unwrap().capacity_units().unwrap(), index)
    };

    assert_eq!(written("w1", 1500).await, (2.0, Some(1.0)), "the index holds the keys alone");
    assert_eq!(written("w1", 10).await, (2.0, None), "the larger of before and after; the index sees no change");
    assert_eq!(written("w2", 10).await, (1.0, Some(2.0)), "the index's entry moves");

    let read = async |consistent: bool| {
        let get = dynamodb.get_item().table_name("tab").key("k", text("a")).consistent_read(consistent);
        let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.unwrap();
        get.consumed_capacity.unwrap().capacity_units().unwrap()
    };
    assert_eq!((read(true).await, read(false).await), (1.0, 0.5));

    let put = Put::builder().table_name("tab").item("k", text("b")).build().unwrap();
    let transact = dynamodb.transact_write_items().transact_items(TransactWriteItem::builder().put(put).build());
    let transact = transact.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.unwrap();
    assert_eq!(transact.consumed_capacity()[0].write_capacity_units(), Some(2.0));
}

#[tokio::test(start_paused = true)]
async fn all_consumption_is_counted_at_the_service() {
    let aws = LocalAws::start().await;
    let dynamodb = table_of(&aws).await;
    let put = || dynamodb.put_item().table_name("tab").item("k", text("a")).item("o", text(&"x".repeat(1500)));
    put().send().await.unwrap();
    let written = aws.consumed_capacity();
    assert_eq!((written.read_units, written.write_units), (0.0, 4.0), "table and index");

    put().condition_expression("attribute_not_exists(k)").send().await.unwrap_err();
    assert_eq!(aws.consumed_capacity().write_units - written.write_units, 2.0, "of the item that is there");

    let get = || dynamodb.get_item().table_name("tab").key("k", text("a"));
    get().send().await.unwrap();
    get().consistent_read(true).send().await.unwrap();
    dynamodb.scan().table_name("none").send().await.unwrap_err();
    assert_eq!(aws.consumed_capacity().read_units, 1.5);
}

#[tokio::test(start_paused = true)]
async fn reads_of_the_past_are_counted_once_and_repeated_writes_not() {
    let aws = LocalAws::builder().dynamodb_reads_lag(std::time::Duration::from_secs(1)).start().await;
    let dynamodb = table_of(&aws).await;
    dynamodb.put_item().table_name("tab").item("k", text("a")).send().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let get = dynamodb.get_item().table_name("tab").key("k", text("a")).send().await.unwrap();
    assert!(get.item.is_some(), "the write was repeated");
    let consumed = aws.consumed_capacity();
    assert_eq!((consumed.read_units, consumed.write_units), (0.5, 1.0));
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_refused_by_name() {
    let dynamodb = table().await;
    let create = || {
        let create = dynamodb.create_table().table_name("other").billing_mode(BillingMode::PayPerRequest);
        let create = create.key_schema(key("k", KeyType::Hash)).key_schema(key("r", KeyType::Range));
        create.attribute_definitions(attribute("k")).attribute_definitions(attribute("r"))
    };

    let local = LocalSecondaryIndex::builder().index_name("local").key_schema(key("k", KeyType::Hash));
    let local = local.key_schema(key("r", KeyType::Range)).projection(keys_only()).build().unwrap();
    let refused = super::message(create().local_secondary_indexes(local).send().await);
    assert!(refused.contains("does not support LocalSecondaryIndexes of CreateTable"), "{refused}");

    let stream = StreamSpecification::builder().stream_enabled(true).build().unwrap();
    let refused = super::message(create().stream_specification(stream).send().await);
    assert!(refused.contains("does not support StreamSpecification of CreateTable"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn statements_of_a_batch_each_have_a_condition_of_their_own() {
    let dynamodb = table().await;
    for (k, n) in [("a", "1"), ("b", "7")] {
        let put = dynamodb.put_item().table_name("tab").item("k", text(k));
        put.item("n", AttributeValue::N(n.to_owned())).send().await.unwrap();
    }
    let renew = |k: &str| {
        let statement =
            BatchStatementRequest::builder().statement("UPDATE \"tab\" SET n = n + 1 WHERE k = ? AND n = ?");
        let statement = statement.parameters(text(k)).parameters(AttributeValue::N("1".to_owned()));
        let shown = ReturnValuesOnConditionCheckFailure::AllOld;
        statement.return_values_on_condition_check_failure(shown).build().unwrap()
    };

    let batch = dynamodb.batch_execute_statement().statements(renew("a")).statements(renew("b"));
    let batch = batch.statements(renew("none")).return_consumed_capacity(ReturnConsumedCapacity::Total);
    let answer = batch.send().await.unwrap();

    let errors: Vec<_> = answer.responses().iter().map(|part| part.error().and_then(|error| error.code())).collect();
    let failed = Some(&BatchStatementErrorCodeEnum::ConditionalCheckFailed);
    assert_eq!(errors, [None, failed, failed]);
    assert_eq!(answer.responses()[1].error().unwrap().item().unwrap()["n"], AttributeValue::N("7".to_owned()));
    let get = dynamodb.get_item().table_name("tab").key("k", text("a")).send().await.unwrap();
    assert_eq!(get.item().unwrap()["n"], AttributeValue::N("2".to_owned()));
    assert!(dynamodb.get_item().table_name("tab").key("k", text("none")).send().await.unwrap().item().is_none());
}
