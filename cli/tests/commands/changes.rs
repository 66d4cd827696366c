//! `kds reset`, `kds release`, `kds drain`, `kds cleanup`.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::{
    fleets::{APPLICATION, n, s},
    support::World,
};

const SHARD: &str = "shardId-000000000000";

fn owned_by(fleet: &Value, worker: &str) -> usize {
    fleet["leases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|lease| lease["owner"] == worker && lease["nextOwner"].is_null())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_a_stopped_application_and_refuses_while_a_worker_runs() {
    let world = World::start().await;
    world.put("alpha", "one").await;
    let worker = world.worker("w1");
    world.until_fleet("--no-lag", |fleet| fleet["leases"][0]["checkpoint"] != "TRIM_HORIZON").await;

    let refused = world.run("reset printer --to horizon --yes").await;
    assert_eq!(refused.code, 1);
    let lines: Vec<&str> = refused.stderr.lines().collect();
    assert_eq!(lines[0], "reset printer (2 leases): all shards to the oldest record that the stream retains");
    assert_eq!(lines[1], "workers that seem to run: 1; if they do, the reset is refused");
    assert!(lines[2].contains("workers of the fleet are running") && lines[2].contains("--force"), "{}", lines[2]);

    worker.stop().await.unwrap();
    let unasked = world.run("reset printer --to horizon").await;
    assert!(unasked.stderr.ends_with("nobody can be asked here: pass --yes\n"), "{unasked:?}");
    let reset = world.run("reset printer --to horizon --yes --json").await;
    let lines: Value = serde_json::from_str(&reset.stdout).unwrap();
    assert_eq!((&lines[0]["shard"], &lines[0]["after"]), (&json!(SHARD), &json!("TRIM_HORIZON")));
    let fleet = world.until_fleet("--no-lag", |_| true).await;
    assert_eq!(fleet["leases"][0]["checkpoint"], "TRIM_HORIZON");
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_a_lease_and_hands_one_over() {
    let world = World::start().await;
    let (first, second) = (world.worker("w1"), world.worker("w2"));
    let fleet = world.until_fleet("--no-lag", |fleet| owned_by(fleet, "w1") == 1 && owned_by(fleet, "w2") == 1).await;
    let lease = fleet["leases"].as_array().unwrap().iter().find(|lease| lease["owner"] == "w1").unwrap();
    let (key, counter) = (lease["key"].as_str().unwrap(), lease["counter"].as_u64().unwrap());

    let over = world.run(&format!("release printer {key} --to w2 --yes")).await;
    assert_eq!(over.stdout, format!("{key} is being handed over to w2\n"), "{over:?}");
    let given =
        |fleet: &Value| fleet["leases"].as_array().unwrap().iter().any(|it| it["key"] == key && it["owner"] == "w2");
    world.until_fleet("--no-lag", given).await;

    let released = world.run(&format!("release printer {key} --yes")).await;
    assert_eq!(released.stdout, format!("{key} is released\n"), "{released:?}");
    let again = |fleet: &Value| {
        let lease = fleet["leases"].as_array().unwrap().iter().find(|it| it["key"] == key).unwrap().clone();
        lease["owner"].is_string() && lease["counter"].as_u64().unwrap() > counter + 1
    };
    world.until_fleet("--no-lag", again).await;
    world.run("release printer shardId-9 --yes").await.fails_with(&["printer has no lease shardId-9"]);
    world.run(&format!("release printer {key} --to w9 --yes")).await.fails_with(&["w9 is no living worker"]);
    tokio::try_join!(first.stop(), second.stop()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_gets_no_leases_until_it_is_let() {
    let world = World::start().await;
    let (first, second) = (world.worker("w1"), world.worker("w2"));
    world.until_fleet("--no-lag", |fleet| owned_by(fleet, "w1") == 1 && owned_by(fleet, "w2") == 1).await;

    let drained = world.run("drain printer w1 --yes").await;
    assert_eq!(drained.code, 0, "{drained:?}");
    assert!(drained.stderr.contains("it gets no leases until kds drain printer w1 --end"), "{drained:?}");
    assert!(drained.stdout.ends_with("1 of 1 handovers have begun\n"), "{drained:?}");
    world.until_fleet("--no-lag", |fleet| owned_by(fleet, "w2") == 2).await;
    // A leader looks for what to even out each second.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let fleet = world.until_fleet("--no-lag", |_| true).await;
    assert_eq!((owned_by(&fleet, "w2"), &fleet["workers"][0]["isDrained"]), (2, &json!(true)), "{fleet}");

    assert_eq!(world.run("drain printer w1 --end --yes").await.stdout, "w1 gets leases again\n");
    world.until_fleet("--no-lag", |fleet| owned_by(fleet, "w1") == 1).await;
    tokio::try_join!(first.stop(), second.stop()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_dead_workers_and_ended_leases_only() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    world.run(&format!("stream split orders {SHARD} --yes")).await;
    let child = "shardId-000000000002";
    world.lease(SHARD, None, "SHARD_END", None).await;
    let key = [("leaseKey", s(SHARD))].map(|(name, value)| (name.to_owned(), value)).into();
    let children = AttributeValue::Ss(vec![child.to_owned(), "shardId-000000000003".to_owned()]);
    let update = world.dynamodb().update_item().table_name(APPLICATION).set_key(Some(key));
    update
        .update_expression("SET childShardIds = :c")
        .expression_attribute_values(":c", children)
        .send()
        .await
        .unwrap();
    for shard in [child, "shardId-000000000003"] {
        world.lease(shard, None, "TRIM_HORIZON", Some(SHARD)).await;
    }
    let worker = |id: &'static str, seconds: u64| {
        [("leaseKey", s(id)), ("entityType", s("WORKER_METRIC_STATS")), ("lut", n(seconds))]
    };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    world.item(APPLICATION, &worker("dead", 1_700_000_000)).await;
    world.item(APPLICATION, &worker("alive", now)).await;

    let first = world.run("cleanup printer --stream orders --yes").await;
    assert_eq!(first.stdout, "deleted 1 worker and 0 leases\n", "{first:?}");
    assert!(first.stderr.starts_with("delete worker dead, which reported "), "{first:?}");
    for shard in [child, "shardId-000000000003"] {
        world.lease(shard, None, "4959", Some(SHARD)).await;
    }
    let second = world.run("cleanup printer --stream orders --yes --json").await;
    assert_eq!(second.stdout, format!("{{\"workers\":[],\"leases\":[\"{SHARD}\"]}}\n"), "{second:?}");
    assert_eq!(world.run("cleanup printer --yes").await.stdout, "nothing of printer is to be deleted\n");

    let fleet = world.until_fleet("--no-lag", |_| true).await;
    assert_eq!((fleet["leases"].as_array().unwrap().len(), &fleet["workers"][0]["id"]), (2, &json!("alive")));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_leases_of_former_streams_that_nobody_owns() {
    let world = World::start().await;
    world.table(APPLICATION, "leaseKey").await;
    let summary = world.kinesis().describe_stream_summary().stream_name("orders").send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    let account = summary.stream_arn().split(':').nth(4).unwrap().to_owned();
    let created = summary.stream_creation_timestamp().secs();
    let names = [
        format!("{account}:orders:{created}"),
        format!("{account}:orders:{}", created - 60),
        format!("{account}:gone:{created}"),
    ];
    for name in &names {
        world.lease_of(name, SHARD, None).await;
    }
    world.lease_of(&names[2], "shardId-000000000001", Some("alive")).await;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let worker = [("leaseKey", s("alive")), ("entityType", s("WORKER_METRIC_STATS")), ("lut", n(now))];
    world.item(APPLICATION, &worker).await;

    let unasked = world.run("cleanup printer").await;
    assert_eq!(unasked.code, 1);
    assert!(unasked.stderr.contains(&format!("delete lease {}:{SHARD}, whose stream gone does not exist", names[2])));
    let first = world.run("cleanup printer --yes").await;
    assert_eq!(first.stdout, "deleted 0 workers and 2 leases\n", "{first:?}");
    assert!(first.stderr.contains("whose stream orders was deleted and created anew\n"), "{first:?}");
    assert_eq!(world.run("cleanup printer --yes").await.stdout, "nothing of printer is to be deleted\n");

    let named = world.run("cleanup printer --former orders --yes --json").await;
    assert!(named.stdout.contains(&format!("\"key\":\"{}:{SHARD}\"", names[0])), "{named:?}");
    world.run("cleanup printer --former orders --yes").await.fails_with(&["printer has no leases of stream orders"]);
    let fleet = world.until_fleet("--no-lag", |_| true).await;
    assert_eq!(fleet["leases"].as_array().unwrap().len(), 1, "{fleet}");
    assert_eq!(fleet["leases"][0]["owner"], "alive");
}
