//! Share of a shard's read limit used by a worker with default settings and a backlog, in virtual time on services that
//! enforce their limits: `cargo bench -p integration-tests --bench catch_up`, with a number of seconds of full writing for
//! another backlog.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use integration_tests::{
    STREAM, World,
    bench::{argument, report},
};
use kcl::{BoxError, Checkpointer, Event, FanOut, RecordBatch, RecordProcessor, Retrieval, ShardContext, ShardId};
use kinesis_local::LocalAws;
use kpl::{UserRecord, aggregated::Aggregate};
use tokio::time::{Instant, sleep};

/// Bytes that a shard returns in a second. Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const READ_BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
/// Load on a shard each second: below 1 MiB and 1,000 records.
const WRITE_BYTES: usize = 1_000_000;
const SHARDS: i32 = 2;

/// Arrival of a batch, and the bytes of its user records.
type Batch = (Instant, usize);
type Batches = Arc<Mutex<BTreeMap<ShardId, Vec<Batch>>>>;

struct Counts {
    shard_id: ShardId,
    batches: Batches,
}

impl RecordProcessor for Counts {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let bytes = batch.records.iter().map(|record| record.data.len()).sum();
        let of_shard = (Instant::now(), bytes);
        self.batches.lock().expect("nobody panics").entry(self.shard_id.clone()).or_default().push(of_shard);
        Ok(checkpointer.checkpoint().await?)
    }
}

/// As much as a shard takes in a second.
struct Second {
    /// Data of Kinesis records.
    data: Vec<Vec<u8>>,
    /// Bytes of the user records in each.
    user_bytes: usize,
}

impl Second {
    fn new(aggregated: bool) -> Self {
        if !aggregated {
            return Self { data: vec![vec![b'x'; 1000]; WRITE_BYTES / 1000], user_bytes: 1000 };
        }
        let mut aggregate = Aggregate::new();
        while aggregate.size_bytes() < 50_000 {
            aggregate.push(UserRecord::new("key", vec![b'x'; 100]));
        }
        let data = vec![aggregate.encode().to_vec(); WRITE_BYTES / aggregate.size_bytes()];
        Self { data, user_bytes: 100 * aggregate.len() }
    }

    /// Bytes of the user records.
    fn bytes(&self) -> usize {
        self.user_bytes * self.data.len()
    }

    /// Ratio of the user records' bytes to the Kinesis records'.
    fn envelope(&self) -> f64 {
        self.data[0].len() as f64 / self.user_bytes as f64
    }
}

async fn write(world: &World, seconds: usize, second: &Second) -> Result<(), BoxError> {
    for _ in 0..seconds {
        for shard in 0..SHARDS {
            let hash_key = (u128::MAX / u128::from(SHARDS.unsigned_abs()) * u128::from(shard.unsigned_abs())) + 1;
            for part in second.data.chunks(500) {
                let entry = |data: &Vec<u8>| {
                    let entry = PutRecordsRequestEntry::builder().partition_key("key").data(Blob::new(data.clone()));
                    entry.explicit_hash_key(hash_key.to_string()).build()
                };
                let entries = part.iter().map(entry).collect::<Result<_, _>>()?;
                let put = world.kinesis.put_records().stream_name(STREAM).set_records(Some(entries));
                assert_eq!(put.send().await?.failed_record_count(), Some(0));
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn measure(retrieval: Retrieval, aggregated: bool, seconds: usize) -> Result<(), BoxError> {
    let kind = if aggregated { "100 B aggregated" } else { "1,000 B plain" };
    let way = if matches!(retrieval, Retrieval::Polling(_)) { "polling" } else { "fan-out" };
    let world = World::on(LocalAws::builder().enforce_limits().start().await, SHARDS).await;
    let second = Second::new(aggregated);
    write(&world, seconds, &second).await?;
    let (batches, throttled) = (Batches::default(), Arc::new(Mutex::new(0_u32)));
    let (of_worker, noted) = (Arc::clone(&batches), Arc::clone(&throttled));
    let worker = world
        .worker("w1")
        .retrieval(retrieval)
        // Aggregates here are made for no shard in particular.
        .deaggregation(kcl::Deaggregation::KeepForeign)
        .on_event(move |event| {
            if let Event::ReadFailed { throttled: true, .. } = event {
                *noted.lock().expect("nobody panics") += 1;
            }
        })
        .build(move |shard: &ShardContext| Counts { shard_id: shard.shard_id.clone(), batches: of_worker.clone() })?
        .start();
    let read = || batches.lock().expect("nobody panics").clone();
    while !is_read(&read(), seconds * second.bytes()) {
        sleep(Duration::from_millis(50)).await;
    }
    worker.stop().await?;
    let least = read().values().map(|batches| rate(batches)).fold(f64::MAX, f64::min);
    let part = least * second.envelope() / READ_BYTES_PER_SECOND;
    report(&format!("catching up, {way}, {kind}: of the read limit"), part, "ratio");
    let throttled = f64::from(*throttled.lock().expect("nobody panics"));
    report(&format!("catching up, {way}, {kind}: throttled reads"), throttled, "reads");
    Ok(())
}

/// True if that many bytes were read of each shard.
fn is_read(batches: &BTreeMap<ShardId, Vec<Batch>>, bytes: usize) -> bool {
    let is_read = |batches: &Vec<Batch>| batches.iter().map(|(_, bytes)| bytes).sum::<usize>() >= bytes;
    batches.len() == SHARDS.unsigned_abs() as usize && batches.values().all(is_read)
}

/// Bytes per second of a shard. Each answer uses up the limit for a while after it, so the last one does not count.
fn rate(batches: &[Batch]) -> f64 {
    let (Some((first, _)), Some(((last, _), before))) = (batches.first(), batches.split_last()) else { return 0.0 };
    let bytes: usize = before.iter().map(|(_, bytes)| bytes).sum();
    bytes as f64 / (*last - *first).as_secs_f64()
}

fn main() -> Result<(), BoxError> {
    let seconds = argument(60);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new())] {
            for aggregated in [false, true] {
                measure(retrieval.clone(), aggregated, seconds).await?;
            }
        }
        Ok(())
    })
}
