//! A worker that is stopped before it has come to rest.

use std::time::Duration;

use integration_tests::{APPLICATION, EventLog, Journal, Running, TestStream};
use kcl::{Event, FleetStatus};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn leaves_no_lease_behind_when_it_stops_amid_its_start() {
    let (stream, journal, events) = (TestStream::start(300).await, Journal::default(), EventLog::default());
    stream.local.faults().on("dynamodb:*").delay(Duration::from_millis(20));
    let builder = stream.worker("w1").on_event(events.handler());
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    let taken = || events.count(|event| matches!(event, Event::LeaseTaken { .. }));
    while taken() < 30 {
        sleep(Duration::from_millis(50)).await;
    }

    let begun = Instant::now();
    worker.stop().await.expect("worker stops");

    assert!(taken() < 300, "it was amid its start");
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    let status = FleetStatus::read(&stream.aws, APPLICATION).await.expect("the table is there");
    assert_eq!(status.leases.iter().filter(|lease| lease.owner.is_some()).count(), 0);
}
