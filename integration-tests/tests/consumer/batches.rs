//! Batches of processors: how large they are, what comes again after a failure and when, and what the worker checkpoints
//! beside the processing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use integration_tests::{Log, SHARD, World, id_of, settled};
use kcl::{
    BoxError, Checkpoint, CheckpointEvery, Checkpointer, ErrorPolicy, Event, FailedRecords, RecordBatch,
    RecordProcessor, ShardContext, WorkerBuilder, WorkerHandle,
};
use tokio::time::sleep;

/// Numbers of the records of each batch that processors were given.
type Batches = Log<Vec<u64>>;

/// The processing of a batch, given its numbers.
type Act = Arc<dyn Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync>;

/// Logs its batches; checkpoints if wanted.
struct Scripted {
    batches: Batches,
    act: Act,
    checkpoint: bool,
}

impl RecordProcessor for Scripted {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let ids: Vec<u64> = batch.records.iter().map(id_of).collect();
        self.batches.push(ids.clone());
        sleep((self.act)(&ids)?).await;
        if self.checkpoint {
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }
}

fn run(
    builder: WorkerBuilder,
    batches: &Batches,
    checkpoint: bool,
    act: impl Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync + 'static,
) -> WorkerHandle {
    builder.build(scripted(batches, checkpoint, act)).expect("settings are right").start()
}

/// The same with checkpoints of the worker's own.
fn run_checkpointing(
    builder: WorkerBuilder,
    every: CheckpointEvery,
    batches: &Batches,
    act: impl Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync + 'static,
) -> WorkerHandle {
    builder.build_checkpointing(every, scripted(batches, false, act)).expect("settings are right").start()
}

fn scripted(
    batches: &Batches,
    checkpoint: bool,
    act: impl Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync + 'static,
) -> impl Fn(&ShardContext) -> Scripted + Send + Sync + 'static {
    let (batches, act) = (batches.clone(), Arc::new(act) as Act);
    move |_: &ShardContext| Scripted { batches: batches.clone(), act: Arc::clone(&act), checkpoint }
}

fn fails_at(bad: u64) -> impl Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync + 'static {
    move |ids| if ids.contains(&bad) { Err(format!("{bad} is bad").into()) } else { Ok(Duration::ZERO) }
}

#[tokio::test(start_paused = true)]
async fn batches_are_no_larger_than_set_and_cut_within_aggregates() {
    let world = World::start(1).await;
    let batches = Batches::default();
    world.put_aggregate(0..10).await;
    world.put_aggregate(10..17).await;
    let worker = run(world.worker("w1").max_batch_records(4), &batches, true, |_| Ok(Duration::ZERO));
    world.until("all is given", || batches.all().concat().len() == 17).await;

    let cut = |ids: std::ops::Range<u64>| ids.collect::<Vec<_>>();
    assert_eq!(batches.all(), [cut(0..4), cut(4..8), cut(8..12), cut(12..16), cut(16..17)]);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_goes_on_within_an_aggregate_where_the_last_batch_ended() {
    let world = World::start(1).await;
    let batches = Batches::default();
    world.put_aggregate(0..100).await;
    for round in 1..=3 {
        let builder = world.worker(&format!("w{round}")).max_batch_records(7);
        // Stopped or killed after three batches: what is checkpointed is not given again.
        let worker = run(builder, &batches, true, |_| Ok(Duration::from_secs(1)));
        world.until("three batches are given", || batches.all().len() >= 3 * round).await;
        worker.stop().await.unwrap();
    }

    let ids = batches.all().concat();
    assert_eq!(ids, (0..ids.len() as u64).collect::<Vec<_>>());
    assert!(ids.len() < 100);
}

#[tokio::test(start_paused = true)]
async fn grows_no_failed_batch_under_the_default_policy() {
    let world = World::start(1).await;
    let batches = Batches::default();
    world.put(0..20).await;
    let worker = run(world.worker("w1"), &batches, true, fails_at(15));
    for round in 2..60 {
        sleep(Duration::from_secs(1)).await;
        world.put(round * 10..round * 10 + 10).await;
    }

    let given = batches.all();
    assert!(given.len() > 4, "{given:?}");
    assert!(given.iter().all(|batch| *batch == given[0]), "{given:?}");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pieces_that_passed_are_checkpointed_and_not_given_with_each_halving() {
    let world = World::start(1).await;
    let batches = Batches::default();
    world.put(0..512).await;
    let builder = world.worker("w1").on_processor_error(ErrorPolicy::skip_after(1).isolate());
    let worker = run_checkpointing(builder, CheckpointEvery::default(), &batches, fails_at(511));
    let skipped = |event: &Event| matches!(event, Event::RecordsSkipped { records: 1, .. });
    world.until("the bad one is skipped", || world.events.count(skipped) == 1).await;

    // Each half fails or passes once.
    let sizes: Vec<usize> = batches.all().iter().map(Vec::len).collect();
    assert_eq!(sizes, [512, 256, 256, 128, 128, 64, 64, 32, 32, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1]);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn checkpoints_processed_records_while_the_next_batch_is_slow() {
    let world = World::start(1).await;
    let batches = Batches::default();
    let slow = |ids: &[u64]| Ok(Duration::from_secs(if ids.contains(&10) { 300 } else { 0 }));
    let worker = run_checkpointing(world.worker("w1"), CheckpointEvery::default(), &batches, slow);
    world.put(0..10).await;
    world.until("the first are given", || batches.all().len() == 1).await;
    world.put(10..20).await;
    world.until("the next are given", || batches.all().len() == 2).await;
    let is_stored = async || matches!(world.checkpoint(SHARD).await, Checkpoint::At(_));
    world.until_holds("they are checkpointed", is_stored).await;

    assert_eq!(batches.len(), 2, "the slow batch is still processed");
    worker.request_stop();
}

/// Prepares each batch, and is slow to commit it.
struct Prepares {
    shards: Log<ShardContext>,
    /// Sizes of the batches before record 10.
    firsts: Log<usize>,
}

impl RecordProcessor for Prepares {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.shards.push(shard.clone());
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if id_of(&batch.records[0]) < 10 {
            self.firsts.push(batch.records.len());
            return Ok(());
        }
        let _prepared = checkpointer.prepare(Some("transaction".into())).await?;
        sleep(Duration::from_secs(20)).await;
        Err("fails before the commit".into())
    }
}

#[tokio::test(start_paused = true)]
async fn keeps_a_prepared_checkpoint_beyond_the_workers_own() {
    let world = World::start(1).await;
    let (shards, firsts) = (Log::<ShardContext>::default(), Log::default());
    let every = CheckpointEvery::new(10_000, Duration::from_secs(5));
    let factory = {
        let (shards, firsts) = (shards.clone(), firsts.clone());
        move |_: &ShardContext| Prepares { shards: shards.clone(), firsts: firsts.clone() }
    };
    let worker = world.worker("w1").build_checkpointing(every, factory).unwrap().start();
    world.put(0..10).await;
    world.until("the first are processed", || firsts.len() == 1).await;
    world.put(10..20).await;
    world.until("the next processor starts", || shards.len() == 2).await;

    let pending = shards.all()[1].pending.clone().expect("the checkpoint is still prepared");
    assert_eq!(pending.state.as_deref(), Some("transaction".as_bytes()));
    worker.request_stop();
}

#[tokio::test(start_paused = true)]
async fn a_batch_confirmed_before_its_failure_is_not_given_up() {
    let world = World::start(1).await;
    let given = Batches::default();
    /// Checkpoints the first `0` records of a batch of ten, then fails once.
    struct Confirms(usize, Batches, Arc<AtomicBool>);
    impl RecordProcessor for Confirms {
        type Error = BoxError;

        async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
            self.1.push(batch.records.iter().map(id_of).collect());
            if self.2.swap(true, Ordering::SeqCst) {
                return Ok(checkpointer.checkpoint().await?);
            }
            checkpointer.checkpoint_at(&batch.records[self.0 - 1]).await?;
            Err("fails afterwards".into())
        }
    }
    for confirmed in [10, 6] {
        world.put(0..10).await;
        let builder = world.worker("w1").lease_table(format!("table-{confirmed}"));
        let failures = || world.events.count(|event| matches!(event, Event::ProcessorFailed { .. }));
        let before = failures();
        let (batches, failed) = (given.clone(), Arc::default());
        let factory = move |_: &ShardContext| Confirms(confirmed, batches.clone(), Arc::clone(&failed));
        let worker = builder.on_processor_error(ErrorPolicy::skip_after(1)).build(factory).unwrap().start();
        world.until("it fails", || failures() > before).await;
        settled(|| (world.events.len(), given.len())).await;
        worker.stop().await.unwrap();
        let skipped = |event: &Event| match event {
            Event::RecordsSkipped { records, .. } => Some(*records),
            _ => None,
        };
        let skipped: Vec<usize> = world.events.all().iter().filter_map(skipped).collect();
        let expected = if confirmed == 10 { vec![] } else { vec![14] };
        assert_eq!(skipped, expected, "{confirmed}: {:?}", given.all());
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_grows_only_while_no_processor_gets_further() {
    let world = World::start(1).await;
    let batches = Batches::default();
    let failed = Arc::new(Mutex::new(BTreeMap::new()));
    // Without checkpoints, a failure at each 50th record, the first time that it comes.
    let act = move |ids: &[u64]| {
        let bad = ids
            .iter()
            .find(|id| **id % 50 == 49 && failed.lock().expect("no writer panics").insert(**id, ()).is_none());
        bad.map_or(Ok(Duration::ZERO), |bad| Err(format!("{bad} is new").into()))
    };
    let worker = run(world.worker("w1"), &batches, false, act);
    for round in 0..60 {
        world.put(round * 10..round * 10 + 10).await;
        sleep(Duration::from_secs(10)).await;
    }

    let pause = |event: &Event| match event {
        Event::ProcessorFailed { retry_in, .. } => *retry_in,
        _ => None,
    };
    let pauses: Vec<Duration> = world.events.all().iter().filter_map(pause).collect();
    assert_eq!(pauses.len(), 12);
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)), "{pauses:?}");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_hook_that_fails_says_when_it_is_tried_again() {
    let world = World::start(1).await;
    let batches = Batches::default();
    world.put(0..10).await;
    let policy = ErrorPolicy::dead_letter_after(1, |_| async { Err::<(), BoxError>("queue is down".into()) });
    let builder = world.worker("w1").on_processor_error(policy);
    let worker = run(builder, &batches, true, fails_at(5));
    let hook = |event: &Event| matches!(event, Event::ProcessorFailed { error, .. } if error == "queue is down");
    world.until("the hook fails three times", || world.events.count(hook) > 2).await;

    let again = |event: &Event| hook(event) && matches!(event, Event::ProcessorFailed { retry_in: Some(_), .. });
    assert_eq!(world.events.count(again), world.events.count(hook));
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_hook_that_succeeds_during_a_stop_is_not_called_again() {
    for automatic in [false, true] {
        let world = World::start(1).await;
        let (batches, letters) = (Batches::default(), Arc::new(AtomicU32::new(0)));
        world.put(0..10).await;
        let run = |id: &str| {
            let letters = Arc::clone(&letters);
            let keep = move |_: FailedRecords| {
                letters.fetch_add(1, Ordering::SeqCst);
                async {
                    sleep(Duration::from_secs(5)).await;
                    Ok::<(), BoxError>(())
                }
            };
            let builder =
                world.worker(id).max_batch_records(1).on_processor_error(ErrorPolicy::dead_letter_after(1, keep));
            let every = CheckpointEvery::new(10_000, Duration::from_secs(60));
            if automatic {
                run_checkpointing(builder, every, &batches, fails_at(5))
            } else {
                self::run(builder, &batches, true, fails_at(5))
            }
        };
        let first = run("w1");
        world.until("the hook is called", || letters.load(Ordering::SeqCst) == 1).await;
        first.stop().await.unwrap();

        let second = run("w2");
        settled(|| (world.events.len(), batches.len())).await;
        assert_eq!(letters.load(Ordering::SeqCst), 1);
        assert_eq!(batches.all().concat(), (0..10).collect::<Vec<_>>());
        second.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn covers_no_skipped_record_before_those_that_precede_it() {
    let world = World::start(1).await;
    let batches = Batches::default();
    world.put(0..10).await;
    let policy = ErrorPolicy::skip_after(1);
    let builder = world.worker("w1").max_batch_records(1).on_processor_error(policy);
    // Nothing is checkpointed, so the next worker must be given what was processed.
    let worker = run(builder, &batches, false, fails_at(5));
    let skipped = |event: &Event| matches!(event, Event::RecordsSkipped { records: 1, .. });
    world.until("the bad one is skipped", || world.events.count(skipped) == 1).await;
    settled(|| (world.events.len(), batches.len())).await;

    assert_eq!(world.checkpoint(SHARD).await, Checkpoint::TrimHorizon);
    assert_eq!(batches.all().concat(), (0..6).chain(0..5).chain(6..10).collect::<Vec<_>>());
    worker.stop().await.unwrap();
}
