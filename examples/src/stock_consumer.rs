//! The tutorial's processor: reports the most traded stocks, once a minute and per shard, until a signal.

use std::{future::Future, mem, time::Duration};

use aws_types::SdkConfig;
use kcl::{
    CheckpointError, Checkpointer, Metrics, RecordBatch, RecordProcessor, ShardContext, ShardId, Worker, WorkerSettings,
};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{probes::Probes, stats::Stats, trade::Trade};

/// Interval between two reports of a shard.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Interval between two checkpoints of a shard.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// Settings of the consumer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the application, whose workers share the stream; also of its lease table.
    pub application: String,
    /// Name or ARN of the stream; it must exist.
    pub stream: String,
    /// Settings of the worker from outside.
    pub settings: WorkerSettings,
    /// Metrics have names that are safe for Prometheus.
    pub prefixed_metrics: bool,
    /// Address that answers `/livez` and `/readyz` over HTTP, such as `0.0.0.0:8080`.
    pub probes: Option<String>,
}

/// Reads until `stop` resolves, then checkpoints and releases its leases.
///
/// # Errors
/// See [`kcl::WorkerError`]; and the probes' address cannot be listened on.
pub async fn run(aws: &SdkConfig, options: Options, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let mut worker = Worker::builder(aws, options.application, options.stream);
    if options.prefixed_metrics {
        worker = worker.metrics(Metrics::new().prefixed());
    }
    let worker = worker.settings(&options.settings);
    info!(settings = %worker.current_settings(), "starting");
    let probes = match &options.probes {
        Some(address) => Some(Probes::listen(address).await?),
        None => None,
    };
    let worker = worker.build(StockStats::new)?.start();
    let _answering = probes.map(|probes| probes.answer(worker.clone()));
    tokio::select! {
        ended = worker.wait() => ended?,
        () = stop => worker.stop().await?,
    }
    Ok(())
}

/// Statistics of one shard.
#[derive(Debug)]
struct StockStats {
    shard_id: ShardId,
    stats: Stats,
    reported: Instant,
    checkpointed: Instant,
}

impl StockStats {
    fn new(shard: &ShardContext) -> Self {
        let now = Instant::now();
        Self { shard_id: shard.shard_id.clone(), stats: Stats::default(), reported: now, checkpointed: now }
    }

    fn report(&mut self, period: &str) {
        println!("{}", mem::take(&mut self.stats).report(self.shard_id.as_str(), period));
        self.reported = Instant::now();
    }
}

impl RecordProcessor for StockStats {
    type Error = CheckpointError;

    async fn process_records(
        &mut self,
        batch: RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), CheckpointError> {
        for record in &batch.records {
            match Trade::from_json(&record.data) {
                Ok(trade) => self.stats.add(&trade),
                Err(error) => warn!(partition_key = %record.partition_key, %error, "record is no trade, skipped"),
            }
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.report("1 minute");
        }
        if self.checkpointed.elapsed() >= CHECKPOINT_EVERY {
            checkpointer.checkpoint().await?;
            self.checkpointed = Instant::now();
        }
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), CheckpointError> {
        let period = format!("{} seconds", self.reported.elapsed().as_secs());
        self.report(&period);
        checkpointer.checkpoint().await?;
        info!(shard_id = %self.shard_id, checkpoint = %checkpointer.last(), "checkpointed");
        Ok(())
    }
}
