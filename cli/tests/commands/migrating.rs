//! `kds migrate`.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::{
    fleets::{APPLICATION, n, s},
    support::World,
};

const SHARD: &str = "shardId-000000000000";

async fn keys(world: &World) -> Vec<AttributeValue> {
    let scanned = world.dynamodb().scan().table_name(APPLICATION).send().await.unwrap();
    let mut keys: Vec<_> = scanned.items().iter().map(|item| item["leaseKey"].clone()).collect();
    keys.sort_by_key(|key| format!("{key:?}"));
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_an_application_of_2_x_over_that_workers_then_join() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    world.lease(SHARD, Some("java-1"), "SHARD_END", None).await;
    world.lease("shardId-000000000001", Some("java-1"), "TRIM_HORIZON", None).await;
    let migrate = "migrate printer --from-2x --stream orders --failover 1s --look 1s";

    let planned = world.run(migrate).await;
    assert!(
        planned.stdout.starts_with("take over printer (2 leases, 1 of ended shards, owned by java-1)"),
        "{planned:?}"
    );
    assert!(planned.stdout.contains("no sign of life within 1.0 s"), "{planned:?}");
    assert!(planned.stdout.contains("for 2.0 s; take all leases"), "{planned:?}");
    assert_eq!(keys(&world).await, [s(SHARD), s("shardId-000000000001")], "nothing is written");

    let done = world.run(&format!("{migrate} --yes --json")).await;
    let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    let wanted = json!({
        "leases": 2, "ended": 1, "withoutHashKeys": 2, "owners": ["java-1"], "signOfLife": null, "waitSeconds": 2,
        "isTakenOver": true
    });
    assert_eq!(report, wanted, "{done:?}");
    assert_eq!(keys(&world).await, [s("Migration3.0"), s(SHARD), s("shardId-000000000001")]);

    world.run(migrate).await.fails_with(&["printer is no application of KCL 1.x or 2.x"]);
    let worker = world.worker("w1");
    world.until_fleet("--no-lag", |fleet| fleet["leases"][1]["owner"] == "w1").await;
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn says_that_old_workers_live_and_names_what_forbids_a_takeover() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    world.lease(SHARD, Some("java-1"), "TRIM_HORIZON", None).await;
    let (dynamodb, migrate) = (world.dynamodb(), "migrate printer --from-2x --stream orders --look 5s");
    let writing = tokio::spawn(async move {
        loop {
            let update = dynamodb.update_item().table_name(APPLICATION).key("leaseKey", s(SHARD));
            let update = update.update_expression("ADD leaseCounter :one");
            update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });

    let planned = world.run(migrate).await;
    let life = format!("its workers live (worker java-1 wrote lease {SHARD}): stop them");
    assert!(planned.code == 0 && planned.stdout.contains(&life), "{planned:?}");
    writing.abort();
    world.item(APPLICATION, &[("leaseKey", s("Migration3.0")), ("cv", s("CLIENT_VERSION_2X"))]).await;
    world.run(&format!("{migrate} --yes")).await.fails_with(&["CLIENT_VERSION_2X", "roll it forward"]);
    assert_eq!(world.run("migrate printer").await.code, 2, "it is not said from where");
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_where_the_migration_to_one_table_stands() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    world.lease(SHARD, Some("java-1"), "TRIM_HORIZON", None).await;
    let shown = world.run("migrate printer --one-table").await.succeeds();
    assert_eq!(shown, "printer is in one table\n");

    let (state, metrics) = ("printer-CoordinatorState", "printer-WorkerMetricStats");
    world.table(state, "key").await;
    world.table(metrics, "wid").await;
    world.item(state, &[("key", s("Migration3.0")), ("cv", s("CLIENT_VERSION_3X"))]).await;
    let shown = world.run("migrate printer --one-table").await.succeeds();
    assert!(shown.starts_with("migration of printer to one table: not begun\n"), "{shown}");
    assert!(shown.contains("waits: worker java-1 owns leases and does not say that it understands"), "{shown}");
    assert!(shown.ends_with("items in the old table: Migration3.0\n"), "{shown}");

    let migration =
        [("key", s("TableMigration3.5")), ("tm", s("TABLE_MIGRATION_STATUS_DEPLOYED")), ("mts", n(1_700_000_000_000))];
    world.item(state, &migration).await;
    let shown = world.run("migrate printer --one-table --json").await.succeeds();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["status"], &shown["since"]), (&json!("DEPLOYED"), &json!("2023-11-14T22:13:20Z")));
    assert_eq!(shown["waitsFor"], json!(["worker java-1 owns leases and does not report to the lease table"]));
}
