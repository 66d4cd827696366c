//! An application of KCL 2.7 is not joined: `kcl` says so, ends, and leaves nothing in the table that KCL 2.7 would choke on.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::expected::Expected;
use super::kds::{self, Known};
use super::log_check::check_java_log;
use super::peer::STOPPING;
use super::peers::{ConsumerKind, ConsumerOptions, Peers};
use super::producing::{put_all, stream};
use super::served::Served;
use super::told::Told;

const APPLICATION: &str = "refused";
const SHARDS: usize = 2;
/// Records put before, and as many after.
const RECORDS: u64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the scenario.
///
/// # Errors
/// The worker joins all the same, or KCL 2.7 is disturbed.
pub async fn refused(peers: &Peers) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(false).await?;
    stream(&served, i32::try_from(SHARDS)?).await?;
    let options = |worker| ConsumerOptions::new(APPLICATION, worker);
    let mut java = peers.consumer(ConsumerKind::Java("2.7.2"), &served, &options("java"))?;
    let starts = |told: &Told| matches!(told, Told::Initialized { .. });
    java.tells("it processes all shards", PATIENCE, |journal| journal.count(starts) >= SHARDS).await?;
    put_all(&served.kinesis()?, 0..RECORDS, |_| {}).await?;
    let before = keys(&served).await?;

    let mut rust = peers.consumer(ConsumerKind::Rust, &served, &options("rust"))?;
    let status = rust.exited(PATIENCE).await?;
    let log = std::fs::read_to_string(rust.log())?;
    ensure!(!status.success(), "the worker joined an application of KCL 2.7");
    let reason = log.lines().find(|line| line.contains("cannot join"));
    let reason = reason.with_context(|| format!("the worker does not say why it ended with {status}"))?;

    put_all(&served.kinesis()?, RECORDS..2 * RECORDS, |_| {}).await?;
    let records = Expected::of(0..2 * RECORDS);
    java.tells("all records are read", PATIENCE, |journal| journal.ids().len() >= records.len()).await?;
    let looked = kds::look(peers, &served, &known()).await?;
    let (after, comparison) = (keys(&served).await?, records.compare(java.journal().reads().iter()));
    java.finish(STOPPING).await?;
    let complaints = check_java_log(java.log())?;
    ensure!(before == after, "the table had {before:?}, and has {after:?}");
    ensure!(comparison.is_complete() && comparison.duplicates == 0, "KCL 2.7 was disturbed: {comparison}");
    ensure!(complaints.is_empty(), "KCL 2.7 complains: {}", complaints.join("\n"));
    Ok(vec![looked, reason.to_owned(), format!("KCL 2.7.2 goes on: {comparison}")])
}

/// The fleet of KCL 2.7, which has neither a leader nor reports of its workers.
fn known() -> Known {
    let workers = ["java".to_owned()].into();
    Known {
        application: APPLICATION,
        layout: "leases-alone",
        leader: None,
        workers,
        leases: SHARDS,
        is_processed: true,
    }
}

/// Keys of the lease table's items.
async fn keys(served: &Served) -> anyhow::Result<BTreeSet<String>> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&served.dynamodb()?);
    let scan = dynamodb.scan().table_name(APPLICATION).consistent_read(true).send().await?;
    let key = |item: &std::collections::HashMap<String, _>| format!("{:?}", item.get("leaseKey"));
    Ok(scan.items().iter().map(key).collect())
}
