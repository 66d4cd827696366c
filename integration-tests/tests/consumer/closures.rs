//! Closures that are stopped, handed over, or fail: calls under way are waited for, nothing is handled twice that need
//! not be, and one bad record costs no more than its own calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use integration_tests::{SHARD, World, id_of, settled};
use kcl::{
    BoxError, Checkpoint, CheckpointEvery, ErrorPolicy, Event, FailedRecords, ForEach, Record, Worker, WorkerBuilder,
};
use tokio::time::{Instant, sleep};

const EVERY: CheckpointEvery = CheckpointEvery::new(10_000, Duration::from_secs(5));

/// Calls of a closure: which were begun, and which returned.
#[derive(Debug, Clone, Default)]
struct Calls(Arc<Mutex<[Vec<u64>; 2]>>);

impl Calls {
    fn begin(&self, id: u64) {
        self.0.lock().expect("no writer panics")[0].push(id);
    }

    fn end(&self, id: u64) {
        self.0.lock().expect("no writer panics")[1].push(id);
    }

    fn begun(&self) -> Vec<u64> {
        self.0.lock().expect("no writer panics")[0].clone()
    }

    fn ended(&self) -> Vec<u64> {
        self.0.lock().expect("no writer panics")[1].clone()
    }

    fn distinct(&self) -> usize {
        self.ended().into_iter().collect::<BTreeSet<_>>().len()
    }

    /// Number of calls begun for this record.
    fn of(&self, id: u64) -> usize {
        self.begun().into_iter().filter(|begun| *begun == id).count()
    }

    /// The records whose calls returned more than once.
    fn twice(&self) -> Vec<u64> {
        let mut counts = BTreeMap::<u64, u32>::new();
        self.ended().into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id).collect()
    }

    /// Calls that were begun and cut.
    fn cut(&self) -> usize {
        let calls = self.0.lock().expect("no writer panics");
        calls[0].len() - calls[1].len()
    }
}

/// A closure that takes `pause` of each record; `fails` says which fail, at the end of the call.
fn handler(
    calls: &Calls,
    pause: impl Fn(u64) -> Duration + Clone + Send + Sync + 'static,
    fails: impl Fn(u64) -> bool + Clone + Send + Sync + 'static,
) -> impl Fn(Record) -> futures::future::BoxFuture<'static, Result<(), BoxError>> + Clone + Send + Sync + 'static {
    let calls = calls.clone();
    move |record: Record| {
        let (id, calls) = (id_of(&record), calls.clone());
        let (pause, fails) = (pause(id), fails(id));
        calls.begin(id);
        Box::pin(async move {
            sleep(pause).await;
            calls.end(id);
            if fails { Err("fails on purpose".into()) } else { Ok(()) }
        })
    }
}

/// Millis of each call.
fn always(millis: u64) -> impl Fn(u64) -> Duration + Clone + Send + Sync + 'static {
    move |_| Duration::from_millis(millis)
}

fn never(_id: u64) -> bool {
    false
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_call_in_hand_and_not_for_the_batch() {
    for millis in [10, 100, 1_000, 10_000] {
        let world = World::start(1).await;
        let calls = Calls::default();
        world.put(0..3_000).await;
        let build = |id: &str, millis| {
            world.worker(id).build_for_each(EVERY, 1, handler(&calls, always(millis), never)).unwrap().start()
        };
        let worker = build("w1", millis);
        world.until("calls are made", || !calls.begun().is_empty()).await;
        // Into the middle of the batch, and of a call.
        sleep(Duration::from_secs(10)).await;

        let begun = Instant::now();
        worker.stop().await.unwrap();

        assert!(begun.elapsed() < Duration::from_millis(2_000 + millis), "{millis} ms: {:?}", begun.elapsed());
        assert_eq!(calls.cut(), 0, "{millis} ms");
        let next = build("w2", 0);
        world.until("all is handled", || calls.distinct() == 3_000).await;
        assert_eq!(calls.twice(), [0; 0], "{millis} ms");
        next.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_no_gaps_behind_concurrent_calls() {
    let world = World::start(1).await;
    let calls = Calls::default();
    world.put(0..6_000).await;
    // Three keys are slow, so that the others run ahead of them.
    let pause = |id: u64| Duration::from_millis(if id % 100 < 3 { 60 } else { 1 + id % 10 });
    for round in 1..=3 {
        let builder = world.worker(&format!("w{round}"));
        let worker = builder.build_for_each(EVERY, 40, handler(&calls, pause, never)).unwrap().start();
        world.until("some are handled", || calls.distinct() >= 1_000 * round).await;

        let begun = Instant::now();
        worker.stop().await.unwrap();

        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!((calls.cut(), calls.twice()), (0, vec![]), "after {round}");
    }
    assert!(calls.distinct() < 6_000, "{}", calls.distinct());
}

#[tokio::test(start_paused = true)]
async fn a_handoff_of_a_closure_cuts_no_call_and_repeats_none() {
    for concurrency in [1, 16] {
        let world = World::start(4).await;
        let calls = Calls::default();
        world.put(0..4_000).await;
        let build = |id: &str| {
            let at_a_time = usize::try_from(concurrency).unwrap();
            let builder = world.worker(id);
            builder.build_for_each(EVERY, at_a_time, handler(&calls, always(50 * concurrency), never)).unwrap().start()
        };
        let first = build("w1");
        world.until("calls are made", || !calls.begun().is_empty()).await;
        let second = build("w2");
        world.until("all is handled", || calls.distinct() == 4_000).await;

        let handed_over = |event: &Event| matches!(event, Event::LeaseReleased { .. });
        assert_eq!(world.events.count(handed_over), 2, "{:?}", world.events.all());
        assert_eq!((calls.cut(), calls.twice()), (0, vec![]), "{concurrency} at a time");
        first.stop().await.unwrap();
        second.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_panics_before_its_future_cuts_no_other_call() {
    let world = World::start(1).await;
    let calls = Calls::default();
    world.put(0..100).await;
    let inner = handler(&calls, |id| Duration::from_millis(10 + id % 7), never);
    let panicking = move |record: Record| {
        assert!(id_of(&record) != 50, "panics on purpose");
        inner(record)
    };
    let worker = world.worker("w1").build_for_each(EVERY, 8, panicking).unwrap().start();
    let failed = |event: &Event| matches!(event, Event::ProcessorFailed { .. });
    world.until("it panics six times", || world.events.count(failed) >= 6).await;

    assert_eq!(calls.cut(), 0);
    assert_eq!((0..50).map(|id| calls.of(id)).collect::<Vec<_>>(), [1; 50]);
    assert!(calls.begun().iter().all(|id| *id < 60), "{:?}", calls.begun());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_starts_no_more_calls_and_cuts_none() {
    let world = World::start(1).await;
    let calls = Calls::default();
    world.put(0..100).await;
    let every = CheckpointEvery::new(1, Duration::ZERO);
    let builder = world.worker("w1");
    let worker =
        builder.build_for_each(every, 8, handler(&calls, |id| Duration::from_millis(900 + id % 8 * 100), never));
    let worker = worker.unwrap().start();
    world.until("some are handled", || calls.distinct() > 20).await;
    world.take_lease_away(SHARD).await;
    let lost = |event: &Event| matches!(event, Event::LeaseLost { .. });
    world.until("the loss is noticed", || world.events.count(lost) == 1).await;

    let begun = calls.begun().len();
    assert_eq!(calls.cut(), 0, "those under way were waited for");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(calls.begun().len(), begun);
    worker.stop().await.unwrap();
}

fn bad(every: u64) -> impl Fn(u64) -> bool + Clone + Send + Sync + 'static {
    move |id| id % every == every / 2
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_costs_a_closure_one_call_and_no_pause() {
    for (every, patience) in [(1_000, 5), (100, 10), (10, 60)] {
        let world = World::start(1).await;
        let calls = Calls::default();
        world.put(0..1_000).await;
        let builder = world.worker("w1").on_processor_error(ErrorPolicy::skip_after(1));
        let begun = Instant::now();
        let worker = builder.build_for_each(EVERY, 1, handler(&calls, always(0), bad(every))).unwrap().start();
        world.until("all is handled", || calls.distinct() == 1_000).await;

        assert!(begun.elapsed() < Duration::from_secs(patience), "{:?}", begun.elapsed());
        assert_eq!(calls.twice(), [0; 0]);
        let skipped = |event: &Event| matches!(event, Event::RecordsSkipped { records: 1, .. });
        world.until("all are skipped", || world.events.count(skipped) == 1_000 / usize::try_from(every).unwrap()).await;
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_a_closure_s_bad_record_are_its_own() {
    let world = World::start(1).await;
    let (calls, letters) = (Calls::default(), Calls::default());
    world.put(0..1_000).await;
    let keep = {
        let letters = letters.clone();
        move |failed: FailedRecords| {
            assert_eq!(
                (failed.records.len(), failed.attempts, failed.error.to_string().as_str()),
                (1, 3, "fails on purpose")
            );
            letters.end(id_of(&failed.records[0]));
            async { Ok::<(), BoxError>(()) }
        }
    };
    let builder = world.worker("w1").on_processor_error(ErrorPolicy::dead_letter_after(3, keep));
    let worker = builder
        .build_for_each(EVERY, 16, handler(&calls, |id| Duration::from_millis(id % 5), bad(250)))
        .unwrap()
        .start();
    world.until("all is handled", || calls.distinct() == 1_000 && letters.ended().len() == 4).await;

    assert_eq!(letters.ended(), [125, 375, 625, 875]);
    for id in letters.ended() {
        assert_eq!(calls.of(id), 3, "{id}");
    }
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closure_s_shard_is_stopped_at_its_first_bad_record_if_so_demanded() {
    let world = World::start(1).await;
    let calls = Calls::default();
    world.put(0..1_000).await;
    let builder = world.worker("w1").on_processor_error(ErrorPolicy::stop_shard_after(1));
    let worker = builder.build_for_each(EVERY, 1, handler(&calls, always(0), |id| id == 500)).unwrap().start();
    settled(|| (world.events.len(), calls.begun().len())).await;

    assert_eq!(world.events.count(|event| matches!(event, Event::ShardStopped { .. })), 1);
    assert_eq!(calls.begun(), (0..=500).collect::<Vec<_>>());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn checkpoints_what_a_closure_handled_before_a_restart() {
    let world = World::start(1).await;
    let calls = Calls::default();
    let every = CheckpointEvery::new(10_000, Duration::from_secs(60));
    let (fails, failed) = (Arc::new(Mutex::new(3)), Calls::default());
    let once = {
        let failed = failed.clone();
        move |id: u64| {
            let mut left = fails.lock().expect("no writer panics");
            let fails = id == 10 && *left > 0;
            if fails {
                *left -= 1;
                failed.end(id);
            }
            fails
        }
    };
    let worker = world.worker("w1").build_for_each(every, 1, handler(&calls, always(0), once)).unwrap().start();
    world.put(0..10).await;
    world.until("the first are handled", || calls.distinct() == 10).await;
    world.put(10..20).await;
    world.until("all is handled", || calls.distinct() == 20).await;

    assert_eq!(failed.ended().len(), 3);
    assert_eq!(calls.twice(), [10]);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn checkpoints_handled_records_while_the_next_call_is_slow() {
    let world = World::start(1).await;
    let calls = Calls::default();
    let pause = |id: u64| Duration::from_secs(if id == 10 { 300 } else { 0 });
    let worker = world.worker("w1").build_for_each(EVERY, 1, handler(&calls, pause, never)).unwrap().start();
    world.put(0..10).await;
    world.until("the first are handled", || calls.distinct() == 10).await;
    world.put(10..20).await;
    world.until("the slow one is begun", || calls.of(10) == 1).await;
    let is_stored = async || matches!(world.checkpoint(SHARD).await, Checkpoint::At(_));
    world.until_holds("the first are checkpointed", is_stored).await;
    assert_eq!((calls.begun().len(), calls.cut()), (11, 1), "the slow one is still under way");
    drop(worker);
    sleep(Duration::from_secs(20)).await;
    let next = world.worker("w2").build_for_each(EVERY, 1, handler(&calls, always(0), never)).unwrap().start();
    world.until("all is handled", || calls.distinct() == 20).await;
    assert_eq!(calls.twice(), [0; 0]);
    next.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_under_the_default_policy_leaves_its_neighbours_alone() {
    let world = World::start(1).await;
    let calls = Calls::default();
    world.put(0..1_000).await;
    let build = |builder: WorkerBuilder| -> Worker<ForEach<_>> {
        builder.build_for_each(EVERY, 64, handler(&calls, |id| Duration::from_millis(id % 7), |id| id == 50)).unwrap()
    };
    let worker = build(world.worker("w1")).start();
    sleep(Duration::from_secs(600)).await; // in pauses that grow to half a minute

    assert!(calls.of(50) > 20, "{}", calls.of(50));
    let most = (0..1_000).filter(|id| *id != 50).map(|id| calls.of(id)).max().unwrap();
    assert_eq!(most, 1, "neighbours are handled once while the worker lives");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_lease_table_does_not_hold_a_closure_up() {
    let world = World::start(1).await;
    let calls = Calls::default();
    world.put(0..4_000).await;
    world.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_secs(2));
    let every = CheckpointEvery::new(100, EVERY.interval);
    let builder = world.worker("w1");
    let worker = builder.build_for_each(every, 10, handler(&calls, always(100), never)).unwrap().start();
    world.until("begins", || !calls.begun().is_empty()).await;
    sleep(Duration::from_secs(20)).await;

    let handled = calls.distinct();
    assert!(handled > 1_900, "{handled} handled in 20 s");
    worker.stop().await.unwrap();
    assert_eq!(calls.cut(), 0);
}
