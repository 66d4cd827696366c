//! Samples, producer and consumer on AWS itself, in streams and tables of their own that are deleted afterwards.
//!
//! They cost some cents, so that they run when they are asked for, in the account and region that are confirmed:
//! `CONFIRM_AWS=ACCOUNT/REGION cargo test -p integration-tests --test aws -- --ignored`. The SDK's variables lead there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_kinesis::types::StreamStatus;
use aws_types::SdkConfig;
use examples::metrics::Exporter;
use examples::stock_trade_stream::console::Console;
use examples::stock_trade_stream::{self, Options};
use integration_tests::service::{self, Prefix};
use kcl::{
    BoxError, Checkpointer, FanOut, InitialPosition, Polling, RecordBatch, RecordProcessor, Retrieval, ShardContext,
    Worker,
};
use kpl::{Producer, UserRecord};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// User records that a consumer must deliver.
const RECORDS: usize = 1_000;

/// Maximum time of the service to create a stream, and of a consumer to deliver all.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a test where `CONFIRM_AWS` says.
async fn on_aws(test: impl AsyncFnOnce(&SdkConfig, &Prefix) -> anyhow::Result<()>) {
    let confirm = std::env::var("CONFIRM_AWS").expect("CONFIRM_AWS is ACCOUNT/REGION");
    let config = service::config(None, None).await.expect("the SDK is configured");
    let stop = service::stop_signal().expect("signals can be listened to");
    let tried = service::trial(&config, &confirm, &stop, async |prefix| test(&config, prefix).await).await;
    tried.expect("the test passes and leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an account: set CONFIRM_AWS"]
async fn the_tutorial_reads_every_trade_over_a_split() {
    on_aws(async |_, prefix| {
        let options = Options {
            trades: 5_000,
            shards: 2,
            workers: 2,
            reshard: true,
            seed: None,
            aws: true,
            stream: prefix.name("trades"),
            application: prefix.name("trades-application"),
            replay: None,
            metrics: Exporter::None,
        };
        let console = Console::new().without_reports();
        let summary = stock_trade_stream::run(&options, &console, CancellationToken::new()).await?;
        ensure!(summary.is_success(), "{summary}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an account: set CONFIRM_AWS"]
async fn polling_delivers_what_was_put() {
    on_aws(async |config, prefix| delivers(config, prefix, Polling::new().into()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an account: set CONFIRM_AWS"]
async fn enhanced_fan_out_delivers_what_was_put() {
    on_aws(async |config, prefix| delivers(config, prefix, FanOut::new().into()).await).await;
}

/// Data of all user records that were delivered.
#[derive(Clone, Default)]
struct Collector {
    // Protects the data between the shards' processors.
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Collector {
    fn count(&self) -> usize {
        self.seen.lock().expect("no processor panicked").len()
    }
}

impl RecordProcessor for Collector {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let texts = batch.records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned());
        self.seen.lock().expect("no processor panicked").extend(texts);
        Ok(checkpointer.checkpoint().await?)
    }
}

/// Puts records through `kpl` into a stream of two shards, and waits until `kcl` has delivered all.
async fn delivers(config: &SdkConfig, prefix: &Prefix, retrieval: Retrieval) -> anyhow::Result<()> {
    let (stream, application) = (prefix.name("records"), prefix.name("records-application"));
    create(config, &stream).await?;
    let producer = Producer::builder(config, stream.as_str()).build()?;
    let mut deliveries = Vec::with_capacity(RECORDS);
    for n in 0..RECORDS {
        deliveries.push(producer.put(UserRecord::new(format!("customer-{n}"), format!("order-{n}"))).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    let collector = Collector::default();
    let processor = collector.clone();
    let worker = Worker::builder(config, application.as_str(), stream.as_str())
        .initial_position(InitialPosition::TrimHorizon)
        .retrieval(retrieval)
        .build(move |_: &ShardContext| processor.clone())?;
    let begun = Instant::now();
    worker
        .run_until(async {
            while collector.count() < RECORDS && begun.elapsed() < PATIENCE {
                sleep(Duration::from_millis(200)).await;
            }
        })
        .await?;
    ensure!(collector.count() == RECORDS, "{} of {RECORDS} delivered within {PATIENCE:?}", collector.count());
    Ok(())
}

/// Creates a stream of two shards and waits until it takes records.
async fn create(config: &SdkConfig, stream: &str) -> anyhow::Result<()> {
    let kinesis = aws_sdk_kinesis::Client::new(config);
    kinesis.create_stream().stream_name(stream).shard_count(2).send().await?;
    let begun = Instant::now();
    loop {
        let answer = kinesis.describe_stream_summary().stream_name(stream).send().await?;
        let summary = answer.stream_description_summary.context("no StreamDescriptionSummary")?;
        if *summary.stream_status() == StreamStatus::Active {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "the new stream is {:?}", summary.stream_status());
        sleep(Duration::from_secs(1)).await;
    }
}
