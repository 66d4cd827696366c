//! Requests of a fleet at rest to the lease table, counted at the service in virtual time: the budget of each loop.

use std::{collections::BTreeMap, time::Duration};

use integration_tests::{Running, World};
use kcl::Polling;
use kinesis_local::Fault;
use tokio::time::sleep;

/// Operations that read or write items.
const OPERATIONS: [&str; 10] = [
    "BatchExecuteStatement",
    "BatchGetItem",
    "DeleteItem",
    "ExecuteStatement",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "UpdateItem",
];
const MINUTES: u32 = 10;
/// Maximum renewals of a lease of 10 s a minute: each is at least 3.33 s after the one before.
const RENEWALS: f64 = 18.0;
/// Reports of a worker a minute.
const REPORTS: f64 = 6.0;

/// Requests a minute by operation, of two workers with that many shards, all quiet.
async fn requests_at_rest(shards: i32) -> BTreeMap<&'static str, f64> {
    let world = World::start(shards).await;
    let seldom = Polling::new().idle_between_reads(Duration::from_secs(30));
    let _workers: Vec<Running> = ["w1", "w2"].map(|id| world.spawn(world.worker(id).retrieval(seldom.clone()))).into();
    let half = |status: &kcl::FleetStatus| {
        status.workers.len() == 2 && status.workers.iter().all(|worker| worker.leases == status.leases.len() / 2)
    };
    world.until_status("the shards are shared", half).await;
    sleep(Duration::from_secs(120)).await; // the intervals stretch
    let count = |name| (name, world.calls(&format!("dynamodb:{name}")));
    let counts: Vec<(&str, Fault)> = OPERATIONS.map(count).into();
    sleep(Duration::from_secs(60) * MINUTES).await;
    let per_minute = |count: &Fault| f64::from(u32::try_from(count.count()).expect("thousands")) / f64::from(MINUTES);
    counts.iter().map(|(name, count)| (*name, per_minute(count))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_fleet_at_rest_stays_within_its_budget_of_requests() {
    for shards in [4, 64] {
        let counts = requests_at_rest(shards).await;

        let total: f64 = counts.values().sum();
        println!("{shards} shards, 2 workers: {total:.1} requests a minute: {counts:.1?}");
        // The leader's scans; the other's looks at lock and own item; for changes by other hands; the fleet's version.
        let reads = [("Scan", 24.0), ("BatchGetItem", 34.0), ("Query", 6.0), ("GetItem", 3.0)];
        // The leader's heartbeats; renewals and reports.
        let writes = [("PutItem", 68.0), ("UpdateItem", f64::from(shards) * RENEWALS + 2.0 * REPORTS)];
        let budget: BTreeMap<&str, f64> = reads.into_iter().chain(writes).collect();
        for (name, count) in counts {
            let most = budget.get(name).copied().unwrap_or(0.0);
            assert!(count <= most, "{shards} shards: {count} requests a minute of {name}, at most {most}");
        }
    }
}
