//! Cost of a record as a stream's shards grow in number, from 1 to 4,096:
//! `cargo bench -p integration-tests --bench reshard`, with a number of records for another length.

use std::num::NonZero;

use bytes::Bytes;
use integration_tests::bench::{argument, canned::Canned, cpu_nanos, floor::Floor, report};
use kpl::{Aggregation, Producer, RecordOrder, UserRecord};

const SHARDS: [usize; 5] = [1, 16, 256, 1024, 4096];
const ROUNDS: usize = 3;
/// Records of an aggregate, where all are to be alike.
const ALIKE: usize = 100;

/// The ways to put that are compared, each with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// At the defaults. The more shards, the fewer records come together in the time that they wait.
    Defaults,
    /// Aggregates of as many records, requests of as many aggregates, whatever the number of shards.
    Alike,
    /// A loop written by hand.
    Floor,
}

fn producer(canned: &Canned, way: Way) -> Producer {
    let mut builder = Producer::builder(&canned.config(), "StockTradeStream")
        .rate_limit_percent(const { NonZero::new(1_000_000).expect("not zero") });
    if way == Way::Alike {
        builder = builder
            .aggregation(Aggregation::default().with_max_records(ALIKE))
            .record_order(RecordOrder::BestEffort)
            .max_outstanding_records(SHARDS[SHARDS.len() - 1] * ALIKE * 4)
            .max_outstanding_bytes(1 << 30);
    }
    builder.build().expect("valid settings")
}

/// CPU nanoseconds of a record in the cheapest of some rounds.
async fn cost(shards: usize, way: Way, records: usize) -> f64 {
    let canned = Canned::new(shards as u128);
    let keys: Vec<String> = (0..50_000).map(|n| format!("key-{n}")).collect();
    let data = Bytes::from(vec![b'x'; 100]);
    let (producer, mut floor) = (producer(&canned, way), Floor::new(&canned.config(), shards));
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begun = cpu_nanos();
        for key in keys.iter().cycle().take(records) {
            match way {
                Way::Floor => floor.put(key, &data).await,
                _ => drop(producer.put(UserRecord::new(key.as_str(), data.clone())).await.expect("accepted")),
            }
        }
        producer.flush().await;
        floor.flush().await;
        best = best.min((cpu_nanos() - begun) as f64 / records as f64);
    }
    producer.shutdown().await;
    best
}

fn main() {
    let records = argument(800_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    if let Some(shards) = std::env::args().filter_map(|argument| argument.parse().ok()).nth(1) {
        // One case alone, for a profiler.
        let cost = runtime.block_on(cost(shards, Way::Defaults, records));
        return report(&format!("Defaults, {shards} shards: CPU per record"), cost, "ns");
    }
    runtime.block_on(async {
        for way in [Way::Defaults, Way::Alike, Way::Floor] {
            let mut alone = None;
            for shards in SHARDS {
                let cost = cost(shards, way, records).await;
                let alone = *alone.get_or_insert(cost);
                report(&format!("{way:?}, {shards} shards: CPU per record"), cost, "ns");
                report(&format!("{way:?}, {shards} shards: over 1 shard"), cost / alone, "ratio");
            }
        }
    });
}
