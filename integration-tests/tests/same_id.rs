//! Runs of a worker that follow each other under one id.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use integration_tests::{APPLICATION, EventLog, Journal, Running, TestStream, eventually};
use kcl::{BoxError, Checkpointer, Event, RecordBatch, RecordProcessor, ShardContext};
use tokio::time::{Instant, sleep};

/// How long a processor takes to leave.
const DRAIN: Duration = Duration::from_secs(20);

/// When, by which run, with which token.
type Deed = (Instant, u32, u64);

/// What processors do.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Deed>>>);

impl Log {
    fn note(&self, run: u32, token: u64) {
        self.0.lock().expect("no writer panics").push((Instant::now(), run, token));
    }

    fn all(&self) -> Vec<Deed> {
        self.0.lock().expect("no writer panics").clone()
    }

    fn has(&self, run: u32) -> bool {
        self.all().iter().any(|(_, of, _)| *of == run)
    }
}

/// Checkpoints all that it is given, and takes its time to leave.
struct Slow {
    log: Log,
    run: u32,
}

impl RecordProcessor for Slow {
    type Error = BoxError;

    async fn process_records(&mut self, _batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        checkpointer.checkpoint().await?;
        self.log.note(self.run, checkpointer.fencing_token());
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        sleep(DRAIN).await;
        checkpointer.checkpoint().await?;
        self.log.note(self.run, checkpointer.fencing_token());
        Ok(())
    }
}

fn run(stream: &TestStream, log: &Log, events: &EventLog, id: &str, run: u32) -> Running {
    let log = log.clone();
    Running::start_factory(stream.worker(id).on_event(events.handler()), move |_: &ShardContext| Slow {
        log: log.clone(),
        run,
    })
}

/// Puts a record into every shard each second.
fn keep_putting(stream: &TestStream) -> tokio::task::JoinHandle<()> {
    let stream = stream.clone();
    tokio::spawn(async move {
        for round in 0.. {
            stream.put(round * 100..(round + 1) * 100).await;
            sleep(Duration::from_secs(1)).await;
        }
    })
}

/// The task that puts records, and the first run once it works.
async fn first_run(stream: &TestStream, log: &Log, events: &EventLog) -> (tokio::task::JoinHandle<()>, Running) {
    let (putting, first) = (keep_putting(stream), run(stream, log, events, "w1", 1));
    eventually("the first run works", || log.has(1)).await;
    (putting, first)
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_run_of_the_same_id_that_drains() {
    let (stream, log, events) = (TestStream::start(2).await, Log::default(), EventLog::default());
    let (putting, first) = first_run(&stream, &log, &events).await;
    sleep(Duration::from_secs(5)).await;
    let stopping = tokio::spawn(first.stop());
    sleep(Duration::from_secs(1)).await;

    let second = run(&stream, &log, &events, "w1", 2);
    eventually("the second run works", || log.has(2)).await;

    stopping.await.expect("no panic").expect("the first run stops");
    let done = log.all();
    let (last_of_first, _, old) = *done.iter().rfind(|(_, run, _)| *run == 1).expect("it worked");
    let (first_of_second, _, new) = *done.iter().find(|(_, run, _)| *run == 2).expect("it worked");
    assert!(last_of_first < first_of_second && old < new, "{done:?}");
    assert!(first_of_second - last_of_first < Duration::from_secs(6), "{:?}", first_of_second - last_of_first);
    assert_eq!(events.count(|event| matches!(event, Event::LeaseLost { .. })), 0);
    putting.abort();
    second.kill();
}

#[tokio::test(start_paused = true)]
async fn gives_a_worker_that_drains_no_lease_and_tells_java_leaders_so() {
    let (stream, log, events) = (TestStream::start(2).await, Log::default(), EventLog::default());
    let (putting, first) = first_run(&stream, &log, &events).await;
    let other = run(&stream, &log, &events, "w2", 2);
    eventually("the other works", || log.has(2)).await;
    let stopping = tokio::spawn(first.stop());

    let dynamodb = aws_sdk_dynamodb::Client::new(&stream.aws);
    let (begun, mut seen) = (Instant::now(), 0);
    sleep(Duration::from_secs(1)).await;
    while !stopping.is_finished() {
        let get = dynamodb.get_item().table_name(APPLICATION).key("leaseKey", AttributeValue::S("w1".to_owned()));
        if let Some(item) = get.consistent_read(true).send().await.expect("table exists").item {
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
    let taken = events.count(|event| matches!(event, Event::LeaseTaken { .. }));
    assert!(taken <= 4, "{taken} leases taken: two at first, one moved, one taken over");
    putting.abort();
    other.kill();
}

#[tokio::test(start_paused = true)]
async fn stops_at_once_while_it_waits_for_a_run_of_the_same_id() {
    let (stream, log, events) = (TestStream::start(1).await, Log::default(), EventLog::default());
    let (putting, first) = first_run(&stream, &log, &events).await;
    let stopping = tokio::spawn(first.stop());
    sleep(Duration::from_secs(1)).await;
    let second = run(&stream, &log, &events, "w1", 2);
    sleep(Duration::from_secs(8)).await;

    let begun = Instant::now();
    second.stop().await.expect("it stops");

    assert!(begun.elapsed() < Duration::from_secs(1) && !stopping.is_finished(), "{:?}", begun.elapsed());
    assert!(!log.has(2));
    stopping.await.expect("no panic").expect("the first run stops");
    putting.abort();
}

/// Events of a worker whose lease table refuses writes for a while, or for ever, when it stops.
async fn events_of_a_stop(refused: u64) -> (EventLog, bool) {
    let (stream, log, events) = (TestStream::start(1).await, Log::default(), EventLog::default());
    let worker = run(&stream, &log, &events, "w1", 1);
    sleep(Duration::from_secs(10)).await;
    let stopping = tokio::spawn(worker.stop());
    sleep(DRAIN - Duration::from_secs(1)).await;
    stream.local.faults().on("dynamodb:UpdateItem").times(refused).throttle();
    stopping.await.expect("no panic").expect("it stops");
    let status = kcl::FleetStatus::read(&stream.aws, APPLICATION).await.expect("the table is there");
    (events, status.leases[0].owner.is_none())
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
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let first = stream.run("w1", &journal);
    stream.put(0..100).await;
    journal.processed(100).await;
    stream.local.set_clock_behind(Duration::from_secs(60));

    let refused = stream.run("w1", &Journal::default()).ended().await.unwrap_err();

    assert_eq!(refused.to_string(), "worker id w1 is in use by another running worker");
    stream.put(100..200).await;
    journal.processed(200).await;
    first.stop().await.unwrap();
}
