//! Workers of several languages that share one application, and what the lease table says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use aws_types::SdkConfig;
use kcl::{Checkpoint, FleetStatus};
use tokio::time::{Instant, sleep};

use super::kds::Known;
use super::log_check::check_java_log;
use super::peer::Peer;
use super::peers::{ConsumerKind, ConsumerOptions, Peers};
use super::served::Served;
use super::told::{Read, Told};

/// Name of the application and its lease table.
pub(super) const APPLICATION: &str = "fleet";
/// Duration of a lease without a renewal, on all workers.
pub(super) const FAILOVER: Duration = Duration::from_secs(4);
/// Maximum time of a wait.
const PATIENCE: Duration = Duration::from_secs(90);
/// The same in a fleet by heartbeats: a Java worker waits the two minutes out that its lock names.
const PATIENCE_BY_HEARTBEAT: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Member {
    kind: ConsumerKind,
    peer: Peer,
    alive: bool,
}

/// The workers of the application, those that are gone included.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    peers: &'a Peers,
    served: &'a Served,
    dynamodb: SdkConfig,
    /// Workers of this library renew all their leases by one heartbeat where they may.
    by_heartbeat: bool,
    /// Workers that join take part in the migration to one table.
    to_one_table: bool,
    members: BTreeMap<String, Member>,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(peers: &'a Peers, served: &'a Served) -> anyhow::Result<Self> {
        Ok(Self {
            peers,
            served,
            dynamodb: served.dynamodb()?,
            by_heartbeat: false,
            to_one_table: false,
            members: BTreeMap::new(),
        })
    }

    pub(super) fn by_heartbeat(self) -> Self {
        Self { by_heartbeat: true, ..self }
    }

    /// Workers that join from now on take part in the migration to one table.
    pub(super) fn migrate_to_one_table(&mut self) {
        self.to_one_table = true;
    }

    pub(super) fn may_live_by_heartbeat(&self) -> bool {
        self.by_heartbeat
    }

    /// Starts a worker of this name.
    pub(super) fn join(&mut self, name: &str, kind: ConsumerKind) -> anyhow::Result<()> {
        let failover_millis = u64::try_from(FAILOVER.as_millis())?;
        let Self { by_heartbeat, to_one_table, .. } = *self;
        let options =
            ConsumerOptions { failover_millis, by_heartbeat, to_one_table, ..ConsumerOptions::new(APPLICATION, name) };
        let peer = self.peers.consumer(kind, self.served, &options)?;
        self.members.insert(name.to_owned(), Member { kind, peer, alive: true });
        Ok(())
    }

    pub(super) fn alive(&self) -> BTreeSet<String> {
        self.members.iter().filter(|(_, member)| member.alive).map(|(name, _)| name.clone()).collect()
    }

    /// Live workers that are of this library, or that are not.
    pub(super) fn alive_in(&self, rust: bool) -> BTreeSet<String> {
        let mut alive = self.alive();
        alive.retain(|name| self.is_rust(name) == rust);
        alive
    }

    pub(super) fn is_rust(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| member.kind == ConsumerKind::Rust)
    }

    pub(super) async fn status(&self) -> anyhow::Result<FleetStatus> {
        FleetStatus::read(&self.dynamodb, APPLICATION).await.context("the lease table cannot be read")
    }

    /// The fleet as `kds` is to see it, once somebody leads.
    pub(super) async fn known(&mut self, layout: &'static str) -> anyhow::Result<Known> {
        let (leader, workers) = (Some(self.leader().await?), self.alive());
        let leases = self.owners().await?.len();
        Ok(Known { application: APPLICATION, layout, leader, workers, leases, is_processed: false })
    }

    /// Open leases, and the worker that processes each.
    pub(super) async fn owners(&self) -> anyhow::Result<BTreeMap<String, Option<String>>> {
        let status = self.status().await?;
        let open = status.leases.into_iter().filter(|lease| lease.checkpoint != Checkpoint::ShardEnd);
        Ok(open.map(|lease| (lease.shard_id.to_string(), lease.owner.map(|owner| owner.to_string()))).collect())
    }

    /// Maximum time of a wait.
    fn patience(&self) -> Duration {
        if self.by_heartbeat { PATIENCE_BY_HEARTBEAT } else { PATIENCE }
    }

    /// Waits until a condition holds of the lease table; a worker that ends meanwhile is an error.
    pub(super) async fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&Self, &FleetStatus) -> bool,
    ) -> anyhow::Result<Duration> {
        let (begun, patience) = (Instant::now(), self.patience());
        loop {
            // The table is not there before the first worker has made it.
            if let Ok(status) = self.status().await {
                if holds(self, &status) {
                    return Ok(begun.elapsed());
                }
                if begun.elapsed() > patience {
                    bail!("not within {patience:?}: {what}\n{status}");
                }
            } else if begun.elapsed() > patience {
                bail!("not within {patience:?}: {what}; there is no lease table");
            }
            for (name, member) in self.members.iter_mut().filter(|(_, member)| member.alive) {
                ensure!(!member.peer.has_ended()?, "worker {name} has ended by itself");
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the leases are shared, as their leader shares them: a Rust one evenly but for one lease, one of KCL 3.5
    /// so that nobody has more than the average, rounded up, ended leases counted, one of KCL 3.4 by utilization. Nobody is
    /// left without any.
    pub(super) async fn balanced(&mut self) -> anyhow::Result<Duration> {
        self.until("the leases are shared", |fleet, status| {
            let Some(leader) = &status.leader else { return false };
            let mut loads: BTreeMap<String, usize> = fleet.alive().into_iter().map(|name| (name, 0)).collect();
            for lease in status.leases.iter().filter(|lease| lease.checkpoint != Checkpoint::ShardEnd) {
                let load = lease.owner.as_ref().and_then(|owner| loads.get_mut(owner.as_str()));
                let (Some(load), None) = (load, &lease.next_owner) else { return false };
                *load += 1;
            }
            let average = status.leases.len().div_ceil(loads.len().max(1));
            let (Some(least), Some(most)) = (loads.values().min(), loads.values().max()) else { return false };
            let shared = match fleet.members.get(leader.as_str()).map(|member| member.kind) {
                Some(ConsumerKind::Rust) => most - least <= 1,
                Some(ConsumerKind::Java(version)) if version.starts_with("3.4") => true,
                _ => *most <= average,
            };
            *least > 0 && shared
        })
        .await
    }

    /// Waits until every lease of a shard that is not ended has an owner that lives.
    pub(super) async fn owned(&mut self) -> anyhow::Result<Duration> {
        self.until("every lease has an owner that lives", |fleet, status| {
            let alive = fleet.alive();
            let mut open = status.leases.iter().filter(|lease| lease.checkpoint != Checkpoint::ShardEnd);
            open.all(|lease| lease.owner.as_ref().is_some_and(|owner| alive.contains(owner.as_str())))
        })
        .await
    }

    /// The worker that leads, once there is one that lives.
    pub(super) async fn leader(&mut self) -> anyhow::Result<String> {
        let leads = |fleet: &Self, status: &FleetStatus| {
            status.leader.as_ref().is_some_and(|leader| fleet.alive().contains(leader.as_str()))
        };
        self.until("a worker that lives leads", leads).await?;
        self.status().await?.leader.map(|leader| leader.to_string()).context("the lock was there a moment ago")
    }

    /// Kills a worker. Returns how long it took until each of its shards was processed by another, and until another led
    /// if it did.
    pub(super) async fn kill(&mut self, name: &str) -> anyhow::Result<Takeover> {
        let led = self.status().await?.leader.is_some_and(|leader| leader.as_str() == name);
        let looked = Instant::now();
        let (owners, patience) = (self.owners().await?, self.patience());
        let mut shards: Vec<String> =
            owners.into_iter().filter(|(_, owner)| owner.as_deref() == Some(name)).map(|(shard, _)| shard).collect();
        let member = self.members.get_mut(name).with_context(|| format!("no worker {name}"))?;
        member.alive = false;
        let killed = member.peer.kill().await?;
        let leader = if led { Some((self.leader().await?, killed.elapsed())) } else { None };
        self.owned().await?;
        let owned = killed.elapsed();
        // Between the look at the table and its death, the worker may have reached the end of a shard.
        let open = self.owners().await?;
        shards.retain(|shard| open.contains_key(shard) || self.resumed(shard, looked).is_some());
        while let Some(missing) = shards.iter().find(|shard| self.resumed(shard, looked).is_none()) {
            ensure!(killed.elapsed() < patience, "{missing} of {name} is not processed again within {patience:?}");
            sleep(LOOK).await;
        }
        let resumed = shards.iter().filter_map(|shard| self.resumed(shard, looked)).max();
        let processing = resumed.map_or(Duration::ZERO, |last| last.saturating_duration_since(killed));
        Ok(Takeover { shards: shards.len(), leader, owned, processing })
    }

    /// Time at which a live worker first had a processor for a shard after a moment.
    fn resumed(&self, shard: &str, after: Instant) -> Option<Instant> {
        let of_shard = |told: &Told| matches!(told, Told::Initialized { shard: of, .. } if of == shard);
        let alive = self.members.values().filter(|member| member.alive);
        let entries = alive.flat_map(|member| member.peer.journal().entries());
        entries.filter(|(at, told)| *at > after && of_shard(told)).map(|(at, _)| at).min()
    }

    /// Stops a worker in good order. Returns how long it took, and whether it says that all went well.
    pub(super) async fn leave(&mut self, name: &str) -> anyhow::Result<(Duration, bool)> {
        let begun = Instant::now();
        let member = self.members.get_mut(name).with_context(|| format!("no worker {name}"))?;
        member.alive = false;
        let orderly = member.peer.stop().await?;
        ensure!(orderly || member.kind != ConsumerKind::Rust, "{name} did not stop in good order");
        Ok((begun.elapsed(), orderly))
    }

    /// All records read by any worker.
    pub(super) fn reads(&self) -> Vec<Read> {
        self.members.values().flat_map(|member| member.peer.journal().reads()).collect()
    }

    /// Number of times that any worker reported this.
    pub(super) fn count(&self, like: impl Fn(&Told) -> bool) -> usize {
        self.members.values().map(|member| member.peer.journal().count(&like)).sum()
    }

    /// Things that must not have happened: errors told, and lines of Java's logs about what it did not understand.
    pub(super) fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let mut complaints = Vec::new();
        for (name, member) in &self.members {
            complaints.extend(member.peer.journal().errors().iter().map(|told| format!("{name}: {told:?}")));
            if member.kind != ConsumerKind::Rust {
                complaints.extend(check_java_log(member.peer.log())?.iter().map(|line| format!("{name}: {line}")));
            }
        }
        Ok(complaints)
    }
}

/// Consequences of a worker's death.
#[derive(Debug)]
pub(super) struct Takeover {
    /// Number of shards it processed.
    pub(super) shards: usize,
    /// The next leader and the time until then, if it led.
    pub(super) leader: Option<(String, Duration)>,
    /// Time until every open lease had an owner that lives.
    pub(super) owned: Duration,
    /// Time until all its shards were processed by others.
    pub(super) processing: Duration,
}
