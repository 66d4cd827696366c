//! A worker that is stopped before it has come to rest.

use std::time::Duration;

use integration_tests::World;
use kcl::Event;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn leaves_no_lease_behind_when_it_stops_amid_its_start() {
    // While leases are given away, and once the first are taken.
    for first_taken in [0, 10] {
        let world = World::start(1_000).await;
        world.local.faults().on("dynamodb:*").delay(Duration::from_millis(20));
        let changes = world.calls("dynamodb:UpdateItem");
        let worker = world.run("w1");
        let taken = || world.events.count(|event| matches!(event, Event::LeaseTaken { .. }));
        world.until("it is amid its start", || changes.count() >= 100 && taken() >= first_taken).await;
        assert!(taken() < 1_000, "all leases are taken: it has started");

        let begun = Instant::now();
        worker.stop().await.expect("worker stops");

        assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
        let status = world.status().await;
        assert_eq!(status.leases.iter().filter(|lease| lease.owner.is_some()).count(), 0);
    }
}
