//! User records per second through a producer on one core, over a Kinesis that answers at once; then what order costs, over
//! one that takes its time:
//! `cargo bench -p kinesis-kpl --bench throughput`; `-- order` only the latter, `-- virtual` the latter in virtual time, where the
//! machine's speed does not count.

use std::{collections::VecDeque, num::NonZero, time::Duration};

use aws_types::SdkConfig;
use kpl::{
    Aggregation, HashKey, HashKeyRange, Kinesis, Producer, RecordOrder, UserRecord,
    kinesis::{BoxFuture, EntryResult, KinesisError, PutRecordsRequest, Shard, Stored, Stream},
};
use tokio::time::Instant;

const DATA: [u8; 100] = [b'x'; 100];

/// Stores nothing.
struct Canned {
    shards: Vec<Shard>,
    latency: Duration,
}

impl Canned {
    fn new(shards: u128) -> Self {
        let width = u128::MAX / shards + 1;
        let range = |n| HashKeyRange {
            start: HashKey(n * width),
            end: HashKey(if n + 1 == shards { u128::MAX } else { (n + 1) * width - 1 }),
        };
        let shard = |n| Shard::new(format!("shardId-{n:012}"), range(n));
        Self { shards: (0..shards).map(shard).collect(), latency: Duration::ZERO }
    }

    fn store(&self, key: HashKey) -> Stored {
        let owner = self.shards.partition_point(|shard| shard.hash_key_range.end < key);
        let sequence_number = "49590338271490256608559692538361571095921575989136588898".parse();
        Stored::new(self.shards[owner].shard_id.clone(), sequence_number.expect("digits"))
    }
}

impl Kinesis for Canned {
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>> {
        Box::pin(async move {
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            Ok(request.entries.iter().map(|entry| Ok(self.store(entry.explicit_hash_key))).collect())
        })
    }

    fn list_shards(&self, _stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>> {
        Box::pin(async move { Ok(self.shards.clone()) })
    }
}

fn producer(shards: u128, aggregation: Aggregation) -> Producer {
    Producer::builder(&SdkConfig::builder().build(), "StockTradeStream")
        .kinesis(Canned::new(shards))
        .aggregation(aggregation)
        .rate_limit_percent(const { NonZero::new(1_000_000).expect("not zero") })
        .build()
        .expect("valid settings")
}

async fn run(name: &str, shards: u128, aggregation: Aggregation, records: usize, wait: bool) {
    let keys: Vec<String> = (0..10_000).map(|n| format!("key-{n}")).collect();
    let producer = producer(shards, aggregation);
    producer.put(UserRecord::new("warm", "up")).await.expect("accepted").await.expect("stored");
    let began = Instant::now();
    let mut deliveries = VecDeque::new();
    for n in 0..records {
        let record = UserRecord::new(keys[n % keys.len()].as_str(), &DATA[..]);
        let delivery = producer.put(record).await.expect("accepted");
        if wait {
            deliveries.push_back(delivery);
        }
        if deliveries.len() == 50_000 {
            for delivery in deliveries.drain(..10_000) {
                delivery.await.expect("stored");
            }
        }
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await.expect("stored");
    }
    let took = began.elapsed();
    let per_second = records as f64 / took.as_secs_f64();
    let per_record = took.as_nanos() / records as u128;
    println!("{name:<44} {:>10.0} records/s {per_record:>6} ns each", per_second);
    tokio::time::timeout(Duration::from_secs(1), producer.shutdown()).await.expect("nothing is left");
}

/// Records of as many partition keys to four shards, with round trips of `latency`. Returns records per second and shard.
async fn run_ordered(order: RecordOrder, aggregation: Aggregation, keys: usize, records: usize) -> f64 {
    let latency = Duration::from_millis(20);
    let keys: Vec<String> = (0..keys).map(|n| format!("key-{n}")).collect();
    let producer = Producer::builder(&SdkConfig::builder().build(), "StockTradeStream")
        .kinesis(Canned { latency, ..Canned::new(4) })
        .aggregation(aggregation)
        .record_order(order)
        .rate_limit_percent(const { NonZero::new(1_000_000).expect("not zero") })
        .build()
        .expect("valid settings");
    producer.put(UserRecord::new("warm", "up")).await.expect("accepted").await.expect("stored");
    let began = Instant::now();
    for n in 0..records {
        drop(producer.put(UserRecord::new(keys[n % keys.len()].as_str(), &DATA[..])).await.expect("accepted"));
    }
    producer.flush().await;
    let per_second = records as f64 / began.elapsed().as_secs_f64() / 4.0;
    let on = if aggregation == Aggregation::Off { "not aggregated" } else { "aggregated" };
    let name = format!("{order:?}, {on}, {} keys, {latency:?}", keys.len());
    println!("{name:<54} {per_second:>10.0} records/s and shard");
    per_second
}

async fn order_over_best_effort(records: usize) {
    for aggregation in [Aggregation::default(), Aggregation::Off] {
        for keys in [1000, 4000] {
            let best = run_ordered(RecordOrder::BestEffort, aggregation, keys, records).await;
            let by_key = run_ordered(RecordOrder::PerPartitionKey, aggregation, keys, records).await;
            println!("{:<54} {:>10.2}", "  order per key over best effort", by_key / best);
            run_ordered(RecordOrder::Strict, aggregation, keys, records / 10).await;
        }
    }
}

fn main() {
    // `cargo bench -p kinesis-kpl --bench throughput -- 100000` for fewer records.
    let records = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(3_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    if std::env::args().any(|argument| argument == "order") {
        return runtime.block_on(order_over_best_effort(records / 3));
    }
    if std::env::args().any(|argument| argument == "virtual") {
        // Without the machine's speed: the same figures at every run.
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
        return runtime.block_on(order_over_best_effort(records / 3));
    }
    runtime.block_on(async {
        for shards in [1, 16, 256] {
            run(&format!("100 B, {shards} shards, aggregated"), shards, Aggregation::default(), records, false).await;
        }
        run("100 B, 16 shards, aggregated, awaited", 16, Aggregation::default(), records, true).await;
        run("100 B, 16 shards, not aggregated", 16, Aggregation::Off, records, false).await;
        order_over_best_effort(records / 3).await;
    });
}
