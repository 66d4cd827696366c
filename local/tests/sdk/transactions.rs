//! DynamoDB's transactions, batches and PartiQL, where tests of exactly-once processing need them as the service has them.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::execute_transaction::ExecuteTransactionError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, BillingMode,
    ConditionCheck, KeySchemaElement, KeyType, KeysAndAttributes, ParameterizedStatement, Put, PutRequest,
    ScalarAttributeType, TransactWriteItem, WriteRequest,
};
use kinesis_local::{Builder, LocalAws};
use tokio::time::sleep;

use super::{code, message};

async fn table(builder: Builder) -> (LocalAws, Client) {
    let aws = builder.start().await;
    let config = aws.sdk_config().into_builder().retry_config(RetryConfig::disabled()).build();
    let dynamodb = Client::new(&config);
    let key = KeySchemaElement::builder().attribute_name("k").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("k").attribute_type(ScalarAttributeType::S);
    let create = dynamodb.create_table().table_name("leases").billing_mode(BillingMode::PayPerRequest).key_schema(key);
    create.attribute_definitions(attribute.build().unwrap()).send().await.unwrap();
    (aws, dynamodb)
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

async fn keys(dynamodb: &Client) -> Vec<String> {
    let scan = dynamodb.scan().table_name("leases").consistent_read(true).send().await.unwrap();
    let mut keys: Vec<_> = scan.items().iter().map(|item| item["k"].as_s().unwrap().clone()).collect();
    keys.sort();
    keys
}

fn transact_put(key: &str) -> TransactWriteItem {
    let put = Put::builder().table_name("leases").item("k", text(key)).build().unwrap();
    TransactWriteItem::builder().put(put).build()
}

fn insert(key: &str) -> String {
    format!("INSERT INTO leases VALUE {{'k': '{key}'}}")
}

fn transact_statements(statements: &[String]) -> Vec<ParameterizedStatement> {
    statements.iter().map(|text| ParameterizedStatement::builder().statement(text).build().unwrap()).collect()
}

fn batch_statements(statements: &[String]) -> Vec<BatchStatementRequest> {
    statements.iter().map(|text| BatchStatementRequest::builder().statement(text).build().unwrap()).collect()
}

/// The codes of the reasons why a transaction was canceled.
fn reasons<R: std::fmt::Debug>(result: Result<R, SdkError<ExecuteTransactionError>>) -> Vec<String> {
    match result.unwrap_err().into_service_error() {
        ExecuteTransactionError::TransactionCanceledException(canceled) => {
            canceled.cancellation_reasons().iter().filter_map(|reason| reason.code().map(str::to_owned)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_remembered_for_ten_minutes_of_virtual_time() {
    let (_aws, dynamodb) = table(LocalAws::builder()).await;
    let transact = || dynamodb.transact_write_items().transact_items(transact_put("a")).client_request_token("once");
    let delete = || dynamodb.delete_item().table_name("leases").key("k", text("a")).send();
    transact().send().await.unwrap();
    delete().await.unwrap();

    sleep(Duration::from_secs(599)).await;
    transact().send().await.unwrap();
    assert!(keys(&dynamodb).await.is_empty());
    let other = transact().transact_items(transact_put("b")).send().await;
    assert_eq!(code(other), "IdempotentParameterMismatchException");

    sleep(Duration::from_secs(1)).await;
    transact().send().await.unwrap();
    assert_eq!(keys(&dynamodb).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_failed_does_not_use_up_its_token() {
    let (_aws, dynamodb) = table(LocalAws::builder()).await;
    let check =
        ConditionCheck::builder().table_name("leases").key("k", text("b")).condition_expression("attribute_exists(k)");
    let check = TransactWriteItem::builder().condition_check(check.build().unwrap()).build();
    let transact = || {
        let transact = dynamodb.transact_write_items().client_request_token("once");
        transact.transact_items(transact_put("a")).transact_items(check.clone()).send()
    };

    assert_eq!(code(transact().await), "TransactionCanceledException");
    dynamodb.put_item().table_name("leases").item("k", text("b")).send().await.unwrap();
    transact().await.unwrap();

    assert_eq!(keys(&dynamodb).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn exists_is_a_condition_check_among_writes() {
    let (_aws, dynamodb) = table(LocalAws::builder()).await;
    dynamodb.put_item().table_name("leases").item("k", text("a")).item("n", text("1")).send().await.unwrap();
    let transact = |check: &str| {
        let statements = transact_statements(&[insert("b"), check.to_owned(), insert("c")]);
        dynamodb.execute_transaction().set_transact_statements(Some(statements)).send()
    };

    let failed = transact("EXISTS(SELECT * FROM leases WHERE k = 'a' AND n = '2')").await;
    assert_eq!(reasons(failed), ["None", "ConditionalCheckFailed", "None"]);
    assert_eq!(keys(&dynamodb).await, ["a"]);

    transact("EXISTS(SELECT * FROM leases WHERE k = 'a' AND n = '1')").await.unwrap();
    assert_eq!(keys(&dynamodb).await, ["a", "b", "c"]);

    let twice = transact("EXISTS(SELECT * FROM leases WHERE k = 'a')").await;
    assert_eq!(reasons(twice), ["DuplicateItem", "None", "DuplicateItem"], "the check has its place");

    let alone = transact_statements(&["EXISTS(SELECT * FROM leases WHERE k = 'a')".to_owned()]);
    let refused = dynamodb.execute_transaction().set_transact_statements(Some(alone)).send().await;
    assert!(message(refused).contains("EXISTS can only be used in ExecuteTransaction write requests."));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_failed_is_checked_anew_under_its_token() {
    let (_aws, dynamodb) = table(LocalAws::builder()).await;
    let put = |key: &str| dynamodb.put_item().table_name("leases").item("k", text(key)).send();
    let delete = |key: &str| dynamodb.delete_item().table_name("leases").key("k", text(key)).send();
    let transact = || {
        let statements = transact_statements(&["EXISTS(SELECT * FROM leases WHERE k = 'a')".to_owned(), insert("b")]);
        dynamodb.execute_transaction().set_transact_statements(Some(statements)).client_request_token("once").send()
    };
    put("a").await.unwrap();
    put("b").await.unwrap();
    assert_eq!(code(transact().await), "TransactionCanceledException");

    delete("a").await.unwrap();
    delete("b").await.unwrap();

    assert_eq!(reasons(transact().await), ["ConditionalCheckFailed", "None"]);
    assert!(keys(&dynamodb).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn transactions_and_batches_conflict_in_their_own_ways() {
    let (aws, dynamodb) = table(LocalAws::builder()).await;
    let conflict = aws.faults().on("dynamodb:*").conflict();
    let statements = [insert("a"), insert("b")];

    let transaction = dynamodb.execute_transaction().set_transact_statements(Some(transact_statements(&statements)));
    assert_eq!(reasons(transaction.send().await), ["TransactionConflict", "None"]);
    let batch = dynamodb.batch_execute_statement().set_statements(Some(batch_statements(&statements)));
    let answer = batch.send().await.unwrap();
    let error = answer.responses()[0].error().unwrap();
    assert_eq!(error.code(), Some(&BatchStatementErrorCodeEnum::TransactionConflict));
    assert!(answer.responses()[1].error().is_none());

    conflict.remove();
    assert_eq!(keys(&dynamodb).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn some_statements_of_a_batch_fail() {
    for (after_effect, left) in [(false, vec!["a", "c"]), (true, vec!["a", "b", "c"])] {
        let (aws, dynamodb) = table(LocalAws::builder()).await;
        let rule = aws.faults().on("dynamodb:BatchExecuteStatement");
        if after_effect { rule.after_effect() } else { rule }.fail_records(2);

        let statements = batch_statements(&["a", "b", "c"].map(insert));
        let answer = dynamodb.batch_execute_statement().set_statements(Some(statements)).send().await.unwrap();

        let errors: Vec<_> =
            answer.responses().iter().map(|part| part.error().and_then(|error| error.code())).collect();
        assert_eq!(errors, [None, Some(&BatchStatementErrorCodeEnum::ThrottlingError), None]);
        assert_eq!(keys(&dynamodb).await, left);
    }
}

#[tokio::test(start_paused = true)]
async fn some_items_of_a_batch_are_unprocessed() {
    let (aws, dynamodb) = table(LocalAws::builder()).await;
    let write = |key: &str| {
        let put = PutRequest::builder().item("k", text(key)).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    };
    let batch = |keys: &[&str]| {
        let requests = keys.iter().map(|key| write(key)).collect();
        dynamodb.batch_write_item().request_items("leases", requests).send()
    };
    let fault = aws.faults().on("dynamodb:BatchWriteItem").fail_records(2);
    let unprocessed = batch(&["a", "b", "c"]).await.unwrap().unprocessed_items.unwrap();
    assert_eq!(unprocessed["leases"], [write("b")]);
    assert_eq!(keys(&dynamodb).await, ["a", "c"]);
    fault.remove();
    aws.faults().on("dynamodb:BatchWriteItem").fail_records(1);
    assert_eq!(batch(&["b"]).await.unwrap().unprocessed_items.unwrap()["leases"], [write("b")]);
    assert_eq!(keys(&dynamodb).await, ["a", "c"]);

    aws.faults().on("dynamodb:BatchGetItem").times(1).fail_records(2);
    let get = KeysAndAttributes::builder();
    let get = ["a", "c"].into_iter().fold(get, |get, key| get.keys([("k".to_owned(), text(key))].into()));
    let get = dynamodb.batch_get_item().request_items("leases", get.build().unwrap());
    let answer = get.send().await.unwrap();
    assert_eq!(answer.responses().unwrap()["leases"], [[("k".to_owned(), text("a"))].into()]);
    assert_eq!(answer.unprocessed_keys().unwrap()["leases"].keys(), [[("k".to_owned(), text("c"))].into()]);
}

#[tokio::test(start_paused = true)]
async fn transactions_need_the_rights_of_their_items() {
    let (aws, dynamodb) = table(LocalAws::builder()).await;
    let check =
        ConditionCheck::builder().table_name("leases").key("k", text("b")).condition_expression("attribute_exists(k)");
    let check = TransactWriteItem::builder().condition_check(check.build().unwrap()).build();
    let transact = || {
        let transact = dynamodb.transact_write_items().transact_items(transact_put("a"));
        transact.transact_items(check.clone()).send()
    };

    for action in ["dynamodb:PutItem", "dynamodb:ConditionCheckItem"] {
        aws.deny(action);
        let denied = message(transact().await);
        assert!(
            denied.contains(&format!("{action} on resource: arn:aws:dynamodb:us-east-1:000000000000:table/leases"))
        );
        aws.allow(action);
    }
    aws.deny("dynamodb:DeleteItem");
    assert_eq!(code(transact().await), "TransactionCanceledException");
}

#[tokio::test(start_paused = true)]
async fn statements_need_the_rights_of_what_they_do() {
    let (aws, dynamodb) = table(LocalAws::builder()).await;
    aws.deny("dynamodb:PartiQLInsert");
    let statements = [insert("a")];

    let single = dynamodb.execute_statement().statement(&statements[0]).send().await;
    assert!(message(single).contains("perform: dynamodb:PartiQLInsert on resource"));
    let batch = dynamodb.batch_execute_statement().set_statements(Some(batch_statements(&statements))).send().await;
    assert_eq!(code(batch), "AccessDeniedException");
    let transaction = dynamodb.execute_transaction().set_transact_statements(Some(transact_statements(&statements)));
    assert_eq!(code(transaction.send().await), "AccessDeniedException");
    dynamodb.execute_statement().statement("SELECT * FROM leases").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn selects_lag_unless_they_ask_for_consistency() {
    let lag = Duration::from_secs(2);
    let (_aws, dynamodb) = table(LocalAws::builder().dynamodb_reads_lag(lag)).await;
    dynamodb.execute_statement().statement(insert("a")).send().await.unwrap();
    let select = "SELECT * FROM leases WHERE k = 'a'";
    let seen = async |consistent: bool| {
        let single = dynamodb.execute_statement().statement(select).consistent_read(consistent).send().await.unwrap();
        let statement = BatchStatementRequest::builder().statement(select).consistent_read(consistent).build().unwrap();
        let batch = dynamodb.batch_execute_statement().statements(statement).send().await.unwrap();
        (single.items().len(), batch.responses()[0].item().is_some())
    };

    assert_eq!((seen(true).await, seen(false).await), ((1, true), (0, false)));
    sleep(lag).await;
    assert_eq!(seen(false).await, (1, true));
}

#[tokio::test(start_paused = true)]
async fn limits_and_endpoints_are_described() {
    let (_aws, dynamodb) = table(LocalAws::builder()).await;

    let limits = dynamodb.describe_limits().send().await.unwrap();
    let endpoints = dynamodb.describe_endpoints().send().await.unwrap();

    assert_eq!(limits.table_max_write_capacity_units(), Some(40_000));
    assert_eq!(endpoints.endpoints()[0].address(), "dynamodb.us-east-1.amazonaws.com");
}
