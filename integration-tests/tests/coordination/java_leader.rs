//! Workers under a leader that announces nothing, as Java's: by hand, in virtual time.

use std::time::Duration;

use integration_tests::{Item, SHARD, Table, World, text};
use kcl::Event;
use tokio::time::{Instant, sleep};

/// Java's pause between two heartbeats of its lock, which lives 120 s.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Writes the lock as Java's lock client does, by an item as a whole.
async fn beat(table: &Table, version: u32) {
    let attributes = [
        ("leaseKey", "Leader"),
        ("ownerName", "java"),
        ("leaseDuration", "120000"),
        ("recordVersionNumber", &version.to_string()),
        ("entityType", "LEADER"),
    ];
    table.put(attributes.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect::<Item>()).await;
}

#[tokio::test(start_paused = true)]
async fn finds_a_lease_within_half_its_duration_and_scans_nothing() {
    let world = World::start(1).await;
    let first = world.run("w0");
    world.settled().await;
    first.stop().await.unwrap();
    let table = world.table();
    beat(&table, 0).await;
    let worker = world.run("w1");
    let beating = tokio::spawn({
        let table = table.clone();
        async move {
            for version in 1.. {
                sleep(HEARTBEAT).await;
                beat(&table, version).await;
            }
        }
    });
    sleep(Duration::from_secs(60)).await;

    let (scans, queries) = (world.calls("dynamodb:Scan"), world.calls("dynamodb:Query"));
    sleep(Duration::from_secs(300)).await;
    assert_eq!(scans.count(), 0, "only a leader, or the heir of a silent one, scans");
    assert!(queries.count() <= 70, "{} queries in 5 minutes", queries.count());

    let taken = || world.events.count(|event| matches!(event, Event::LeaseTaken { .. }));
    let before = taken();
    table.set(SHARD, "leaseOwner", text("w1")).await;
    let given = Instant::now();
    world.until("the lease is taken", || taken() > before).await;
    assert!(given.elapsed() <= Duration::from_millis(5_100), "{:?}", given.elapsed());
    beating.abort();
    worker.kill();
}
