//! Many workers that start in one moment, under the limits of an account.

use std::time::Duration;

use integration_tests::{EventLog, Journal, Running, TestStream};
use kcl::Event;
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

/// Number of workers: a thousand where that takes half a minute.
const WORKERS: usize = if cfg!(debug_assertions) { 100 } else { 1_000 };

#[tokio::test(start_paused = true)]
async fn workers_that_start_at_once_all_join() {
    let stream = TestStream::on(LocalAws::builder().enforce_limits().start().await, 4).await;
    let (journal, events, begun) = (Journal::default(), EventLog::default(), Instant::now());
    let run = |number| {
        let builder = stream.worker(&format!("w{number}")).on_event(events.handler());
        Running::start(builder, &journal, |journal, shard| journal.processor(shard))
    };
    let _workers: Vec<Running> = (0..WORKERS).map(run).collect();
    let started = || events.count(|event| matches!(event, Event::Started { .. }));
    while started() < WORKERS && begun.elapsed() < Duration::from_secs(300) {
        sleep(Duration::from_secs(1)).await;
    }
    println!("{} of {WORKERS} workers have joined after {:?}", started(), begun.elapsed());
    assert_eq!(started(), WORKERS);

    stream.put(0..100).await;
    journal.processed(100).await;
}
