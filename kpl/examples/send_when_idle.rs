//! Costs and savings of sending at once when idle, in virtual time: requests, Kinesis records and latency by rate, number
//! of shards and arrivals, with round trips of 20 ms. The same figures at every run:
//! `cargo run -p kinesis-kpl --example send_when_idle`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_types::SdkConfig;
use kpl::{
    HashKey, HashKeyRange, Kinesis, Producer, UserRecord,
    kinesis::{BoxFuture, EntryResult, KinesisError, PutRecordsRequest, Shard, Stored, Stream},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};

const ROUND_TRIP: Duration = Duration::from_millis(20);
/// Maximum records of a run.
const MAX_RECORDS: u32 = 20_000;
const MAX_TIME: Duration = Duration::from_secs(600);

/// Stores nothing, and counts.
#[derive(Clone)]
struct Service {
    shards: Arc<Vec<Shard>>,
    requests: Arc<AtomicUsize>,
    kinesis_records: Arc<AtomicUsize>,
}

impl Service {
    fn new(shards: u128) -> Self {
        let width = u128::MAX / shards;
        let shard = |n| {
            let end = if n + 1 == shards { u128::MAX } else { (n + 1) * width - 1 };
            let hash_key_range = HashKeyRange { start: HashKey(n * width), end: HashKey(end) };
            Shard::new(format!("shardId-{n:012}"), hash_key_range)
        };
        Self {
            shards: Arc::new((0..shards).map(shard).collect()),
            requests: Arc::default(),
            kinesis_records: Arc::default(),
        }
    }

    fn store(&self, key: HashKey) -> Stored {
        let owner = self.shards.partition_point(|shard| shard.hash_key_range.end < key);
        Stored::new(self.shards[owner].shard_id.clone(), "1".parse().expect("digits"))
    }
}

impl Kinesis for Service {
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>> {
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            self.requests.fetch_add(1, Relaxed);
            self.kinesis_records.fetch_add(request.entries.len(), Relaxed);
            Ok(request.entries.iter().map(|entry| Ok(self.store(entry.explicit_hash_key))).collect())
        })
    }

    fn list_shards(&self, _stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>> {
        Box::pin(async move { Ok(self.shards.to_vec()) })
    }
}

/// Arrival of records.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Arrivals {
    /// At equal distances.
    Uniform,
    /// Each whenever it likes.
    Poisson,
}

/// Result of a run.
struct Found {
    requests: f64,
    kinesis_records: f64,
    p50: Duration,
    p99: Duration,
}

async fn run(per_second: u32, shards: u128, arrivals: Arrivals, send_when_idle: bool) -> Found {
    let service = Service::new(shards);
    let builder = Producer::builder(&SdkConfig::builder().build(), "StockTradeStream").kinesis(service.clone());
    let producer = builder.send_when_idle(send_when_idle).build().expect("valid settings");
    let records = MAX_RECORDS.min(MAX_TIME.as_secs() as u32 * per_second);
    let (mut rng, latencies) = (fastrand::Rng::with_seed(7), Arc::new(Mutex::new(Vec::new())));
    producer.put(UserRecord::new("warm", "up")).await.expect("accepted").await.expect("stored");
    let before = (service.requests.load(Relaxed), service.kinesis_records.load(Relaxed));
    let (mut at, mut waiting) = (Instant::now() + Duration::from_secs(1), Vec::new());
    for _ in 0..records {
        let gap = match arrivals {
            Arrivals::Uniform => 1.0,
            Arrivals::Poisson => -(1.0 - rng.f64()).ln(),
        };
        at += Duration::from_secs_f64(gap / f64::from(per_second));
        sleep_until(at).await;
        let (put, latencies) = (Instant::now(), latencies.clone());
        let record = UserRecord::new(format!("key-{}", rng.u32(..100_000)), vec![b'x'; 100]);
        let delivery = producer.put(record).await.expect("accepted");
        waiting.push(tokio::spawn(async move {
            delivery.await.expect("stored");
            latencies.lock().await.push(put.elapsed());
        }));
    }
    for waiting in waiting {
        waiting.await.expect("no panic");
    }
    let mut latencies = latencies.lock().await.clone();
    latencies.sort_unstable();
    let quantile = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
    let seconds = f64::from(records) / f64::from(per_second);
    Found {
        requests: (service.requests.load(Relaxed) - before.0) as f64 / seconds,
        kinesis_records: (service.kinesis_records.load(Relaxed) - before.1) as f64 / seconds,
        p50: quantile(0.5),
        p99: quantile(0.99),
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    println!("| records/s, arrivals | shards | requests/s | Kinesis records/s | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|");
    for per_second in [10, 100, 1000, 10_000] {
        for arrivals in [Arrivals::Uniform, Arrivals::Poisson] {
            for shards in [1, 16, 1000] {
                let [off, on] = [false, true].map(|idle| runtime.block_on(run(per_second, shards, arrivals, idle)));
                let change = |off: f64, on: f64| format!("{off:.1} to {on:.1}, {:+.0} %", (on / off - 1.0) * 100.0);
                let millis = |off: Duration, on: Duration| format!("{} to {}", off.as_millis(), on.as_millis());
                println!(
                    "| {per_second}, {arrivals:?} | {shards} | {} | {} | {} | {} |",
                    change(off.requests, on.requests),
                    change(off.kinesis_records, on.kinesis_records),
                    millis(off.p50, on.p50),
                    millis(off.p99, on.p99),
                );
            }
        }
    }
}
