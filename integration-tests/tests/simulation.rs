//! Fleets under everything at once, many times over, each time from another seed: three workers, shards that split and
//! merge, workers that die at any point and come back, throttling, failures, lost answers and delays of both services,
//! lagging reads, and processors that are slow, fail and panic. In a third of them the stream is read as one of several.
//!
//! (A) Every record is processed. (B) No checkpoint in the lease table is ever ahead of what is processed.
//! (C) What one processor is given follows its checkpoint without a gap, in order. (D) Nothing of a shard is processed
//! before all of its parents is. (E) No processor starts before a checkpoint that was reported as stored.
//!
//! `KCL_SIMULATION_SEEDS` says how many seeds to run, `KCL_SIMULATION_SEED` runs one of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use integration_tests::{APPLICATION, Running, STREAM, TestStream, id_of};
use kcl::{
    BoxError, Checkpoint, CheckpointEvery, Checkpointer, FanOut, FleetStatus, InitialPosition, Position, RecordBatch,
    RecordProcessor, Retrieval, SequenceNumber, ShardContext, Streams, Worker, WorkerBuilder,
};
use kinesis_local::LocalAws;
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

/// Seeds of a run that is not told how many.
const SEEDS: u64 = 16;
/// How long records are put and everything goes wrong.
const CHAOS: Duration = Duration::from_secs(30);
/// How long the fleet may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn whatever_happens_nothing_is_lost_skipped_or_out_of_order() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("is a number"));
    let seeds = match number("KCL_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KCL_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    if std::panic::catch_unwind(|| simulate(seed)).is_err() {
                        let replay = "cargo test -p integration-tests --test simulation";
                        eprintln!("seed {seed} failed: KCL_SIMULATION_SEED={seed} {replay}");
                        failed.lock().expect("nobody panics here").push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics here");
    assert!(failed.is_empty(), "seeds {failed:?} failed");
}

/// One fleet's life, on virtual time.
fn simulate(seed: u64) {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(async {
        let mut world = World::new(seed).await;
        world.chaos().await;
        world.come_to_rest().await;
        world.check_order().await;
    });
}

/// What was put and what became of it.
#[derive(Default)]
struct Log {
    /// By shard, in order.
    put: BTreeMap<String, Vec<(SequenceNumber, u64)>>,
    /// When each record was processed first, by a count of such events.
    processed: HashMap<u64, usize>,
    /// When each record was given to a processor first, by the same count.
    given: HashMap<u64, usize>,
    /// What each processor was told to start after, and what it was given.
    processors: Vec<(ShardContext, Vec<(Position, u64)>)>,
    /// By shard, the furthest checkpoint of which a processor was told that it is stored.
    stored: HashMap<String, Checkpoint>,
    /// Processors that started before what was stored, which a panic of theirs would not tell.
    forgetful: Vec<String>,
}

struct Shared {
    log: Mutex<Log>,
    /// Whether processors misbehave.
    unruly: AtomicBool,
}

impl Shared {
    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().expect("nobody panics with the log in hand")
    }
}

/// Writes down what it is given; slow, failing and panicking as long as that is wanted.
struct Unruly {
    shared: Arc<Shared>,
    number: usize,
}

impl Unruly {
    fn new(shared: Arc<Shared>, shard: &ShardContext) -> Self {
        let mut log = shared.log();
        let number = log.processors.len();
        log.processors.push((shard.clone(), Vec::new()));
        if let Some(stored) = log.stored.get(shard.shard_id.as_str()).filter(|stored| **stored > shard.checkpoint) {
            let told = format!("{} starts after {}, {stored} was stored", shard.shard_id, shard.checkpoint);
            log.forgetful.push(told);
        }
        drop(log);
        Self { shared, number }
    }

    fn roll(&self, probability: f64) -> bool {
        self.shared.unruly.load(Ordering::Relaxed) && fastrand::f64() < probability
    }

    async fn misbehave(&self) -> Result<(), BoxError> {
        if self.roll(0.2) {
            sleep(Duration::from_millis(fastrand::u64(0..1_500))).await;
        }
        if self.roll(0.02) {
            sleep(Duration::from_millis(fastrand::u64(0..12_000))).await;
        }
        if self.roll(0.06) {
            return Err("said no".into());
        }
        assert!(!self.roll(0.02), "a processor that panics");
        Ok(())
    }
}

impl RecordProcessor for Unruly {
    type Error = BoxError;

    async fn initialize(&mut self, _shard: &ShardContext) -> Result<(), BoxError> {
        if self.roll(0.05) { Err("not today".into()) } else { Ok(()) }
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        {
            let mut log = self.shared.log();
            let now = log.given.len() + log.processed.len();
            for record in &batch.records {
                log.processors[self.number].1.push((record.position(), id_of(record)));
                log.given.entry(id_of(record)).or_insert(now);
            }
        }
        self.misbehave().await?;
        {
            let mut log = self.shared.log();
            let now = log.given.len() + log.processed.len();
            for record in &batch.records {
                log.processed.entry(id_of(record)).or_insert(now);
            }
        }
        let stored = match fastrand::u8(0..4) {
            0 => return Ok(()),
            1 => checkpointer.checkpoint_at(&batch.records[batch.records.len() / 2]).await,
            2 => match checkpointer.prepare(Some("state".into())).await {
                Ok(prepared) => prepared.commit().await,
                Err(error) => Err(error),
            },
            _ => checkpointer.checkpoint().await,
        };
        if stored.is_ok() {
            let mut log = self.shared.log();
            let shard = log.processors[self.number].0.shard_id.to_string();
            let furthest = log.stored.entry(shard).or_insert(Checkpoint::AtTimestamp);
            *furthest = checkpointer.last().max(furthest.clone());
        }
        if self.roll(0.5) { Ok(stored?) } else { Ok(()) }
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.misbehave().await
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.misbehave().await?;
        Ok(checkpointer.checkpoint().await?)
    }
}

struct World {
    stream: TestStream,
    shared: Arc<Shared>,
    retrieval: Retrieval,
    /// The stream as one of several, in some worlds.
    several: Option<Streams>,
    checkpoint_every: Option<CheckpointEvery>,
    next_id: u64,
}

fn millis(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(range))
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut local = LocalAws::builder();
        if fastrand::bool() {
            local = local.dynamodb_reads_lag(millis(0..3_000));
        }
        let stream = TestStream::on(local.start().await, fastrand::i32(1..4)).await;
        stream.local.faults().seed(seed);
        let shared = Arc::new(Shared { log: Mutex::default(), unruly: AtomicBool::new(true) });
        let retrieval = if seed.is_multiple_of(4) { Retrieval::FanOut(FanOut::new()) } else { Retrieval::Polling };
        let checkpoint_every =
            fastrand::bool().then(|| CheckpointEvery { records: fastrand::u32(1..100), interval: millis(0..5_000) });
        let several = (seed % 3 == 1).then(|| Streams::new([STREAM]));
        Self { stream, shared, retrieval, several, checkpoint_every, next_id: 0 }
    }

    fn start(&self, worker_id: &str) -> Running {
        let builder = match &self.several {
            Some(streams) => Worker::builder(&self.stream.aws, APPLICATION, streams.clone())
                .worker_id(worker_id)
                .initial_position(InitialPosition::TrimHorizon),
            None => self.stream.worker(worker_id),
        };
        let builder = WorkerBuilder::lease_duration(builder, Duration::from_secs(4))
            .handoff_timeout(Duration::from_secs(4))
            .shutdown_grace(Duration::from_secs(2))
            .retrieval(self.retrieval.clone());
        let builder = match self.checkpoint_every {
            Some(every) => builder.checkpoint_every(every),
            None => builder,
        };
        let shared = Arc::clone(&self.shared);
        Running::start_factory(builder, move |shard: &ShardContext| Unruly::new(Arc::clone(&shared), shard))
    }

    fn set_faults(&self) {
        let faults = self.stream.local.faults();
        let reads = [
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
            "kinesis:SubscribeToShard",
        ];
        let strength = fastrand::f64() * 0.3;
        for action in reads.into_iter().chain(["dynamodb:*"]) {
            let rule = || faults.on(action).with_probability(strength * fastrand::f64());
            rule().throttle();
            rule().fail();
            rule().drop_connection();
            rule().lose_response();
            rule().delay(millis(0..400));
            rule().after_effect().delay(millis(0..400));
        }
        faults.on("kinesis:SubscribeToShard").with_probability(strength).cut_event_stream(fastrand::usize(0..5));
    }

    /// Puts records, reshards, kills, restarts, stops.
    async fn chaos(&mut self) {
        self.set_faults();
        let mut workers: BTreeMap<String, Running> =
            ["w1", "w2", "w3"].into_iter().map(|id| (id.to_owned(), self.start(id))).collect();
        let (end, mut born) = (Instant::now() + CHAOS, 3);
        while Instant::now() < end {
            sleep(millis(0..600)).await;
            self.put(fastrand::u64(1..20)).await;
            match fastrand::u32(0..100) {
                0..3 => self.reshard().await,
                3..8 => {
                    // At whatever await the worker stands after so many steps of its tasks.
                    for _ in 0..fastrand::u32(0..100) {
                        yield_now().await;
                    }
                    let id = workers.keys().nth(fastrand::usize(0..workers.len())).expect("one is left").clone();
                    workers.remove(&id).expect("it is there").kill();
                    let id = if fastrand::bool() {
                        id
                    } else {
                        born += 1;
                        format!("w{born}")
                    };
                    let pause = millis(0..3_000);
                    sleep(pause).await;
                    workers.insert(id.clone(), self.start(&id));
                }
                8..10 => {
                    let id = workers.keys().next().expect("one is left").clone();
                    // A lease table that refuses may let it end with an error; what matters is what is processed.
                    let _ = workers.remove(&id).expect("it is there").stop().await;
                    workers.insert(id.clone(), self.start(&id));
                }
                10..13 => {
                    self.stream.local.faults().clear();
                    self.set_faults();
                }
                13..20 => self.check_checkpoints().await,
                _ => {}
            }
        }
        self.shared.unruly.store(false, Ordering::Relaxed);
        self.stream.local.faults().clear();
        self.settle(workers).await;
    }

    /// Without faults, until everything is processed.
    async fn settle(&mut self, workers: BTreeMap<String, Running>) {
        let heir = self.start("heir");
        let deadline = Instant::now() + PATIENCE;
        let left = |world: &Self| {
            let log = world.shared.log();
            (0..world.next_id).filter(|id| !log.processed.contains_key(id)).collect::<Vec<_>>()
        };
        while !left(self).is_empty() {
            assert!(Instant::now() < deadline, "(A) never processed: {:?}", left(self));
            sleep(Duration::from_millis(500)).await;
        }
        drop(workers);
        heir.stop().await.expect("worker stops in good order");
    }

    /// A worker alone goes on where the last one stopped, to its own rest.
    async fn come_to_rest(&mut self) {
        let last = self.start("last");
        self.put(10).await;
        let ids = self.next_id - 10..self.next_id;
        let deadline = Instant::now() + PATIENCE;
        while !ids.clone().all(|id| self.shared.log().processed.contains_key(&id)) {
            assert!(Instant::now() < deadline, "(A) the fleet does not recover");
            sleep(Duration::from_millis(500)).await;
        }
        last.stop().await.expect("worker stops in good order");
        self.check_checkpoints().await;
    }

    async fn put(&mut self, count: u64) {
        for _ in 0..count {
            let id = self.next_id;
            self.next_id += 1;
            let put = self.stream.kinesis.put_record().stream_name(STREAM).partition_key(format!("key-{}", id % 20));
            let stored = put.data(aws_sdk_kinesis::primitives::Blob::new(id.to_string())).send().await;
            let stored = stored.expect("puts meet no faults");
            let number = stored.sequence_number().parse().expect("is a number");
            self.shared.log().put.entry(stored.shard_id().to_owned()).or_default().push((number, id));
        }
    }

    async fn reshard(&self) {
        let open = self.stream.kinesis.list_shards().stream_name(STREAM).send().await;
        // Listing meets faults.
        let Ok(open) = open.map(|listed| listed.shards().len()) else { return };
        if open > 12 {
            return;
        }
        self.stream.local.faults().clear();
        let open = self.stream.open_shards().await;
        if open.len() > 1 && fastrand::bool() {
            self.stream.merge_neighbours().await;
        } else {
            self.stream.split(&open[fastrand::usize(0..open.len())]).await;
        }
        self.set_faults();
    }

    async fn check_checkpoints(&self) {
        // The table may refuse.
        let Ok(status) = FleetStatus::read(&self.stream.aws, APPLICATION).await else { return };
        let log = self.shared.log();
        for lease in status.leases {
            let Some(put) = log.put.get(lease.shard_id.as_str()) else { continue };
            for (number, id) in put {
                let position = Position { sequence_number: number.clone(), sub_sequence_number: 0 };
                let covered = Checkpoint::At(position) <= lease.checkpoint;
                let processed = log.processed.contains_key(id);
                assert!(processed || !covered, "(B) {} covers record {id}: {}", lease.shard_id, lease.checkpoint);
            }
        }
    }

    async fn check_order(&self) {
        let listed = self.stream.kinesis.list_shards().stream_name(STREAM).send().await.expect("stream is there");
        let log = self.shared.log();
        assert!(log.forgetful.is_empty(), "(E) {:?}", log.forgetful);
        let none = Vec::new();
        for (shard, given) in &log.processors {
            let put = log.put.get(shard.shard_id.as_str()).unwrap_or(&none);
            let first = put.iter().position(|(number, _)| {
                let position = Position { sequence_number: number.clone(), sub_sequence_number: 0 };
                Checkpoint::At(position) > shard.checkpoint
            });
            let expected: Vec<u64> = put[first.unwrap_or(put.len())..].iter().map(|(_, id)| *id).collect();
            let given: Vec<u64> = given.iter().map(|(_, id)| *id).collect();
            let is_next = expected.starts_with(&given);
            assert!(is_next, "(C) after {} in {}: {given:?} of {expected:?}", shard.checkpoint, shard.shard_id);
        }
        for shard in listed.shards() {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            let ids = |shard: &str| log.put.get(shard).into_iter().flatten().map(|(_, id)| *id).collect::<HashSet<_>>();
            let begun = ids(shard.shard_id()).iter().filter_map(|id| log.given.get(id)).min().copied();
            for parent in parents.into_iter().flatten() {
                let done = ids(parent).iter().filter_map(|id| log.processed.get(id)).max().copied();
                let late = begun.zip(done).is_some_and(|(begun, done)| begun < done);
                assert!(!late, "(D) {} began before {parent} was processed", shard.shard_id());
            }
        }
    }
}
