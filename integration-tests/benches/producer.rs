//! `kpl` against the floor: a hand-written loop that only hashes, encodes and sends the same records through the same SDK.
//! `cargo bench -p integration-tests --bench producer`, with a number of records of 100 B for another length; `-- loop` only
//! against a loop over PutRecords, `-- floor` only against the floor, 100 B into
//! 16 shards, `-- numbers` only with record numbers against without.

use std::{collections::VecDeque, num::NonZero, sync::atomic::Ordering};

use aws_types::SdkConfig;
use bytes::Bytes;
use integration_tests::bench::{
    argument, by_hand::ByHand, canned::Canned, compare, compare_by, cpu_nanos, floor::Floor, report, size,
    window::Window,
};
use kinesis_local::LocalAws;
use kpl::{Aggregation, Producer, ProducerBuilder, UserRecord};

/// Records that are put together where many are: as many as the loop by hand sends together.
const BATCH: usize = 500;
const ROUNDS: usize = 5;

fn keys() -> Vec<String> {
    (0..10_000).map(|n| format!("key-{n}")).collect()
}

fn producer(config: &SdkConfig, aggregation: Aggregation) -> Producer {
    unlimited(config).aggregation(aggregation).build().expect("valid settings")
}

fn unlimited(config: &SdkConfig) -> ProducerBuilder {
    let limit = const { NonZero::new(1_000_000).expect("not zero") };
    Producer::builder(config, "StockTradeStream").rate_limit_percent(limit)
}

/// Puts records and waits until all are stored, with or without awaiting each.
async fn put(producer: &Producer, keys: &[String], data: &Bytes, records: usize, awaited: bool) {
    let mut window = Window::default();
    for n in 0..records {
        let record = UserRecord::new(keys[n % keys.len()].as_str(), data.clone());
        let delivery = producer.put(record).await.expect("accepted");
        if awaited {
            window.add(delivery).await.expect("stored");
        }
    }
    window.settle(producer).await.expect("stored");
}

/// Puts records, many at a time, and waits until all are stored, awaiting each.
async fn put_many(producer: &Producer, keys: &[String], data: &Bytes, records: usize) {
    let (mut batch, mut deliveries) = (VecDeque::with_capacity(BATCH), Vec::with_capacity(BATCH));
    let mut window = Window::default();
    for n in 0..records {
        batch.push_back(UserRecord::new(keys[n % keys.len()].as_str(), data.clone()));
        if batch.len() == BATCH || n + 1 == records {
            producer.put_many(&mut batch, &mut deliveries).await.expect("accepted");
            for delivery in deliveries.drain(..) {
                window.add(delivery).await.expect("stored");
            }
        }
    }
    window.settle(producer).await.expect("stored");
}

/// Parameters of a run.
#[derive(Debug, Clone, Copy)]
struct Case {
    bytes: usize,
    shards: usize,
    records: usize,
    awaited: bool,
}

async fn into_canned(case: Case) {
    let canned = Canned::new(case.shards as u128);
    against_the_floor(case, &canned.config(), "", Floor::MAX_ENTRIES).await;
}

/// The order of partition keys costs requests: with one shard, one for each aggregate. What is left if the floor makes as
/// many?
async fn into_canned_by_as_many_requests(case: Case) {
    let canned = Canned::new(case.shards as u128);
    against_the_floor(case, &canned.config(), ", an aggregate a request", 1).await;
}

/// Into the embedded Kinesis, in this process: its work counts on both sides.
async fn into_local(case: Case) {
    let aws = LocalAws::start().await;
    let config = aws.sdk_config();
    let shards = i32::try_from(case.shards).expect("not that many");
    let create = aws_sdk_kinesis::Client::new(&config).create_stream().stream_name("StockTradeStream");
    create.shard_count(shards).send().await.expect("created");
    against_the_floor(case, &config, ", local", Floor::MAX_ENTRIES).await;
}

/// The floor sends `max_entries` aggregates at a time.
async fn against_the_floor(case: Case, config: &SdkConfig, place: &str, max_entries: usize) {
    let Case { bytes, shards, records, awaited } = case;
    let (keys, data) = (keys(), Bytes::from(vec![b'x'; bytes]));
    let producer = producer(config, Aggregation::default());
    put(&producer, &keys, &data, 1000, false).await; // shards are known now
    let mut floor = Floor::new(config, shards).entries_of_a_request(max_entries);
    let ours = async || put(&producer, &keys, &data, records, awaited).await;
    let by_hand = async || {
        for n in 0..records {
            floor.put(&keys[n % keys.len()], &data).await;
        }
        floor.flush().await;
    };
    let (ours, floor) = compare(ROUNDS, records, ours, by_hand).await;
    let what = format!("producer, {}, {shards} shards{}{place}", size(bytes), if awaited { ", awaited" } else { "" });
    report(&format!("{what}: CPU per record"), ours, "ns");
    report(&format!("{what}: floor"), floor, "ns");
    report(&format!("{what}: CPU over floor"), ours / floor, "ratio");
    producer.shutdown().await;
}

/// CPU time of this process without that of the service, which would be another.
fn cpu_without(service: &Canned) -> u64 {
    cpu_nanos() - service.counts().nanos.load(Ordering::Relaxed)
}

/// Against the loop that an application would write: an entry of PutRecords for each record.
async fn against_a_loop_by_hand(bytes: usize, aggregation: Aggregation, records: usize, at_once: bool) {
    let canned = Canned::new(4);
    let config = canned.config();
    let (keys, data) = (keys(), Bytes::from(vec![b'x'; bytes]));
    let producer = producer(&config, aggregation);
    put(&producer, &keys, &data, 1000, false).await; // shards are known now
    let mut by_hand = ByHand::new(&config);
    let requests = || canned.counts().requests.load(Ordering::Relaxed);
    let (mut ours_made, mut loop_made) = (0, 0);
    let ours = async || {
        let before = requests();
        match at_once {
            true => put_many(&producer, &keys, &data, records).await,
            false => put(&producer, &keys, &data, records, true).await,
        }
        ours_made = requests() - before;
    };
    let by_loop = async || {
        let before = requests();
        for n in 0..records {
            by_hand.put(&keys[n % keys.len()], &data).await;
        }
        by_hand.flush().await;
        loop_made = requests() - before;
    };
    let clock = || cpu_without(&canned);
    let (ours, by_loop) = compare_by(clock, ROUNDS, records, ours, by_loop).await;
    let how = if aggregation == Aggregation::Off { ", not aggregated" } else { "" };
    let how = format!("{how}{}", if at_once { ", many at a time" } else { "" });
    let what = format!("producer, {}, 4 shards{how}", size(bytes));
    report(&format!("{what}: CPU per record"), ours, "ns");
    report(&format!("{what}: loop by hand"), by_loop, "ns");
    report(&format!("{what}: requests over loop"), ours_made as f64 / loop_made as f64, "ratio");
    report(&format!("{what}: CPU over loop"), ours / by_loop, "ratio");
    producer.shutdown().await;
}

async fn against_loops_by_hand(records: usize) {
    for at_once in [false, true] {
        against_a_loop_by_hand(1024, Aggregation::default(), records / 5, at_once).await;
        against_a_loop_by_hand(100, Aggregation::default(), records, at_once).await;
        against_a_loop_by_hand(1024, Aggregation::Off, records / 5, at_once).await;
    }
}

/// A producer that numbers its records against one that does not.
async fn with_numbers(bytes: usize, records: usize) {
    let [numbering, plain] = [Canned::new(16), Canned::new(16)];
    let (keys, data) = (keys(), Bytes::from(vec![b'x'; bytes]));
    let ours = unlimited(&numbering.config()).record_numbers(true).build().expect("valid settings");
    let without = producer(&plain.config(), Aggregation::default());
    for producer in [&ours, &without] {
        put(producer, &keys, &data, 1000, false).await; // shards are known now
    }
    let clock = || {
        let of_services = [&numbering, &plain].map(|service| service.counts().nanos.load(Ordering::Relaxed));
        cpu_nanos() - of_services.iter().sum::<u64>()
    };
    let (numbered, unnumbered) = compare_by(
        clock,
        ROUNDS,
        records,
        async || put(&ours, &keys, &data, records, true).await,
        async || put(&without, &keys, &data, records, true).await,
    )
    .await;
    let what = format!("producer, {}, 16 shards, record numbers", size(bytes));
    report(&format!("{what}: CPU per record"), numbered, "ns");
    report(&format!("{what}: CPU per record without"), unnumbered, "ns");
    report(&format!("{what}: CPU over without"), numbered / unnumbered, "ratio");
    ours.shutdown().await;
    without.shutdown().await;
}

async fn with_numbers_of_all_sizes(records: usize) {
    with_numbers(100, records).await;
    with_numbers(1024, records / 5).await;
}

/// Records per second of one producer that has one core.
async fn throughput(records: usize, shards: u128, bytes: usize, aggregation: Aggregation) {
    let canned = Canned::new(shards);
    let (keys, data) = (keys(), Bytes::from(vec![b'x'; bytes]));
    let producer = producer(&canned.config(), aggregation);
    put(&producer, &keys, &data, records / 10, true).await;
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let begun = cpu_nanos();
        put(&producer, &keys, &data, records, true).await;
        best = best.max(records as f64 / ((cpu_nanos() - begun) as f64 / 1e9));
    }
    report("producer, 100 B: user records per second of CPU", best, "records/s");
    producer.shutdown().await;
}

/// Savings against one PutRecords entry for each user record.
async fn against_plain_puts(records: usize) {
    let (keys, data) = (keys(), Bytes::from(vec![b'x'; 100]));
    let mut used = Vec::new();
    for aggregation in [Aggregation::default(), Aggregation::Off] {
        let canned = Canned::new(16);
        let producer = producer(&canned.config(), aggregation);
        put(&producer, &keys, &data, 1000, true).await;
        let begun = cpu_without(&canned);
        let before = canned.counts().requests.load(Ordering::Relaxed);
        let bytes = canned.counts().bytes.load(Ordering::Relaxed);
        put(&producer, &keys, &data, records, true).await;
        let counts = canned.counts();
        used.push((
            (counts.requests.load(Ordering::Relaxed) - before) as f64,
            (counts.bytes.load(Ordering::Relaxed) - bytes) as f64,
            (cpu_without(&canned) - begun) as f64,
        ));
        producer.shutdown().await;
    }
    report("producer, 100 B: requests, plain over aggregated", used[1].0 / used[0].0, "ratio");
    report("producer, 100 B: bytes sent, plain over aggregated", used[1].1 / used[0].1, "ratio");
    report("producer, 100 B: CPU, plain over aggregated", used[1].2 / used[0].2, "ratio");
}

fn main() {
    let records = argument(500_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    if std::env::args().any(|argument| argument == "profile") {
        // The producer alone, for a profiler.
        let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
        let shards = numbers.get(1).copied().unwrap_or(16) as u128;
        let aggregation =
            if std::env::args().any(|argument| argument == "off") { Aggregation::Off } else { Aggregation::default() };
        return runtime.block_on(throughput(records, shards, numbers.get(2).copied().unwrap_or(100), aggregation));
    }
    if std::env::args().any(|argument| argument == "loop") {
        return runtime.block_on(against_loops_by_hand(records));
    }
    if std::env::args().any(|argument| argument == "numbers") {
        return runtime.block_on(with_numbers_of_all_sizes(records));
    }
    if std::env::args().any(|argument| argument == "floor") {
        return runtime.block_on(into_canned(Case { bytes: 100, shards: 16, records, awaited: true }));
    }
    runtime.block_on(async {
        against_loops_by_hand(records).await;
        with_numbers_of_all_sizes(records).await;
        for (bytes, records) in [(100, records), (1024, records / 5), (10 * 1024, records / 50)] {
            for shards in [1, 16, 1024] {
                for awaited in [true, false] {
                    into_canned(Case { bytes, shards, records, awaited }).await;
                }
            }
            into_canned_by_as_many_requests(Case { bytes, shards: 1, records, awaited: true }).await;
            into_local(Case { bytes, shards: 16, records: records / 5, awaited: true }).await;
        }
        throughput(records, 16, 100, Aggregation::default()).await;
        against_plain_puts(records / 5).await;
    });
}
