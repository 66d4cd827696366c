//! Applications of KCL 1.14 and 2.7, and of the multi-language daemons of both, are taken over: their workers stop within
//! aggregates, one shard is at its end and another is split, `kcl` goes on, and at last the old version again, on the table that
//! it is given back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use tokio::time::sleep;

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

/// Software for Java, and its name. Each has an application of its own; all read the same stream.
const OLD: [(ConsumerKind, &str); 4] = [
    (ConsumerKind::Java("1.14.10"), "kcl-1.14.10"),
    (ConsumerKind::Java("2.7.2"), "kcl-2.7.2"),
    (ConsumerKind::Daemon("1.14.10"), "daemon-1.14.10"),
    (ConsumerKind::Daemon("2.7.2"), "daemon-2.7.2"),
];
/// Shards at first. One is split before there are records, so that a worker comes to its end.
const SHARDS: i32 = 4;
/// Shards that have records then.
const OPEN: usize = 5;
/// Records put before the takeover, and again after the way back.
const RECORDS: u64 = 10_000;
/// Records of each shard that the first worker processes. Aggregates do not end there.
const LIMIT: u64 = 444;
/// Time for which the adopting worker is seen to wait: longer than twice the failover time.
const BESIDE: Duration = Duration::from_secs(10);
/// Maximum time of workers to start side by side on few cores, and to process their records.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs the scenario.
///
/// # Errors
/// A record is processed twice or never, a worker starts elsewhere than where the one before it stopped, or `kcl` begins
/// while an old worker lives.
pub async fn adopted(peers: &Peers) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(false).await?;
    let kinesis = served.kinesis()?;
    let client = aws_sdk_kinesis::Client::new(&kinesis);
    stream(&served, SHARDS).await?;
    change(&client, STREAM, Change::Split).await?;
    put_all(&kinesis, 0..RECORDS / 2, |_| {}).await?;
    let started: anyhow::Result<Vec<_>> =
        OLD.into_iter().map(|(kind, of)| Application::begin(peers, &served, kind, of)).collect();
    let mut applications = started?;
    for application in &mut applications {
        application.reaches_the_limit().await?;
    }

    let waiting: anyhow::Result<Vec<_>> = applications.iter().map(Application::adopt).collect();
    let mut waiting = waiting?;
    sleep(BESIDE).await;
    for rust in &waiting {
        ensure!(rust.journal().entries().is_empty(), "{} begins beside a living worker", rust.name());
    }
    // At once: KCL 2.7 would wait gracefully for the shard at its end, and the other application would go on before the split.
    try_join_all(applications.iter_mut().map(Application::ends)).await?;
    applications.iter().try_for_each(Application::is_left_within)?;
    // Not earlier: at its limit a worker would take the end of the shard for processed.
    change(&client, STREAM, Change::Split).await?;
    put_all(&kinesis, RECORDS / 2..RECORDS, |_| {}).await?;
    let mut report = Vec::new();
    for (application, rust) in applications.iter().zip(&mut waiting) {
        report.push(application.goes_on(rust).await?);
    }

    put_all(&kinesis, RECORDS..2 * RECORDS, |_| {}).await?;
    for application in &mut applications {
        application.give_back().await?;
    }
    for application in &mut applications {
        report.push(application.is_back().await?);
    }
    Ok(report)
}

/// An application that software for Java began.
struct Application<'a> {
    peers: &'a Peers,
    served: &'a Served,
    kind: ConsumerKind,
    /// Name of the software.
    of: &'static str,
    /// Its name, and that of the lease table.
    name: String,
    /// Its Java worker, of before or of after `kcl`.
    java: Peer,
    /// Sequence number and sub-sequence number by shard, as the Java worker left them.
    left: BTreeMap<String, (String, u64)>,
}

impl<'a> Application<'a> {
    fn begin(peers: &'a Peers, served: &'a Served, kind: ConsumerKind, of: &'static str) -> anyhow::Result<Self> {
        let name = format!("adopted-{of}");
        let options = ConsumerOptions { limit: Some(LIMIT), ..ConsumerOptions::new(&name, "java-1") };
        let java = peers.consumer(kind, served, &options)?;
        Ok(Self { peers, served, kind, of, name, java, left: BTreeMap::new() })
    }

    /// The Java worker has processed so many records of each open shard, and will process no more.
    async fn reaches_the_limit(&mut self) -> anyhow::Result<()> {
        self.java.tells("all shards are at their limit", PATIENCE, |journal| journal.limits().len() >= OPEN).await
    }

    /// The Java worker ends.
    async fn ends(&mut self) -> anyhow::Result<()> {
        match self.kind {
            // It reads no input. Its processors end with it.
            ConsumerKind::Daemon(_) => self.java.kill().await.map(drop)?,
            _ => self.java.finish(STOPPING).await?,
        }
        // Not earlier: a worker that loses a lease for a moment reaches its limit there a second time.
        self.left = checkpoints(self.served, &self.name).await?;
        Ok(())
    }

    /// The Java worker left one shard at its end, and others within aggregates.
    fn is_left_within(&self) -> anyhow::Result<()> {
        let left = &self.left;
        ensure!(left.len() == OPEN + 1, "leases of other shards than the stream's: {left:?}");
        ensure!(self.within() > 0, "no checkpoint lies within an aggregate: {left:?}");
        ensure!(self.open().len() == OPEN, "the shard that was split is not at its end: {left:?}");
        Ok(())
    }

    /// Number of checkpoints within aggregates.
    fn within(&self) -> usize {
        self.left.values().filter(|(_, sub)| *sub > 0).count()
    }

    /// Checkpoints of shards that are not at their end.
    fn open(&self) -> BTreeMap<String, (String, u64)> {
        let mut open = self.left.clone();
        open.retain(|_, (checkpoint, _)| checkpoint != "SHARD_END");
        open
    }

    /// A worker of `kcl`, started beside the living Java worker.
    fn adopt(&self) -> anyhow::Result<Peer> {
        let options = ConsumerOptions { adopt: true, ..ConsumerOptions::new(&self.name, "rust-1") };
        self.peers.consumer(ConsumerKind::Rust, self.served, &options)
    }

    /// `kcl` processes the rest, from where the Java worker stopped.
    async fn goes_on(&self, rust: &mut Peer) -> anyhow::Result<String> {
        let mut reads = self.java.journal().reads();
        let rest = usize::try_from(RECORDS)? - reads.len();
        rust.tells("the rest is processed", PATIENCE, |journal| journal.ids().len() >= rest).await?;
        started_there(rust, &self.open()).context(self.of)?;
        let ended = |told: &Told| matches!(told, Told::Initialized { checkpoint, .. } if checkpoint == "SHARD_END");
        ensure!(!rust.journal().has(ended), "{} starts a shard at its end", rust.name());
        rust.finish(STOPPING).await?;
        reads.extend(rust.journal().reads());
        let whole = whole(&reads, 0..RECORDS)?;
        let (of, within) = (self.of, self.within());
        Ok(format!("kcl goes on from {of}, {within} of {OPEN} checkpoints within aggregates: {whole}"))
    }

    /// Deletes the items that are no leases, as the way back says, and starts another Java worker.
    async fn give_back(&mut self) -> anyhow::Result<()> {
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.served.dynamodb()?);
        let scan = dynamodb.scan().table_name(&self.name).consistent_read(true).send().await?;
        let lease = AttributeValue::S("LEASE".to_owned());
        for item in scan.items().iter().filter(|item| item.get("entityType") != Some(&lease)) {
            let key = item.get("leaseKey").context("an item has a key")?.clone();
            dynamodb.delete_item().table_name(&self.name).key("leaseKey", key).send().await?;
        }
        let options = ConsumerOptions::new(&self.name, "java-2");
        self.java = self.peers.consumer(self.kind, self.served, &options)?;
        Ok(())
    }

    /// The Java worker processes what came since, and nothing else.
    async fn is_back(&mut self) -> anyhow::Result<String> {
        let more = usize::try_from(RECORDS)?;
        self.java.tells("all is processed", PATIENCE, |journal| journal.ids().len() >= more).await?;
        self.ends().await?;
        let complaints = check_java_log(self.java.log())?;
        ensure!(complaints.is_empty(), "{} complains: {}", self.of, complaints.join("\n"));
        let whole = whole(&self.java.journal().reads(), RECORDS..2 * RECORDS)?;
        Ok(format!("{} goes on from kcl: {whole}", self.of))
    }
}

/// Asserts that these records, and no others, were processed once each.
fn whole(reads: &[Read], ids: Range<u64>) -> anyhow::Result<String> {
    let comparison = Expected::of(ids).compare(reads.iter());
    ensure!(comparison.is_complete() && comparison.duplicates == 0, "{comparison}");
    Ok(comparison.to_string())
}
