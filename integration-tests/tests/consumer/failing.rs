//! Processors that fail, panic, hang, or move their checkpoints: nothing is lost or skipped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use integration_tests::{Call, Journal, JournalProcessor, Running, SHARD, World, id_of, settled};
use kcl::{BoxError, CheckpointError, Checkpointer, Event, RecordBatch, RecordProcessor, ShardContext};
use tokio::time::Instant;

/// Fault of a processor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Error,
    Panic,
    InitializeError,
    ShardEndedError,
    /// Never returns.
    Hang,
}

/// Fails `times` times when it meets record 50, or at the given call, and works from then on.
struct Faulty {
    inner: JournalProcessor,
    fault: Fault,
    left: Arc<AtomicU32>,
}

impl Faulty {
    fn fails(&self, fault: Fault) -> bool {
        let left = || self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        self.fault == fault && left().is_ok()
    }
}

impl RecordProcessor for Faulty {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        if self.fails(Fault::InitializeError) {
            return Err("initialize failed on purpose".into());
        }
        self.inner.initialize(shard).await
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if batch.records.iter().any(|record| id_of(record) == 50) {
            if self.fails(Fault::Error) {
                return Err("record 50 failed on purpose".into());
            }
            assert!(!self.fails(Fault::Panic), "record 50 panics on purpose");
            if self.fails(Fault::Hang) {
                std::future::pending::<()>().await;
            }
        }
        self.inner.process_records(batch, checkpointer).await
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        if self.fails(Fault::ShardEndedError) {
            return Err("shard_ended failed on purpose".into());
        }
        self.inner.shard_ended().await
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.inner.shutdown_requested(checkpointer).await
    }
}

/// A worker whose processors fail like this.
fn run_faulty(world: &World, fault: Fault, times: u32) -> Running {
    let left = Arc::new(AtomicU32::new(times));
    Running::start(world.worker("w1"), &world.journal, move |journal, shard| Faulty {
        inner: journal.processor(shard),
        fault,
        left: Arc::clone(&left),
    })
}

fn failures(world: &World) -> usize {
    world.events.count(|event| matches!(event, Event::ProcessorFailed { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_or_panics_is_delivered_again_and_never_skipped() {
    for fault in [Fault::Error, Fault::Panic] {
        let world = World::start(1).await;
        let worker = run_faulty(&world, fault, 3);

        world.put(0..40).await;
        world.journal.processed(40).await;
        world.put(40..100).await;
        world.journal.processed(100).await;

        assert_eq!(failures(&world), 3, "{fault:?}");
        assert_eq!(world.journal.ids(), (0..100).collect::<Vec<_>>(), "{fault:?}: in order, from the checkpoint");
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_shard_does_not_hold_up_the_others() {
    let world = World::start(2).await;
    let worker = run_faulty(&world, Fault::Error, u32::MAX);

    world.put(0..100).await;
    world.until("the shard fails three times", || failures(&world) >= 3).await;
    settled(|| world.journal.distinct()).await;

    let shards = world.journal.shards_by_worker();
    let processed = world.journal.ids();
    assert_eq!(shards["w1"].len(), 2);
    assert!(!processed.contains(&50) && processed.len() > 20, "{processed:?}");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn initialize_is_tried_until_it_succeeds() {
    let world = World::start(1).await;
    let worker = run_faulty(&world, Fault::InitializeError, 2);

    world.put(0..10).await;
    world.journal.processed(10).await;

    assert_eq!(failures(&world), 2);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_wait_until_shard_ended_succeeds() {
    let world = World::start(1).await;
    let worker = run_faulty(&world, Fault::ShardEndedError, 3);
    world.put(100..200).await;
    world.split(SHARD).await;
    world.put(200..300).await;

    world.journal.processed(200).await;

    assert_eq!(failures(&world), 3);
    let entries = world.journal.entries();
    let ended = entries.iter().position(|entry| entry.call == Call::ShardEnded).unwrap();
    let first_child = entries.iter().position(|entry| entry.shard_id.as_str() != SHARD).unwrap();
    assert!(ended < first_child);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_never_returns_does_not_stop_the_worker_from_stopping() {
    let world = World::start(1).await;
    let worker = run_faulty(&world, Fault::Hang, 1);
    world.put(0..100).await;
    world.settled().await;

    let begun = Instant::now();
    worker.stop().await.unwrap();

    assert!(begun.elapsed() < Duration::from_secs(65), "{:?}", begun.elapsed());
    let next = world.run("w2");
    world.journal.processed(100).await;
    next.stop().await.unwrap();
}

/// Checkpoints at record 30 of each batch, then fails once.
struct CheckpointsMidway(JournalProcessor, Arc<AtomicU32>);

impl RecordProcessor for CheckpointsMidway {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let middle = batch.records.iter().find(|record| id_of(record) == 30).cloned();
        let Some(middle) = middle.filter(|_| self.1.fetch_add(1, Ordering::SeqCst) == 0) else {
            return self.0.process_records(batch, checkpointer).await;
        };
        checkpointer.checkpoint_at(&middle).await?;
        let beyond =
            kcl::Record::new("key", "999", "99999999999999999999999999999999999999999999999999999999".parse()?);
        let refused = checkpointer.checkpoint_at(&beyond).await;
        assert!(matches!(refused, Err(CheckpointError::OutOfRange { .. })), "{refused:?}");
        Err("fails after the checkpoint on purpose".into())
    }
}

#[tokio::test(start_paused = true)]
async fn processing_goes_on_after_a_checkpoint_in_the_middle_of_an_aggregate() {
    let world = World::start(1).await;
    world.put_aggregate(0..60).await;

    let times = Arc::new(AtomicU32::new(0));
    let worker = Running::start(world.worker("w1"), &world.journal, move |journal, shard| {
        CheckpointsMidway(journal.processor(shard), Arc::clone(&times))
    });
    world.journal.processed(29).await;

    assert_eq!(world.journal.ids(), (31..60).collect::<Vec<_>>(), "30 is checkpointed, its aggregate's tail is not");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_while_shard_ended_fails_leaves_the_end_to_the_next() {
    let world = World::start(1).await;
    let worker = run_faulty(&world, Fault::ShardEndedError, u32::MAX);
    world.put(100..200).await;
    world.split(SHARD).await;
    world.put(200..300).await;
    world.until("the end fails three times", || failures(&world) >= 3).await;
    worker.stop().await.unwrap();

    assert_eq!(world.journal.calls(SHARD).last(), Some(&Call::ShutdownRequested));
    assert_eq!(world.journal.distinct(), 100, "the children wait");
    let next = world.run("w2");
    world.journal.processed(200).await;
    next.stop().await.unwrap();
}

/// Checkpoints at record 50 while answers of the lease table get lost, then at record 30.
struct GoesBack(World, Arc<AtomicU32>);

impl RecordProcessor for GoesBack {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let record = |id| batch.records.iter().find(|record| id_of(record) == id).ok_or("all records in one batch");
        self.0.local.faults().on("dynamodb:UpdateItem").lose_response();
        let unanswered = checkpointer.checkpoint_at(record(50)?).await;
        assert!(matches!(unanswered, Err(CheckpointError::Table(_))), "{unanswered:?}");
        self.0.local.faults().clear();
        checkpointer.checkpoint_at(record(30)?).await?;
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn never_moves_a_checkpoint_back_after_a_lost_answer() {
    let world = World::start(1).await;
    let done = Arc::new(AtomicU32::new(0));
    world.put_aggregate(0..60).await;

    let worker = Running::start(world.worker("w1").lease_duration(Duration::from_secs(120)), &Journal::default(), {
        let (world, done) = (world.clone(), Arc::clone(&done));
        move |_, _| GoesBack(world.clone(), Arc::clone(&done))
    });
    world.until("both checkpoints are tried", || done.load(Ordering::SeqCst) == 1).await;

    let checkpoint = world.checkpoint(SHARD).await;
    let kcl::Checkpoint::At(position) = &checkpoint else { panic!("{checkpoint}") };
    assert_eq!(position.sub_sequence_number, 50);
    worker.stop().await.unwrap();
}
