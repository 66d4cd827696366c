//! An application of KCL 2.7 is taken over: its worker stops within aggregates while a shard is split, `kcl` goes on, and at
//! last KCL 2.7 again, on the table that it is given back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::types::AttributeValue;

use super::STREAM;
use super::expected::Expected;
use super::log_check::check_java_log;
use super::peer::{Peer, STOPPING};
use super::peers::{ConsumerKind, ConsumerOptions, Peers};
use super::producing::{put_all, stream};
use super::resharding::{Change, change};
use super::roads::{checkpoints, started_there};
use super::served::Served;
use super::told::{Read, Told};

const APPLICATION: &str = "adopted";
const SHARDS: i32 = 4;
/// Records put before the takeover, and again afterwards.
const RECORDS: u64 = 10_000;
/// Records of each shard that the first worker processes. Aggregates do not end there.
const LIMIT: u64 = 777;
const PATIENCE: Duration = Duration::from_secs(90);
const JAVA: ConsumerKind = ConsumerKind::Java("2.7.2");

/// Runs the scenario.
///
/// # Errors
/// A record is processed twice or never, a worker starts elsewhere than where the one before it stopped, or `kcl` begins
/// while KCL 2.7 lives.
pub async fn adopted(peers: &Peers) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(false).await?;
    let kinesis = served.kinesis()?;
    stream(&served, SHARDS).await?;
    put_all(&kinesis, 0..RECORDS / 2, |_| {}).await?;
    let options = |worker: &str| ConsumerOptions::new(APPLICATION, worker);
    let limited = ConsumerOptions { limit: Some(LIMIT), ..options("java-1") };
    let mut java = peers.consumer(JAVA, &served, &limited)?;
    let limits = |told: &Told| matches!(told, Told::Limit { .. });
    let shards = usize::try_from(SHARDS)?;
    java.tells("all shards are at their limit", PATIENCE, |journal| journal.count(limits) >= shards).await?;

    // It is started beside the living worker, and waits for its end.
    let mut rust =
        peers.consumer(ConsumerKind::Rust, &served, &ConsumerOptions { adopt: true, ..options("rust-1") })?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(rust.journal().entries().is_empty(), "it begins beside a living worker of KCL 2.7");
    java.stop().await?;
    // Not earlier: at its limit the worker would take the end of the shard for processed.
    change(&aws_sdk_kinesis::Client::new(&kinesis), STREAM, Change::Split).await?;
    put_all(&kinesis, RECORDS / 2..RECORDS, |_| {}).await?;
    let left = checkpoints(&served, APPLICATION).await?;
    let within = left.values().filter(|(_, sub)| *sub > 0).count();
    ensure!(within > 0, "no checkpoint lies within an aggregate: {left:?}");
    let mut reads = java.journal().reads();
    let behind = usize::try_from(RECORDS)? - reads.len();
    rust.tells("the rest is processed", PATIENCE, |journal| journal.ids().len() >= behind).await?;
    started_there(&rust, &left).context("rust-1")?;
    rust.finish(STOPPING).await?;
    reads.extend(rust.journal().reads());
    let mut report = vec![whole(&reads, 0..RECORDS, "rust-1 goes on from java-1")?];
    report.push(format!("{within} of {} checkpoints lie within aggregates, a shard is split on the way", left.len()));

    give_back(&served).await?;
    put_all(&kinesis, RECORDS..2 * RECORDS, |_| {}).await?;
    let mut java = peers.consumer(JAVA, &served, &options("java-2"))?;
    let more = usize::try_from(RECORDS)?;
    java.tells("all is processed", PATIENCE, |journal| journal.ids().len() >= more).await?;
    java.finish(STOPPING).await?;
    understood(&java)?;
    report.push(whole(&java.journal().reads(), RECORDS..2 * RECORDS, "java-2 goes on from rust-1")?);
    Ok(report)
}

/// Asserts that these records, and no others, were processed once each.
fn whole(reads: &[Read], ids: std::ops::Range<u64>, what: &str) -> anyhow::Result<String> {
    let comparison = Expected::of(ids).compare(reads.iter());
    let report = format!("{what}: {comparison}");
    ensure!(comparison.is_complete() && comparison.duplicates == 0, "{report}");
    Ok(report)
}

fn understood(java: &Peer) -> anyhow::Result<()> {
    let complaints = check_java_log(java.log())?;
    ensure!(complaints.is_empty(), "KCL 2.7 complains: {}", complaints.join("\n"));
    Ok(())
}

/// Deletes the items that are no leases, as the way back says.
async fn give_back(served: &Served) -> anyhow::Result<()> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&served.dynamodb()?);
    let scan = dynamodb.scan().table_name(APPLICATION).consistent_read(true).send().await?;
    let lease = AttributeValue::S("LEASE".to_owned());
    let mut kept = BTreeSet::new();
    for item in scan.items() {
        let key = item.get("leaseKey").context("an item has a key")?;
        if item.get("entityType") == Some(&lease) {
            kept.insert(format!("{key:?}"));
            continue;
        }
        dynamodb.delete_item().table_name(APPLICATION).key("leaseKey", key.clone()).send().await?;
    }
    ensure!(kept.len() > usize::try_from(SHARDS)?, "leases are left: {kept:?}");
    Ok(())
}
