//! The samples, unchanged, on emulators that are not ours: `stock-trade-stream`, which checks itself, then `stock-producer`
//! and `stock-consumer` as one would deploy them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use kcl::{Checkpoint, FleetStatus};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::STREAM;
use super::peers::Peers;
use super::served::Served;

const APPLICATION: &str = "StockTradesProcessor";
const SHARDS: i32 = 4;
/// Trades that `stock-trade-stream` puts, and those that `stock-producer` does.
const CHECKED: usize = 5_000;
const TRADES: usize = 2_000;
/// Maximum time of a sample.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the samples.
///
/// # Errors
/// A sample fails, or does not do all that it should.
pub async fn samples(peers: &Peers, served: &Served) -> anyhow::Result<Vec<String>> {
    let begun = Instant::now();
    let trades = CHECKED.to_string();
    let checked =
        ["--aws", "--stream", "checked", "--application", "checked", "--summary", "json", "--trades", &trades];
    let output = finish(peers, served, "stock-trade-stream", &checked).await?;
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    let summary: serde_json::Value = serde_json::from_str(&last).with_context(|| format!("no summary: {last}"))?;
    for (field, expected) in [("trades_processed", CHECKED), ("lost", 0)] {
        ensure!(summary[field] == expected, "{field} is not {expected}: {summary}");
    }
    let mut report = vec![format!("stock-trade-stream checked {CHECKED} trades in {:.1?}", begun.elapsed())];

    served.create_stream(STREAM, SHARDS).await?;
    let kinesis = Client::new(&served.kinesis()?);
    let begun = Instant::now();
    let mut consumer = Consumer::start(peers, served, 0)?;
    let output = finish(peers, served, "stock-producer", &["--every", "1", "--trades", &TRADES.to_string()]).await?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(log.contains(&format!("put={TRADES} failed=0")), "stock-producer did not put everything: {log}");
    let last = last_records(&kinesis).await?;
    let mut runs = 1;
    loop {
        consumer.takes_leases().await?;
        consumer.stop().await?;
        let checkpoints = checkpoints(served).await?;
        if last.iter().all(|(shard, last)| checkpoints.get(shard) == Some(last)) {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "stock-consumer is at {checkpoints:?}, the stream ends at {last:?}");
        consumer = Consumer::start(peers, served, runs)?;
        runs += 1;
    }
    report.push(format!(
        "stock-producer put {TRADES} trades, stock-consumer processed them in {:.1?}, within {runs} runs",
        begun.elapsed()
    ));
    Ok(report)
}

/// Runs a sample to its end.
async fn finish(peers: &Peers, served: &Served, name: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(peers.binary(name));
    command.args(arguments).envs(served.environment().iter().cloned()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.with_context(|| format!("{name} does not end"))??;
    std::fs::write(peers.logs().join(format!("{name}.log")), &output.stderr)?;
    ensure!(output.status.success(), "{name} ended with {}", output.status);
    Ok(output)
}

/// `stock-consumer`, until it is told to stop.
#[derive(Debug)]
struct Consumer {
    child: tokio::process::Child,
    log: PathBuf,
}

impl Consumer {
    fn start(peers: &Peers, served: &Served, run: u32) -> anyhow::Result<Self> {
        let log = peers.logs().join(format!("stock-consumer-{run}.log"));
        let mut command = Command::new(peers.binary("stock-consumer"));
        command.args([APPLICATION, STREAM, "--start", "trim-horizon"]).envs(served.environment().iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?).kill_on_drop(true);
        Ok(Self { child: command.spawn()?, log })
    }

    /// Waits until it has the leases of all shards; it reads as much as it can before it is stopped.
    async fn takes_leases(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while std::fs::read_to_string(&self.log)?.matches("lease taken").count() < usize::try_from(SHARDS)? {
            ensure!(begun.elapsed() < PATIENCE, "stock-consumer does not take all leases");
            ensure!(self.child.try_wait()?.is_none(), "stock-consumer has ended by itself");
            sleep(Duration::from_millis(50)).await;
        }
        // Not a wait for a condition: a run that is stopped too early is followed by another.
        sleep(Duration::from_secs(2)).await;
        Ok(())
    }

    /// Stops it by SIGTERM.
    async fn stop(&mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("stock-consumer has ended by itself")?;
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        ensure!(sent.success(), "stock-consumer cannot be told to stop");
        let status = timeout(PATIENCE, self.child.wait()).await.context("stock-consumer does not stop")??;
        ensure!(status.success(), "stock-consumer ended with {status}");
        Ok(())
    }
}

/// Sequence number of the last record of each shard that has any.
async fn last_records(kinesis: &Client) -> anyhow::Result<BTreeMap<String, String>> {
    let mut last = BTreeMap::new();
    for shard in kinesis.list_shards().stream_name(STREAM).send().await?.shards() {
        let iterator = kinesis.get_shard_iterator().stream_name(STREAM).shard_id(shard.shard_id());
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
        let mut next = iterator.shard_iterator;
        while let Some(iterator) = next.take() {
            let answer = kinesis.get_records().shard_iterator(iterator).send().await?;
            if let Some(record) = answer.records().last() {
                last.insert(shard.shard_id().to_owned(), record.sequence_number().to_owned());
                next = answer.next_shard_iterator;
            }
        }
    }
    ensure!(!last.is_empty(), "the stream is empty");
    Ok(last)
}

/// Sequence number of each shard's checkpoint.
async fn checkpoints(served: &Served) -> anyhow::Result<BTreeMap<String, String>> {
    let status = FleetStatus::read(&served.dynamodb()?, APPLICATION).await?;
    let at = |checkpoint: &Checkpoint| match checkpoint {
        Checkpoint::At(position) => Some(position.sequence_number.to_string()),
        _ => None,
    };
    let leases = status.leases.iter();
    Ok(leases.filter_map(|lease| Some((lease.shard_id.to_string(), at(&lease.checkpoint)?))).collect())
}
