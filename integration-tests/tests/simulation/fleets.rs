//! Fleets under everything at once, many times over, each time from another seed: three workers, shards that split and
//! merge, workers that die at any point and come back, throttling, failures, lost answers and delays of both services,
//! lagging reads, indexes that refuse, outages of what lists shards, and processors that are slow, fail and panic. In a third
//! of them the stream is read as one of several, and in a quarter the machine's clock is wrong by up to an hour. They start
//! at LATEST, at a time or at TRIM_HORIZON. In the end half of them stand still until the retention has forgotten shards
//! and records that nobody read, and a quarter have their stream deleted and created again under the fleet.
//!
//! (A) Every record is processed that was put since the start and is still retained, and no earlier one. (B) No checkpoint
//! in the lease table is ever ahead of what is processed. (C) What one processor is given follows its checkpoint without a
//! gap, in order. (D) Nothing of a shard is processed before all of its parents is. (E) No processor starts before a
//! checkpoint that was reported as stored. (F) A fleet of one stream reads nothing of another that takes its name.
//!
//! `KCL_SIMULATION_SEEDS` says how many seeds to run, `KCL_SIMULATION_SEED` runs one of them.

mod unruly;

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use integration_tests::{APPLICATION, Running, STREAM, World, history::now, seeds};
use kcl::{
    Checkpoint, CheckpointEvery, FanOut, FleetStatus, InitialPosition, Position, Retrieval, ShardContext, StreamId,
    StreamSource, Streams, Worker, WorkerBuilder, WorkerError,
};
use kinesis_local::LocalAws;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use unruly::{Given, Shared, Unruly};

/// Seeds of a run that is not told how many.
const SEEDS: u64 = 16;
/// Duration of the time in which records are put and everything goes wrong.
const CHAOS: Duration = Duration::from_secs(30);
/// Maximum duration of the fleet's way to rest.
const PATIENCE: Duration = Duration::from_secs(180);
/// Duration of a stream's creation, which the service may take, too.
const CREATION: Duration = Duration::from_secs(15);
/// Number of the first record that no processor may be given.
const UNWANTED: u64 = 1_000_000;

#[test]
fn loses_skips_and_disorders_nothing_whatever_happens() {
    let failed = seeds::failing("KCL_SIMULATION_SEED", SEEDS, simulate);
    assert!(failed.is_empty(), "seeds {failed:?} failed");
}

/// One fleet's life, on virtual time.
fn simulate(seed: u64) {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(async {
        let mut fleet = Fleet::new(seed).await;
        fleet.chaos().await;
        match seed / 4 % 4 {
            0 | 1 => fleet.stand_still().await,
            2 => fleet.create_anew().await,
            _ => {}
        }
        fleet.come_to_rest().await;
        fleet.check_order().await;
    });
}

struct Fleet {
    world: World,
    shared: Arc<Shared>,
    retrieval: Retrieval,
    /// The stream as one of several, in some worlds.
    several: Option<Streams>,
    checkpoint_every: Option<CheckpointEvery>,
    position: InitialPosition,
    application: String,
    /// The second in which the stream was created, by which shards of the same id differ.
    life: u64,
    /// Records that must be processed, or be processed already.
    wanted: Range<u64>,
}

/// A shard's name, distinct from that of any other stream's shard.
fn name(life: u64, stream: Option<&StreamId>, shard: &str) -> String {
    format!("{shard} of {}", stream.and_then(StreamId::creation_epoch).unwrap_or(life))
}

fn millis(range: Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(range))
}

impl Fleet {
    async fn new(seed: u64) -> Self {
        let mut local = LocalAws::builder().creating_takes(CREATION);
        if fastrand::bool() {
            local = local.dynamodb_reads_lag(millis(0..3_000));
        }
        let local = local.start().await;
        // A time at which to begin comes from the machine's clock.
        let is_at_time = seed % 5 == 4;
        if !is_at_time && fastrand::u8(0..3) == 0 {
            let error = millis(0..3_600_000);
            if fastrand::bool() { local.set_clock_ahead(error) } else { local.set_clock_behind(error) }
        }
        let world = World::on(local, fastrand::i32(1..4)).await;
        sleep(CREATION).await;
        let position = match seed % 5 {
            0 | 1 => InitialPosition::Latest,
            4 => InitialPosition::AtTimestamp(now(&world, UNWANTED).await + Duration::from_millis(1)),
            _ => InitialPosition::TrimHorizon,
        };
        sleep(Duration::from_millis(10)).await;
        world.local.faults().seed(seed);
        let shared = Arc::new(Shared { log: Mutex::default(), unruly: AtomicBool::new(true) });
        let retrieval = if seed.is_multiple_of(4) { Retrieval::FanOut(FanOut::new()) } else { Retrieval::default() };
        let checkpoint_every = fastrand::bool().then(|| CheckpointEvery::new(fastrand::u32(1..100), millis(0..5_000)));
        let several = (seed % 3 == 1).then(|| Streams::new([STREAM]));
        let (application, life) = (APPLICATION.to_owned(), created(&world).await);
        let wanted = 0..0;
        let fleet = Self { world, shared, retrieval, several, checkpoint_every, position, application, life, wanted };
        if position == InitialPosition::Latest {
            fleet.begin().await;
        }
        fleet
    }

    /// The first start of an application at LATEST: what has been put is not for it, and what will be is.
    async fn begin(&self) {
        self.world.put(UNWANTED..UNWANTED + 20).await;
        if fastrand::bool() {
            self.world.split(&self.world.open_shards().await[0]).await;
            self.world.put(UNWANTED..UNWANTED + 20).await;
        }
        sleep(Duration::from_secs(10)).await;
        let _first = self.start("first");
        self.until_read().await;
    }

    /// Waits until the open shards of the present stream are read: before, the first owner of each notes what LATEST means.
    async fn until_read(&self) {
        let open = self.world.open_shards().await;
        let deadline = Instant::now() + PATIENCE;
        let is_begun = |shard: &String| {
            let name = name(self.life, None, shard);
            self.shared.log().processors.iter().any(|given| given.shard == name)
        };
        while !open.iter().all(is_begun) {
            assert!(Instant::now() < deadline, "(A) some of {open:?} have no processor");
            sleep(Duration::from_millis(500)).await;
        }
        sleep(Duration::from_secs(15)).await;
    }

    fn start(&self, worker_id: &str) -> Running {
        let source = self.several.clone().map_or_else(|| STREAM.into(), StreamSource::from);
        let builder = Worker::builder(&self.world.aws, &self.application, source);
        let builder = WorkerBuilder::lease_duration(builder, Duration::from_secs(4))
            .worker_id(worker_id)
            .initial_position(self.position)
            .handoff_timeout(Duration::from_secs(4))
            .shutdown_grace(Duration::from_secs(2))
            .retrieval(self.retrieval.clone());
        let (shared, life) = (Arc::clone(&self.shared), self.life);
        let factory = move |shard: &ShardContext| {
            Unruly::new(Arc::clone(&shared), shard, name(life, Some(&shard.stream_id), shard.shard_id.as_str()))
        };
        Running::start_worker(match self.checkpoint_every {
            Some(every) => builder.build_checkpointing(every, factory).expect("settings are right"),
            None => builder.build(factory).expect("settings are right"),
        })
    }

    fn set_faults(&self) {
        let faults = self.world.local.faults();
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
        match fastrand::u8(0..8) {
            0 => {
                faults.on("kinesis:ListShards").throttle();
                faults.on("kinesis:DescribeStreamSummary").unavailable();
            }
            1 => {
                let message = "The table does not have the specified index: LeaseOwnerToLeaseKeyIndex";
                faults.on("dynamodb:Query").refuse(400, "ValidationException", message);
            }
            _ => {}
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
                    self.world.local.faults().clear();
                    self.set_faults();
                }
                13..20 => self.check_checkpoints().await,
                _ => {}
            }
        }
        self.shared.unruly.store(false, Ordering::Relaxed);
        self.world.local.faults().clear();
        self.settle(workers).await;
    }

    fn left(&self) -> Vec<u64> {
        let log = self.shared.log();
        self.wanted.clone().filter(|id| !log.processed.contains_key(id)).collect()
    }

    async fn until_processed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.left().is_empty() {
            assert!(Instant::now() < deadline, "(A) never processed: {:?}", self.left());
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Without faults, until everything is processed.
    async fn settle(&mut self, workers: BTreeMap<String, Running>) {
        let heir = self.start("heir");
        self.until_processed().await;
        drop(workers);
        heir.stop().await.expect("worker stops in good order");
    }

    /// Nobody works for longer than the stream retains records, while it is put to and resharded.
    async fn stand_still(&mut self) {
        self.check_order().await;
        {
            // What has been put so far will be forgotten.
            let mut log = self.shared.log();
            log.put.clear();
            log.checked = log.processors.len();
        }
        self.wanted.start = self.wanted.end;
        for retained in [false, true] {
            for _ in 0..fastrand::u32(0..3) {
                match retained {
                    true => self.put(20).await,
                    false => self.world.put(UNWANTED..UNWANTED + 20).await,
                }
                self.reshard().await;
                self.world.local.faults().clear();
            }
            sleep(millis(43_300_000..50_000_000)).await;
        }
    }

    /// The stream is deleted, with what it retained, and another of its name created, while the fleet works.
    async fn create_anew(&mut self) {
        self.check_order().await;
        let workers = ["before1", "before2"].map(|id| self.start(id));
        self.put(20).await;
        sleep(millis(0..20_000)).await;
        self.put(fastrand::u64(1..20)).await;
        self.set_faults();
        self.world.recreate(fastrand::i32(1..4)).await;
        sleep(CREATION - Duration::from_millis(100)).await;
        self.world.local.faults().clear();
        sleep(Duration::from_millis(100)).await;
        self.life = created(&self.world).await;
        self.wanted.start = self.wanted.end;
        let is_at_latest = self.position == InitialPosition::Latest;
        match (is_at_latest, &self.several) {
            (false, _) => self.put(20).await,
            (true, None) => self.world.put(UNWANTED..UNWANTED + 20).await,
            // What is put before the fleet has found the new stream may be read or not.
            (true, Some(_)) => {}
        }
        if self.several.is_some() {
            self.until_read().await;
            self.put(20).await;
            self.until_processed().await;
            return;
        }
        for mut worker in workers {
            let ended = timeout(PATIENCE, worker.ended()).await;
            // One that has not started yet may find none.
            let is_right =
                matches!(ended, Ok(Err(WorkerError::OtherStream { .. } | WorkerError::StreamNotFound { .. })));
            assert!(is_right, "(F) {ended:?}");
        }
        assert_eq!(self.left(), self.wanted.clone().collect::<Vec<_>>(), "(F)");
        self.application = format!("{APPLICATION}-again");
        if is_at_latest {
            self.begin().await;
        }
    }

    /// A worker alone goes on where the last one stopped, to its own rest.
    async fn come_to_rest(&mut self) {
        let last = self.start("last");
        self.put(10).await;
        self.until_processed().await;
        last.stop().await.expect("worker stops in good order");
        let status = FleetStatus::read(&self.world.aws, &self.application).await.expect("nothing refuses");
        assert!(!status.leases.is_empty(), "{status}");
        self.compare(status);
    }

    async fn put(&mut self, count: u64) {
        for _ in 0..count {
            let id = self.wanted.end;
            self.wanted.end += 1;
            let put = self.world.kinesis.put_record().stream_name(STREAM).partition_key(format!("key-{}", id % 20));
            let stored = put.data(aws_sdk_kinesis::primitives::Blob::new(id.to_string())).send().await;
            let stored = stored.expect("puts meet no faults");
            let number = stored.sequence_number().parse().expect("is a number");
            let shard = name(self.life, None, stored.shard_id());
            self.shared.log().put.entry(shard).or_default().push((number, id));
        }
    }

    async fn reshard(&self) {
        let open = self.world.kinesis.list_shards().stream_name(STREAM).send().await;
        // Listing meets faults.
        let Ok(open) = open.map(|listed| listed.shards().len()) else { return };
        if open > 12 {
            return;
        }
        self.world.local.faults().clear();
        let open = self.world.open_shards().await;
        if open.len() > 1 && fastrand::bool() {
            self.world.merge_neighbours().await;
        } else {
            self.world.split(&open[fastrand::usize(0..open.len())]).await;
        }
        self.set_faults();
    }

    async fn check_checkpoints(&self) {
        // The table may refuse.
        if let Ok(status) = FleetStatus::read(&self.world.aws, &self.application).await {
            self.compare(status);
        }
    }

    fn compare(&self, status: FleetStatus) {
        let log = self.shared.log();
        for lease in status.leases {
            let shard = name(self.life, lease.stream_id.as_ref(), lease.shard_id.as_str());
            let Some(put) = log.put.get(&shard) else { continue };
            for (number, id) in put {
                let position = Position::new(number.clone(), 0);
                let covered = Checkpoint::At(position) <= lease.checkpoint;
                let processed = log.processed.contains_key(id);
                assert!(processed || !covered, "(B) {shard} covers record {id}: {}", lease.checkpoint);
            }
        }
    }

    async fn check_order(&self) {
        let listed = self.world.kinesis.list_shards().stream_name(STREAM).send().await.expect("stream is there");
        let log = self.shared.log();
        assert!(log.forgetful.is_empty(), "(E) {:?}", log.forgetful);
        let none = Vec::new();
        for Given { shard, after, ids } in &log.processors[log.checked..] {
            let put = log.put.get(shard).unwrap_or(&none);
            let first = put.iter().position(|(number, _)| {
                let position = Position::new(number.clone(), 0);
                Checkpoint::At(position) > *after
            });
            let expected: Vec<u64> = put[first.unwrap_or(put.len())..].iter().map(|(_, id)| *id).collect();
            assert!(expected.starts_with(ids), "(C) after {after} in {shard}: {ids:?} of {expected:?}");
        }
        for shard in listed.shards() {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            let put = |shard: &str| log.put.get(&name(self.life, None, shard)).into_iter().flatten();
            let ids = |shard: &str| put(shard).map(|(_, id)| *id).collect::<HashSet<_>>();
            let begun = ids(shard.shard_id()).iter().filter_map(|id| log.given.get(id)).min().copied();
            for parent in parents.into_iter().flatten() {
                let done = ids(parent).iter().filter_map(|id| log.processed.get(id)).max().copied();
                let late = begun.zip(done).is_some_and(|(begun, done)| begun < done);
                assert!(!late, "(D) {} began before {parent} was processed", shard.shard_id());
            }
        }
    }
}

async fn created(world: &World) -> u64 {
    let described = world.kinesis.describe_stream_summary().stream_name(STREAM).send().await;
    let summary = described.expect("stream is there").stream_description_summary.expect("answer is whole");
    summary.stream_creation_timestamp.secs().try_into().expect("it is after 1970")
}
