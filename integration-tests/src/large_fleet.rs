//! A large fleet in virtual time, at the limits of its lease table: all workers start at once, a third of them dies with
//! the leader, and all are replaced, one part after the other.

use std::time::Duration;

use kcl::{FleetStatus, InitialPosition, Polling, ShardContext, Streams, Worker};
use kinesis_local::LocalAws;
use tokio::time::sleep;

use crate::{APPLICATION, Running, World};
use held::{Held, Holder};
use phase::Begun;
pub use phase::{FleetSize, Phase};

mod held;
mod phase;

/// Duration of a call to the lease table.
const ROUND_TRIP: Duration = Duration::from_millis(5);
/// Write units a second of the lease table, as a new on-demand table of the service has.
const TABLE_WRITES: f64 = 4_000.0;
/// Writes that a lease takes at least: its creation, to give it away, and its new owner's first.
const COLD_WRITES: f64 = 3.0;
const TAKEOVER_WRITES: f64 = 2.0;
/// Pause between two reads of a shard: reads take nothing of the table.
const READ_PAUSE: Duration = Duration::from_secs(60);
/// Maximum time of one phase.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// Time in which all intervals of a fleet at rest have stretched.
const STRETCH: Duration = Duration::from_secs(60);

/// A fleet of many workers.
#[derive(Debug)]
pub struct LargeFleet {
    world: World,
    size: FleetSize,
    lease_duration: Duration,
    /// Names of the streams.
    streams: Vec<String>,
    held: Held,
    workers: Vec<(String, Running)>,
    born: usize,
}

impl LargeFleet {
    /// Streams without a fleet yet.
    pub async fn new(size: FleetSize, lease_duration: Duration) -> Self {
        let aws = LocalAws::builder().enforce_table_limits().max_account_shards(size.leases);
        let world = World::without_stream(aws.start().await);
        let mut streams = Vec::new();
        for (number, shards) in size.streams().into_iter().enumerate() {
            let stream = format!("stream-{number}");
            world.local.create_stream(&stream, shards).expect("the stream is new");
            streams.push(stream);
        }
        world.local.faults().on("dynamodb:*").delay(ROUND_TRIP);
        Self { world, size, lease_duration, streams, held: Held::default(), workers: Vec::new(), born: 0 }
    }

    /// A whole life: all start at once, a third dies with the leader, all are replaced; rests between.
    ///
    /// # Panics
    /// The fleet is not balanced in time.
    pub async fn live(size: FleetSize, lease_duration: Duration) -> [Phase; 3] {
        let mut fleet = Self::new(size, lease_duration).await;
        let cold = fleet.start_cold().await;
        fleet.rest().await;
        let lost = fleet.lose_a_third().await;
        fleet.rest().await;
        [cold, lost, fleet.deploy().await]
    }

    /// All workers start in one moment, without a table.
    ///
    /// # Panics
    /// The fleet is not balanced in time.
    pub async fn start_cold(&mut self) -> Phase {
        let begun = Begun::now(&self.world.local);
        for _ in 0..self.size.workers {
            self.start_one();
        }
        self.balanced(&begun, "all start at once", f64::from(self.size.leases) * COLD_WRITES).await
    }

    /// Nothing happens for three lease durations.
    pub async fn rest(&self) {
        sleep(3 * self.lease_duration).await;
    }

    /// A minute in which nothing happens, after another one.
    pub async fn minute_at_rest(&self) -> Phase {
        sleep(STRETCH).await;
        let begun = Begun::now(&self.world.local);
        sleep(Duration::from_secs(60)).await;
        begun.phase("a minute at rest", Duration::ZERO, &self.world.local)
    }

    /// A third of the workers dies, the leader among them.
    ///
    /// # Panics
    /// The fleet has no leader, or is not balanced in time.
    pub async fn lose_a_third(&mut self) -> Phase {
        let leader = self.status().await.leader.expect("the fleet has a leader").to_string();
        self.workers.sort_by_key(|(id, _)| *id != leader);
        let begun = Begun::now(&self.world.local);
        let dead = self.workers.drain(..self.size.workers / 3);
        let lost: usize = dead
            .map(|(id, worker)| {
                worker.kill();
                self.held.forget(&id)
            })
            .sum();
        self.balanced(&begun, "a third dies, and the leader", lost as f64 * TAKEOVER_WRITES).await
    }

    /// All workers are replaced, a tenth at a time: new ones start, as many stop.
    ///
    /// # Panics
    /// The fleet is not balanced in time.
    pub async fn deploy(&mut self) -> Phase {
        let part = self.workers.len().div_ceil(10);
        let begun = Begun::now(&self.world.local);
        let mut old = std::mem::take(&mut self.workers);
        while !old.is_empty() {
            let leaving: Vec<_> = old.drain(..part.min(old.len())).collect();
            for _ in &leaving {
                self.start_one();
            }
            let stopped = leaving.into_iter().map(|(_, worker)| worker.stop());
            for stopped in futures::future::join_all(stopped).await {
                stopped.expect("the worker stops in good order");
            }
        }
        // A lease is released, given away and written by its new owner, at least once.
        let writes = f64::from(self.size.leases) * (1.0 + TAKEOVER_WRITES);
        self.balanced(&begun, "all are replaced, a tenth at a time", writes).await
    }

    /// Status of the fleet, read from the lease table.
    async fn status(&self) -> FleetStatus {
        self.world.status().await
    }

    fn start_one(&mut self) {
        let id = format!("w{}", self.born);
        self.born += 1;
        let streams = Streams::new(self.streams.iter().cloned());
        let held = self.held.clone();
        let builder = Worker::builder(&self.world.aws, APPLICATION, streams)
            .worker_id(&id)
            .initial_position(InitialPosition::TrimHorizon)
            .lease_duration(self.lease_duration)
            .renewals(self.size.renewals)
            .retrieval(Polling::new().idle_between_reads(READ_PAUSE));
        let worker = Running::start_factory(builder, move |shard: &ShardContext| Holder::new(&held, shard));
        self.workers.push((id, worker));
    }

    /// Waits until the fleet is balanced.
    async fn balanced(&self, begun: &Begun, name: &'static str, writes: f64) -> Phase {
        while !self.is_balanced() {
            assert!(begun.elapsed() < PATIENCE, "{name}: not balanced after {PATIENCE:?}, {}", self.held.summary());
            sleep(Duration::from_millis(100)).await;
        }
        begun.phase(name, Duration::from_secs_f64(writes / TABLE_WRITES), &self.world.local)
    }

    /// True if every shard is processed, by one worker, and no worker has a tenth more than its share, and one.
    fn is_balanced(&self) -> bool {
        let held = self.held.lock();
        let share = self.size.leases as usize / self.workers.len();
        let total: usize = held.values().sum();
        total == self.size.leases as usize && held.values().all(|shards| *shards <= share + share / 10 + 1)
    }
}
