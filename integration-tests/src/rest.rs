//! A fleet at rest: what a minute of it takes of the lease table, in virtual time.

use std::{collections::BTreeMap, time::Duration};

use kcl::{BoxError, CheckpointEvery, FleetStatus, Polling, Renewals, TableUsage, WorkerHandle};
use tokio::time::sleep;

use crate::{TableRequests, World};

/// Time that the intervals have to stretch.
const STRETCH: Duration = Duration::from_secs(120);
const MINUTES: u32 = 10;

/// Requests and units of a minute.
#[derive(Debug)]
pub struct MinuteAtRest {
    /// Requests by operation, counted at the service; those without any are left out.
    pub requests: BTreeMap<&'static str, f64>,
    /// Requests that the workers' meters count.
    pub metered: f64,
    /// Read units that the workers' meters count.
    pub read_units: f64,
    /// Write units that the workers' meters count.
    pub write_units: f64,
}

impl MinuteAtRest {
    /// Measures ten minutes of two workers with `shards` shards, an even number, that renew their leases like this. Shards
    /// are read seldom, as that takes nothing of the table.
    ///
    /// # Panics
    /// The workers do not share the shards.
    pub async fn measure(shards: i32, renewals: Renewals) -> Self {
        let world = World::start(shards).await;
        let workers = ["w1", "w2"].map(|id| start(&world, id, renewals));
        let half = |status: &FleetStatus| {
            status.workers.len() == 2 && status.workers.iter().all(|worker| worker.leases * 2 == status.leases.len())
        };
        world.until_status("the shards are shared", half).await;
        let by_heartbeat = renewals == Renewals::Automatic;
        world.until_status("they renew as they are told", |status| status.by_heartbeat == by_heartbeat).await;
        sleep(STRETCH).await;
        let requests = TableRequests::of(&world.local);
        let before = workers.each_ref().map(WorkerHandle::table_usage);
        sleep(Duration::from_secs(60) * MINUTES).await;
        let minutes = f64::from(MINUTES);
        let per_minute = |count: u64| f64::from(u32::try_from(count).expect("thousands")) / minutes;
        let usage: Vec<TableUsage> =
            workers.iter().zip(before).map(|(worker, before)| worker.table_usage() - before).collect();
        Self {
            requests: requests.counts().into_iter().map(|(name, count)| (name, per_minute(count))).collect(),
            metered: per_minute(usage.iter().map(|usage| usage.requests).sum()),
            read_units: usage.iter().map(|usage| usage.read_units).sum::<f64>() / minutes,
            write_units: usage.iter().map(|usage| usage.write_units).sum::<f64>() / minutes,
        }
    }

    /// Requests of all operations.
    pub fn total(&self) -> f64 {
        self.requests.values().sum()
    }
}

fn start(world: &World, id: &str, renewals: Renewals) -> WorkerHandle {
    let worker =
        world.worker(id).renewals(renewals).retrieval(Polling::new().idle_between_reads(Duration::from_secs(30)));
    let closure = |_| async { Ok::<(), BoxError>(()) };
    worker.build_for_each(CheckpointEvery::default(), 1, closure).expect("settings are right").start()
}
