//! A source of records that goes on until it is told to stop.

use std::time::Duration;

use anyhow::Context as _;
use aws_types::SdkConfig;
use futures::future::join_all;
use kpl::Producer;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::STREAM;
use super::expected::{Expected, record};

/// Between two puts.
const PAUSE: Duration = Duration::from_millis(20);
/// Records of a put.
const AT_ONCE: u64 = 10;

/// Puts records by `kpl`, on a task of its own.
#[derive(Debug)]
pub(super) struct Source {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<u64>>,
}

impl Source {
    pub(super) fn start(kinesis: SdkConfig) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(put(kinesis, stop.clone()));
        Self { stop, task }
    }

    /// Puts no more; returns all records that were put when they are stored.
    pub(super) async fn stop(self) -> anyhow::Result<Expected> {
        self.stop.cancel();
        let put = self.task.await.context("the source panics")??;
        Ok(Expected::of(0..put))
    }
}

async fn put(kinesis: SdkConfig, stop: CancellationToken) -> anyhow::Result<u64> {
    let producer = Producer::builder(&kinesis, STREAM).build()?;
    let (mut deliveries, mut next, mut tick) = (Vec::new(), 0, interval(PAUSE));
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        for id in next..next + AT_ONCE {
            deliveries.push(producer.put(record(id)).await?);
        }
        next += AT_ONCE;
    }
    producer.shutdown().await;
    for delivery in join_all(deliveries).await {
        delivery?;
    }
    Ok(next)
}
