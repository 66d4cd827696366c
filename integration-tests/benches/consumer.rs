//! `kcl` against the floor: a hand-written loop that only reads, checks and takes apart the same records by the same SDK.
//! `cargo bench -p integration-tests --bench consumer`, with a number of user records for rounds of another length, with
//! `polling` or `fan-out` for one of the two. For a profiler, the worker alone: `profile`, with `plain` or `kib` for plain
//! records of 100 B or 1 KiB, with `many` for 64 shards; `floor` for
//! the floor alone.

use integration_tests::bench::{
    argument,
    canned_shards::{CONSUMER_ARN, CannedShards},
    compare_by,
    consuming::Consumer,
    pages::Load,
    read_floor::ReadFloor,
    report, size, thread_cpu_nanos,
};
use kcl::{FanOut, Retrieval};

const ROUNDS: usize = 5;
/// Maximum that a shard takes in within the second between two reads.
const PAGE_BYTES: usize = 1 << 20;
/// For many shards, whose pages must fit into memory.
const SMALL_PAGE_BYTES: usize = 128 << 10;

const AGGREGATED: Load = Load { record_bytes: 100, aggregated: true, page_bytes: PAGE_BYTES };
const PLAIN: Load = Load { record_bytes: 100, aggregated: false, page_bytes: PAGE_BYTES };
const PLAIN_KIB: Load = Load { record_bytes: 1024, aggregated: false, page_bytes: PAGE_BYTES };

fn retrieval(fan_out: bool) -> Retrieval {
    if fan_out { Retrieval::FanOut(FanOut::new().consumer_arn(CONSUMER_ARN)) } else { Retrieval::default() }
}

fn described(load: Load, shards: usize, fan_out: bool) -> String {
    let kind = if load.aggregated { "aggregated" } else { "plain" };
    let pages =
        if load.page_bytes == PAGE_BYTES { String::new() } else { format!(", {} a read", size(load.page_bytes)) };
    let way = if fan_out { "fan-out" } else { "polling" };
    format!("consumer, {way}, {} {kind}, {shards} shards{pages}", size(load.record_bytes))
}

/// Some `records` user records each round.
async fn against_the_floor(load: Load, shards: usize, fan_out: bool, records: usize) {
    let canned = CannedShards::new(shards, load);
    let again = canned.again();
    let mut consumer = Consumer::start(&canned, retrieval(fan_out)).await;
    let mut floor = ReadFloor::new(&again);
    let of_a_page: usize = canned.shards().iter().map(|shard| shard.page.user_records).sum();
    let pages = records.div_ceil(of_a_page).max(2) as u64;
    let ours = async || consumer.consume(pages).await;
    let by_hand = async || {
        let granted = again.grant(pages);
        let read = if fan_out { floor.subscribed(pages).await } else { floor.poll(pages).await };
        assert_eq!(read, granted);
    };
    let each = of_a_page * usize::try_from(pages).expect("there are not that many");
    let (ours, floor) = compare_by(thread_cpu_nanos, ROUNDS, each, ours, by_hand).await;
    let what = described(load, shards, fan_out);
    report(&format!("{what}: CPU per user record"), ours, "ns");
    report(&format!("{what}: floor"), floor, "ns");
    report(&format!("{what}: CPU over floor"), ours / floor, "ratio");
    consumer.stop().await;
}

/// The worker alone, or the floor alone, for a profiler.
async fn profile(load: Load, shards: usize, fan_out: bool, records: usize, floor: bool) {
    let canned = CannedShards::new(shards, load);
    let of_a_page: usize = canned.shards().iter().map(|shard| shard.page.user_records).sum();
    let pages = (ROUNDS * records.div_ceil(of_a_page)) as u64;
    let begun = thread_cpu_nanos();
    if floor {
        canned.grant(pages);
        ReadFloor::new(&canned).poll(pages).await;
    } else {
        let mut consumer = Consumer::start(&canned, retrieval(fan_out)).await;
        consumer.consume(pages).await;
        consumer.stop().await;
    }
    let each = (thread_cpu_nanos() - begun) as f64 / (of_a_page as f64 * pages as f64);
    report(&described(load, shards, fan_out), each, "ns");
}

fn main() {
    let records = argument(500_000);
    let is_asked = |name: &str| std::env::args().any(|argument| argument == name);
    let ways: &[bool] = match (is_asked("polling"), is_asked("fan-out")) {
        (true, false) => &[false],
        (false, true) => &[true],
        _ => &[false, true],
    };
    // One thread, and virtual time: nobody waits for the pauses between reads.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        for fan_out in ways.iter().copied() {
            if is_asked("profile") {
                let load = match (is_asked("plain"), is_asked("kib")) {
                    (true, _) => PLAIN,
                    (_, true) => PLAIN_KIB,
                    _ => AGGREGATED,
                };
                let shards = if is_asked("many") { 64 } else { 1 };
                profile(load, shards, fan_out, records, is_asked("floor")).await;
                continue;
            }
            for (load, part) in [(AGGREGATED, 1), (PLAIN, 2), (PLAIN_KIB, 10)] {
                for shards in [1, 64] {
                    against_the_floor(load, shards, fan_out, records / part).await;
                }
            }
            // How the cost of a record grows with the number of shards.
            for shards in [1, 64, 512] {
                let load = Load { page_bytes: SMALL_PAGE_BYTES, ..AGGREGATED };
                against_the_floor(load, shards, fan_out, records).await;
            }
        }
    });
}
