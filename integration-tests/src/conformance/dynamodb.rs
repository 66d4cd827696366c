//! Checks of tables: creating, describing, scanning, indexes, settings.

use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    BillingMode, ComparisonOperator, Condition, GlobalSecondaryIndexUpdate, KeySchemaElement, KeyType,
    PointInTimeRecoverySpecification, PointInTimeRecoveryStatus, Tag, TimeToLiveSpecification, TimeToLiveStatus,
};

use super::check::{checks, dynamodb_api, guide};
use super::checksums::Checksums;
use super::expect::{Outcome, equal, holds, present, refused, refused_as};
use super::peer::{Peer, unique, until};
use super::table::{INDEX, KEY, Leases, OWNER, attribute, index, keys, lease, new_index, text};

const LOW_LEVEL: &str = guide!("amazondynamodb/latest/developerguide/Programming.LowLevelAPI");
const INDEXES: &str = guide!("amazondynamodb/latest/developerguide/GSI");

checks! {
    DynamoDb a_new_table_becomes_active: dynamodb_api!("CreateTable");
    DynamoDb a_table_pays_per_request: dynamodb_api!("CreateTable");
    DynamoDb the_name_of_a_table_is_taken: dynamodb_api!("CreateTable");
    DynamoDb a_missing_table_is_not_found: dynamodb_api!("DescribeTable");
    DynamoDb a_deleted_table_goes: dynamodb_api!("DeleteTable");
    DynamoDb a_protected_table_stays: dynamodb_api!("DeleteTable");
    DynamoDb protection_can_be_taken_away: dynamodb_api!("UpdateTable");
    DynamoDb a_table_is_created_with_tags: dynamodb_api!("CreateTable");
    DynamoDb tags_can_be_added: dynamodb_api!("TagResource");
    DynamoDb point_in_time_recovery_can_be_enabled: dynamodb_api!("UpdateContinuousBackups");
    DynamoDb point_in_time_recovery_is_disabled_at_first: dynamodb_api!("DescribeContinuousBackups");
    DynamoDb time_to_live_can_be_enabled: dynamodb_api!("UpdateTimeToLive");
    DynamoDb pages_of_a_scan_find_every_item_once: dynamodb_api!("Scan");
    DynamoDb segments_of_a_scan_find_every_item_once: dynamodb_api!("Scan");
    DynamoDb a_filter_expression_filters_a_scan: dynamodb_api!("Scan");
    DynamoDb a_legacy_filter_filters_a_scan: dynamodb_api!("Scan");
    DynamoDb an_index_finds_items_by_its_key: INDEXES;
    DynamoDb an_index_that_is_added_finds_older_items: dynamodb_api!("UpdateTable");
    DynamoDb an_index_of_keys_holds_keys_only: INDEXES;
    DynamoDb an_index_leaves_out_items_without_its_key: INDEXES;
    DynamoDb an_index_is_never_read_consistently: dynamodb_api!("Query");
    DynamoDb a_query_takes_legacy_key_conditions: dynamodb_api!("Query");
    DynamoDb legacy_key_conditions_stand_beside_a_filter_expression: "observed at the service by the authors of dynalite";
    DynamoDb legacy_key_conditions_do_not_mix_with_their_expression: dynamodb_api!("Query");
    DynamoDb an_answer_has_the_checksum_of_its_body: LOW_LEVEL;
    DynamoDb a_refusal_has_the_checksum_of_its_body: LOW_LEVEL;
}

async fn a_new_table_becomes_active(peer: Peer) -> Outcome {
    let table = Leases::create(&peer).await?.describe().await?;
    let key = KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash).build();
    equal("key schema", table.key_schema(), [key.expect("name and type are set")])
}

async fn a_table_pays_per_request(peer: Peer) -> Outcome {
    let table = Leases::create(&peer).await?.describe().await?;
    let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    equal("billing mode", mode, Some(&BillingMode::PayPerRequest))
}

async fn the_name_of_a_table_is_taken(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let schema = KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash).build();
    let create = leases.dynamodb.create_table().table_name(&leases.name).billing_mode(BillingMode::PayPerRequest);
    let create = create.attribute_definitions(attribute(KEY)).key_schema(schema.expect("name and type are set"));
    refused_as(create.send().await, CreateTableError::is_resource_in_use_exception)
}

async fn a_missing_table_is_not_found(peer: Peer) -> Outcome {
    let describe = peer.dynamodb()?.describe_table().table_name(unique("missing"));
    refused_as(describe.send().await, DescribeTableError::is_resource_not_found_exception)
}

async fn a_deleted_table_goes(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    leases.dynamodb.delete_table().table_name(&leases.name).send().await?;
    until("the table is gone", async || {
        let answer = leases.dynamodb.describe_table().table_name(&leases.name).send().await;
        Ok(refused_as(answer, DescribeTableError::is_resource_not_found_exception).is_ok())
    })
    .await
}

async fn protected(peer: &Peer) -> Result<Leases, super::Failure> {
    Leases::create_with(peer, |create| create.deletion_protection_enabled(true)).await
}

async fn a_protected_table_stays(peer: Peer) -> Outcome {
    let leases = protected(&peer).await?;
    refused(leases.dynamodb.delete_table().table_name(&leases.name).send().await, "ValidationException")?;
    leases.active().await
}

async fn protection_can_be_taken_away(peer: Peer) -> Outcome {
    let leases = protected(&peer).await?;
    let update = leases.dynamodb.update_table().table_name(&leases.name).deletion_protection_enabled(false);
    update.send().await?;
    leases.active().await?;
    leases.dynamodb.delete_table().table_name(&leases.name).send().await?;
    Ok(())
}

fn tag() -> Tag {
    Tag::builder().key("application").value("conformance").build().expect("key and value are set")
}

async fn tagged(leases: &Leases) -> Outcome {
    let table = leases.describe().await?;
    let arn = present(table.table_arn(), "TableArn")?;
    let answer = leases.dynamodb.list_tags_of_resource().resource_arn(arn).send().await?;
    equal("tags", answer.tags(), [tag()])
}

async fn a_table_is_created_with_tags(peer: Peer) -> Outcome {
    tagged(&Leases::create_with(&peer, |create| create.tags(tag())).await?).await
}

async fn tags_can_be_added(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let table = leases.describe().await?;
    let arn = present(table.table_arn(), "TableArn")?;
    leases.dynamodb.tag_resource().resource_arn(arn).tags(tag()).send().await?;
    tagged(&leases).await
}

async fn recovery(leases: &Leases) -> Result<Option<PointInTimeRecoveryStatus>, super::Failure> {
    let answer = leases.dynamodb.describe_continuous_backups().table_name(&leases.name).send().await?;
    let backups = present(answer.continuous_backups_description(), "ContinuousBackupsDescription")?;
    let recovery = backups.point_in_time_recovery_description();
    Ok(recovery.and_then(|recovery| recovery.point_in_time_recovery_status()).cloned())
}

async fn point_in_time_recovery_can_be_enabled(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let enabled = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
    let update = leases.dynamodb.update_continuous_backups().table_name(&leases.name);
    update.point_in_time_recovery_specification(enabled.expect("it is set")).send().await?;
    equal("recovery", recovery(&leases).await?, Some(PointInTimeRecoveryStatus::Enabled))
}

async fn point_in_time_recovery_is_disabled_at_first(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    equal("recovery", recovery(&leases).await?, Some(PointInTimeRecoveryStatus::Disabled))
}

async fn time_to_live_can_be_enabled(peer: Peer) -> Outcome {
    let leases = Leases::create(&peer).await?;
    let enabled = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires").build();
    let update = leases.dynamodb.update_time_to_live().table_name(&leases.name);
    update.time_to_live_specification(enabled.expect("all is set")).send().await?;
    let answer = leases.dynamodb.describe_time_to_live().table_name(&leases.name).send().await?;
    let status = answer.time_to_live_description().and_then(|ttl| ttl.time_to_live_status()).cloned();
    let expected = [TimeToLiveStatus::Enabling, TimeToLiveStatus::Enabled];
    holds(status.as_ref().is_some_and(|status| expected.contains(status)), format!("{status:?} is enabled"))
}

/// Names of the first leases of [`Leases::filled`].
fn names(items: usize) -> Vec<String> {
    (0..items).map(|n| format!("lease-{n:02}")).collect()
}

async fn pages_of_a_scan_find_every_item_once(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 10).await?;
    let mut items = Vec::new();
    let mut start = None;
    for _ in 0..10 {
        let scan = leases.dynamodb.scan().table_name(&leases.name).consistent_read(true).limit(3);
        let page = scan.set_exclusive_start_key(start).send().await?;
        holds(page.count() <= 3, format!("{} items are a page", page.count()))?;
        items.extend_from_slice(page.items());
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    equal("items", keys(&items)?, names(10))
}

async fn segments_of_a_scan_find_every_item_once(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 12).await?;
    let mut items = Vec::new();
    for segment in 0..4 {
        let scan = leases.dynamodb.scan().table_name(&leases.name).consistent_read(true);
        items.extend_from_slice(scan.segment(segment).total_segments(4).send().await?.items());
    }
    equal("items", keys(&items)?, names(12))
}

async fn a_filter_expression_filters_a_scan(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 6).await?;
    let scan = leases.dynamodb.scan().table_name(&leases.name).filter_expression("leaseOwner = :w");
    let answer = scan.expression_attribute_values(":w", text("w1")).send().await?;
    equal("items", keys(answer.items())?, ["lease-01", "lease-04"])?;
    equal("count and scanned", (answer.count(), answer.scanned_count()), (2, 6))
}

fn equals(value: &str) -> Condition {
    let condition = Condition::builder().comparison_operator(ComparisonOperator::Eq);
    condition.attribute_value_list(text(value)).build().expect("operator is set")
}

async fn a_legacy_filter_filters_a_scan(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 6).await?;
    let scan = leases.dynamodb.scan().table_name(&leases.name).scan_filter(OWNER, equals("w1"));
    equal("items", keys(scan.send().await?.items())?, ["lease-01", "lease-04"])
}

async fn indexed(peer: &Peer) -> Result<Leases, super::Failure> {
    let settings = |create: aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder| {
        create.attribute_definitions(attribute(OWNER)).global_secondary_indexes(index())
    };
    let leases = Leases::create_with(peer, settings).await?;
    leases.index_active().await?;
    leases.put(lease("a", "w1", 0)).await?;
    leases.put(lease("b", "w2", 0)).await?;
    leases.put(lease("c", "w1", 0)).await?;
    Ok(leases)
}

/// Waits until the index finds these keys for the owner `w1`: an index follows its table in its own time.
async fn finds(leases: &Leases, wanted: &[&str]) -> Outcome {
    until(&format!("the index finds {wanted:?}"), async || {
        let query = leases.dynamodb.query().table_name(&leases.name).index_name(INDEX);
        let query = query.key_condition_expression("leaseOwner = :w").expression_attribute_values(":w", text("w1"));
        Ok(keys(query.send().await?.items())? == wanted)
    })
    .await
}

async fn an_index_finds_items_by_its_key(peer: Peer) -> Outcome {
    finds(&indexed(&peer).await?, &["a", "c"]).await
}

async fn an_index_that_is_added_finds_older_items(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 6).await?;
    let update = leases.dynamodb.update_table().table_name(&leases.name).attribute_definitions(attribute(KEY));
    let change = GlobalSecondaryIndexUpdate::builder().create(new_index()).build();
    update.attribute_definitions(attribute(OWNER)).global_secondary_index_updates(change).send().await?;
    leases.index_active().await?;
    finds(&leases, &["lease-01", "lease-04"]).await
}

async fn an_index_of_keys_holds_keys_only(peer: Peer) -> Outcome {
    let leases = indexed(&peer).await?;
    finds(&leases, &["a", "c"]).await?;
    let answer = leases.dynamodb.scan().table_name(&leases.name).index_name(INDEX).send().await?;
    let mut attributes: Vec<_> = answer.items().first().into_iter().flat_map(|item| item.keys()).collect();
    attributes.sort_unstable();
    equal("attributes", attributes, [KEY, OWNER])
}

async fn an_index_leaves_out_items_without_its_key(peer: Peer) -> Outcome {
    let leases = indexed(&peer).await?;
    let mut unowned = lease("d", "", 0);
    unowned.remove(OWNER);
    leases.put(unowned).await?;
    finds(&leases, &["a", "c"]).await?;
    let answer = leases.dynamodb.scan().table_name(&leases.name).index_name(INDEX).send().await?;
    equal("items", keys(answer.items())?, ["a", "b", "c"])
}

async fn an_index_is_never_read_consistently(peer: Peer) -> Outcome {
    let leases = indexed(&peer).await?;
    let query = leases.dynamodb.query().table_name(&leases.name).index_name(INDEX).consistent_read(true);
    let query = query.key_condition_expression("leaseOwner = :w").expression_attribute_values(":w", text("w1"));
    refused(query.send().await, "ValidationException")
}

async fn a_query_takes_legacy_key_conditions(peer: Peer) -> Outcome {
    let leases = indexed(&peer).await?;
    finds(&leases, &["a", "c"]).await?;
    let query = leases.dynamodb.query().table_name(&leases.name).index_name(INDEX).key_conditions(OWNER, equals("w1"));
    equal("items", keys(query.send().await?.items())?, ["a", "c"])
}

async fn legacy_key_conditions_stand_beside_a_filter_expression(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 2).await?;
    let query = || leases.dynamodb.query().table_name(&leases.name).key_conditions(KEY, equals("lease-01"));
    let query = |owner| query().filter_expression("leaseOwner = :w").expression_attribute_values(":w", text(owner));
    equal("items of the owner", keys(query("w1").send().await?.items())?, ["lease-01"])?;
    equal("items of another", keys(query("w0").send().await?.items())?, [""; 0])
}

async fn legacy_key_conditions_do_not_mix_with_their_expression(peer: Peer) -> Outcome {
    let leases = Leases::filled(&peer, 1).await?;
    let query = leases.dynamodb.query().table_name(&leases.name).key_conditions(KEY, equals("lease-00"));
    let query = query.key_condition_expression("leaseKey = :k").expression_attribute_values(":k", text("lease-00"));
    refused(query.send().await, "ValidationException")
}

async fn an_answer_has_the_checksum_of_its_body(peer: Peer) -> Outcome {
    let (leases, seen) = (Leases::filled(&peer, 6).await?, Checksums::default());
    leases.dynamodb.scan().table_name(&leases.name).customize().interceptor(seen.clone()).send().await?;
    seen.require_right()
}

async fn a_refusal_has_the_checksum_of_its_body(peer: Peer) -> Outcome {
    let seen = Checksums::default();
    let describe = peer.dynamodb()?.describe_table().table_name(unique("missing")).customize();
    let answer = describe.interceptor(seen.clone()).send().await;
    refused_as(answer, DescribeTableError::is_resource_not_found_exception)?;
    seen.require_right()
}
