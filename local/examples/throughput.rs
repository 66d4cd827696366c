//! Throughput of the embedded Kinesis through the real SDK client, on one core.
//!
//! `cargo run --release -p kinesis-local --example throughput`

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use kinesis_local::LocalAws;
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("start: {:.2?}", runtime.block_on(time_to_start()));
    let (put, got) = runtime.block_on(records_per_second())?;
    println!("PutRecords, 500 x 1 KiB: {put:.0} records/s");
    println!("GetRecords, 1000 x 1 KiB: {got:.0} records/s");

    let polling = std::thread::spawn(|| -> std::io::Result<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        let wall = Stopwatch::start();
        runtime.block_on(poll_for_an_hour()).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(wall.elapsed())
    });
    let elapsed = polling.join().map_err(|_| "polling panicked")??;
    println!("one virtual hour of polling every second: {elapsed:.2?}");
    Ok(())
}

async fn time_to_start() -> Duration {
    const STARTS: u32 = 100;
    let begun = Instant::now();
    for _ in 0..STARTS {
        LocalAws::start().await;
    }
    begun.elapsed() / STARTS
}

async fn records_per_second() -> Result<(f64, f64)> {
    const CALLS: u32 = 400;
    let aws = LocalAws::start().await;
    let kinesis = Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(4).send().await?;
    let mut entries = Vec::new();
    for n in 0..500 {
        let data = Blob::new(vec![n as u8; 1024]);
        entries.push(PutRecordsRequestEntry::builder().data(data).partition_key(format!("key-{n}")).build()?);
    }

    let start = Instant::now();
    for _ in 0..CALLS {
        let answer = kinesis.put_records().stream_name("s").set_records(Some(entries.clone())).send().await?;
        assert_eq!(answer.failed_record_count(), Some(0));
    }
    let put = f64::from(CALLS * 500) / start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut records = 0;
    for shard in kinesis.list_shards().stream_name("s").send().await?.shards() {
        let mut iterator = iterator(&kinesis, shard.shard_id()).await?;
        loop {
            let answer = kinesis.get_records().set_shard_iterator(iterator).limit(1000).send().await?;
            records += answer.records().len();
            if answer.millis_behind_latest() == Some(0) {
                break;
            }
            iterator = answer.next_shard_iterator().map(str::to_owned);
        }
    }
    assert_eq!(records, 500 * CALLS as usize);
    Ok((put, records as f64 / start.elapsed().as_secs_f64()))
}

async fn poll_for_an_hour() -> Result<()> {
    let aws = LocalAws::start().await;
    let kinesis = Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await?;
    let mut iterator = iterator(&kinesis, "shardId-000000000000").await?;
    for _ in 0..3600 {
        let answer = kinesis.get_records().set_shard_iterator(iterator).send().await?;
        iterator = answer.next_shard_iterator().map(str::to_owned);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn iterator(kinesis: &Client, shard: &str) -> Result<Option<String>> {
    let request = kinesis.get_shard_iterator().stream_name("s").shard_id(shard);
    let answer = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
    Ok(answer.shard_iterator)
}

/// Real time, which tokio's paused clock does not show.
struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measures how long virtual time takes")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
