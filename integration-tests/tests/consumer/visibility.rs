//! Visibility of a worker's consumption: metrics, slow processors, shards that make no progress and why.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use integration_tests::{SHARD, World};
use kcl::{
    BoxError, CheckpointEvery, Checkpointer, Event, FanOut, Record, RecordBatch, RecordProcessor, Retrieval,
    ShardContext, ShardPhase, Stall, WorkerHandle,
};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_slow_is_behind_until_all_it_read_is_processed() {
    let world = World::start(1).await;
    let handler = |_: Record| async {
        sleep(Duration::from_secs(6)).await;
        Ok::<(), BoxError>(())
    };
    let builder = world.worker("w1").max_batch_records(10);
    let worker = builder.build_for_each(CheckpointEvery::default(), 1, handler).unwrap().start();
    let behind = || worker.shards()[0].behind_latest;
    world.put(0..100).await;

    // A batch takes a minute, and the service has nothing more to be read.
    sleep(MINUTE * 5 + MINUTE / 2).await;
    let told = behind().unwrap();
    assert!((MINUTE * 5..MINUTE * 6).contains(&told), "{told:?}");

    sleep(MINUTE * 6).await;
    assert_eq!(behind(), Some(Duration::ZERO));
}

/// A worker that handles each record by `handler`.
fn start<H, Fut>(world: &World, handler: H) -> WorkerHandle
where
    H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    world.worker("w1").build_for_each(CheckpointEvery::default(), 1, handler).expect("configuration is right").start()
}

fn stall(worker: &WorkerHandle, shard: &str) -> Option<Stall> {
    worker.shards().into_iter().find(|status| status.shard.shard_id.as_str() == shard).and_then(|status| status.stall)
}

fn told(world: &World, like: impl Fn(&Stall) -> bool) -> usize {
    world.events.count(|event| matches!(event, Event::ShardStalled { stall, .. } if like(stall)))
}

#[tokio::test(start_paused = true)]
async fn reports_a_processor_that_does_not_return_ever_more_rarely() {
    let world = World::start(1).await;
    let worker = start(&world, |_| async {
        sleep(MINUTE * 10).await;
        Ok(())
    });
    world.put(0..1).await;
    sleep(MINUTE * 9).await;

    let slow = world.events.all().into_iter().filter_map(|event| match event {
        Event::ProcessorSlow { running_for, .. } => Some(running_for.as_secs() / 60),
        _ => None,
    });
    assert_eq!(slow.collect::<Vec<_>>(), [1, 2, 4, 8]);
    assert_eq!(stall(&worker, SHARD), Some(Stall::ProcessorBusy));
    sleep(MINUTE * 2).await;
    assert_eq!(stall(&worker, SHARD), None, "it has returned");
    assert_eq!(told(&world, |_| true), 0);
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_is_not_stalled() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new())] {
        let world = World::start(2).await;
        let builder = world.worker("w1").retrieval(retrieval);
        let worker = builder.build_for_each(CheckpointEvery::default(), 1, |_| async { Ok::<(), BoxError>(()) });
        let worker = worker.expect("configuration is right").start();
        sleep(MINUTE * 20).await;

        assert_eq!(told(&world, |_| true), 0, "{:?}", world.events.all());
        assert!(worker.shards().iter().all(|shard| shard.stall.is_none()));
        worker.stop().await.expect("worker stops");
    }
}

#[tokio::test(start_paused = true)]
async fn says_whether_reads_are_throttled_or_fail_or_the_processor_does() {
    let world = World::start(1).await;
    let fails = Arc::new(AtomicBool::new(false));
    let handler = {
        let fails = Arc::clone(&fails);
        move |_| {
            let fails = fails.load(Ordering::Relaxed);
            async move { if fails { Err(BoxError::from("no")) } else { Ok(()) } }
        }
    };
    let worker = start(&world, handler);
    world.settled().await;

    let throttled = world.local.faults().on("kinesis:GetRecords").throttle();
    sleep(MINUTE * 2).await;
    assert_eq!(stall(&worker, SHARD), Some(Stall::Throttled));
    throttled.remove();
    let failing = world.local.faults().on("kinesis:GetRecords").fail();
    sleep(MINUTE * 2).await;
    assert!(matches!(stall(&worker, SHARD), Some(Stall::ReadFailing { .. })));
    failing.remove();
    sleep(MINUTE).await;
    assert_eq!(stall(&worker, SHARD), None);
    fails.store(true, Ordering::Relaxed);
    world.put(0..1).await;
    sleep(MINUTE * 2).await;
    assert!(matches!(stall(&worker, SHARD), Some(Stall::ProcessorFailing { failures, .. }) if failures > 3));
    fails.store(false, Ordering::Relaxed);
    sleep(MINUTE).await;
    assert_eq!(stall(&worker, SHARD), None);

    let one_each = [
        told(&world, |stall| *stall == Stall::Throttled),
        told(&world, |stall| matches!(stall, Stall::ReadFailing { .. })),
        told(&world, |stall| matches!(stall, Stall::ProcessorFailing { .. })),
    ];
    assert_eq!(one_each, [1, 1, 1], "{:?}", world.events.all());
    worker.stop().await.expect("worker stops");
}

/// Never gets done with its shard's end.
struct Lingers;

impl RecordProcessor for Lingers {
    type Error = BoxError;

    async fn process_records(&mut self, _: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        Ok(checkpointer.checkpoint().await?)
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        Err("not yet".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_says_which_parent_it_waits_for() {
    let world = World::start(1).await;
    world.put(0..10).await;
    let builder = world.worker("w1");
    let worker = builder.build(|_: &ShardContext| Lingers).expect("configuration is right").start();
    world.settled().await;

    world.split(SHARD).await;
    let waits = || worker.shards().iter().any(|shard| shard.phase == ShardPhase::WaitingForParents);
    world.until("children have leases and wait", waits).await;
    sleep(MINUTE * 2).await;

    let waits = |stall: &Stall| matches!(stall, Stall::WaitingForParents { parents, .. } if *parents == [SHARD.into()]);
    assert_eq!(told(&world, waits), 2, "{:?}", world.events.all());
    assert!(stall(&worker, "shardId-000000000001").as_ref().is_some_and(waits));
    assert!(matches!(stall(&worker, SHARD), Some(Stall::ProcessorFailing { failures, .. }) if failures > 3));
    assert_eq!(told(&world, |stall| matches!(stall, Stall::ProcessorFailing { .. })), 1);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn the_leader_tells_of_shards_that_no_worker_may_take() {
    let world = World::start(3).await;
    let builder = world.worker("w1").max_leases(2);
    let worker = world.spawn(builder);
    let begun = Instant::now();
    world.until("a shard is told of", || told(&world, |stall| *stall == Stall::NoLease) == 1).await;

    assert!(begun.elapsed() >= MINUTE);
    sleep(MINUTE * 5).await;
    assert_eq!(told(&world, |_| true), 1, "{:?}", world.events.all());
    worker.stop().await.expect("worker stops");
}
