//! How fast consumption starts, and how long a processor may take.

use std::time::Duration;

use integration_tests::{APPLICATION, EventLog, Journal, Running, STREAM, TestStream};
use kcl::{BoxError, CheckpointEvery, Event, FleetStatus, InitialPosition, Worker};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_processor_blocked_for_ten_minutes_never_loses_its_lease() {
    let (stream, events, journal) = (TestStream::start(1).await, EventLog::default(), Journal::default());
    let handled = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let handler = {
        let handled = handled.clone();
        move |record: kcl::Record| {
            let handled = handled.clone();
            async move {
                sleep(MINUTE * 10).await;
                handled.lock().expect("no writer panics").push(integration_tests::id_of(&record));
                Ok::<(), BoxError>(())
            }
        }
    };
    let builder = stream.worker("w1").on_event(events.handler());
    let worker = builder.build_for_each(CheckpointEvery::default(), handler).expect("configuration is right").start();
    stream.put(0..1).await;
    sleep(Duration::from_secs(5)).await;
    // Another that would take the lease if it could.
    let other = stream.run("w2", &journal);

    sleep(MINUTE * 11).await;

    assert_eq!(*handled.lock().expect("no writer panics"), [0]);
    assert_eq!(journal.ids().len(), 0);
    let lost = |event: &Event| matches!(event, Event::LeaseLost { .. } | Event::LeaseReleased { .. });
    assert_eq!(events.count(lost), 0, "{:?}", events.all());
    other.stop().await.expect("worker stops");
    worker.stop().await.expect("worker stops");
}

/// Time from now until the worker's first record.
async fn first_record(stream: &TestStream, worker_id: &str) -> Duration {
    let (journal, begun) = (Journal::default(), Instant::now());
    let worker = stream.run(worker_id, &journal);
    journal.processed(1).await;
    let entries = journal.entries();
    let first = entries.iter().find(|entry| !entry.keys.is_empty()).expect("a record came").at;
    worker.stop().await.expect("worker stops");
    first - begun
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_back_under_its_id_has_its_first_record_within_two_seconds() {
    let (stream, journal) = (TestStream::start(4).await, Journal::default());
    let worker = stream.run("host-1", &journal);
    stream.put(0..100).await;
    journal.processed(100).await;
    worker.stop().await.expect("worker stops");
    stream.put(100..200).await;
    let after_a_stop = first_record(&stream, "host-1").await;
    assert!(after_a_stop <= Duration::from_secs(2), "{after_a_stop:?}");

    let worker = stream.run("host-1", &journal);
    sleep(Duration::from_secs(20)).await;
    worker.kill();
    sleep(MINUTE * 2).await;
    stream.put(200..300).await;
    let after_a_crash = first_record(&stream, "host-1").await;
    assert!(after_a_crash <= Duration::from_secs(2), "{after_a_crash:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_application_has_its_first_record_within_five_seconds_of_its_table() {
    // The index takes long to come; nobody waits for it.
    for local in [LocalAws::builder(), LocalAws::builder().indexes_take(MINUTE * 10)] {
        let stream = TestStream::on(local.start().await, 4).await;
        stream.put(0..100).await;

        let first = first_record(&stream, "w1").await;

        assert!(first <= Duration::from_secs(5), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_table_may_be_kept_elsewhere_than_the_stream() {
    let (stream, elsewhere, journal) = (TestStream::start(2).await, LocalAws::start().await, Journal::default());
    stream.local.deny("dynamodb:*");
    elsewhere.deny("kinesis:*");
    let builder = Worker::builder(&stream.aws, APPLICATION, STREAM).initial_position(InitialPosition::TrimHorizon);
    let builder = builder.lease_table_config(&elsewhere.sdk_config());
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..100).await;
    journal.processed(100).await;

    worker.stop().await.expect("worker stops");

    let status = FleetStatus::read(&elsewhere.sdk_config(), APPLICATION).await.expect("the table is there");
    assert_eq!(status.leases.len(), 2);
}
