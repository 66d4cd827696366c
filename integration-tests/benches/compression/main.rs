//! Compressed records against the same records as they are, through 4 shards: user bytes that a shard takes at its limit, CPU of
//! the producer, CPU of the consumer. `cargo bench -p integration-tests --bench compression`, with a number of records for
//! rounds of another length.

mod loads;

use std::{collections::VecDeque, num::NonZero, sync::atomic::Ordering, time::Duration};

use integration_tests::bench::{
    argument,
    canned::Canned,
    canned_shards::CannedShards,
    compare_by,
    consuming::Consumer,
    cpu_nanos,
    pages::Content,
    report, thread_cpu_nanos,
    window::{WINDOW, Window},
};
use kcl::Retrieval;
use kinesis_local::LocalAws;
use kpl::{
    Producer, ProducerBuilder, UserRecord,
    compressed::{Compression, FrameWriter},
};
use loads::Load;
use tokio::time::Instant;

const SHARDS: usize = 4;
const ROUNDS: usize = 5;
/// Virtual time for which the limit of the shards is used.
const AT_THE_LIMIT: Duration = Duration::from_secs(10);

const CODECS: [Compression; 4] = [Compression::Lz4, Compression::Zstd(1), Compression::Zstd(3), Compression::Gzip];

fn name(compression: Option<Compression>) -> String {
    match compression {
        None => "plain".to_owned(),
        Some(Compression::Zstd(level)) => format!("zstd {level}"),
        Some(other) => format!("{other:?}").to_lowercase(),
    }
}

fn compressed(builder: ProducerBuilder, compression: Option<Compression>) -> Producer {
    let builder = compression.into_iter().fold(builder, ProducerBuilder::compression);
    builder.build().expect("valid settings")
}

/// User bytes that each shard stored per second, by a producer that always has more. Under virtual time.
async fn at_the_limit(load: Load, compression: Option<Compression>) -> f64 {
    let aws = LocalAws::builder().enforce_limits().start().await;
    let config = aws.sdk_config();
    let shards = i32::try_from(SHARDS).expect("few");
    let create = aws_sdk_kinesis::Client::new(&config).create_stream().stream_name("StockTradeStream");
    create.shard_count(shards).send().await.expect("created");
    let producer = compressed(Producer::builder(&config, "StockTradeStream").record_ttl(None), compression);
    let records = load.records(200_000);
    let (mut deliveries, mut stored, begun) = (VecDeque::new(), 0, Instant::now());
    let mut from = begun;
    for record in records.iter().cycle() {
        let bytes = record.size_bytes();
        deliveries.push_back((bytes, producer.put(record.clone()).await.expect("accepted")));
        if deliveries.len() < WINDOW {
            continue;
        }
        for (bytes, delivery) in deliveries.drain(..WINDOW / 2) {
            delivery.await.expect("stored");
            stored += bytes;
        }
        // The burst of the limits is over by then.
        if from == begun && begun.elapsed() > AT_THE_LIMIT {
            (from, stored) = (Instant::now(), 0);
        }
        if from > begun && from.elapsed() > AT_THE_LIMIT {
            break;
        }
    }
    let seconds = from.elapsed().as_secs_f64();
    stored as f64 / seconds / SHARDS as f64
}

async fn put(producer: &Producer, records: &[UserRecord]) {
    let mut window = Window::default();
    for record in records {
        window.add(producer.put(record.clone()).await.expect("accepted")).await.expect("stored");
    }
    window.settle(producer).await.expect("stored");
}

async fn producing(load: Load, compression: Compression, records: &[UserRecord]) {
    let (canned, plain) = (Canned::new(SHARDS as u128), Canned::new(SHARDS as u128));
    let builder = |canned: &Canned| {
        Producer::builder(&canned.config(), "StockTradeStream")
            .rate_limit_percent(const { NonZero::new(1_000_000).expect("not zero") })
    };
    let (ours, without) = (compressed(builder(&canned), Some(compression)), compressed(builder(&plain), None));
    put(&ours, records).await;
    put(&without, records).await;
    let of_services =
        || [&canned, &plain].map(|service| service.counts().nanos.load(Ordering::Relaxed)).iter().sum::<u64>();
    let clock = || cpu_nanos() - of_services();
    let (compressed, plain) = compare_by(
        clock,
        ROUNDS,
        records.len(),
        async || put(&ours, records).await,
        async || put(&without, records).await,
    )
    .await;
    let what = format!("{}, {}: producer", load.name(), name(Some(compression)));
    report(&format!("{what}, CPU per record"), compressed, "ns");
    report(&format!("{what}, CPU over plain"), compressed / plain, "ratio");
    ours.shutdown().await;
    without.shutdown().await;
}

/// Under virtual time.
async fn consuming(load: Load, compression: Compression, records: &[UserRecord]) {
    let writer = FrameWriter::new(compression, None);
    let framed = CannedShards::of(SHARDS, Content { records, writer: Some(&writer) });
    let plain = CannedShards::of(SHARDS, Content { records, writer: None });
    let (mut ours, mut without) =
        (Consumer::start(&framed, Retrieval::default()).await, Consumer::start(&plain, Retrieval::default()).await);
    const PAGES: u64 = 4;
    let each = records.len() * usize::try_from(PAGES).expect("few");
    let (compressed, plain) = compare_by(
        thread_cpu_nanos,
        ROUNDS,
        each,
        async || ours.consume(PAGES).await,
        async || without.consume(PAGES).await,
    )
    .await;
    let what = format!("{}, {}: consumer", load.name(), name(Some(compression)));
    report(&format!("{what}, CPU per record"), compressed, "ns");
    report(&format!("{what}, CPU over plain"), compressed / plain, "ratio");
    ours.stop().await;
    without.stop().await;
}

fn main() {
    let records = argument(100_000);
    let real = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let paused = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime")
    };
    for load in [Load::Trades, Load::WebLog] {
        let records = load.records(records);
        let bytes = records.iter().map(|record| record.data().len()).sum::<usize>() / records.len();
        report(&format!("{}: data of a record", load.name()), bytes as f64, "B");
        let plain = paused().block_on(at_the_limit(load, None));
        report(&format!("{}, plain: user bytes per shard and second", load.name()), plain, "B/s");
        for compression in CODECS {
            let bytes = paused().block_on(at_the_limit(load, Some(compression)));
            let what = format!("{}, {}: user bytes per shard and second", load.name(), name(Some(compression)));
            report(&what, bytes, "B/s");
            report(&format!("{what}, over plain"), bytes / plain, "ratio");
            real().block_on(producing(load, compression, &records));
            paused().block_on(consuming(load, compression, &records));
        }
    }
}
