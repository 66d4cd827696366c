//! A worker at the default memory budget, 512 MiB, whose processors stand still while the shards have records without end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use integration_tests::bench::{
    canned_shards::{CONSUMER_ARN, CannedShards},
    pages::Load,
    report, resident_bytes, size,
};
use kcl::{BoxError, Checkpointer, Deaggregation, FanOut, InitialPosition, RecordBatch, RecordProcessor, Worker};
use kinesis_local::LocalAws;
use tokio::time::sleep;

const BUDGET: usize = 512 << 20;
const MIB: usize = 1 << 20;
/// Memory is settled once its peak has not grown for this many looks in a row.
const SETTLED: usize = 60;
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Case {
    shards: usize,
    load: Load,
    fan_out: bool,
}

const fn case(shards: usize, record_bytes: usize, aggregated: bool, page_bytes: usize, fan_out: bool) -> Case {
    Case { shards, load: Load { record_bytes, aggregated, page_bytes }, fan_out }
}

pub(super) const CASES: [Case; 6] = [
    case(128, 1024, false, 4 * MIB, false),
    case(128, 100, false, MIB, false),
    case(128, 100, true, 4 * MIB, false),
    case(1000, 1024, false, 4 * MIB, false),
    case(128, 1024, false, MIB, true),
    case(8, 1024, false, 4 * MIB, false),
];

/// Never returns from its first batch.
struct StandsStill(Arc<AtomicUsize>);

impl RecordProcessor for StandsStill {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>().await;
        drop(batch);
        Ok(())
    }
}

/// Waits until all shards have a processor that stands still and the memory does not grow; returns it, and its peak.
async fn settled(standing: &AtomicUsize, shards: usize) -> (usize, usize) {
    let (mut peak, mut looks) = (0, 0);
    while looks < SETTLED {
        sleep(LOOK).await;
        let resident = resident_bytes();
        looks = if resident > peak || standing.load(Ordering::Relaxed) < shards { 0 } else { looks + 1 };
        peak = peak.max(resident);
    }
    (resident_bytes(), peak)
}

async fn hold(case: &Case) {
    let Case { shards, load, fan_out } = *case;
    let canned = CannedShards::alike(shards, load);
    canned.grant(1_000);
    let aws = LocalAws::start().await.sdk_config();
    let standing = Arc::<AtomicUsize>::default();
    let before = resident_bytes();
    let builder = Worker::builder(&canned.config(), "StockTradesProcessor", "StockTradeStream")
        .lease_table_config(&aws)
        .initial_position(InitialPosition::TrimHorizon)
        // All shards return the same keys.
        .deaggregation(Deaggregation::KeepForeign);
    let builder = if fan_out { builder.retrieval(FanOut::new().consumer_arn(CONSUMER_ARN)) } else { builder };
    let processors = Arc::clone(&standing);
    let worker = builder.build(move |_: &_| StandsStill(Arc::clone(&processors))).expect("valid settings").start();
    let (resident, peak) = settled(&standing, shards).await;
    let (kind, way) =
        (if load.aggregated { "aggregated" } else { "plain" }, if fan_out { "fan-out" } else { "polling" });
    let what = format!(
        "consumer standing still, {way}, {} {kind}, {shards} shards, {} an answer",
        size(load.record_bytes),
        size(load.page_bytes)
    );
    // A subscription that is not read leaves two events with its sender.
    let events = if fan_out { 2 * shards * canned.shards()[0].page.answer(0, usize::MAX, "").len() } else { 0 };
    let over_budget = |bytes: usize| bytes.saturating_sub(before + events) as f64 / BUDGET as f64;
    report(&format!("{what}: resident, over the budget"), over_budget(resident), "ratio");
    report(&format!("{what}: its peak"), over_budget(peak), "ratio");
    drop(worker);
    std::process::exit(0); // records are left on purpose
}

pub(super) fn measure(case: usize) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build().expect("a runtime");
    runtime.block_on(hold(&CASES[case]));
}
