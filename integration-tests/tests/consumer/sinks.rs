//! Sinks that store the position in the transaction of the effects: each record counts once, whoever commits late, whatever
//! is reset.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use integration_tests::{APPLICATION, Running, SHARD, World, id_of, seeds};
use kcl::{
    BoxError, CheckpointEvery, Event, InitialPosition, RecordBatch, Reset, ShardContext, SinkKey, SinkMark,
    SinkTransaction, TransactionalSink,
};
use tokio::{runtime::Builder, time::sleep};

/// Times that each record counts.
type Counts = BTreeMap<u64, u64>;

#[derive(Debug, Default)]
struct State {
    marks: BTreeMap<SinkKey, SinkMark>,
    counts: Counts,
    random: Option<fastrand::Rng>,
    /// Commits that take effect and whose answers are lost.
    lost_answers: u64,
}

/// A store with serializable transactions. Clones share it.
#[derive(Debug, Clone, Default)]
struct Store(Arc<Mutex<State>>);

impl Store {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics here")
    }

    fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// True if exactly these records count, each that many times.
    fn has(&self, ids: std::ops::Range<u64>, times: u64) -> bool {
        self.counts() == ids.map(|id| (id, times)).collect()
    }
}

/// One shard's sink, and the times that its worker takes.
#[derive(Debug)]
struct Sink {
    store: Store,
    before_begin: Duration,
    before_commit: Duration,
    begun: u32,
}

impl Sink {
    fn of(store: &Store) -> Self {
        let (before_begin, before_commit) = (Duration::ZERO, Duration::ZERO);
        Self { store: store.clone(), before_begin, before_commit, begun: 0 }
    }
}

#[derive(Debug)]
struct Transaction {
    store: Store,
    before_commit: Duration,
    read: Option<(SinkKey, Option<SinkMark>)>,
    written: Vec<u64>,
    next: Option<SinkMark>,
}

impl TransactionalSink for Sink {
    type Error = BoxError;
    type Transaction = Transaction;

    async fn begin(&mut self) -> Result<Transaction, BoxError> {
        self.begun += 1;
        if self.begun > 1 {
            sleep(self.before_begin).await; // the first only reads the mark
        }
        let (store, before_commit) = (self.store.clone(), self.before_commit);
        Ok(Transaction { store, before_commit, read: None, written: Vec::new(), next: None })
    }
}

impl SinkTransaction for Transaction {
    type Error = BoxError;

    async fn mark(&mut self, key: &SinkKey) -> Result<Option<SinkMark>, BoxError> {
        let found = self.store.state().marks.get(key).cloned();
        self.read = Some((key.clone(), found.clone()));
        Ok(found)
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<(), BoxError> {
        self.written.extend(batch.records.iter().map(id_of));
        Ok(())
    }

    async fn set_mark(&mut self, _: &SinkKey, mark: &SinkMark) -> Result<(), BoxError> {
        self.next = Some(mark.to_string().parse()?);
        Ok(())
    }

    async fn commit(self) -> Result<(), BoxError> {
        sleep(self.before_commit).await;
        let mut state = self.store.state();
        let (key, read) = self.read.ok_or("nothing was read")?;
        if state.random.as_mut().is_some_and(|random| random.u8(0..10) == 0) {
            return Err("the store failed".into());
        }
        if state.marks.get(&key) != read.as_ref() {
            return Err("the mark was changed by another transaction".into());
        }
        for id in self.written {
            *state.counts.entry(id).or_default() += 1;
        }
        state.marks.insert(key, self.next.ok_or("no mark was stored")?);
        if state.lost_answers > 0 || state.random.as_mut().is_some_and(|random| random.u8(0..10) == 0) {
            state.lost_answers = state.lost_answers.saturating_sub(1);
            return Err("the answer was lost".into());
        }
        Ok(())
    }
}

fn run_with(world: &World, worker_id: &str, sink: impl Fn() -> Sink + Send + Sync + 'static) -> Running {
    let every = CheckpointEvery::default();
    let builder = world.worker(worker_id).shutdown_grace(Duration::from_secs(120));
    Running::start_worker(builder.build_sink(every, move |_: &ShardContext| sink()).expect("settings are right"))
}

fn run(world: &World, worker_id: &str, store: &Store) -> Running {
    let store = store.clone();
    run_with(world, worker_id, move || Sink::of(&store))
}

fn failures(world: &World, text: &str) -> usize {
    world.events.count(|event| matches!(event, Event::ProcessorFailed { error, .. } if error.contains(text)))
}

async fn counts(world: &World, store: &Store, ids: std::ops::Range<u64>, times: u64) {
    world.until("each record counts", || store.has(ids.clone(), times)).await;
    sleep(Duration::from_secs(60)).await;
    assert!(store.has(ids, times), "and no more than that");
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_commit_and_checkpoint_repeats_nothing() {
    let world = World::start(2).await;
    let store = Store::default();
    for round in 0..4 {
        let worker = run(&world, &format!("w{round}"), &store);
        world.put(round * 100..(round + 1) * 100).await;
        // Before the worker's own checkpoint, which follows by some seconds.
        world.until("the records count", || store.has(0..(round + 1) * 100, 1)).await;
        worker.kill();
    }

    let last = run(&world, "last", &store);
    world.put(400..500).await;
    counts(&world, &store, 0..500, 1).await;
    last.stop().await.unwrap();
    assert!(matches!(world.checkpoint(SHARD).await, kcl::Checkpoint::At(_)), "the lease follows by itself");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_a_commit_repeats_nothing() {
    let world = World::start(1).await;
    let store = Store::default();
    store.state().lost_answers = 3;
    let worker = run(&world, "w1", &store);
    for round in 0..5 {
        world.put(round * 20..(round + 1) * 20).await;
        sleep(Duration::from_secs(10)).await;
    }

    counts(&world, &store, 0..100, 1).await;

    assert_eq!(failures(&world, "the answer was lost"), 3);
    worker.stop().await.unwrap();
}

/// A worker whose sink is slow, from which the lease is taken, and one that takes it over.
async fn taken_over(world: &World, store: &Store, slow: fn(&mut Sink), next: fn(&mut Sink)) -> [Running; 2] {
    let start = |worker_id: &str, change: fn(&mut Sink)| {
        let store = store.clone();
        run_with(world, worker_id, move || {
            let mut sink = Sink::of(&store);
            change(&mut sink);
            sink
        })
    };
    let taken = || world.events.count(|event| matches!(event, Event::LeaseTaken { .. }));
    let first = start("w1", slow);
    world.until("the first has the shard", || taken() == 1).await;
    let second = start("w2", next);
    sleep(Duration::from_secs(10)).await;
    world.put(0..100).await;
    sleep(Duration::from_secs(1)).await;
    world.give_lease(SHARD, "w2").await;
    world.until("the second has the shard", || taken() >= 2).await;
    [first, second]
}

#[tokio::test(start_paused = true)]
async fn a_stale_owner_that_writes_late_is_fenced() {
    let world = World::start(1).await;
    let store = Store::default();

    let slow = |sink: &mut Sink| sink.before_begin = Duration::from_secs(60);
    let workers = taken_over(&world, &store, slow, |_| {}).await;

    world.until("it is fenced", || failures(&world, "greater fencing token") == 1).await;
    counts(&world, &store, 0..100, 1).await;
    workers.into_iter().for_each(Running::kill);
}

#[tokio::test(start_paused = true)]
async fn what_a_stale_owner_commits_late_is_not_written_again() {
    let world = World::start(1).await;
    let store = Store::default();

    let slow = |sink: &mut Sink| sink.before_commit = Duration::from_secs(45);
    let next = |sink: &mut Sink| sink.before_begin = Duration::from_secs(60);
    let workers = taken_over(&world, &store, slow, next).await;

    world.until("the next owner notices", || failures(&world, "an earlier transaction has changed") == 1).await;
    counts(&world, &store, 0..100, 1).await;
    workers.into_iter().for_each(Running::kill);
}

#[tokio::test(start_paused = true)]
async fn a_reset_makes_what_the_sink_has_void() {
    let world = World::start(2).await;
    let store = Store::default();
    world.put(0..100).await;
    let worker = run(&world, "w1", &store);
    counts(&world, &store, 0..100, 1).await;
    worker.stop().await.unwrap();

    for times in 2..4 {
        world.worker("admin").reset(Reset::to(InitialPosition::TrimHorizon)).await.unwrap();
        let worker = run(&world, "w1", &store);
        counts(&world, &store, 0..100, times).await;
        worker.kill();
        let worker = run(&world, "w2", &store);
        counts(&world, &store, 0..100, times).await;
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_made_anew_below_the_sinks_token_is_an_error_that_a_reset_mends() {
    let world = World::start(1).await;
    let store = Store::default();
    for worker_id in ["w1", "w2", "w3"] {
        let worker = run(&world, worker_id, &store);
        sleep(Duration::from_secs(30)).await;
        worker.stop().await.unwrap();
    }
    let worker = run(&world, "w4", &store);
    world.put(0..100).await;
    counts(&world, &store, 0..100, 1).await;
    worker.stop().await.unwrap();

    world.table().delete_table().await;
    let worker = run(&world, "w5", &store);
    world.until("it is refused", || failures(&world, "reset the application's checkpoints") > 0).await;
    assert!(store.has(0..100, 1));
    worker.stop().await.unwrap();
    world.worker("admin").reset(Reset::to(InitialPosition::TrimHorizon)).await.unwrap();
    let worker = run(&world, "w6", &store);
    counts(&world, &store, 0..100, 2).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_key_of_a_sink_names_application_stream_creation_and_shard() {
    let world = World::start(1).await;
    let store = Store::default();
    let worker = run(&world, "w1", &store);
    world.put(0..1).await;
    counts(&world, &store, 0..1, 1).await;

    let key = store.state().marks.keys().next().cloned().expect("a mark is stored");
    let summary = world.kinesis.describe_stream_summary().stream_name(integration_tests::STREAM).send().await.unwrap();
    let created = summary.stream_description_summary().unwrap().stream_creation_timestamp().secs();

    assert_eq!(key.to_string(), format!("{APPLICATION}/{}@{created}/{SHARD}", integration_tests::STREAM));
    worker.stop().await.unwrap();
}

/// Workers die at random, shards are split and merged, and commits fail before or after their effect.
async fn chaos(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::start(3).await;
    let store = Store::default();
    store.state().random = Some(random.fork());
    let mut workers: Vec<Running> = (0..3).map(|slot| run(&world, &format!("w{slot}"), &store)).collect();
    for second in 0..40 {
        world.put(second * 30..(second + 1) * 30).await;
        sleep(Duration::from_millis(random.u64(500..1_500))).await;
        if second % 5 == 4 {
            let slot = random.usize(0..workers.len());
            let next = run(&world, &format!("w{}", second + 3), &store);
            std::mem::replace(&mut workers[slot], next).kill();
        }
        match second % 20 {
            5 => world.split(&world.open_shards().await[0]).await,
            15 => world.merge_neighbours().await,
            _ => {}
        }
    }
    store.state().random = None;
    counts(&world, &store, 0..1_200, 1).await;
    workers.into_iter().for_each(Running::kill);
}

#[test]
fn counts_each_record_once_while_workers_die_shards_change_and_commits_fail() {
    let simulate = |seed| {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(chaos(seed));
    };

    assert_eq!(seeds::failing("KCL_SINK_SEED", 2, simulate), Vec::<u64>::new());
}
