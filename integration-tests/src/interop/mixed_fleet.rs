//! One application of four workers, two of `kcl` and two of the KCL for Java, on a stream of 16 shards that is resharded.
//! Workers come, go and are killed, the leader in turn in either language.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::STREAM;
use super::expected::Expected;
use super::fleet::{FAILOVER, Fleet, Takeover};
use super::kds;
use super::one_table::TableMigration;
use super::peers::{ConsumerKind, Peers};
use super::producing::stream;
use super::resharding::{Change, change};
use super::served::Served;
use super::source::Source;
use super::told::Told;

/// Maximum time that shards of a dead worker may stand still. What the libraries promise is shorter by far; see the report.
const BOUND: Duration = Duration::from_secs(30);
/// The same where a Java worker takes the lead of a fleet that turns back from heartbeats: the lock names two minutes.
const BOUND_AMID_TURN: Duration = Duration::from_secs(150);
/// Maximum time from the last put until all records are processed.
const PATIENCE: Duration = Duration::from_secs(60);
const JAVA: ConsumerKind = ConsumerKind::Java("3.5.1");

/// Place of a fleet's leader lock and of its workers' metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In the lease table, as KCL 3.5 does.
    Single,
    /// In tables of their own, as KCL 3.0 to 3.4 do.
    Legacy,
}

/// Runs the scenario; prints how long each takeover took.
///
/// # Errors
/// A record is lost, a shard stands still for too long, a worker does not understand another, or a process fails.
pub async fn mixed_fleet(peers: &Peers, layout: Layout) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(false).await?;
    stream(&served, 16).await?;
    let source = Source::start(served.kinesis()?);
    let mut story =
        Story { fleet: Fleet::new(peers, &served)?, peers, served: &served, begun: Instant::now(), joined: 0 };
    story.begin(layout).await?;
    story.act().await?;
    if layout == Layout::Legacy {
        story.migrate_to_one_table().await?;
    }
    let records = source.stop().await?;
    story.finish(&records).await?;
    Ok(Vec::new())
}

/// Runs a fleet of `kcl` that lives by heartbeats, which a worker of Java joins, leads, and leaves by its death; another
/// comes after it.
///
/// # Errors
/// A record is lost, a lease is taken from a worker that lives, a shard stands still for too long, or a process fails.
pub async fn heartbeats(peers: &Peers) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(false).await?;
    stream(&served, 16).await?;
    let source = Source::start(served.kinesis()?);
    let fleet = Fleet::new(peers, &served)?.by_heartbeat();
    let mut story = Story { fleet, peers, served: &served, begun: Instant::now(), joined: 0 };
    story.live_by_heartbeats().await?;
    story.is_joined_by_java().await?;
    story.move_lead().await?;
    story.reshard().await?;
    story.survives_java().await?;
    let records = source.stop().await?;
    story.finish(&records).await?;
    Ok(Vec::new())
}

struct Story<'a> {
    fleet: Fleet<'a>,
    peers: &'a Peers,
    served: &'a Served,
    begun: Instant,
    /// Number of workers that have joined.
    joined: u32,
}

impl Story<'_> {
    fn tell(&mut self, line: impl AsRef<str>) {
        let line = format!("{:>5.1} s  {}", self.begun.elapsed().as_secs_f64(), line.as_ref());
        println!("{line}");
    }

    fn join(&mut self, kind: ConsumerKind) -> anyhow::Result<()> {
        self.joined += 1;
        let name = match kind {
            ConsumerKind::Rust => format!("rust-{}", self.joined),
            ConsumerKind::Java(version) | ConsumerKind::Daemon(version) => format!("java-{version}-{}", self.joined),
        };
        self.fleet.join(&name, kind)
    }

    /// The first worker makes the tables of its layout.
    async fn begin(&mut self, layout: Layout) -> anyhow::Result<()> {
        match layout {
            Layout::Single => self.join(ConsumerKind::Rust)?,
            Layout::Legacy => self.join(ConsumerKind::Java("3.4.2"))?,
        }
        let took = self.fleet.balanced().await?;
        self.tell(format!("the first worker has all shards after {took:.1?}"));
        let layout = if layout == Layout::Legacy { "three-tables" } else { "one-table" };
        self.look(layout).await
    }

    /// Answers of `kds` about the fleet, while nobody comes or goes.
    async fn look(&mut self, layout: &'static str) -> anyhow::Result<()> {
        let known = self.fleet.known(layout).await?;
        let looked = kds::look(self.peers, self.served, &known).await?;
        self.tell(looked);
        Ok(())
    }

    async fn act(&mut self) -> anyhow::Result<()> {
        self.join_gracefully().await?;
        self.reshard().await?;
        for _ in 0..2 {
            self.move_lead().await?;
            self.reshard().await?;
        }
        self.leave().await
    }

    /// The fleet leaves the tables of KCL 3.4: a leader of either language begins, one of this library ends it beside a worker
    /// of Java, which leads afterwards.
    async fn migrate_to_one_table(&mut self) -> anyhow::Result<()> {
        let migration = TableMigration::of(self.served)?;
        let begun = migration.reaches("INIT").await?;
        migration.age(Duration::from_secs(3_600)).await?;
        let deployed = migration.reaches("DEPLOYED").await?;
        self.tell(format!("migration to one table: INIT by {begun}, DEPLOYED by {deployed}"));

        let before = self.fleet.alive();
        self.fleet.migrate_to_one_table();
        self.join(ConsumerKind::Rust)?;
        self.fleet.balanced().await?;
        for name in before {
            self.fleet.leave(&name).await?;
        }
        self.join(JAVA)?;
        self.fleet.balanced().await?;
        let pending = migration.reaches("PENDING").await?;
        migration.age(Duration::from_secs(86_400)).await?;
        let complete = migration.reaches("COMPLETE").await?;
        self.tell(format!("PENDING by {pending}, COMPLETE by {complete}"));
        ensure!([&pending, &complete].into_iter().all(|leader| self.fleet.is_rust(leader)), "Java has led");
        migration.is_in_the_lease_table().await?;
        self.fleet.owned().await?;
        self.look("one-table").await?;

        let takeover = self.fleet.kill(&complete).await?;
        self.took_over(&complete, &takeover)
    }

    async fn live_by_heartbeats(&mut self) -> anyhow::Result<()> {
        for _ in 0..3 {
            self.join(ConsumerKind::Rust)?;
        }
        let shared = self.fleet.balanced().await?;
        let lives = self.fleet.until("it lives by heartbeats", |_, status| status.by_heartbeat).await?;
        self.tell(format!("three share the leases after {shared:.1?}, and live by heartbeats {lives:.1?} later"));
        sleep(3 * FAILOVER).await;
        self.expect_no_loss("by heartbeats")
    }

    /// A worker of Java joins: each lease is renewed again before it can take one for dead.
    async fn is_joined_by_java(&mut self) -> anyhow::Result<()> {
        self.join(JAVA)?;
        let turned = self.fleet.until("it turns back", |_, status| !status.by_heartbeat).await?;
        let shared = self.fleet.balanced().await?;
        self.tell(format!(
            "a worker of Java joins: no more heartbeats after {turned:.1?}, all share {shared:.1?} later"
        ));
        self.expect_no_loss("joining of Java")
    }

    /// Java's leader dies, and another worker of Java comes.
    async fn survives_java(&mut self) -> anyhow::Result<()> {
        let java = self.fleet.leader().await?;
        ensure!(!self.fleet.is_rust(&java), "{java} leads");
        let takeover = self.fleet.kill(&java).await?;
        self.took_over(&java, &takeover)?;
        self.join(JAVA)?;
        let shared = self.fleet.balanced().await?;
        self.tell(format!("Java is back; all share after {shared:.1?}"));
        let status = self.fleet.status().await?;
        ensure!(!status.by_heartbeat, "a fleet with a worker of Java lives by heartbeats");
        Ok(())
    }

    /// No lease was taken from a worker of this library, and nothing was processed twice: nobody has died yet.
    fn expect_no_loss(&mut self, meanwhile: &str) -> anyhow::Result<()> {
        let is_loss = |told: &Told| matches!(told, Told::LeaseLost { .. } | Told::CheckpointRefused { .. });
        let losses = self.fleet.count(is_loss);
        ensure!(losses == 0, "{losses} leases were taken from workers that live: {meanwhile}");
        self.expect_no_duplicates(meanwhile)
    }

    /// The others join: the first worker hands its shards over to both languages, without duplicates.
    async fn join_gracefully(&mut self) -> anyhow::Result<()> {
        let rust = 2 - self.fleet.alive_in(true).len();
        for kind in [JAVA; 2].into_iter().chain([ConsumerKind::Rust; 2].into_iter().take(rust)) {
            self.join(kind)?;
        }
        let took = self.fleet.balanced().await?;
        let leader = self.fleet.leader().await?;
        self.tell(format!("{leader} leads; all share after {took:.1?}"));
        self.expect_no_duplicates("joining")
    }

    fn expect_no_duplicates(&mut self, meanwhile: &str) -> anyhow::Result<()> {
        let reads = self.fleet.reads();
        let highest = reads.iter().map(|read| read.id).max().unwrap_or(0);
        let comparison = Expected::of(0..=highest).compare(reads.iter());
        self.tell(format!("{} records processed, {} twice", comparison.delivered, comparison.duplicates));
        ensure!(comparison.duplicates == 0, "records were processed twice although nobody died: {meanwhile}");
        Ok(())
    }

    async fn reshard(&mut self) -> anyhow::Result<()> {
        let kinesis = aws_sdk_kinesis::Client::new(&self.served.kinesis()?);
        for what in [Change::Split, Change::Split, Change::Merge] {
            change(&kinesis, STREAM, what).await?;
        }
        let took = self.fleet.owned().await?;
        self.tell(format!("two splits and a merge; every open lease has an owner after {took:.1?}"));
        Ok(())
    }

    /// Kills leaders until one of the other language leads; then others take the places of the dead, and are handed leases
    /// by the new leader.
    async fn move_lead(&mut self) -> anyhow::Result<()> {
        let mut leader = self.fleet.leader().await?;
        let rust = self.fleet.is_rust(&leader);
        let mut killed = 0;
        while self.fleet.is_rust(&leader) == rust {
            let takeover = self.fleet.kill(&leader).await?;
            self.took_over(&leader, &takeover)?;
            killed += 1;
            leader = self.fleet.leader().await?;
        }
        for _ in 0..killed {
            self.join(if rust { ConsumerKind::Rust } else { JAVA })?;
        }
        let requested = |told: &Told| matches!(told, Told::ShutdownRequested { .. });
        let before = self.fleet.count(requested);
        let took = self.fleet.balanced().await?;
        let handed = self.fleet.count(requested) - before;
        let leads = self.fleet.leader().await?;
        self.tell(format!(
            "{killed} joined; {leads} leads, had {handed} leases handed over, and all share after {took:.1?}"
        ));
        ensure!(self.fleet.is_rust(&leads) != rust, "{leads} took the lead from {leader}, which lives");
        ensure!(handed > 0, "{leader} had no lease handed over");
        Ok(())
    }

    fn took_over(&mut self, name: &str, takeover: &Takeover) -> anyhow::Result<()> {
        let Takeover { shards, leader, owned, processing } = takeover;
        let lead = match leader {
            Some((heir, took)) => format!("; {heir} leads after {took:.1?}"),
            None => String::new(),
        };
        let times = processing.as_secs_f64() / FAILOVER.as_secs_f64();
        self.tell(format!(
            "{name} killed{lead}; its {shards} shards have owners after {owned:.1?}, processors after {processing:.1?}, \
             {times:.1} failover times"
        ));
        let java_follows =
            leader.as_ref().is_some_and(|(heir, _)| self.fleet.is_rust(name) && !self.fleet.is_rust(heir));
        let bound = if java_follows && self.fleet.may_live_by_heartbeat() { BOUND_AMID_TURN } else { BOUND };
        ensure!(*processing <= bound, "shards of {name} stood still for more than {bound:?}");
        Ok(())
    }

    /// One worker of each language stops as it should, and their shards go to the others.
    async fn leave(&mut self) -> anyhow::Result<()> {
        let leader = self.fleet.leader().await?;
        for rust in [true, false] {
            let Some(name) = self.fleet.alive_in(rust).into_iter().find(|name| *name != leader) else { continue };
            let (took, orderly) = self.fleet.leave(&name).await?;
            let owned = self.fleet.owned().await?;
            let well = if orderly { "" } else { ", though not gracefully" };
            self.tell(format!(
                "{name} stopped within {took:.1?}{well}; every lease has another owner {owned:.1?} later"
            ));
        }
        Ok(())
    }

    async fn finish(&mut self, records: &Expected) -> anyhow::Result<()> {
        let put = Instant::now();
        let mut comparison = records.compare(self.fleet.reads().iter());
        while !comparison.lost.is_empty() && put.elapsed() < PATIENCE {
            sleep(Duration::from_millis(200)).await;
            comparison = records.compare(self.fleet.reads().iter());
        }
        self.tell(format!("{} records put: {comparison}", records.len()));
        let status = self.fleet.status().await?;
        for name in self.fleet.alive() {
            self.fleet.leave(&name).await?;
        }
        let complaints = self.fleet.complaints()?;
        ensure!(comparison.is_complete(), "not everything was delivered as it was put; the table at last:\n{status}");
        ensure!(complaints.is_empty(), "workers do not understand each other:\n{}", complaints.join("\n"));
        Ok(())
    }
}
