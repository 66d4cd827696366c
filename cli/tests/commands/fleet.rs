//! `kds fleet`, `kds explain`, `kds doctor`.

use serde_json::{Value, json};

use crate::{
    fleets::{APPLICATION, n, s},
    support::World,
};

const SHARD: &str = "shardId-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn shows_leader_workers_leases_and_lag() {
    let world = World::start().await;
    world.put("alpha", "one").await;
    let worker = world.worker("w1");
    let progressed = |fleet: &Value| {
        let leases = fleet["leases"].as_array().unwrap();
        leases.len() == 2 && leases[0]["checkpoint"] != "TRIM_HORIZON" && leases.iter().all(|it| it["owner"] == "w1")
    };

    let fleet = world.until_fleet("", progressed).await;

    assert_eq!((&fleet["leader"], &fleet["layout"]), (&json!("w1"), &json!("one-table")));
    assert_eq!((&fleet["workers"][0]["language"], &fleet["workers"][0]["isStale"]), (&json!("rust"), &json!(false)));
    assert!(fleet["stream"].as_str().unwrap().ends_with(":stream/orders"), "{fleet}");
    assert_eq!(fleet["leases"][0]["lagMillis"], 0);
    let text = world.run("fleet printer --no-lag").await.succeeds();
    assert!(text.contains("leader       w1\n") && text.contains(&format!("  {SHARD}  w1  at ")), "{text}");
    assert!(!text.contains("lag"), "{text}");
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_hangs_shows_as_lag_and_is_explained() {
    let world = World::start().await;
    world.put("alpha", "one").await;
    world.put("alpha", "hang").await;
    let _worker = world.worker("w1");
    world.until_fleet("", |fleet| fleet["leases"][0]["lagMillis"].as_u64() > Some(7_000)).await;

    let explained = world.run(&format!("explain printer {SHARD} --for 6s")).await.succeeds();

    assert!(
        explained.starts_with(&format!("{SHARD} of printer\nw1 holds the lease and does not checkpoint")),
        "{explained}"
    );
    let tip = world.run("explain printer shardId-000000000001 --for 1s --json").await.succeeds();
    let tip: Value = serde_json::from_str(&tip).unwrap();
    let sentences: Vec<&str> =
        tip["reasons"].as_array().unwrap().iter().map(|it| it["sentence"].as_str().unwrap()).collect();
    assert!(sentences.iter().any(|it| it.starts_with("it is at the tip")), "{tip}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_leases_of_kcl_2_and_1() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    world.lease(SHARD, Some("java-7"), "TRIM_HORIZON", None).await;
    world.lease("shardId-000000000001", None, "SHARD_END", None).await;
    world.put("alpha", "one").await;

    let fleet = world.until_fleet("--stream orders", |_| true).await;

    assert_eq!((&fleet["layout"], &fleet["leader"]), (&json!("leases-alone"), &Value::Null));
    assert_eq!((&fleet["workers"][0]["id"], &fleet["workers"][0]["leases"]), (&json!("java-7"), &json!(1)));
    assert!(fleet["leases"][0]["lagMillis"].is_u64() && fleet["leases"][1].get("lagMillis").is_none(), "{fleet}");
    let text = world.run("fleet printer").await.succeeds();
    assert!(text.contains("leases alone, as of KCL 2.x and 1.x"), "{text}");
    assert!(text.contains("lag unknown (its stream is not known, name it by --stream)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_three_tables_of_kcl_3_0_to_3_4() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    world.table("printer-CoordinatorState", "key").await;
    world.table("printer-WorkerMetricStats", "wid").await;
    world.lease(SHARD, Some("java-1"), "LATEST", None).await;
    let lock = [
        ("key", s("Leader")),
        ("ownerName", s("java-1")),
        ("recordVersionNumber", s("v")),
        ("leaseDuration", s("120000")),
    ];
    world.item("printer-CoordinatorState", &lock).await;
    world.item("printer-CoordinatorState", &[("key", s("Migration3.0")), ("cv", s("CLIENT_VERSION_3X"))]).await;
    world.item("printer-WorkerMetricStats", &[("wid", s("java-1")), ("lut", n(1_700_000_000))]).await;

    let fleet = world.until_fleet("--no-lag", |_| true).await;

    assert_eq!((&fleet["layout"], &fleet["leader"]), (&json!("three-tables"), &json!("java-1")));
    assert_eq!((&fleet["workers"][0]["language"], &fleet["workers"][0]["isStale"]), (&json!("java"), &json!(true)));

    let doctor = world.run("doctor printer orders").await;
    assert_eq!(doctor.code, 4, "{doctor:?}");
    for expected in [
        "critical  no worker is alive",
        "critical  open shard shardId-000000000001 has no lease",
        "warning   worker java-1 is stale",
        "warning   the index LeaseOwnerToLeaseKeyIndex is missing",
        "note      the fleet is in the three tables",
    ] {
        assert!(doctor.stdout.contains(expected), "no {expected} in\n{}", doctor.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explains_a_child_that_waits_for_its_parent() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    world.run(&format!("stream split orders {SHARD} --yes")).await;
    world.lease(SHARD, None, "TRIM_HORIZON", None).await;
    world.lease("shardId-000000000002", None, "TRIM_HORIZON", Some(SHARD)).await;

    let child = world.run("explain printer shardId-000000000002 --stream orders --for 1s").await.succeeds();
    assert!(child.contains(&format!("it waits until its ancestor {SHARD} is processed to the end\n")), "{child}");
    assert!(child.contains("no worker owns it\n") && child.contains("no worker runs\n"), "{child}");
    let unleased = world.run("explain printer shardId-000000000003 --stream orders --for 1s").await.succeeds();
    assert!(unleased.contains(&format!("that is created when its parent {SHARD} is processed")), "{unleased}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_finds_nothing_wrong_with_a_living_fleet_and_names_what_is_denied() {
    let world = World::start().await;
    let worker = world.worker("w1");
    world
        .until_fleet("", |fleet| {
            fleet["leases"].as_array().unwrap().iter().filter(|it| it["owner"] == "w1").count() == 2
        })
        .await;

    let healthy = world.run("doctor printer").await;
    assert_eq!(healthy.code, 0, "{healthy:?}");
    assert_eq!(healthy.stdout.lines().next(), Some("note      the table is not protected against deletion"));

    for action in ["dynamodb:UpdateItem", "dynamodb:PartiQLUpdate", "kinesis:GetRecords"] {
        world.aws.deny(action);
    }
    let denied = world.run("doctor printer --json").await;
    assert_eq!(denied.code, 3, "{denied:?}");
    let report: Value = serde_json::from_str(&denied.stdout).unwrap();
    let found = report["findings"].to_string();
    assert!(
        found.contains("dynamodb:UpdateItem is denied") && found.contains("kinesis:GetRecords is denied"),
        "{found}"
    );
    assert!(found.contains("dynamodb:PartiQLUpdate is denied"), "{found}");
    let scan = world.dynamodb().scan().table_name(APPLICATION).send().await.unwrap();
    assert!(scan.items().iter().all(|item| item["leaseKey"] != s("kds-doctor-probe")), "nothing is written");
    world.aws.allow("dynamodb:UpdateItem");
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_missing_foreign_or_denied_are_named() {
    let world = World::start().await;
    world.table("users", "id").await;
    world.table("sessions", "leaseKey").await;
    world.item("sessions", &[("leaseKey", s("u1")), ("expires", n(7))]).await;

    world.run("fleet missing").await.fails_with(&["lease table missing does not exist in us-east-1"]);
    world.run("fleet users").await.fails_with(&["table users is no lease table"]);
    world.run("fleet sessions").await.fails_with(&["table sessions is no lease table, its item u1"]);
    world.aws.deny("dynamodb:Scan");
    world.run("doctor sessions").await.fails_with(&["dynamodb:Scan on table sessions is denied", "IAM policy"]);
}
