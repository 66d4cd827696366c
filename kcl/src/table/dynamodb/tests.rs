//! Faults that only a table in DynamoDB can have, beside the contract that every lease table keeps.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_types::SdkConfig;
use kinesis_local::LocalAws;

use super::*;
use crate::table::{
    LeaseTable,
    tests::{TABLE, at, owned_by, read, shard},
};
use crate::{
    logic::assign::leadership::Leadership,
    model::{Conditional, Lease, Regime},
};

fn lease_table(aws: &SdkConfig, may_create: bool) -> LeaseTable {
    DynamoDbLeaseTable::new(aws, ServiceClock::new(aws), TABLE.to_owned(), LegacyTables::of(TABLE), may_create).into()
}

#[tokio::test]
async fn creates_nothing_without_leave_and_names_what_is_missing() {
    let aws = LocalAws::start().await.sdk_config();
    let table = lease_table(&aws, false);

    let error = table.prepare().await.unwrap_err();

    assert_eq!(error.to_string(), "lease table application does not exist");
    let tables = aws_sdk_dynamodb::Client::new(&aws).list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), [] as [String; 0]);
}

#[tokio::test]
async fn keeps_unknown_attributes_in_every_write_but_ends_a_pending_checkpoint() {
    let aws = LocalAws::start().await.sdk_config();
    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();
    let lease = owned_by(&table, "w1").await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let key = AttributeValue::S(lease.key.as_str().to_owned());
    let text = || AttributeValue::S("100".to_owned());
    let update = dynamodb.update_item().table_name(TABLE).key("leaseKey", key.clone());
    let update = update.update_expression("SET newAttribute = :v, pendingCheckpoint = :v");
    update.expression_attribute_values(":v", text()).send().await.unwrap();

    assert!(table.renew(&lease).await.unwrap().is_applied());
    let lease = read(&table).await;
    assert!(table.begin_handoff(&lease, &"w2".into()).await.unwrap().is_applied());
    let item = || async {
        let get = dynamodb.get_item().table_name(TABLE).key("leaseKey", key.clone());
        get.send().await.unwrap().item.unwrap()
    };
    assert!(item().await.contains_key("pendingCheckpoint"), "only a checkpoint ends a pending one");
    assert!(table.checkpoint(&lease, &at("100")).await.unwrap().is_applied());
    assert!(table.assign(&read(&table).await, &"w3".into()).await.unwrap().is_applied());
    assert!(table.release(&read(&table).await).await.unwrap().is_applied());

    let item = item().await;
    assert_eq!(item.get("newAttribute"), Some(&text()));
    assert!(!item.contains_key("pendingCheckpoint"));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_missing_is_added_to_an_existing_table() {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
    let aws = LocalAws::start().await.sdk_config();
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build().unwrap();
    let text = AttributeDefinition::builder().attribute_name("leaseKey").attribute_type(ScalarAttributeType::S);
    let create = dynamodb.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(text.build().unwrap()).send().await.unwrap();

    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();

    owned_by(&table, "w1").await;
    assert_eq!(table.keys_owned_by(&"w1".into()).await.unwrap(), [shard(0).key]);
    let table = dynamodb.describe_table().table_name(TABLE).send().await.unwrap().table.unwrap();
    assert_eq!(table.global_secondary_indexes()[0].index_name(), Some("LeaseOwnerToLeaseKeyIndex"));
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_an_error_and_not_a_lease_that_is_gone() {
    let aws = LocalAws::start().await.sdk_config();
    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();
    let lease = owned_by(&table, "w1").await;
    let update = aws_sdk_dynamodb::Client::new(&aws).update_item().table_name(TABLE);
    let update = update.key("leaseKey", AttributeValue::S(lease.key.as_str().to_owned()));
    update.update_expression("REMOVE leaseCounter").send().await.unwrap();

    let error = table.get(&lease.key).await.unwrap_err();

    assert_eq!(error.to_string(), "lease shardId-000000000000 in table application cannot be read");
}

#[tokio::test(start_paused = true)]
async fn queries_an_index_again_at_once_only_after_throttling() {
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();
    owned_by(&table, "w1").await;
    let found = async || table.keys_owned_by(&"w1".into()).await.unwrap() == [shard(0).key];
    let scans = local.faults().on("dynamodb:Scan").delay(Duration::ZERO);

    let throttled = local.faults().on("dynamodb:Query").throttle();
    assert!(found().await);
    throttled.remove();
    assert!(found().await);
    assert_eq!(scans.count(), 1);

    let refused = local.faults().on("dynamodb:Query").refuse(400, "ValidationException", "no such index");
    assert!(found().await);
    refused.remove();
    assert!(found().await);
    assert_eq!(scans.count(), 3);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(found().await);
    assert_eq!(scans.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn looks_by_single_reads_when_batches_are_denied_or_left_unfinished() {
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();
    let lock = Leadership::new("w2".into(), Duration::from_secs(10)).lock("v".to_owned(), Regime::EachLease);
    assert!(table.put_lock(&lock, None).await.unwrap());
    let found = async || table.look(&"w1".into(), None).await.unwrap().lock == Some(lock.clone());
    let (batches, gets) = ("dynamodb:BatchGetItem", "dynamodb:GetItem");
    let counts = [batches, gets].map(|action| local.faults().on(action).delay(Duration::ZERO));
    let counted = || [counts[0].count(), counts[1].count()];

    assert!(found().await);
    assert_eq!(counted(), [1, 0]);
    let unfinished = local.faults().on(batches).fail_records(1);
    assert!(found().await);
    unfinished.remove();
    assert_eq!(counted(), [2, 2]);
    local.deny(batches);
    assert!(found().await);
    assert!(found().await);
    assert_eq!(counted()[1], 6);
}

#[tokio::test(start_paused = true)]
async fn reads_leases_one_by_one_when_batches_are_denied() {
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();
    let lease = owned_by(&table, "w1").await;
    let keys = [lease.key.clone(), "not there".into()];
    local.deny("dynamodb:BatchGetItem");
    let gets = local.faults().on("dynamodb:GetItem").delay(Duration::ZERO);

    let found = table.get_all(&keys).await.unwrap();

    assert_eq!((found, gets.count()), (vec![lease], 2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_stays_unfinished_is_asked_for_again_with_growing_pauses_and_then_fails() {
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();
    let lease = owned_by(&table, "w1").await;
    let keys = [lease.key.clone()];
    let batches = local.faults().on("dynamodb:BatchGetItem").delay(Duration::ZERO);
    let unfinished = local.faults().on("dynamodb:BatchGetItem").fail_records(1);

    let read = tokio::time::timeout(Duration::from_secs(10), table.get_all(&keys)).await.expect("it ends");

    let error = read.unwrap_err();
    assert_eq!(error.to_string(), "lease table application is throttled in dynamodb:BatchGetItem");
    assert_eq!(batches.count(), 6);
    let reading = table.get_all(&keys);
    let recovering = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        unfinished.remove();
    };
    let (read, ()) = tokio::join!(reading, recovering);
    assert_eq!(read.unwrap(), [lease]);
}

#[tokio::test]
async fn meters_what_dynamodb_bills() {
    let aws = LocalAws::start().await.sdk_config();
    let table = lease_table(&aws, true);
    table.prepare().await.unwrap();
    let lease = owned_by(&table, "w1").await;
    let since = |before: TableUsage| table.usage() - before;

    let before = table.usage();
    assert!(table.renew(&lease).await.unwrap().is_applied());
    assert_eq!(since(before), TableUsage::new(1, 0.0, 1.0));

    let before = table.usage();
    assert!(!table.renew(&lease).await.unwrap().is_applied());
    assert_eq!(since(before), TableUsage::new(1, 0.0, 1.0), "a refused write is billed");

    let before = table.usage();
    read(&table).await;
    assert_eq!(since(before), TableUsage::new(1, 1.0, 0.0), "strongly consistent");

    let before = table.usage();
    table.scan().await.unwrap();
    assert_eq!(since(before), TableUsage::new(1, 0.5, 0.0), "eventually consistent");

    let before = table.usage();
    table.keys_owned_by(&"w1".into()).await.unwrap();
    table.look(&"w1".into(), None).await.unwrap();
    assert_eq!(since(before).requests, 2);
    assert!(since(before).read_units > 1.0 && since(before).write_units == 0.0, "{:?}", since(before));
}

/// `count` leases of w1.
async fn leases_of_w1(table: &LeaseTable, count: u32) -> Vec<Lease> {
    for index in 0..count {
        let lease = shard(index);
        assert!(table.create(&lease).await.unwrap().is_applied());
        assert!(table.assign(&lease, &"w1".into()).await.unwrap().is_applied());
    }
    leases_now(table).await
}

async fn renew_together(table: &LeaseTable, leases: &[Lease]) -> Vec<Result<Conditional, TableError>> {
    futures::future::join_all(leases.iter().map(|lease| table.renew(lease))).await
}

#[tokio::test(start_paused = true)]
async fn renews_the_leases_of_one_moment_by_a_request_for_25_each_under_its_own_condition() {
    let local = LocalAws::start().await;
    let table = lease_table(&local.sdk_config(), true);
    table.prepare().await.unwrap();
    let mut leases = leases_of_w1(&table, 30).await;
    let updates = local.faults().on("dynamodb:UpdateItem").delay(Duration::ZERO);
    let batches = local.faults().on("dynamodb:BatchExecuteStatement").delay(Duration::ZERO);
    for index in [6, 7] {
        assert!(table.begin_handoff(&leases[index], &"w2".into()).await.unwrap().is_applied());
    }
    leases[7] = table.get(&leases[7].key).await.unwrap().unwrap();
    leases.iter_mut().for_each(|lease| lease.instance = Some("run".into()));
    leases[3].throughput_kbps = Some(1.5);
    leases[4].counter += 7;
    leases[5].key = shard(99).key;
    let before = table.usage();

    let renewed = renew_together(&table, &leases).await;

    assert_eq!((batches.count(), updates.count()), (2, 2), "two for the handoffs");
    assert_eq!(table.usage() - before, TableUsage::new(2, 0.0, 27.0), "as the answers say");
    for (index, (lease, renewed)) in leases.iter().zip(renewed).enumerate() {
        match (index, renewed.unwrap()) {
            (4, Conditional::Conflict(Some(found))) => assert_eq!(found.counter + 7, lease.counter),
            (5, Conditional::Conflict(None)) => {}
            (6, Conditional::Conflict(Some(found))) => assert!(found.in_handoff(), "a handoff that is not known"),
            (_, renewed) => {
                assert!(renewed.is_applied(), "lease {index}");
                let found = table.get(&lease.key).await.unwrap().unwrap();
                assert_eq!(found, Lease { counter: lease.counter + 1, ..lease.clone() });
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn renews_each_lease_by_itself_where_statements_are_denied() {
    let local = LocalAws::start().await;
    let table = lease_table(&local.sdk_config(), true);
    table.prepare().await.unwrap();
    let leases = leases_of_w1(&table, 3).await;
    let batches = local.faults().on("dynamodb:BatchExecuteStatement").delay(Duration::ZERO);
    local.deny("dynamodb:PartiQLUpdate");

    for renewed in renew_together(&table, &leases).await {
        assert!(renewed.unwrap().is_applied());
    }
    for renewed in renew_together(&table, &table.scan().await.unwrap().leases).await {
        assert!(renewed.unwrap().is_applied());
    }

    assert_eq!(batches.count(), 1, "asked once");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_many_renewals_that_fails_fails_them_all_and_a_statement_itself_alone() {
    let local = LocalAws::start().await;
    let table = lease_table(&local.sdk_config(), true);
    table.prepare().await.unwrap();
    let leases = leases_of_w1(&table, 4).await;
    let action = "dynamodb:BatchExecuteStatement";

    let unavailable = local.faults().on(action).unavailable();
    for renewed in renew_together(&table, &leases).await {
        let error = renewed.unwrap_err();
        assert!(error.may_pass(), "{error}");
        assert_eq!(error.to_string(), "dynamodb:PartiQLUpdate on table application failed");
    }
    unavailable.remove();

    let throttled = local.faults().on(action).fail_records(2);
    let renewed = renew_together(&table, &leases).await;
    let refused = |outcome: &Result<_, _>| matches!(outcome, Err(TableError::Throttled { .. }));
    assert_eq!(renewed.iter().map(refused).collect::<Vec<_>>(), [false, true, false, true]);
    throttled.remove();

    // What was throttled had no effect; what was not had one.
    for (lease, renewed) in leases.iter().zip(renewed) {
        let again = table.renew(lease).await.unwrap();
        assert_eq!(again.is_applied(), renewed.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn every_write_of_a_lease_waits_for_a_transaction_that_has_it() {
    let local = LocalAws::start().await;
    let table = lease_table(&local.sdk_config(), true);
    table.prepare().await.unwrap();
    let faults = local.faults();
    let conflicts = ["PutItem", "UpdateItem", "DeleteItem", "BatchExecuteStatement"]
        .map(|operation| faults.on(&format!("dynamodb:{operation}")).every(2).conflict());
    let leases = leases_of_w1(&table, 2).await;
    for renewed in [renew_together(&table, &leases).await, renew_together(&table, &leases_now(&table).await).await] {
        assert!(renewed.into_iter().all(|renewed| renewed.unwrap().is_applied()));
    }
    for write in 0..8 {
        let lease = &leases_now(&table).await[0];
        let written = match write % 4 {
            0 => table.checkpoint(lease, &at(&(100 + write).to_string())).await,
            1 => table.seize(lease, &"w2".into()).await,
            2 => table.begin_handoff(lease, &"w3".into()).await,
            _ => table.release(lease).await,
        };
        assert!(written.unwrap().is_applied(), "write {write}");
    }
    for lease in &leases {
        table.delete(&lease.key).await.unwrap();
    }

    let counts = conflicts.map(|conflicts| conflicts.count());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(table.scan().await.unwrap().leases, []);
}

async fn leases_now(table: &LeaseTable) -> Vec<Lease> {
    let mut leases = table.scan().await.unwrap().leases;
    leases.sort_by(|a, b| a.key.cmp(&b.key));
    leases
}

#[tokio::test]
async fn reads_one_page_of_a_large_table_and_the_index_for_the_leases_of_one_worker() {
    let local = LocalAws::start().await;
    let table = lease_table(&local.sdk_config(), true);
    table.prepare().await.unwrap();
    let calls = ["Scan", "Query"].map(|name| local.faults().on(&format!("dynamodb:{name}")).delay(Duration::ZERO));

    for (from, to, made) in [(0_u32, 249, [1, 0]), (249, 700, [2, 1])] {
        for index in from..to {
            let owner = index.is_multiple_of(100).then(|| "w1".into());
            assert!(table.create(&Lease { owner, ..shard(index) }).await.unwrap().is_applied());
        }

        let mut owned: Vec<_> =
            table.owned_by(&"w1".into()).await.unwrap().into_iter().map(|lease| lease.key).collect();

        owned.sort();
        assert_eq!(owned, (0..to).step_by(100).map(|index| shard(index).key).collect::<Vec<_>>());
        assert_eq!(calls.each_ref().map(|calls| calls.count()), made, "{to} leases");
    }
}
