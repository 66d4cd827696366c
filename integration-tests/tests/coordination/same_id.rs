//! Runs of a worker that follow each other under one id.

use std::time::Duration;

use integration_tests::{EventLog, Log, Running, World};
use kcl::{BoxError, Checkpointer, Event, RecordBatch, RecordProcessor, ShardContext};
use tokio::time::{Instant, sleep};

/// Time that a processor takes to leave.
const DRAIN: Duration = Duration::from_secs(20);

/// Time of a checkpoint, the run that made it, and its fencing token.
type Deed = (Instant, u32, u64);

fn has(log: &Log<Deed>, run: u32) -> bool {
    log.count(|(_, of, _)| *of == run) > 0
}

/// Checkpoints all that it is given, and takes its time to leave.
struct Slow {
    log: Log<Deed>,
    run: u32,
}

impl RecordProcessor for Slow {
    type Error = BoxError;

    async fn process_records(&mut self, _batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        checkpointer.checkpoint().await?;
        self.log.push((Instant::now(), self.run, checkpointer.fencing_token()));
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        sleep(DRAIN).await;
        checkpointer.checkpoint().await?;
        self.log.push((Instant::now(), self.run, checkpointer.fencing_token()));
        Ok(())
    }
}

fn run(world: &World, log: &Log<Deed>, id: &str, run: u32) -> Running {
    let log = log.clone();
    Running::start_factory(world.worker(id), move |_: &ShardContext| Slow { log: log.clone(), run })
}

/// The task that puts records, and the first run once it works.
async fn first_run(world: &World, log: &Log<Deed>) -> (tokio::task::JoinHandle<()>, Running) {
    let (putting, first) = (world.keep_putting(100, Duration::from_secs(1)), run(world, log, "w1", 1));
    world.until("the first run works", || has(log, 1)).await;
    (putting, first)
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_run_of_the_same_id_that_drains() {
    let world = World::start(2).await;
    let log = Log::default();
    let (putting, first) = first_run(&world, &log).await;
    world.until("both shards are processed", || log.len() > 3).await;
    let stopping = tokio::spawn(first.stop());
    sleep(Duration::from_secs(1)).await; // it drains

    let second = run(&world, &log, "w1", 2);
    world.until("the second run works", || has(&log, 2)).await;

    stopping.await.expect("no panic").expect("the first run stops");
    let done = log.all();
    let (last_of_first, _, old) = *done.iter().rfind(|(_, run, _)| *run == 1).expect("it worked");
    let (first_of_second, _, new) = *done.iter().find(|(_, run, _)| *run == 2).expect("it worked");
    assert!(last_of_first < first_of_second && old < new, "{done:?}");
    assert!(first_of_second - last_of_first < Duration::from_secs(6), "{:?}", first_of_second - last_of_first);
    assert_eq!(world.events.count(|event| matches!(event, Event::LeaseLost { .. })), 0);
    putting.abort();
    second.kill();
}

#[tokio::test(start_paused = true)]
async fn gives_a_worker_that_drains_no_lease_and_tells_java_leaders_so() {
    let world = World::start(2).await;
    let log = Log::default();
    let (putting, first) = first_run(&world, &log).await;
    let other = run(&world, &log, "w2", 2);
    world.until("the other works", || has(&log, 2)).await;
    let stopping = tokio::spawn(first.stop());

    let (begun, mut seen) = (Instant::now(), 0);
    sleep(Duration::from_secs(1)).await;
    while !stopping.is_finished() {
        if let Some(item) = world.table().get("w1").await {
            let first = |name: &str| {
                let metric = item.get(name)?.as_m().ok()?.get("C")?.as_l().ok()?;
                metric.last()?.as_n().ok().cloned()
            };
            assert_eq!((first("sts").as_deref(), first("opr").as_deref()), (Some("-1"), Some("100")));
            seen += 1;
        }
        sleep(Duration::from_millis(500)).await;
    }

    stopping.await.expect("no panic").expect("the first run stops");
    assert!(seen > 30 && begun.elapsed() < DRAIN + Duration::from_secs(2), "{seen} in {:?}", begun.elapsed());
    let taken = world.events.count(|event| matches!(event, Event::LeaseTaken { .. }));
    assert!(taken <= 4, "{taken} leases taken: two at first, one moved, one taken over");
    putting.abort();
    other.kill();
}

#[tokio::test(start_paused = true)]
async fn stops_at_once_while_it_waits_for_a_run_of_the_same_id() {
    let world = World::start(1).await;
    let log = Log::default();
    let (putting, first) = first_run(&world, &log).await;
    let stopping = tokio::spawn(first.stop());
    sleep(Duration::from_secs(1)).await; // it drains
    let second = run(&world, &log, "w1", 2);
    sleep(Duration::from_secs(8)).await; // it waits

    let begun = Instant::now();
    second.stop().await.expect("it stops");

    assert!(begun.elapsed() < Duration::from_secs(1) && !stopping.is_finished(), "{:?}", begun.elapsed());
    assert!(!has(&log, 2));
    stopping.await.expect("no panic").expect("the first run stops");
    putting.abort();
}

/// Events of a worker whose lease table refuses writes for a while, or for ever, when it stops.
async fn events_of_a_stop(refused: u64) -> (EventLog, bool) {
    let world = World::start(1).await;
    let log = Log::<Deed>::default();
    let worker = run(&world, &log, "w1", 1);
    world.settled().await;
    let stopping = tokio::spawn(worker.stop());
    sleep(DRAIN - Duration::from_secs(1)).await;
    world.local.faults().on("dynamodb:UpdateItem").times(refused).throttle();
    stopping.await.expect("no panic").expect("it stops");
    let status = world.status().await;
    (world.events, status.leases[0].owner.is_none())
}

#[tokio::test(start_paused = true)]
async fn tells_of_a_release_only_if_the_table_took_it_in() {
    for (refused, released) in [(6, true), (u64::MAX, false)] {
        let (events, unowned) = events_of_a_stop(refused).await;

        let told = events.count(|event| matches!(event, Event::LeaseReleased { .. }));
        let lost = events.count(|event| matches!(event, Event::LeaseLost { .. }));
        assert_eq!((unowned, told, lost), (released, usize::from(released), usize::from(!released)));
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_the_later_of_two_runs_whatever_the_clocks_say() {
    let world = World::start(2).await;
    let first = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;
    world.local.set_clock_behind(Duration::from_secs(60));

    let refused = world.run("w1").ended().await.unwrap_err();

    assert_eq!(refused.to_string(), "worker id w1 is in use by another running worker");
    world.put(100..200).await;
    world.journal.processed(200).await;
    first.stop().await.unwrap();
}
