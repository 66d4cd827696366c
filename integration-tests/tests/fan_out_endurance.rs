//! A day of enhanced fan-out with subscriptions that break and are refused: no gap, no double, nothing that grows.
//!
//! The reader of a replay that follows the stream is that of any worker, and has no lease table to talk to meanwhile.

use std::{alloc::System, time::Duration};

use integration_tests::{World, history::now};
use kcl::{FanOut, Retrieval};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const HOUR: Duration = Duration::from_secs(3_600);
/// Beyond what the test itself keeps: records in stream and journal.
const GROWTH_BYTES: usize = 2 << 20;

/// Bytes that are allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[tokio::test(start_paused = true)]
async fn survives_a_day_of_broken_and_refused_subscriptions_without_growing() {
    let world = World::start(2).await;
    let subscriptions = || world.local.faults().on("kinesis:SubscribeToShard");
    let refused = subscriptions().with_probability(0.2).refuse(400, "ResourceInUseException", "another is active");
    let cut = subscriptions().with_probability(0.2).cut_event_stream(0);
    let cut_later = subscriptions().with_probability(0.3).cut_event_stream(30);
    let begun = now(&world, 1_000_000).await;
    let builder = world.worker("w1").retrieval(Retrieval::FanOut(FanOut::new())).replay(begun..begun + 30 * HOUR);
    let worker = world.spawn(builder);

    let (start, mut samples, mut next) = (Instant::now(), Vec::new(), 0);
    for hour in 1..=24 {
        while start.elapsed() < hour * HOUR {
            world.put(next..next + 1).await;
            next += 1;
            sleep(Duration::from_millis(30_000 + next % 997)).await;
        }
        samples.push((Handle::current().metrics().num_alive_tasks(), allocated()));
    }
    sleep(Duration::from_secs(60)).await;

    let mut ids: Vec<u64> = world.journal.ids().into_iter().filter(|id| *id < 1_000_000).collect();
    assert!(world.journal.keys_out_of_order().is_empty());
    ids.sort_unstable();
    assert_eq!(ids, (0..next).collect::<Vec<_>>(), "no gap, no double");
    for (fault, least) in [(&refused, 200), (&cut, 200), (&cut_later, 200)] {
        assert!(fault.count() >= least, "{}", fault.count());
    }
    let (tasks, bytes): (Vec<usize>, Vec<usize>) = samples.into_iter().unzip();
    assert!(tasks.iter().max() <= tasks.iter().min().map(|least| least + 4).as_ref(), "{tasks:?}");
    assert!(bytes[23] < bytes[3] + GROWTH_BYTES, "{bytes:?}");
    worker.stop().await.expect("worker stops");
}
