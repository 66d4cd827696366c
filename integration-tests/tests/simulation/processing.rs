//! Processors, closures and streams with all error policies, many times over, each time from another seed: workers come,
//! go in good order and hand shards over to each other, records fail once or for ever, calls take their time, streams are
//! dropped, the lease table is slow, and some records come in aggregates.
//!
//! (A) Every record is processed, or given up as the policy says and reported. (B) What one processor is given is in order,
//! by partition key where a closure handles several at a time. (C) No checkpoint in the lease table covers a record that
//! was neither acknowledged nor given up. (D) Where culprits are looked for, exactly they are given up, each once, after
//! its attempts. (E) Where nothing fails by itself, nothing is processed twice.
//!
//! `KCL_PROCESSING_SEEDS` says how many seeds to run, `KCL_PROCESSING_SEED` runs one of them.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_sdk_kinesis::primitives::Blob;
use futures::{StreamExt as _, TryStreamExt as _};
use integration_tests::{APPLICATION, STREAM, World, id_of, seeds};
use kcl::{
    BoxError, Checkpoint, CheckpointEvery, Checkpointer, ErrorPolicy, Event, FailedRecords, FleetStatus, Position,
    Record, RecordBatch, RecordProcessor, ShardContext, ShardStream, Stopper, WorkerBuilder, WorkerHandle,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// Seeds of a run that is not told how many.
const SEEDS: u64 = 12;
/// Duration of the phase in which records are put and workers come and go.
const UNREST: Duration = Duration::from_secs(40);
/// Maximum duration of the last worker's work on what is left: each record that is looked for by halving costs some ten
/// restarts, with pauses of up to 30 s.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// Maximum size of a batch that is tried again whole where records fail by chance; a larger one would hardly ever succeed.
const SMALL_BATCH: u32 = 50;

#[test]
fn nothing_is_skipped_silently_repeated_without_need_or_out_of_order() {
    let failed = seeds::failing("KCL_PROCESSING_SEED", SEEDS, simulate);
    for seed in &failed {
        fastrand::seed(*seed);
        eprintln!("{seed}: {:?}", Plan::random());
    }
    assert!(failed.is_empty(), "seeds {failed:?} failed");
}

fn simulate(seed: u64) {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(async {
        let mut life = Life::new().await;
        life.unrest().await;
        life.come_to_rest().await;
        life.check();
    });
}

fn millis(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(range))
}

/// Who consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consumer {
    /// A processor that checkpoints by itself.
    Processor,
    /// A processor for which the worker checkpoints.
    Automatic,
    Closure {
        concurrency: usize,
    },
    Streams,
}

/// What becomes of records that keep failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Restart,
    Skip,
    DeadLetter,
}

/// What a world is like.
#[derive(Debug, Clone, PartialEq)]
struct Plan {
    consumer: Consumer,
    policy: Policy,
    attempts: u32,
    isolate: bool,
    /// Part of the records that fail for ever, if there is a limit of attempts.
    bad: f64,
    /// Part of the calls that fail, and may succeed the next time.
    unlucky: f64,
    /// Longest time that a record takes.
    pause: u64,
    every: CheckpointEvery,
    max_batch_records: u32,
    /// How long the lease table takes for a write.
    table: Duration,
    /// Part of the records after which a consumer drops its stream.
    drops: f64,
    keys: u64,
}

impl Plan {
    fn random() -> Self {
        let consumer = match fastrand::u8(0..5) {
            0 => Consumer::Processor,
            1 => Consumer::Automatic,
            2 => Consumer::Closure { concurrency: 1 },
            3 => Consumer::Closure { concurrency: fastrand::usize(2..12) },
            _ => Consumer::Streams,
        };
        let policy = fastrand::choice([Policy::Restart, Policy::Skip, Policy::DeadLetter]).expect("is one of them");
        let in_half = |value: f64| if fastrand::bool() { value } else { 0.0 };
        let limited = policy != Policy::Restart && consumer != Consumer::Streams;
        let mut plan = Self {
            consumer,
            policy,
            attempts: fastrand::u32(1..4),
            isolate: fastrand::bool(),
            bad: if limited { in_half(0.03) } else { 0.0 },
            unlucky: in_half(0.005),
            pause: [0, 5, 20][fastrand::usize(0..3)],
            every: CheckpointEvery { records: fastrand::u32(1..200), interval: millis(0..8_000) },
            max_batch_records: [1, 7, 50, 10_000][fastrand::usize(0..4)],
            table: if fastrand::bool() { Duration::ZERO } else { millis(0..1_500) },
            drops: in_half(0.01),
            keys: fastrand::u64(1..20),
        };
        if plan.unlucky > 0.0 && policy == Policy::Restart && !plan.is_closure() {
            plan.max_batch_records = plan.max_batch_records.min(SMALL_BATCH);
        }
        plan
    }

    /// Whether a record that was processed may fail later: where it is processed again, and failures are chance.
    fn may_fail_later(&self) -> bool {
        self.unlucky > 0.0 && self.consumer != Consumer::Closure { concurrency: 1 }
    }

    fn is_closure(&self) -> bool {
        matches!(self.consumer, Consumer::Closure { .. })
    }

    /// Whether culprits are looked for, and only errors of theirs are counted.
    fn finds_culprits(&self) -> bool {
        (self.isolate || self.is_closure()) && (self.unlucky == 0.0 || self.policy == Policy::Restart)
    }

    /// Whether nothing makes a record be processed again.
    fn is_calm(&self) -> bool {
        let failures = self.bad + self.unlucky > 0.0;
        match self.consumer {
            Consumer::Processor => !failures,
            Consumer::Automatic | Consumer::Closure { concurrency: 1 } => true,
            // What lies behind the failed record was handled already; and long gaps are not filled at a stop.
            Consumer::Closure { .. } => !failures && self.pause <= 5,
            Consumer::Streams => self.drops == 0.0,
        }
    }
}

/// Records that were put, and their fate.
#[derive(Default)]
struct Log {
    /// By shard, in order.
    put: BTreeMap<String, Vec<(Position, u64)>>,
    bad: BTreeSet<u64>,
    /// How often each record was processed.
    processed: BTreeMap<u64, u32>,
    /// What a checkpoint may cover, once it follows without a gap.
    acknowledged: BTreeSet<u64>,
    /// In order of the events.
    given_up: Vec<u64>,
    dead_letters: Vec<u64>,
    /// By processor, what it was given: partition key and position.
    tenures: Vec<Vec<(String, Position)>>,
    /// Breaches of the library's promises, noted where a panic would only be one more failure of the application.
    breaches: Vec<String>,
}

impl Log {
    fn expect(&mut self, kept: bool, what: impl Into<String>) {
        if !kept {
            self.breaches.push(what.into());
        }
    }
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<Log>, Plan)>);

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.0.lock().expect("nobody panics with the log in hand")
    }

    fn plan(&self) -> &Plan {
        &self.0.1
    }

    /// A new processor. Returns its number.
    fn begin(&self) -> usize {
        let mut log = self.log();
        log.tenures.push(Vec::new());
        log.tenures.len() - 1
    }

    fn given(&self, tenure: usize, record: &Record) {
        self.log().tenures[tenure].push((record.partition_key.to_string(), record.position()));
    }

    /// A record is looked at; an error if it fails.
    async fn look_at(&self, id: u64) -> Result<(), BoxError> {
        let pause = self.plan().pause;
        if pause > 0 {
            sleep(millis(0..pause + 1)).await;
        }
        if self.log().bad.contains(&id) {
            return Err(format!("{id} is bad").into());
        }
        if fastrand::f64() < self.plan().unlucky {
            assert!(fastrand::u8(0..10) > 0, "bad luck");
            return Err("bad luck".into());
        }
        Ok(())
    }

    fn processed(&self, ids: &[u64]) {
        let mut log = self.log();
        ids.iter().for_each(|id| *log.processed.entry(*id).or_default() += 1);
    }

    fn acknowledged(&self, ids: impl IntoIterator<Item = u64>) {
        self.log().acknowledged.extend(ids);
    }

    fn take_in(&self, event: &Event) {
        let Event::RecordsSkipped { shard_id, records, first, last, dead_lettered, .. } = event else { return };
        let mut log = self.log();
        let put = log.put.get(shard_id.as_str()).into_iter().flatten();
        let ids: Vec<u64> = put.filter(|(position, _)| (first..=last).contains(&position)).map(|(_, id)| *id).collect();
        log.expect(ids.len() == *records, format!("{records} skipped by the event, {ids:?} put"));
        let is_dead_letter = self.plan().policy == Policy::DeadLetter;
        log.expect(*dead_lettered == is_dead_letter, format!("{ids:?} dead-lettered: {dead_lettered}"));
        log.given_up.extend(&ids);
        log.acknowledged.extend(ids);
    }
}

/// A processor whose batches fail at bad records.
struct Processor {
    shared: Shared,
    tenure: usize,
    /// What was processed and not acknowledged.
    open: Vec<u64>,
}

impl Processor {
    fn count(&mut self, done: &mut Vec<u64>) {
        self.shared.processed(done);
        self.open.append(done);
    }

    fn acknowledge(&mut self) {
        self.shared.acknowledged(self.open.drain(..));
    }
}

impl RecordProcessor for Processor {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let (size, longest) = (batch.records.len(), self.shared.plan().max_batch_records as usize);
        self.shared.log().expect((1..=longest).contains(&size), format!("a batch of {size}, not 1 to {longest}"));
        batch.records.iter().for_each(|record| self.shared.given(self.tenure, record));
        let automatic = self.shared.plan().consumer == Consumer::Automatic;
        let midway = if automatic { usize::MAX } else { fastrand::usize(0..3 * batch.records.len()) };
        let mut done = Vec::new();
        for (at, record) in batch.records.iter().enumerate() {
            self.shared.look_at(id_of(record)).await?;
            done.push(id_of(record));
            if at == midway {
                self.count(&mut done);
                self.acknowledge();
                checkpointer.checkpoint_at(record).await?;
            }
        }
        self.count(&mut done);
        if automatic {
            self.acknowledge();
        } else if fastrand::bool() {
            self.acknowledge();
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if self.shared.plan().consumer == Consumer::Processor {
            self.acknowledge();
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.shared.log().expect(false, "shard_ended, though no shard is closed");
        Ok(())
    }
}

/// Reads one stream to its end, or drops it.
async fn read(shared: Shared, mut stream: ShardStream) {
    let (tenure, checkpointer) = (shared.begin(), stream.checkpointer());
    let mut open = Vec::new();
    while let Some(record) = stream.next().await {
        shared.given(tenure, &record);
        sleep(millis(0..shared.plan().pause + 1)).await;
        shared.processed(&[id_of(&record)]);
        open.push(id_of(&record));
        if fastrand::u8(0..10) == 0 {
            shared.acknowledged(open.drain(..));
            // If it is not stored, the next one may be.
            let _ = checkpointer.checkpoint_at(&record).await;
        }
        if fastrand::f64() < shared.plan().drops {
            return;
        }
    }
    shared.acknowledged(open);
    let _ = checkpointer.checkpoint().await; // gone if nothing is to be stored
}

/// A worker, however it consumes.
enum Running {
    Worker(WorkerHandle),
    Streams(Stopper, JoinHandle<()>),
}

impl Running {
    async fn stop(self) {
        match self {
            Self::Worker(worker) => worker.stop().await.expect("stops in good order"),
            Self::Streams(stopper, task) => {
                stopper.stop();
                task.await.expect("consumer does not panic");
            }
        }
    }
}

struct Life {
    world: World,
    shared: Shared,
    plan: Plan,
    next_id: u64,
    born: u32,
}

impl Life {
    async fn new() -> Self {
        let plan = Plan::random();
        let world = World::start(fastrand::i32(1..4)).await;
        if !plan.table.is_zero() {
            world.local.faults().on("dynamodb:UpdateItem").with_probability(0.5).delay(plan.table);
        }
        let shared = Shared(Arc::new((Mutex::default(), plan.clone())));
        Self { world, shared, plan, next_id: 0, born: 0 }
    }

    fn policy(&self) -> ErrorPolicy {
        let (attempts, shared) = (self.plan.attempts, self.shared.clone());
        let keep = move |failed: FailedRecords| {
            let made = failed.attempts;
            shared.log().expect(made == attempts, format!("given up after {made} attempts of {attempts}"));
            shared.log().dead_letters.extend(failed.records.iter().map(id_of));
            async move {
                sleep(millis(0..300)).await;
                Ok::<(), BoxError>(())
            }
        };
        let policy = match self.plan.policy {
            Policy::Restart => ErrorPolicy::restart(),
            Policy::Skip => ErrorPolicy::skip_after(attempts),
            Policy::DeadLetter => ErrorPolicy::dead_letter_after(attempts, keep),
        };
        if self.plan.isolate { policy.isolate() } else { policy }
    }

    fn start(&mut self) -> Running {
        self.born += 1;
        let shared = self.shared.clone();
        let builder = self.world.worker(&format!("w{}", self.born)).on_processor_error(self.policy());
        let builder = builder.max_batch_records(self.plan.max_batch_records);
        let builder = builder.on_event(move |event| shared.take_in(event));
        let shared = self.shared.clone();
        let factory =
            move |_: &ShardContext| Processor { tenure: shared.begin(), shared: shared.clone(), open: Vec::new() };
        match self.plan.consumer {
            Consumer::Processor => Running::Worker(builder.build(factory).expect("settings are right").start()),
            Consumer::Automatic => {
                let builder = builder.checkpoint_every(self.plan.every);
                Running::Worker(builder.build(factory).expect("settings are right").start())
            }
            Consumer::Closure { concurrency } => Running::Worker(self.closure(builder.concurrency(concurrency))),
            Consumer::Streams => {
                let (shards, shared) = (builder.into_shard_streams().expect("settings are right"), self.shared.clone());
                let stopper = shards.stopper();
                let run = shards.try_for_each_concurrent(None, move |stream| {
                    let shared = shared.clone();
                    async move {
                        read(shared, stream).await;
                        Ok(())
                    }
                });
                Running::Streams(stopper, tokio::spawn(async move { run.await.expect("ends in good order") }))
            }
        }
    }

    fn closure(&self, builder: WorkerBuilder) -> WorkerHandle {
        let shared = self.shared.clone();
        let make = move |_: &ShardContext| {
            let (shared, tenure) = (shared.clone(), shared.begin());
            move |record: Record| {
                let shared = shared.clone();
                async move {
                    shared.given(tenure, &record);
                    shared.look_at(id_of(&record)).await?;
                    shared.processed(&[id_of(&record)]);
                    shared.acknowledged([id_of(&record)]);
                    Ok::<(), BoxError>(())
                }
            }
        };
        builder.build_for_each_shard(self.plan.every, make).expect("settings are right").start()
    }

    /// Puts records, starts and stops workers.
    async fn unrest(&mut self) {
        let mut workers = vec![self.start()];
        let end = Instant::now() + UNREST;
        while Instant::now() < end {
            sleep(millis(0..1_500)).await;
            self.put(fastrand::u64(1..60)).await;
            match fastrand::u8(0..12) {
                0 if workers.len() < 3 => workers.push(self.start()),
                1 | 2 if !workers.is_empty() => {
                    let worker = workers.swap_remove(fastrand::usize(0..workers.len()));
                    worker.stop().await;
                    if workers.is_empty() {
                        workers.push(self.start());
                    }
                }
                3..6 => self.check_checkpoints().await,
                _ => {}
            }
        }
        for worker in workers {
            worker.stop().await;
        }
    }

    /// A last worker processes the rest.
    async fn come_to_rest(&mut self) {
        self.check_checkpoints().await;
        let (last, deadline) = (self.start(), Instant::now() + PATIENCE);
        let left = |life: &Self| {
            let log = life.shared.log();
            let is_done = |id: &u64| log.processed.contains_key(id) || log.given_up.contains(id);
            (0..life.next_id).filter(|id| !is_done(id)).collect::<Vec<_>>()
        };
        while !left(self).is_empty() {
            assert!(Instant::now() < deadline, "(A) neither processed nor given up: {:?}", left(self));
            sleep(Duration::from_secs(1)).await;
        }
        last.stop().await;
        self.check_checkpoints().await;
    }

    /// Puts so many records, some of them in an aggregate.
    async fn put(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            let size = if fastrand::u8(0..4) == 0 { fastrand::u64(1..left + 1) } else { 1 };
            left -= size;
            let ids: Vec<u64> = (self.next_id..self.next_id + size).collect();
            self.next_id += size;
            let key = |id: u64| format!("key-{}", id % self.plan.keys);
            let mut aggregate = kpl::aggregated::Aggregate::new();
            // One key, so that all belong to the shard.
            let of_all = key(ids[0]);
            ids.iter().for_each(|id| aggregate.push(kpl::UserRecord::new(of_all.clone(), id.to_string())));
            let data = if size == 1 { ids[0].to_string().into_bytes() } else { aggregate.encode().into() };
            let put = self.world.kinesis.put_record().stream_name(STREAM).partition_key(of_all).data(Blob::new(data));
            // Known before it can be read.
            {
                let mut log = self.shared.log();
                log.bad.extend(ids.iter().filter(|_| fastrand::f64() < self.plan.bad));
            }
            let stored = put.send().await.expect("puts meet no faults");
            let sequence_number: kcl::SequenceNumber = stored.sequence_number().parse().expect("is a number");
            let mut log = self.shared.log();
            let of_shard = log.put.entry(stored.shard_id().to_owned()).or_default();
            let position =
                |sub_sequence_number| Position { sequence_number: sequence_number.clone(), sub_sequence_number };
            of_shard.extend((0..).map(position).zip(ids));
        }
    }

    async fn check_checkpoints(&self) {
        let status = FleetStatus::read(&self.world.aws, APPLICATION).await.expect("the table can be read");
        let log = self.shared.log();
        for lease in status.leases {
            for (position, id) in log.put.get(lease.shard_id.as_str()).into_iter().flatten() {
                let covered = Checkpoint::At(position.clone()) <= lease.checkpoint;
                let allowed = log.acknowledged.contains(id);
                assert!(allowed || !covered, "(C) {} covers record {id}: {}", lease.shard_id, lease.checkpoint);
            }
        }
    }

    fn check(&self) {
        let (log, plan) = (self.shared.log(), &self.plan);
        assert!(log.breaches.is_empty(), "{:?}", log.breaches);
        assert!(log.tenures.iter().any(|tenure| !tenure.is_empty()), "nothing was processed");
        for tenure in &log.tenures {
            let mut last = BTreeMap::new();
            for (key, position) in tenure {
                let key = if plan.is_closure() { key.as_str() } else { "" };
                let before = last.insert(key, position);
                assert!(before.is_none_or(|before| before < position), "(B) {position} after {before:?}");
            }
        }
        let given_up: BTreeSet<u64> = log.given_up.iter().copied().collect();
        if plan.policy == Policy::DeadLetter {
            let sorted = |ids: &[u64]| ids.iter().copied().collect::<BinaryHeap<_>>().into_sorted_vec();
            assert_eq!(sorted(&log.dead_letters), sorted(&log.given_up), "dead letters are what is given up");
        }
        if plan.consumer == Consumer::Streams || plan.policy == Policy::Restart {
            assert!(given_up.is_empty(), "(A) given up: {given_up:?}");
        }
        if plan.finds_culprits() {
            assert_eq!(given_up, log.bad, "(D) exactly the culprits are given up");
            // A processor that does not checkpoint before it stops leaves them to the next worker.
            let once = log.given_up.len() == given_up.len() || plan.consumer == Consumer::Processor;
            assert!(once, "(D) each once: {:?}", log.given_up);
        }
        let processed_and_given_up: Vec<_> = given_up.iter().filter(|id| log.processed.contains_key(id)).collect();
        if plan.is_closure() && !plan.may_fail_later() {
            assert!(processed_and_given_up.is_empty(), "(D) given up though processed: {processed_and_given_up:?}");
        }
        if plan.is_calm() {
            let twice: Vec<_> = log.processed.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id).collect();
            assert!(twice.is_empty(), "(E) processed twice: {twice:?}");
        }
    }
}
