//! Many workers that start in one moment, under the limits of an account.

use std::time::Duration;

use integration_tests::{Running, World};
use kcl::Event;
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

/// Number of workers: a thousand where that takes half a minute.
const WORKERS: usize = if cfg!(debug_assertions) { 100 } else { 1_000 };

#[tokio::test(start_paused = true)]
async fn workers_that_start_at_once_all_join() {
    let world = World::on(LocalAws::builder().enforce_limits().start().await, 4).await;
    let begun = Instant::now();
    let _workers: Vec<Running> = (0..WORKERS).map(|number| world.run(&format!("w{number}"))).collect();
    let started = || world.events.count(|event| matches!(event, Event::Started { .. }));
    while started() < WORKERS && begun.elapsed() < Duration::from_secs(300) {
        sleep(Duration::from_secs(1)).await;
    }
    println!("{} of {WORKERS} workers have joined after {:?}", started(), begun.elapsed());
    assert_eq!(started(), WORKERS);

    world.put(0..100).await;
    world.journal.processed(100).await;
}
