//! Allocations of a worker for each user record, beside the floor: `cargo bench -p integration-tests --bench
//! consumer_allocations`. Apart from the bench of CPU time, which counting would inflate. The canned answers are in both
//! counts, checkpoints with the embedded table's work for them in the worker's; what an idle worker and the table allocate in
//! the same time is left out.

use std::alloc::System;

use integration_tests::bench::{
    canned_shards::CannedShards, consuming::Consumer, pages::Load, read_floor::ReadFloor, report, size,
};
use kcl::Retrieval;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::{Instant, sleep};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PAGES: u64 = 20;

/// Allocations and their bytes.
type Counts = (f64, f64);

fn since(region: &Region<'_, System>) -> Counts {
    let change = region.change();
    ((change.allocations + change.reallocations) as f64, change.bytes_allocated as f64)
}

fn report_each(what: &str, (allocations, bytes): Counts, records: f64) {
    report(&format!("{what}: allocations per user record"), allocations / records, "allocations");
    report(&format!("{what}: bytes allocated per user record"), bytes / records, "B");
}

async fn count(load: Load) {
    let canned = CannedShards::new(1, load);
    let again = canned.again();
    let kind = if load.aggregated { "aggregated" } else { "plain" };
    let what = format!("consumer, {} {kind}", size(load.record_bytes));
    let records = again.grant(PAGES + 1) as f64 * PAGES as f64 / (PAGES + 1) as f64;
    let floor = ReadFloor::new(&again);
    floor.poll(1).await;
    let region = Region::new(ALLOCATOR);
    floor.poll(PAGES).await;
    report_each(&format!("{what}, floor"), since(&region), records);
    let mut consumer = Consumer::start(&canned, Retrieval::default()).await;
    let (region, begun) = (Region::new(ALLOCATOR), Instant::now());
    consumer.consume(PAGES).await;
    let (busy, elapsed) = (since(&region), begun.elapsed());
    let region = Region::new(ALLOCATOR);
    sleep(elapsed).await;
    let idle = since(&region);
    report_each(&what, (busy.0 - idle.0, busy.1 - idle.1), records);
    consumer.stop().await;
}

fn main() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        for (record_bytes, aggregated) in [(100, true), (100, false), (1024, false)] {
            count(Load { record_bytes, aggregated, page_bytes: 1 << 20 }).await;
        }
    });
}
