//! Many workers that start in one moment, under the limits of an account. `KCL_STARTING_WORKERS` says how many.

use std::{env, time::Duration};

use integration_tests::{Running, World};
use kcl::Event;
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

/// Number of workers unless the environment says another.
const WORKERS: usize = 100;

#[tokio::test(start_paused = true)]
async fn workers_that_start_at_once_all_join() {
    let world = World::on(LocalAws::builder().enforce_limits().start().await, 4).await;
    let workers = env::var("KCL_STARTING_WORKERS").map_or(WORKERS, |number| number.parse().expect("is a number"));
    let begun = Instant::now();
    let _workers: Vec<Running> = (0..workers).map(|number| world.run(&format!("w{number}"))).collect();
    let started = || world.events.count(|event| matches!(event, Event::Started { .. }));
    while started() < workers && begun.elapsed() < Duration::from_secs(300) {
        sleep(Duration::from_secs(1)).await;
    }
    println!("{} of {workers} workers have joined after {:?}", started(), begun.elapsed());
    assert_eq!(started(), workers);

    world.put(0..100).await;
    world.journal.processed(100).await;
}
