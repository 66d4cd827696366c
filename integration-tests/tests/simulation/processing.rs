//! Processors, closures and streams with all error policies, many times over, each time from another seed: workers come,
//! go in good order and hand shards over to each other, records fail once or for ever, calls take their time, streams are
//! dropped, the lease table is slow, and some records come in aggregates.
//!
//! (A) Every record is processed, or given up as the policy says and reported. (B) What one processor is given is in order,
//! by partition key where a closure handles several at a time. (C) No checkpoint in the lease table covers a record that
//! was neither acknowledged nor given up. (D) Where culprits are looked for, exactly they are given up, each once, after
//! its attempts. (E) Where nothing fails by itself, nothing is processed twice. (F) What a producer that numbers its records
//! wrote twice is given to no processor twice, whatever becomes of it.
//!
//! `KCL_PROCESSING_SEEDS` says how many seeds to run, `KCL_PROCESSING_SEED` runs one of them.

mod consumers;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    num::NonZero,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_kinesis::primitives::Blob;
use consumers::{Processor, Shared, read};
use futures::TryStreamExt as _;
use integration_tests::{APPLICATION, STREAM, World, id_of, seeds};
use kcl::{
    BoxError, Checkpoint, Copies, ErrorPolicy, FailedRecords, FleetStatus, Position, Record, ShardContext, Stopper,
    WorkerBuilder, WorkerHandle,
};
use plan::{Consumer, Plan, Policy};
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
    /// Series and next number of each key, if records are numbered: a shard's numbers have no gaps.
    numbers: BTreeMap<String, (u64, u64)>,
    /// Keys and data of what was put, if it may be put again.
    written: Vec<(String, Vec<u8>)>,
    born: u32,
}

impl Life {
    async fn new() -> Self {
        let plan = Plan::random();
        let world = World::start(fastrand::i32(1..4)).await;
        if !plan.table.is_zero() {
            for action in ["dynamodb:UpdateItem", "dynamodb:BatchExecuteStatement"] {
                world.local.faults().on(action).with_probability(0.5).delay(plan.table);
            }
        }
        let shared = Shared(Arc::new((Mutex::default(), plan.clone())));
        Self { world, shared, plan, next_id: 0, numbers: BTreeMap::new(), written: Vec::new(), born: 0 }
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
        let builder = if self.plan.copies > 0.0 { builder.copies(Copies::Drop) } else { builder };
        let builder = builder.on_event(move |event| shared.take_in(event));
        let shared = self.shared.clone();
        let factory =
            move |_: &ShardContext| Processor { tenure: shared.begin(), shared: shared.clone(), open: Vec::new() };
        match self.plan.consumer {
            Consumer::Processor => Running::Worker(builder.build(factory).expect("settings are right").start()),
            Consumer::Automatic => {
                let worker = builder.build_checkpointing(self.plan.every, factory);
                Running::Worker(worker.expect("settings are right").start())
            }
            Consumer::Closure { concurrency } => Running::Worker(self.closure(builder, concurrency)),
            Consumer::Streams => {
                let (shards, shared) =
                    (builder.build_shard_streams().expect("settings are right"), self.shared.clone());
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

    fn closure(&self, builder: WorkerBuilder, concurrency: usize) -> WorkerHandle {
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
        builder.build_for_each_shard(self.plan.every, concurrency, make).expect("settings are right").start()
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
            // One key, so that all belong to the shard.
            let of_all = key(ids[0]);
            let data = self.encoded(&of_all, &ids);
            let put = self.world.kinesis.put_record().stream_name(STREAM).partition_key(&of_all);
            let put = put.data(Blob::new(data.clone()));
            // Known before it can be read.
            {
                let mut log = self.shared.log();
                log.bad.extend(ids.iter().filter(|_| fastrand::f64() < self.plan.bad));
            }
            let stored = put.send().await.expect("puts meet no faults");
            let sequence_number: kcl::SequenceNumber = stored.sequence_number().parse().expect("is a number");
            {
                let mut log = self.shared.log();
                let of_shard = log.put.entry(stored.shard_id().to_owned()).or_default();
                let position = |sub_sequence_number| Position::new(sequence_number.clone(), sub_sequence_number);
                of_shard.extend((0..).map(position).zip(ids));
            }
            self.written.push((of_all, data));
            if fastrand::f64() < self.plan.copies {
                self.put_again().await;
            }
        }
    }

    /// The records as one Kinesis record.
    fn encoded(&mut self, key: &str, ids: &[u64]) -> Vec<u8> {
        let is_numbered = self.plan.copies > 0.0;
        if let ([id], false) = (ids, is_numbered) {
            return id.to_string().into_bytes();
        }
        let series = self.numbers.len() as u64 + 1;
        let (series, next) = self.numbers.entry(key.to_owned()).or_insert((series, 0));
        let mut aggregate = kpl::aggregated::Aggregate::new();
        for id in ids {
            let (record, of) = (kpl::UserRecord::new(key, id.to_string()), NonZero::new(*series).expect("from 1 on"));
            match is_numbered {
                true => aggregate.push_numbered(record, kpl::RecordNumber::new(of, *next)),
                false => aggregate.push(record),
            }
            *next += 1;
        }
        aggregate.encode().into()
    }

    /// Puts what was put before, as a retry does after a lost answer.
    async fn put_again(&self) {
        let (key, data) = &self.written[fastrand::usize(0..self.written.len())];
        let put = self.world.kinesis.put_record().stream_name(STREAM).partition_key(key).data(Blob::new(data.clone()));
        let stored = put.send().await.expect("puts meet no faults");
        self.shared.log().copies.insert(stored.sequence_number().parse().expect("is a number"));
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
        let given = log.tenures.iter().flatten().map(|(_, position)| position);
        let copies: Vec<_> = given.filter(|position| log.copies.contains(&position.sequence_number)).collect();
        assert!(copies.is_empty(), "(F) copies: {copies:?}");
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
