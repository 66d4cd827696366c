//! Code of the application that panics where nobody expects it, and settings that mean never.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use integration_tests::{Journal, JournalProcessor, Records, Running, STREAM, World};
use kcl::{
    BoxError, CheckpointEvery, Checkpointer, ErrorPolicy, Event, InitialPosition, Polling, ProcessorFactory,
    RecordBatch, RecordProcessor, ShardContext, Worker, WorkerBuilder,
};

/// Panics when it is dropped, if not by a panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped on purpose");
    }
}

/// An error without a text.
#[derive(Debug)]
struct Mute;

impl fmt::Display for Mute {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("asked on purpose")
    }
}

impl std::error::Error for Mute {}

/// An error that cannot be passed on.
struct Stubborn;

impl From<Stubborn> for BoxError {
    fn from(_: Stubborn) -> Self {
        panic!("converted on purpose")
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Drop,
    Display,
    Conversion,
}

/// Fails at its first batches.
struct Faulty {
    inner: JournalProcessor,
    fault: Fault,
    left: Arc<AtomicU32>,
    _bomb: Option<Bomb>,
}

enum Failed {
    Stubborn,
    Plain(BoxError),
}

impl From<Failed> for BoxError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Stubborn => Stubborn.into(),
            Failed::Plain(error) => error,
        }
    }
}

impl RecordProcessor for Faulty {
    type Error = Failed;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), Failed> {
        let fails = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        match self.fault {
            Fault::Drop if fails => Err(Failed::Plain("on purpose".into())),
            Fault::Display if fails => Err(Failed::Plain(Mute.into())),
            Fault::Conversion if fails => Err(Failed::Stubborn),
            _ => self.inner.process_records(batch, checkpointer).await.map_err(Failed::Plain),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn goes_on_when_a_processor_or_its_error_panics_outside_of_a_call() {
    for fault in [Fault::Drop, Fault::Display, Fault::Conversion] {
        let world = World::start(2).await;
        let left = Arc::new(AtomicU32::new(3));
        let worker = Running::start(world.worker("w1"), &world.journal, {
            move |journal, shard| Faulty {
                inner: journal.processor(shard),
                fault,
                left: Arc::clone(&left),
                _bomb: (fault == Fault::Drop).then(|| Bomb),
            }
        });
        world.put(0..100).await;

        world.journal.processed(100).await;

        assert_eq!(world.events.count(|event| matches!(event, Event::ProcessorFailed { .. })), 3, "{fault:?}");
        worker.stop().await.expect("worker stops");
    }
}

#[tokio::test(start_paused = true)]
async fn goes_on_when_every_event_makes_its_handler_panic() {
    let world = World::start(2).await;
    let builder = world.worker("w1").on_event(|event| panic!("{event:?} on purpose"));
    let worker = world.spawn(builder);
    world.put(0..100).await;

    world.journal.processed(100).await;

    worker.stop().await.expect("worker stops");
}

/// A factory whose captured value panics when it is dropped.
struct Factory(Journal, Bomb);

impl ProcessorFactory for Factory {
    type Processor = JournalProcessor;

    fn create(&self, shard: &ShardContext) -> JournalProcessor {
        self.0.processor(shard)
    }
}

#[tokio::test(start_paused = true)]
async fn stops_in_good_order_when_what_closures_captured_panics() {
    let world = World::start(1).await;
    let (for_events, for_letters) = (Bomb, Bomb);
    let builder = world.worker("w1").on_event(move |_| {
        let _ = &for_events;
    });
    let builder = builder.on_processor_error(ErrorPolicy::dead_letter_after(1, move |_| {
        let _ = &for_letters;
        async { Ok::<(), BoxError>(()) }
    }));
    let worker = Running::start_factory(builder, Factory(world.journal.clone(), Bomb));
    world.put(0..10).await;
    world.journal.processed(10).await;

    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn takes_the_longest_duration_for_never() {
    let settings: [fn(WorkerBuilder) -> WorkerBuilder; 5] = [
        |builder| builder.lease_duration(Duration::MAX),
        |builder| builder.handoff_timeout(Duration::MAX),
        |builder| builder.retrieval(Polling::new().idle_between_reads(Duration::MAX)),
        |builder| builder.shutdown_grace(Duration::MAX),
        |builder| builder.warn_after(Duration::MAX),
    ];
    for (number, set) in settings.into_iter().enumerate() {
        let world = World::start(2).await;
        world.put(0..100).await;
        let worker = world.spawn(set(world.worker("w1")));
        world.journal.processed(100).await;
        world.settled().await;
        worker.stop().await.unwrap_or_else(|error| panic!("setting {number}: {error}"));
        assert_eq!(world.journal.ids().len(), 100, "setting {number}: none twice");
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoints_by_count_alone_with_the_longest_interval() {
    let world = World::start(1).await;
    let (every, handled) = (CheckpointEvery::new(10, Duration::MAX), Records::default());
    let worker = world.worker("w1").build_for_each(every, 1, handled.closure());
    let worker = worker.expect("configuration is right").start();
    world.put(0..100).await;
    handled.processed(100).await;
    worker.stop().await.expect("worker stops");

    assert_eq!(handled.len(), 100, "none twice");
}

#[tokio::test(start_paused = true)]
async fn replays_towards_an_end_that_never_comes() {
    let world = World::start(1).await;
    world.put(0..10).await;
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
    let builder = Worker::builder(&world.aws, "replay", STREAM).replay(SystemTime::UNIX_EPOCH..far);

    let worker = world.spawn(builder);
    world.journal.processed(10).await;
    world.put(10..20).await;
    world.journal.processed(20).await;

    worker.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn replays_alike_whichever_setting_comes_first() {
    let world = World::start(1).await;
    world.put(0..10).await;
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
    let window = SystemTime::UNIX_EPOCH..end;
    let second = Duration::from_secs(1);
    let builder = || Worker::builder(&world.aws, "replay", STREAM).initial_position(InitialPosition::Latest);
    let both =
        [builder().replay(window.clone()).lease_duration(second), builder().lease_duration(second).replay(window)];

    for builder in both {
        let worker = builder.build(|_: &ShardContext| -> JournalProcessor { unreachable!("never run") });
        let text = format!("{:?}", worker.expect("configuration is right"));
        assert!(text.contains("lease_duration: 31536000s") && text.contains("\"replay-replay\""), "{text}");
    }
}
