//! A large fleet in virtual time, at the limits of its lease table: all workers start at once, a third of them dies with
//! the leader, and all are replaced, one part after the other.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use kcl::{
    Checkpointer, FleetStatus, InitialPosition, Polling, RecordBatch, RecordProcessor, Renewals, ShardContext, Streams,
    Worker, WorkerId,
};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

use crate::{APPLICATION, Running, TableRequests, World};

/// Number of streams among which the shards are divided.
const STREAMS: u32 = 4;
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

/// Size of a fleet.
#[derive(Debug, Clone, Copy)]
pub struct FleetSize {
    /// Number of workers.
    pub workers: usize,
    /// Number of leases.
    pub leases: u32,
    /// Renewal of the leases.
    pub renewals: Renewals,
}

/// Phase of a fleet's life, as it was simulated.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Name of the phase.
    pub name: &'static str,
    /// Time until each shard is processed, by no worker many more than by others.
    pub balanced: Duration,
    /// Time that the writes need at least, by the table's limit.
    pub needed: Duration,
    /// Requests to the lease table by operation.
    pub requests: BTreeMap<&'static str, u64>,
}

impl Phase {
    /// Time over what the writes need.
    pub fn ratio(&self) -> f64 {
        self.balanced.as_secs_f64() / self.needed.as_secs_f64()
    }
}

/// A fleet of many workers.
#[derive(Debug)]
pub struct LargeFleet {
    world: World,
    size: FleetSize,
    lease_duration: Duration,
    held: Held,
    workers: Vec<(String, Running)>,
    born: usize,
}

impl LargeFleet {
    /// Streams without a fleet yet.
    async fn new(size: FleetSize, lease_duration: Duration) -> Self {
        let world = World::without_stream(LocalAws::builder().enforce_table_limits().start().await);
        for stream in 0..STREAMS {
            world.local.create_stream(&name(stream), size.leases / STREAMS).expect("the stream is new");
        }
        world.local.faults().on("dynamodb:*").delay(ROUND_TRIP);
        Self { world, size, lease_duration, held: Held::default(), workers: Vec::new(), born: 0 }
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
    async fn start_cold(&mut self) -> Phase {
        for _ in 0..self.size.workers {
            self.start_one();
        }
        self.phase("all start at once", f64::from(self.size.leases) * COLD_WRITES).await
    }

    /// Nothing happens for three lease durations.
    async fn rest(&self) {
        sleep(3 * self.lease_duration).await;
    }

    /// A third of the workers dies, the leader among them.
    async fn lose_a_third(&mut self) -> Phase {
        let leader = self.status().await.leader.expect("the fleet has a leader").to_string();
        self.workers.sort_by_key(|(id, _)| *id != leader);
        let dead = self.workers.drain(..self.size.workers / 3);
        let lost: usize = dead
            .map(|(id, worker)| {
                worker.kill();
                self.held.forget(&id)
            })
            .sum();
        self.phase("a third dies, and the leader", lost as f64 * TAKEOVER_WRITES).await
    }

    /// All workers are replaced, a tenth at a time: new ones start, as many stop.
    async fn deploy(&mut self) -> Phase {
        let part = self.workers.len().div_ceil(10);
        let begun = (Instant::now(), TableRequests::of(&self.world.local));
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
        self.finish(begun, "all are replaced, a tenth at a time", writes).await
    }

    /// Status of the fleet, read from the lease table.
    async fn status(&self) -> FleetStatus {
        self.world.status().await
    }

    fn start_one(&mut self) {
        let id = format!("w{}", self.born);
        self.born += 1;
        let streams = Streams::new((0..STREAMS).map(name));
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

    async fn phase(&self, name: &'static str, writes: f64) -> Phase {
        self.finish((Instant::now(), TableRequests::of(&self.world.local)), name, writes).await
    }

    /// Waits until the fleet is balanced.
    async fn finish(&self, (begun, requests): (Instant, TableRequests), name: &'static str, writes: f64) -> Phase {
        while !self.is_balanced() {
            assert!(begun.elapsed() < PATIENCE, "{name}: not balanced after {PATIENCE:?}, {}", self.held.summary());
            sleep(Duration::from_millis(100)).await;
        }
        Phase {
            name,
            balanced: begun.elapsed(),
            needed: Duration::from_secs_f64(writes / TABLE_WRITES),
            requests: requests.counts(),
        }
    }

    /// True if every shard is processed, by one worker, and no worker has a tenth more than its share, and one.
    fn is_balanced(&self) -> bool {
        let held = self.held.lock();
        let share = self.size.leases as usize / self.workers.len();
        let total: usize = held.values().sum();
        total == self.size.leases as usize && held.values().all(|shards| *shards <= share + share / 10 + 1)
    }
}

fn name(stream: u32) -> String {
    format!("stream-{stream}")
}

/// Number of shards that each worker processes.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<HashMap<WorkerId, usize>>>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkerId, usize>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }

    /// Forgets a worker that died; the number of its shards.
    fn forget(&self, worker: &str) -> usize {
        self.lock().remove(&WorkerId::from(worker)).unwrap_or_default()
    }

    fn summary(&self) -> String {
        let held = self.lock();
        let (total, max): (usize, _) = (held.values().sum(), held.values().max());
        format!("{total} shards are processed by {} workers, {max:?} by one", held.len())
    }
}

/// A processor that only counts as one.
#[derive(Debug)]
struct Holder {
    held: Held,
    worker: WorkerId,
}

impl Holder {
    fn new(held: &Held, shard: &ShardContext) -> Self {
        *held.lock().entry(shard.worker_id.clone()).or_default() += 1;
        Self { held: held.clone(), worker: shard.worker_id.clone() }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(shards) = self.held.lock().get_mut(&self.worker) {
            *shards = shards.saturating_sub(1);
        }
    }
}

impl RecordProcessor for Holder {
    type Error = Infallible;

    async fn process_records(&mut self, _batch: RecordBatch, _checkpointer: &Checkpointer) -> Result<(), Infallible> {
        Ok(())
    }
}
