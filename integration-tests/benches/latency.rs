//! Latency added to the configured waits between a put and `process_records`, on an idle system in real time:
//! `cargo bench -p integration-tests --bench latency`, with a number of records for another length.
//!
//! The waits: a record may wait for company in the producer (`record_max_buffered_time`, and a fifth of it), and when it is
//! polled, for the next read, which is due `idle_between_reads` after the last one began. What is beyond is added: by timers,
//! tasks, the SDK, and by Kinesis, which is in this process; the lease table's work is done by another thread.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_types::SdkConfig;
use integration_tests::{
    STREAM, World,
    bench::{argument, consuming::aside, report, told},
};
use kcl::{BoxError, Checkpointer, FanOut, Polling, RecordBatch, RecordProcessor, Retrieval};
use kpl::{Producer, UserRecord};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

/// The producer's wait, its default.
const BUFFERED: Duration = Duration::from_millis(100);
/// Additional wait of an aggregate for those of other shards: a fifth.
const LINGER: Duration = Duration::from_millis(20);
/// The consumer's wait, the least that it can be set to.
const BETWEEN_READS: Duration = Duration::from_millis(200);
/// Between two records, at most.
const PAUSE: Duration = Duration::from_millis(120);
/// Calls that wait to be looked at.
const CALLS: usize = 100_000;

/// Times of calls.
type Calls = Arc<Mutex<Vec<Instant>>>;

/// The same services; and when they are read and written.
fn watched(aws: &SdkConfig) -> (SdkConfig, Calls, Calls) {
    let (reads, puts) = (Calls::default(), Calls::default());
    let (of_reads, of_puts) = (Arc::clone(&reads), Arc::clone(&puts));
    let aws = told::of_calls(aws, move |operation| {
        let calls = match operation {
            "GetRecords" => &of_reads,
            "PutRecords" | "PutRecord" => &of_puts,
            _ => return,
        };
        calls.lock().expect("nobody panics").push(Instant::now());
    });
    (aws, reads, puts)
}

/// Tells when each record came.
struct Tells {
    came: mpsc::Sender<(usize, Instant)>,
}

impl RecordProcessor for Tells {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let now = Instant::now();
        for record in &batch.records {
            self.came.try_send((std::str::from_utf8(&record.data)?.parse()?, now))?;
        }
        Ok(checkpointer.checkpoint().await?)
    }
}

/// Prints percentiles of milliseconds.
fn report_added(what: &str, mut added: Vec<f64>) {
    added.sort_by(f64::total_cmp);
    let at = |part: f64| added[((added.len() - 1) as f64 * part).round() as usize];
    for (name, value) in [("p50", at(0.5)), ("p99", at(0.99)), ("max", at(1.0))] {
        report(&format!("latency, {what}: added, {name}"), value, "ms");
    }
}

fn millis(later: Instant, earlier: Instant) -> f64 {
    later.saturating_duration_since(earlier).as_secs_f64() * 1000.0
}

/// Time at which polling should read a record stored at `stored`.
fn due(reads: &[Instant], stored: Instant) -> Instant {
    let before = reads.partition_point(|read| *read < stored);
    let due = before.checked_sub(1).map_or(stored, |last| reads[last] + BETWEEN_READS);
    due.max(stored)
}

/// Times at which a record was put, known as stored, and given to the processor.
struct Sample {
    put: Instant,
    delivered: Instant,
    came: Instant,
}

/// Puts records one by one, and waits for all.
async fn samples(
    producer: &Producer,
    arrivals: &mut mpsc::Receiver<(usize, Instant)>,
    records: usize,
) -> Result<Vec<Sample>, BoxError> {
    let (mut put_at, mut deliveries) = (Vec::with_capacity(records), JoinSet::new());
    for n in 0..records {
        put_at.push(Instant::now());
        let delivery = producer.put(UserRecord::new(format!("key-{n}"), n.to_string())).await?;
        deliveries.spawn(async move {
            delivery.await?;
            Ok::<_, BoxError>((n, Instant::now()))
        });
        sleep(PAUSE.mul_f64(fastrand::f64())).await;
    }
    let (mut delivered_at, mut came_at) = (vec![None; records], vec![None; records]);
    while let Some(delivered) = deliveries.join_next().await {
        let (n, at) = delivered??;
        delivered_at[n] = Some(at);
    }
    while came_at.contains(&None) {
        let (n, at) = arrivals.recv().await.ok_or("the worker runs")?;
        came_at[n] = Some(at);
    }
    let sample = |((put, delivered), came): ((Instant, Option<Instant>), Option<Instant>)| {
        Some(Sample { put, delivered: delivered?, came: came? })
    };
    Ok(put_at.into_iter().zip(delivered_at).zip(came_at).filter_map(sample).collect())
}

async fn measure(name: &str, retrieval: Retrieval, records: usize) -> Result<(), BoxError> {
    let polls = matches!(retrieval, Retrieval::Polling(_));
    let world = World::start(1).await;
    let (aws, reads, puts) = watched(&world.aws);
    let (came, mut arrivals) = mpsc::channel(CALLS);
    let worker = kcl::Worker::builder(&aws, "latency", STREAM)
        // The table's work is not to be waited for by records.
        .lease_table_config(&aside(&world.aws))
        .initial_position(kcl::InitialPosition::TrimHorizon)
        .retrieval(retrieval)
        .build(move |_: &_| Tells { came: came.clone() })?
        .start();
    let producer = Producer::builder(&aws, STREAM).record_max_buffered_time(BUFFERED).build()?;
    producer.put(UserRecord::new("warm-up", usize::MAX.to_string())).await?.await?;
    arrivals.recv().await.ok_or("the worker runs")?;
    sleep(Duration::from_secs(2)).await;
    let samples = samples(&producer, &mut arrivals, records).await?;
    let (reads, puts) = (reads.lock().expect("nobody panics").clone(), puts.lock().expect("nobody panics").clone());
    let due = |stored: Instant| if polls { due(&reads, stored) } else { stored };
    // Calls are answered at once, so the last one before the answer is the one.
    let sent = |sample: &Sample| puts[puts.partition_point(|put| *put <= sample.delivered).saturating_sub(1)];
    // The producer may wait less than it may wait.
    let both = samples.iter().map(|sample| millis(sample.came, due(sent(sample).min(sample.put + BUFFERED + LINGER))));
    let consumer = samples.iter().map(|sample| millis(sample.came, due(sent(sample))));
    report_added(&format!("{name}, put to process_records"), both.collect());
    report_added(&format!("{name}, the consumer's part"), consumer.collect());
    let whole = samples.iter().map(|sample| millis(sample.came, sample.put)).fold(0.0, f64::max);
    report(&format!("latency, {name}: in all, max"), whole, "ms");
    producer.shutdown().await;
    worker.stop().await?;
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let records = argument(500);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        measure("polling", Polling::new().idle_between_reads(BETWEEN_READS).into(), records).await?;
        measure("fan-out", Retrieval::FanOut(FanOut::new()), records).await
    })
}
