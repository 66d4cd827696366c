//! Checks of items as lease tables use them: conditional writes in both forms, transactions, batches, types.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeAction, AttributeValue, AttributeValueUpdate, ExpectedAttributeValue, ParameterizedStatement, PutRequest,
    ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
};

use super::Failure;
use super::check::{checks, dynamodb_api, guide};
use super::expect::{Outcome, equal, holds, present, refused, refused_as};
use super::peer::{Peer, unique};
use super::table::{COUNTER, Item, KEY, Leases, OWNER, lease, number, text};

const EXPECTED: &str = guide!("amazondynamodb/latest/developerguide/LegacyConditionalParameters.Expected");
const UPDATES: &str = guide!("amazondynamodb/latest/developerguide/LegacyConditionalParameters.AttributeUpdates");
const EXISTS: &str = guide!("amazondynamodb/latest/developerguide/ql-functions.exists");
const SIZE: &str = guide!("amazondynamodb/latest/developerguide/Limits");

checks! {
    DynamoDb an_item_is_read_as_it_was_written: dynamodb_api!("GetItem");
    DynamoDb values_of_all_types_are_kept: dynamodb_api!("AttributeValue");
    DynamoDb a_missing_item_is_no_error: dynamodb_api!("GetItem");
    DynamoDb an_item_of_a_missing_table_is_an_error: dynamodb_api!("GetItem");
    DynamoDb an_item_is_created_once: dynamodb_api!("PutItem");
    DynamoDb an_item_is_created_once_in_legacy_form: EXPECTED;
    DynamoDb an_update_under_a_condition_that_holds: dynamodb_api!("UpdateItem");
    DynamoDb an_update_under_a_condition_that_fails: dynamodb_api!("UpdateItem");
    DynamoDb a_failed_condition_tells_the_item: dynamodb_api!("UpdateItem");
    DynamoDb an_update_returns_all_new_values: dynamodb_api!("UpdateItem");
    DynamoDb an_update_creates_a_missing_item: dynamodb_api!("UpdateItem");
    DynamoDb an_update_removes_an_attribute: dynamodb_api!("UpdateItem");
    DynamoDb a_legacy_update_under_a_condition_that_holds: EXPECTED;
    DynamoDb a_legacy_update_under_a_condition_that_fails: EXPECTED;
    DynamoDb a_legacy_update_adds_to_a_number: UPDATES;
    DynamoDb a_legacy_update_deletes_an_attribute: UPDATES;
    DynamoDb legacy_form_and_expressions_do_not_mix: dynamodb_api!("UpdateItem");
    DynamoDb an_item_is_deleted_under_a_condition: dynamodb_api!("DeleteItem");
    DynamoDb a_delete_under_a_condition_that_fails: dynamodb_api!("DeleteItem");
    DynamoDb a_legacy_delete_under_a_condition_that_fails: EXPECTED;
    DynamoDb a_delete_returns_the_old_item: dynamodb_api!("DeleteItem");
    DynamoDb a_transaction_writes_all: dynamodb_api!("TransactWriteItems");
    DynamoDb a_transaction_that_fails_writes_nothing: dynamodb_api!("TransactWriteItems");
    DynamoDb a_transaction_that_fails_tells_which: dynamodb_api!("TransactWriteItems");
    DynamoDb a_token_used_again_writes_nothing: dynamodb_api!("TransactWriteItems");
    DynamoDb a_token_of_another_transaction_is_refused: dynamodb_api!("TransactWriteItems");
    DynamoDb exists_checks_a_condition_among_writes: EXISTS;
    DynamoDb a_batch_of_25_is_written: dynamodb_api!("BatchWriteItem");
    DynamoDb a_batch_of_26_is_refused: dynamodb_api!("BatchWriteItem");
    DynamoDb an_item_above_400_kb_is_refused: SIZE;
    DynamoDb a_key_is_not_empty: SIZE;
}

async fn an_item_is_read_as_it_was_written(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    leases.put(lease("s0", "w1", 7)).await?;
    equal("item", leases.get("s0").await?, Some(lease("s0", "w1", 7)))
}

async fn values_of_all_types_are_kept(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let mut item = lease("s0", "w1", 7);
    let values = [
        ("binary", AttributeValue::B(Blob::new([0, 255]))),
        ("boolean", AttributeValue::Bool(true)),
        ("null", AttributeValue::Null(true)),
        ("texts", AttributeValue::Ss(vec!["a".to_owned()])),
        ("numbers", AttributeValue::Ns(vec!["1".to_owned()])),
        ("list", AttributeValue::L(vec![text("a"), number(1)])),
        ("map", AttributeValue::M(lease("nested", "w2", 1))),
    ];
    item.extend(values.map(|(name, value)| (name.to_owned(), value)));
    leases.put(item.clone()).await?;
    equal("item", leases.get("s0").await?, Some(item))
}

async fn a_missing_item_is_no_error(peer: Peer) -> Outcome {
    equal("item", Leases::create(&peer).await?.get("s0").await?, None)
}

async fn an_item_of_a_missing_table_is_an_error(peer: Peer) -> Outcome {
    let get = peer.dynamodb()?.get_item().table_name(unique("missing")).key(KEY, text("s0"));
    refused(get.send().await, "ResourceNotFoundException")
}

async fn an_item_is_created_once(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let create = |owner: &str| {
        let put = leases.dynamodb.put_item().table_name(&leases.name).set_item(Some(lease("s0", owner, 0)));
        put.condition_expression("attribute_not_exists(leaseKey)").send()
    };
    create("w1").await?;
    refused_as(create("w2").await, PutItemError::is_conditional_check_failed_exception)?;
    equal("owner", leases.attribute("s0", OWNER).await?, Some(text("w1")))
}

async fn an_item_is_created_once_in_legacy_form(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let create = |owner: &str| {
        let put = leases.dynamodb.put_item().table_name(&leases.name).set_item(Some(lease("s0", owner, 0)));
        put.expected(KEY, ExpectedAttributeValue::builder().exists(false).build()).send()
    };
    create("w1").await?;
    refused_as(create("w2").await, PutItemError::is_conditional_check_failed_exception)?;
    equal("owner", leases.attribute("s0", OWNER).await?, Some(text("w1")))
}

/// A table with one lease, `s0` of `w1` with counter 5.
async fn one(peer: &Peer) -> Result<Leases, Failure> {
    let leases = Leases::create(peer).await?;
    leases.put(lease("s0", "w1", 5)).await?;
    Ok(leases)
}

fn update(leases: &Leases) -> UpdateItemFluentBuilder {
    leases.dynamodb.update_item().table_name(&leases.name).key(KEY, text("s0"))
}

/// Increments the counter if it is still the expected one.
fn renew(leases: &Leases, counter: u64) -> UpdateItemFluentBuilder {
    let update = update(leases).update_expression("SET leaseCounter = leaseCounter + :one");
    let update = update.condition_expression("leaseCounter = :c").expression_attribute_values(":one", number(1));
    update.expression_attribute_values(":c", number(counter))
}

async fn an_update_under_a_condition_that_holds(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    renew(&leases, 5).send().await?;
    equal("counter", leases.attribute("s0", COUNTER).await?, Some(number(6)))
}

async fn an_update_under_a_condition_that_fails(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let stale = renew(&leases, 4).send().await;
    refused_as(stale, UpdateItemError::is_conditional_check_failed_exception)?;
    equal("counter", leases.attribute("s0", COUNTER).await?, Some(number(5)))
}

async fn a_failed_condition_tells_the_item(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let shown = ReturnValuesOnConditionCheckFailure::AllOld;
    let stale = renew(&leases, 4).return_values_on_condition_check_failure(shown).send().await;
    match stale.map_err(|error| error.into_service_error()) {
        Err(UpdateItemError::ConditionalCheckFailedException(failed)) => {
            equal("item", failed.item(), Some(&lease("s0", "w1", 5)))
        }
        other => Err(Failure::new(format!("got {other:?}, want a failed condition"))),
    }
}

async fn an_update_returns_all_new_values(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let answer = renew(&leases, 5).return_values(ReturnValue::AllNew).send().await?;
    equal("attributes", answer.attributes, Some(lease("s0", "w1", 6)))
}

async fn an_update_creates_a_missing_item(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let set = update(&leases).update_expression("SET leaseOwner = :w, leaseCounter = :c");
    let set = set.expression_attribute_values(":w", text("w1")).expression_attribute_values(":c", number(0));
    set.send().await?;
    equal("item", leases.get("s0").await?, Some(lease("s0", "w1", 0)))
}

async fn an_update_removes_an_attribute(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    update(&leases).update_expression("REMOVE leaseOwner").send().await?;
    equal("owner", leases.attribute("s0", OWNER).await?, None)
}

fn expected(value: AttributeValue) -> ExpectedAttributeValue {
    ExpectedAttributeValue::builder().value(value).build()
}

fn change(action: AttributeAction, value: Option<AttributeValue>) -> AttributeValueUpdate {
    AttributeValueUpdate::builder().action(action).set_value(value).build()
}

async fn a_legacy_update_under_a_condition_that_holds(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let put = update(&leases).attribute_updates(OWNER, change(AttributeAction::Put, Some(text("w2"))));
    put.expected(COUNTER, expected(number(5))).send().await?;
    equal("owner", leases.attribute("s0", OWNER).await?, Some(text("w2")))
}

async fn a_legacy_update_under_a_condition_that_fails(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let put = update(&leases).attribute_updates(OWNER, change(AttributeAction::Put, Some(text("w2"))));
    let stale = put.expected(COUNTER, expected(number(4))).send().await;
    refused_as(stale, UpdateItemError::is_conditional_check_failed_exception)?;
    equal("owner", leases.attribute("s0", OWNER).await?, Some(text("w1")))
}

async fn a_legacy_update_adds_to_a_number(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    update(&leases).attribute_updates(COUNTER, change(AttributeAction::Add, Some(number(2)))).send().await?;
    equal("counter", leases.attribute("s0", COUNTER).await?, Some(number(7)))
}

async fn a_legacy_update_deletes_an_attribute(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    update(&leases).attribute_updates(OWNER, change(AttributeAction::Delete, None)).send().await?;
    equal("owner", leases.attribute("s0", OWNER).await?, None)
}

async fn legacy_form_and_expressions_do_not_mix(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let mixed = renew(&leases, 5).expected(OWNER, expected(text("w1")));
    refused(mixed.send().await, "ValidationException")
}

async fn an_item_is_deleted_under_a_condition(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let delete = leases.dynamodb.delete_item().table_name(&leases.name).key(KEY, text("s0"));
    delete.condition_expression("leaseOwner = :w").expression_attribute_values(":w", text("w1")).send().await?;
    equal("item", leases.get("s0").await?, None)
}

async fn a_delete_under_a_condition_that_fails(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let delete = leases.dynamodb.delete_item().table_name(&leases.name).key(KEY, text("s0"));
    let delete = delete.condition_expression("leaseOwner = :w").expression_attribute_values(":w", text("w2"));
    refused_as(delete.send().await, DeleteItemError::is_conditional_check_failed_exception)?;
    holds(leases.get("s0").await?.is_some(), "the item is still there")
}

async fn a_legacy_delete_under_a_condition_that_fails(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let delete = leases.dynamodb.delete_item().table_name(&leases.name).key(KEY, text("s0"));
    let delete = delete.expected(OWNER, expected(text("w2")));
    refused_as(delete.send().await, DeleteItemError::is_conditional_check_failed_exception)?;
    holds(leases.get("s0").await?.is_some(), "the item is still there")
}

async fn a_delete_returns_the_old_item(peer: Peer) -> Outcome {
    let leases = one(&peer).await?;
    let delete = leases.dynamodb.delete_item().table_name(&leases.name).key(KEY, text("s0"));
    let answer = delete.return_values(ReturnValue::AllOld).send().await?;
    equal("attributes", answer.attributes, Some(lease("s0", "w1", 5)))
}

/// A change of a lease's owner to `w9`, if its counter is 0.
fn take(leases: &Leases, key: &str) -> TransactWriteItem {
    let update = Update::builder().table_name(&leases.name).key(KEY, text(key));
    let update = update.update_expression("SET leaseOwner = :w").condition_expression("leaseCounter = :c");
    let update = update.expression_attribute_values(":w", text("w9")).expression_attribute_values(":c", number(0));
    TransactWriteItem::builder().update(update.build().expect("all is set")).build()
}

async fn a_transaction_writes_all(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 2).await?;
    let transact = leases.dynamodb.transact_write_items();
    transact.transact_items(take(&leases, "lease-00")).transact_items(take(&leases, "lease-01")).send().await?;
    for key in ["lease-00", "lease-01"] {
        equal("owner", leases.attribute(key, OWNER).await?, Some(text("w9")))?;
    }
    Ok(())
}

/// A transaction of two of which the second fails: what it was answered with.
async fn failed_transaction(leases: &Leases) -> Result<TransactWriteItemsError, Failure> {
    leases.put(lease("lease-01", "w1", 3)).await?;
    let transact = leases.dynamodb.transact_write_items();
    let transact = transact.transact_items(take(leases, "lease-00")).transact_items(take(leases, "lease-01"));
    match transact.send().await {
        Ok(_) => Err(Failure::new("the transaction was accepted")),
        Err(error) => Ok(error.into_service_error()),
    }
}

async fn a_transaction_that_fails_writes_nothing(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 2).await?;
    failed_transaction(&leases).await?;
    equal("owner", leases.attribute("lease-00", OWNER).await?, Some(text("w0")))
}

async fn a_transaction_that_fails_tells_which(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 2).await?;
    match failed_transaction(&leases).await? {
        TransactWriteItemsError::TransactionCanceledException(canceled) => {
            let codes: Vec<_> = canceled.cancellation_reasons().iter().map(|reason| reason.code()).collect();
            equal("reasons", codes, [Some("None"), Some("ConditionalCheckFailed")])
        }
        other => Err(Failure::new(format!("got {other:?}, want TransactionCanceledException"))),
    }
}

/// A transaction under one token of the table that takes the lease. A token has 36 characters at most.
fn take_once(leases: &Leases, key: &str) -> TransactWriteItemsFluentBuilder {
    let token = &leases.name[leases.name.len().saturating_sub(36)..];
    leases.dynamodb.transact_write_items().transact_items(take(leases, key)).client_request_token(token)
}

async fn a_token_used_again_writes_nothing(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 1).await?;
    take_once(&leases, "lease-00").send().await?;
    leases.put(lease("lease-00", "w1", 0)).await?;
    take_once(&leases, "lease-00").send().await?;
    equal("owner", leases.attribute("lease-00", OWNER).await?, Some(text("w1")))
}

async fn a_token_of_another_transaction_is_refused(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 2).await?;
    take_once(&leases, "lease-00").send().await?;
    refused(take_once(&leases, "lease-01").send().await, "IdempotentParameterMismatchException")
}

async fn exists_checks_a_condition_among_writes(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 1).await?;
    let insert_if_owned_by = |owner: &str, key: &str| {
        let table = &leases.name;
        let check =
            format!(r#"EXISTS(SELECT * FROM "{table}" WHERE leaseKey = 'lease-00' AND leaseOwner = '{owner}')"#);
        let insert = format!(r#"INSERT INTO "{table}" VALUE {{'leaseKey': '{key}'}}"#);
        let statement = |text: String| ParameterizedStatement::builder().statement(text).build().expect("text is set");
        let transaction = leases.dynamodb.execute_transaction().transact_statements(statement(check));
        transaction.transact_statements(statement(insert)).send()
    };
    refused(insert_if_owned_by("w9", "s1").await, "TransactionCanceledException")?;
    equal("item", leases.get("s1").await?, None)?;
    insert_if_owned_by("w0", "s2").await?;
    present(leases.get("s2").await?, "item")?;
    Ok(())
}

fn batch(items: usize) -> Vec<WriteRequest> {
    let request = |item: Item| {
        let put = PutRequest::builder().set_item(Some(item)).build().expect("item is set");
        WriteRequest::builder().put_request(put).build()
    };
    (0..items).map(|n| request(lease(&format!("lease-{n:02}"), "w1", 0))).collect()
}

async fn a_batch_of_25_is_written(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let answer = leases.dynamodb.batch_write_item().request_items(&leases.name, batch(25)).send().await?;
    holds(answer.unprocessed_items().is_none_or(|items| items.is_empty()), "all items are processed")?;
    present(leases.get("lease-24").await?, "last item")?;
    Ok(())
}

async fn a_batch_of_26_is_refused(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let write = leases.dynamodb.batch_write_item().request_items(&leases.name, batch(26));
    refused(write.send().await, "ValidationException")
}

async fn an_item_above_400_kb_is_refused(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let put = leases.dynamodb.put_item().table_name(&leases.name).item(KEY, text("s0"));
    refused(put.item("large", text(&"x".repeat(400 * 1024))).send().await, "ValidationException")
}

async fn a_key_is_not_empty(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let put = leases.dynamodb.put_item().table_name(&leases.name).set_item(Some(lease("", "w1", 0)));
    refused(put.send().await, "ValidationException")
}
