//! Upgrade roads: workers of one language stop within an aggregate, and workers of the other go on from their checkpoints,
//! from Java to Rust and back again, over and over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::types::AttributeValue;

use super::expected::Expected;
use super::kds::{self, Known};
use super::log_check::check_java_log;
use super::peer::{Peer, STOPPING};
use super::peers::{ConsumerKind, ConsumerOptions, Peers};
use super::producing::{put_all, stream};
use super::served::Served;
use super::told::{Read, Told};

/// Name of the application and its lease table.
const APPLICATION: &str = "roads";
const SHARDS: i32 = 4;
/// Records of the scenario.
const RECORDS: u64 = 20_000;
/// Records of each shard that each worker but the last processes. Aggregates do not end there.
const LIMIT: u64 = 777;
/// Maximum time of a worker to start, and to process its records.
const PATIENCE: Duration = Duration::from_secs(90);

/// A stop on the way: what was processed before it, and the checkpoints it left.
#[derive(Debug, Default)]
struct Way {
    reads: Vec<Read>,
    /// Sequence number and sub-sequence number by shard.
    checkpoints: BTreeMap<String, (String, u64)>,
}

/// Runs the scenario; the report says where each worker went on.
///
/// # Errors
/// A record is processed twice or never, a worker starts elsewhere than where the one before it stopped, or a process
/// fails.
pub async fn upgrade_roads(peers: &Peers) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(false).await?;
    stream(&served, SHARDS).await?;
    put_all(&served.kinesis()?, 0..RECORDS, |_| {}).await?;
    let records = Expected::of(0..RECORDS);
    let (mut way, mut report) = (Way::default(), Vec::new());
    let java = ConsumerKind::Java("3.5.1");
    for (kind, name) in
        [(java, "java-1"), (ConsumerKind::Rust, "rust-1"), (java, "java-2"), (ConsumerKind::Rust, "rust-2")]
    {
        report.push(go(peers, &served, &mut way, kind, name, Some(LIMIT), &records).await.context(report.join("\n"))?);
    }
    report.push(go(peers, &served, &mut way, java, "java-3", None, &records).await.context(report.join("\n"))?);
    let comparison = records.compare(way.reads.iter());
    report.push(format!("{RECORDS} records: {comparison}"));
    ensure!(comparison.is_complete(), "not everything was delivered as it was put:\n{}", report.join("\n"));
    ensure!(comparison.duplicates == 0, "records before a checkpoint were delivered again:\n{}", report.join("\n"));
    Ok(report)
}

/// One worker goes on from where the one before it stopped: to the limit of each shard, or to the end of all.
async fn go(
    peers: &Peers,
    served: &Served,
    way: &mut Way,
    kind: ConsumerKind,
    name: &str,
    limit: Option<u64>,
    records: &Expected,
) -> anyhow::Result<String> {
    let mut worker =
        peers.consumer(kind, served, &ConsumerOptions { limit, ..ConsumerOptions::new(APPLICATION, name) })?;
    let before = way.reads.len();
    match limit {
        Some(_) => {
            let limits = |told: &Told| matches!(told, Told::Limit { .. });
            let shards = usize::try_from(SHARDS)?;
            worker.tells("all shards are at their limit", PATIENCE, |journal| journal.count(limits) >= shards).await?;
        }
        None => {
            let left = records.len().saturating_sub(before);
            worker.tells("the rest is processed", PATIENCE, |journal| journal.ids().len() >= left).await?;
        }
    }
    started_there(&worker, &way.checkpoints)?;
    // The worker of before may have reported a moment ago.
    let looked = if before == 0 { look(peers, served, name).await? } else { String::new() };
    if limit.is_some() {
        worker.stop().await.map(drop)?
    } else {
        worker.finish(STOPPING).await?
    }
    let complaints = check_java_log(worker.log())?;
    ensure!(complaints.is_empty(), "{name}: {}", complaints.join("\n"));
    way.reads.extend(worker.journal().reads());
    way.checkpoints = checkpoints(served, APPLICATION).await?;
    let shards = way.checkpoints.len();
    ensure!(shards == usize::try_from(SHARDS)?, "leases of other shards than the stream's: {:?}", way.checkpoints);
    let within = way.checkpoints.values().filter(|(_, sub)| *sub > 0).count();
    ensure!(limit.is_none() || within > 0, "no checkpoint lies within an aggregate: {:?}", way.checkpoints);
    let processed = way.reads.len() - before;
    Ok(format!(
        "{name} processed {processed} records; {within} of {SHARDS} checkpoints have a sub-sequence number{looked}"
    ))
}

/// Answers of `kds` about a fleet of one worker of Java.
async fn look(peers: &Peers, served: &Served, name: &str) -> anyhow::Result<String> {
    let known = Known {
        application: APPLICATION,
        layout: "one-table",
        leader: Some(name.to_owned()),
        workers: [name.to_owned()].into(),
        leases: usize::try_from(SHARDS)?,
        is_processed: true,
    };
    Ok(format!("\n{}", kds::look(peers, served, &known).await?))
}

/// Each shard's processor started exactly at the checkpoint that was left.
pub(super) fn started_there(worker: &Peer, left: &BTreeMap<String, (String, u64)>) -> anyhow::Result<()> {
    let mut started = BTreeSet::new();
    for (_, told) in worker.journal().entries() {
        let Told::Initialized { shard, checkpoint, sub } = told else { continue };
        // A shard may be started anew, at the worker's own checkpoint.
        if let Some(expected) = left.get(&shard).filter(|_| started.insert(shard.clone())) {
            let found = (checkpoint, sub);
            ensure!(found == *expected, "{} starts {shard} at {found:?}, not {expected:?}", worker.name());
        }
    }
    ensure!(started.len() == left.len(), "{} did not start all of {left:?}", worker.name());
    Ok(())
}

/// Content of an application's lease table: sequence number and sub-sequence number by shard.
pub(super) async fn checkpoints(served: &Served, application: &str) -> anyhow::Result<BTreeMap<String, (String, u64)>> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&served.dynamodb()?);
    let scan = dynamodb.scan().table_name(application).consistent_read(true).send().await?;
    let mut checkpoints = BTreeMap::new();
    for item in scan.items() {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let sub = item.get("checkpointSubSequenceNumber").and_then(|value| AttributeValue::as_n(value).ok());
        if let (Some(shard), Some(checkpoint), Some(sub)) = (text("leaseKey"), text("checkpoint"), sub) {
            checkpoints.insert(shard, (checkpoint, sub.parse()?));
        }
    }
    Ok(checkpoints)
}
