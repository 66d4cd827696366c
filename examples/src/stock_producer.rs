//! The tutorial's writer: puts random trades, one after the other, until a signal.

use std::{future::Future, time::Duration};

use aws_types::SdkConfig;
use kpl::{Delivery, Metrics, Producer, UserRecord, settings::ProducerSettings};
use tokio::{task::JoinSet, time::interval};
use tracing::{debug, info, warn};

use crate::{generator::Generator, setup::one_line};

/// Settings of the producer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name or ARN of the stream; it must exist.
    pub stream: String,
    /// Time from one trade to the next.
    pub every: Duration,
    /// Number of trades. None: until the signal.
    pub trades: Option<usize>,
    /// Settings of the producer from outside.
    pub settings: ProducerSettings,
    /// Metrics have names that are safe for Prometheus.
    pub prefixed_metrics: bool,
}

/// Puts trades until `stop` resolves, then waits until each is stored or failed. Returns whether all were stored.
///
/// # Errors
/// The producer cannot be built, or refuses a trade.
pub async fn run(aws: &SdkConfig, options: Options, stop: impl Future<Output = ()>) -> anyhow::Result<bool> {
    let metrics = if options.prefixed_metrics { Metrics::new().prefixed() } else { Metrics::new() };
    let producer = Producer::builder(aws, options.stream.as_str()).metrics(metrics).settings(&options.settings);
    info!(settings = %producer.current_settings(), "starting");
    let producer = producer.build()?;
    let mut stop = std::pin::pin!(stop);
    let mut tick = interval(options.every);
    let (mut put, mut failed, mut deliveries) = (0_u64, 0_u64, JoinSet::new());
    for trade in Generator::new(fastrand::u64(..)).take(options.trades.unwrap_or(usize::MAX)) {
        tokio::select! {
            () = &mut stop => break,
            _ = tick.tick() => {}
        }
        debug!(%trade, "putting");
        let delivery = producer.put(UserRecord::new(trade.ticker_symbol.as_str(), trade.to_json())).await?;
        put += 1;
        deliveries.spawn(follow(trade.id, delivery));
        while let Some(outcome) = deliveries.try_join_next() {
            failed += u64::from(!outcome?);
        }
    }
    info!("stopping: sending what is left");
    producer.shutdown().await;
    while let Some(outcome) = deliveries.join_next().await {
        failed += u64::from(!outcome?);
    }
    info!(put, failed, "done");
    Ok(failed == 0)
}

/// Waits for the outcome of one trade. Returns whether it was stored.
async fn follow(id: i64, delivery: Delivery) -> bool {
    match delivery.await {
        Ok(stored) => {
            debug!(id, shard_id = %stored.shard_id(), sequence_number = %stored.sequence_number(), "stored");
            true
        }
        Err(error) => {
            warn!(id, error = one_line(&error.into()), "not stored");
            false
        }
    }
}

/// Checks, before anything is put, that the stream exists and is usable.
///
/// # Errors
/// The stream does not exist, is not active, or cannot be described.
pub async fn check_stream(aws: &SdkConfig, stream: &str) -> anyhow::Result<()> {
    let call = aws_sdk_kinesis::Client::new(aws).describe_stream_summary();
    let call = if stream.starts_with("arn:") { call.stream_arn(stream) } else { call.stream_name(stream) };
    match call.send().await.map_err(aws_sdk_kinesis::Error::from) {
        Ok(answer) => {
            let status = answer.stream_description_summary().map(|summary| summary.stream_status().as_str());
            let usable = matches!(status, Some("ACTIVE" | "UPDATING"));
            anyhow::ensure!(usable, "stream {stream} is {}, not ACTIVE", status.unwrap_or("of unknown status"));
            Ok(())
        }
        Err(aws_sdk_kinesis::Error::ResourceNotFoundException(_)) => {
            anyhow::bail!("stream {stream} does not exist in this account and region; create it first")
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            anyhow::bail!("cannot describe stream {stream}: {}", one_line(&error))
        }
    }
}
