//! Time until consumption starts, and time of a processor.

use std::time::Duration;

use integration_tests::{APPLICATION, Journal, Records, Running, STREAM, World};
use kcl::{BoxError, CheckpointEvery, Event, FleetStatus, InitialPosition, Worker};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_processor_blocked_for_ten_minutes_never_loses_its_lease() {
    let world = World::start(1).await;
    let handled = Records::default();
    let handler = {
        let handled = handled.clone();
        move |record: kcl::Record| {
            let handled = handled.clone();
            async move {
                sleep(MINUTE * 10).await;
                handled.add(&record);
                Ok::<(), BoxError>(())
            }
        }
    };
    let builder = world.worker("w1");
    let worker =
        builder.build_for_each(CheckpointEvery::default(), 1, handler).expect("configuration is right").start();
    world.put(0..1).await;
    world
        .until("it has the lease", || world.events.count(|event| matches!(event, Event::LeaseTaken { .. })) == 1)
        .await;
    // Another that would take the lease if it could.
    let other = world.run("w2");

    sleep(MINUTE * 11).await;

    assert_eq!(handled.ids(), [0]);
    assert_eq!(world.journal.ids().len(), 0);
    let lost = |event: &Event| matches!(event, Event::LeaseLost { .. } | Event::LeaseReleased { .. });
    assert_eq!(world.events.count(lost), 0, "{:?}", world.events.all());
    other.stop().await.expect("worker stops");
    worker.stop().await.expect("worker stops");
}

/// Time from now until the worker's first record.
async fn first_record(world: &World, worker_id: &str) -> Duration {
    let (journal, begun) = (Journal::default(), Instant::now());
    let worker = Running::noting(world.worker(worker_id), &journal);
    journal.processed(1).await;
    let entries = journal.entries();
    let first = entries.iter().find(|entry| !entry.keys.is_empty()).expect("a record came").at;
    worker.stop().await.expect("worker stops");
    first - begun
}

#[tokio::test(start_paused = true)]
async fn delivers_within_two_seconds_to_a_worker_back_under_its_id() {
    let world = World::start(4).await;
    let worker = world.run("host-1");
    world.put(0..100).await;
    world.journal.processed(100).await;
    worker.stop().await.expect("worker stops");
    world.put(100..200).await;
    let after_a_stop = first_record(&world, "host-1").await;
    assert!(after_a_stop <= Duration::from_secs(2), "{after_a_stop:?}");

    let worker = world.run("host-1");
    world.settled().await;
    worker.kill();
    sleep(MINUTE * 2).await;
    world.put(200..300).await;
    let after_a_crash = first_record(&world, "host-1").await;
    assert!(after_a_crash <= Duration::from_secs(2), "{after_a_crash:?}");
}

#[tokio::test(start_paused = true)]
async fn delivers_to_a_new_application_within_five_seconds() {
    // The index takes long to come; nobody waits for it.
    for local in [LocalAws::builder(), LocalAws::builder().indexes_take(MINUTE * 10)] {
        let world = World::on(local.start().await, 4).await;
        world.put(0..100).await;

        let first = first_record(&world, "w1").await;

        assert!(first <= Duration::from_secs(5), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_table_may_be_kept_elsewhere_than_the_stream() {
    let world = World::start(2).await;
    let elsewhere = LocalAws::start().await;
    world.local.deny("dynamodb:*");
    elsewhere.deny("kinesis:*");
    let builder = Worker::builder(&world.aws, APPLICATION, STREAM).initial_position(InitialPosition::TrimHorizon);
    let builder = builder.lease_table_config(&elsewhere.sdk_config());
    let worker = world.spawn(builder);
    world.put(0..100).await;
    world.journal.processed(100).await;

    worker.stop().await.expect("worker stops");

    let status = FleetStatus::read(&elsewhere.sdk_config(), APPLICATION).await.expect("the table is there");
    assert_eq!(status.leases.len(), 2);
}
