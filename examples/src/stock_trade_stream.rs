//! The StockTradeStream tutorial in one command: puts trades through `kpl`, reads them through `kcl`, splits a shard
//! half-way, and checks that every trade arrived once and in order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use aws_sdk_kinesis::types::StreamStatus;
use aws_types::SdkConfig;
use kcl::{InitialPosition, Polling, ShardContext, Worker, WorkerError};
use kinesis_local::LocalAws;
use kpl::Producer;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{metrics::Exporter, setup};
use console::Console;
use consume::TradeProcessor;
use run_id::RunId;
use source::Source;
use summary::Summary;
use tally::Tally;

pub mod console;
mod consume;
mod put;
mod run_id;
mod source;
pub mod summary;
pub mod tally;

/// Time without any progress after which missing trades count as lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum time for a change of a stream or a shard.
const STREAM_TIMEOUT: Duration = Duration::from_secs(120);
/// Interval between checks of what is waited for.
const POLL: Duration = Duration::from_millis(20);

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Random trades to put; ignored with `replay`.
    pub trades: u64,
    /// Shards of a stream that has to be created.
    pub shards: i32,
    /// Workers to read with.
    pub workers: usize,
    /// True to split a shard half-way.
    pub reshard: bool,
    /// Seed of the random trades. None: a random one.
    pub seed: Option<u64>,
    /// True to use the AWS configuration of the environment instead of the embedded AWS.
    pub aws: bool,
    /// The stream; created if it does not exist.
    pub stream: String,
    /// The application, which names the lease table.
    pub application: String,
    /// A file of daily bars to put instead of random trades.
    pub replay: Option<PathBuf>,
    /// Exporter of the metrics.
    pub metrics: Exporter,
}

impl Options {
    /// The run in two lines, for people.
    fn announcement(&self, source: &Source) -> String {
        let Self { shards, workers, stream, .. } = self;
        let place = if self.aws { "the AWS of the environment" } else { "an AWS embedded in this process" };
        let split = if self.reshard { ", one is split half-way" } else { "" };
        format!(
            "Putting {source} into {stream} on {place}, and reading them back.\n\
             Shards of a new stream: {shards}{split}. Workers: {workers}."
        )
    }
}

/// Puts, reads and checks trades. `stop` ends the putting early; what was put is still processed.
///
/// # Errors
/// AWS or the file cannot be used. Failures of single trades are counted in the summary.
pub async fn run(options: &Options, console: &Console, stop: CancellationToken) -> anyhow::Result<Summary> {
    let source = match &options.replay {
        Some(path) => Source::replay(path)?,
        None => Source::random(options.trades, options.seed),
    };
    console.expect(source.expected());
    info!("putting {source}");
    console.report(&options.announcement(&source));
    let run_id = RunId::random();
    let aws = match options.aws {
        true => setup::ambient_aws(None).await?,
        false => LocalAws::start().await.sdk_config(),
    };
    let exporting = options.metrics.install(&aws)?;
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    ensure_stream(&kinesis, options).await?;
    let tally = Arc::new(Tally::default());
    let mut workers = Workers::start(options, &aws, (&tally, run_id), console)?;
    let progress = tokio::spawn(console.clone().show_progress(Arc::clone(&tally)));
    let metrics = kpl::Metrics::new();
    let metrics = if options.metrics.needs_prefix() { metrics.prefixed() } else { metrics };
    let producer = Producer::builder(&aws, options.stream.as_str()).metrics(metrics).build()?;

    let begun = Instant::now();
    let reshard = async || if options.reshard { split(&kinesis, &options.stream).await } else { Ok(()) };
    let input = tokio::select! {
        input = put::put_all(source, &producer, (&tally, run_id), reshard, &stop) => input?,
        failure = workers.failed() => return Err(failure),
    };
    producer.shutdown().await;
    tokio::select! {
        () = all_processed(&tally) => {}
        failure = workers.failed() => return Err(failure),
    }
    let elapsed = begun.elapsed();
    workers.stop().await?;
    progress.abort();
    exporting.shutdown().await;
    console.finish();
    Ok(Summary::new(&tally, &input, elapsed))
}

/// Until everything that was stored is processed, or nothing more arrives.
async fn all_processed(tally: &Tally) {
    let (mut before, mut since) = (tally.counts(), Instant::now());
    while before.processed < before.put && since.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
        let now = tally.counts();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}

/// The workers that read the stream.
struct Workers {
    stop: CancellationToken,
    running: JoinSet<Result<(), WorkerError>>,
}

impl Workers {
    fn start(
        options: &Options,
        aws: &SdkConfig,
        (tally, run_id): (&Arc<Tally>, RunId),
        console: &Console,
    ) -> anyhow::Result<Self> {
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        let metrics = kcl::Metrics::new();
        let metrics = if options.metrics.needs_prefix() { metrics.prefixed() } else { metrics };
        for number in 1..=options.workers {
            let (tally, console) = (Arc::clone(tally), console.clone());
            let worker = Worker::builder(aws, options.application.as_str(), options.stream.as_str())
                .worker_id(format!("worker-{number}-{run_id}"))
                .initial_position(InitialPosition::TrimHorizon)
                .metrics(metrics.clone())
                .retrieval(Polling::new().idle_between_reads(Duration::from_millis(200)))
                .build(move |shard: &ShardContext| {
                    TradeProcessor::new(shard, run_id, Arc::clone(&tally), console.clone())
                })?;
            running.spawn(worker.run_until(stop.clone().cancelled_owned()));
        }
        Ok(Self { stop, running })
    }

    /// Resolves when a worker ends without having been stopped.
    async fn failed(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            Some(Ok(Err(error))) => anyhow::Error::new(error).context("a worker failed"),
            Some(Err(panic)) => anyhow::Error::new(panic).context("a worker panicked"),
            Some(Ok(Ok(()))) | None => std::future::pending().await,
        }
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.context("a worker panicked")?.context("a worker failed")?;
        }
        Ok(())
    }
}

/// Creates the stream if it does not exist, and waits until it is active.
async fn ensure_stream(kinesis: &aws_sdk_kinesis::Client, options: &Options) -> anyhow::Result<()> {
    let described = kinesis.describe_stream_summary().stream_name(&options.stream).send().await;
    match described.map_err(aws_sdk_kinesis::Error::from) {
        Ok(_) => info!(stream = options.stream, "using the existing stream"),
        Err(aws_sdk_kinesis::Error::ResourceNotFoundException(_)) => {
            info!(stream = options.stream, shards = options.shards, "creating the stream");
            let create = kinesis.create_stream().stream_name(&options.stream).shard_count(options.shards);
            create.send().await.map_err(aws_sdk_kinesis::Error::from).context("cannot create the stream")?;
        }
        Err(error) => return Err(error).context(format!("cannot describe stream {}", options.stream)),
    }
    wait_until_active(kinesis, &options.stream).await
}

async fn wait_until_active(kinesis: &aws_sdk_kinesis::Client, stream: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + STREAM_TIMEOUT;
    while Instant::now() < deadline {
        let answer = kinesis.describe_stream_summary().stream_name(stream).send().await;
        let answer = answer.map_err(aws_sdk_kinesis::Error::from).context("cannot describe the stream")?;
        if answer.stream_description_summary().is_some_and(|summary| summary.stream_status() == &StreamStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(POLL * 10).await;
    }
    bail!("stream {stream} did not become ACTIVE within {} s", STREAM_TIMEOUT.as_secs())
}

/// Splits the first open shard in the middle of its hash key range.
async fn split(kinesis: &aws_sdk_kinesis::Client, stream: &str) -> anyhow::Result<()> {
    let listed = kinesis.list_shards().stream_name(stream).send().await.context("cannot list shards")?;
    let open = listed
        .shards()
        .iter()
        .find(|shard| shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none()));
    let (shard, range) = open.and_then(|shard| Some((shard, shard.hash_key_range()?))).context("no open shard")?;
    let (start, end): (u128, u128) = (range.starting_hash_key().parse()?, range.ending_hash_key().parse()?);
    info!(shard_id = shard.shard_id(), "splitting a shard");
    let split = kinesis.split_shard().stream_name(stream).shard_to_split(shard.shard_id());
    let split = split.new_starting_hash_key((start.midpoint(end) + 1).to_string()).send().await;
    split.map_err(aws_sdk_kinesis::Error::from).context("cannot split a shard")?;
    Ok(())
}
