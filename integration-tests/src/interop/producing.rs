//! Puts the records of a scenario while its stream is resharded: by `kpl`, and by the KPL for Java.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_types::SdkConfig;
use futures::future::join_all;
use kpl::Producer;
use tokio::sync::watch;
use tokio::time::Instant;

use super::STREAM;
use super::expected::{Expected, record};
use super::peer::Peer;
use super::resharding::{CHANGES, while_producing};
use super::told::Told;

/// Records that may be on their way, so that progress means something.
const OUTSTANDING: usize = 10_000;
/// Maximum time of the KPL for Java.
const JAVA_PATIENCE: Duration = Duration::from_secs(180);

/// Records that were put.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) records: Expected,
    pub(super) took: Duration,
}

/// Puts records by `kpl` while the stream is resharded.
pub(super) async fn put(kinesis: &SdkConfig, ids: Range<u64>) -> anyhow::Result<Put> {
    let begun = Instant::now();
    let client = aws_sdk_kinesis::Client::new(kinesis);
    let (progress, observed) = watch::channel(0);
    let producing = async {
        let stored = put_all(kinesis, ids.clone(), |done| {
            progress.send_replace(done);
        })
        .await;
        drop(progress);
        stored
    };
    let (stored, changes) = tokio::join!(producing, while_producing(&client, STREAM, observed, ids.end - ids.start));
    stored?;
    ensure!(changes? == CHANGES.len(), "records were put before the stream was resharded");
    Ok(Put { records: Expected::of(ids), took: begun.elapsed() })
}

/// Puts records by `kpl`; each must be stored.
pub(super) async fn put_all(kinesis: &SdkConfig, ids: Range<u64>, progress: impl FnMut(u64)) -> anyhow::Result<()> {
    let mut progress = progress;
    let producer = Producer::builder(kinesis, STREAM).max_outstanding_records(OUTSTANDING).build()?;
    let mut deliveries = Vec::new();
    for (id, done) in ids.zip(1..) {
        deliveries.push(producer.put(record(id)).await?);
        progress(done);
    }
    producer.shutdown().await;
    for delivery in join_all(deliveries).await {
        delivery?;
    }
    Ok(())
}

/// Puts records by the KPL for Java while the stream is resharded.
pub(super) async fn put_by_java(java: &mut Peer, kinesis: &SdkConfig, ids: Range<u64>) -> anyhow::Result<Put> {
    let begun = Instant::now();
    let client = aws_sdk_kinesis::Client::new(kinesis);
    let total = ids.end - ids.start;
    let (progress, observed) = watch::channel(0);
    let feeding = async {
        let mut lines = String::new();
        for (id, done) in ids.clone().zip(1..) {
            line(&mut lines, id);
            if done % 100 == 0 || done == total {
                java.feed(&lines).await?;
                lines.clear();
                progress.send_replace(done);
            }
        }
        let finished = java.finish(JAVA_PATIENCE).await;
        drop(progress);
        finished
    };
    let (fed, changes) = tokio::join!(feeding, while_producing(&client, STREAM, observed, total));
    fed?;
    ensure!(changes? == CHANGES.len(), "records were put before the stream was resharded");
    let failed = java.journal().count(|told| matches!(told, Told::Failed { .. }));
    ensure!(failed == 0, "the KPL failed to put {failed} records");
    let done = Told::Done { stored: total, failed: 0 };
    ensure!(java.journal().has(|told| *told == done), "the KPL did not store {total} records");
    Ok(Put { records: Expected::of(ids), took: begun.elapsed() })
}

/// Number, partition key, explicit hash key and data.
fn line(lines: &mut String, id: u64) {
    let record = record(id);
    let hash_key = record.explicit_hash_key().map_or("-".to_owned(), |key| key.to_string());
    let _ = write!(lines, "{id} "); // a String takes everything
    hex(lines, record.partition_key().as_bytes());
    let _ = write!(lines, " {hash_key} ");
    hex(lines, record.data());
    lines.push('\n');
}

fn hex(lines: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(lines, "{byte:02x}"); // a String takes everything
    }
}

/// Creates the scenario's stream.
pub(super) async fn stream(served: &super::Served, shards: i32) -> anyhow::Result<()> {
    served.create_stream(STREAM, shards).await.context("cannot create the stream")
}
