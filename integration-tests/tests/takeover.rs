//! How long shards stand still when a worker goes, in virtual time.

use std::{collections::BTreeMap, time::Duration};

use integration_tests::{APPLICATION, Journal, Running, STREAM, TestStream};
use kcl::{FleetStatus, InitialPosition, Streams, Worker, WorkerBuilder};
use kinesis_local::{Fault, FaultRule};
use tokio::time::{Instant, sleep};

const LEASE_DURATION: Duration = Duration::from_secs(10);
const SHARDS: i32 = 6;
const OTHER_STREAM: &str = "orders";

/// Three workers that have shared the shards, the leader first, and records that keep coming.
async fn fleet(journal: &Journal) -> (TestStream, Vec<Running>, tokio::task::JoinHandle<()>) {
    fleet_of(journal, TestStream::worker).await
}

/// Such a fleet of the workers that `build` makes.
async fn fleet_of(
    journal: &Journal,
    build: impl Fn(&TestStream, &str) -> WorkerBuilder,
) -> (TestStream, Vec<Running>, tokio::task::JoinHandle<()>) {
    let stream = TestStream::start(SHARDS).await;
    let create = stream.kinesis.create_stream().stream_name(OTHER_STREAM).shard_count(2);
    create.send().await.expect("stream is new");
    let run = |id| Running::start(build(&stream, id), journal, |journal, shard| journal.processor(shard));
    let mut workers = vec![run("w1")];
    sleep(Duration::from_secs(3)).await;
    workers.extend(["w2", "w3"].map(run));
    let putting = tokio::spawn({
        let stream = stream.clone();
        async move {
            for round in 0.. {
                stream.put(round * 100..(round + 1) * 100).await;
                sleep(Duration::from_millis(500)).await;
            }
        }
    });
    sleep(Duration::from_secs(25)).await;
    (stream, workers, putting)
}

/// For each shard the longest time, since then, from one batch to the next.
fn longest_pauses(journal: &Journal, since: Instant) -> BTreeMap<String, Duration> {
    let mut last = BTreeMap::new();
    let mut pauses = BTreeMap::new();
    for entry in journal.entries().into_iter().filter(|entry| entry.at >= since && !entry.keys.is_empty()) {
        let shard = entry.shard_id.to_string();
        let pause = entry.at - *last.get(&shard).unwrap_or(&since);
        last.insert(shard.clone(), entry.at);
        let longest = pauses.entry(shard).or_insert(pause);
        *longest = pause.max(*longest);
    }
    pauses
}

async fn pauses_after(killed: usize, graceful: bool) -> BTreeMap<String, Duration> {
    let journal = Journal::default();
    let (_stream, mut workers, putting) = fleet(&journal).await;
    let gone = workers.remove(killed);
    let since = Instant::now();
    if graceful {
        gone.stop().await.expect("worker stops in good order");
    } else {
        gone.kill();
    }
    sleep(Duration::from_secs(30)).await;
    putting.abort();
    let pauses = longest_pauses(&journal, since);
    assert_eq!(pauses.len(), 6, "every shard is processed again");
    pauses
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_killed_worker_are_processed_again_within_one_and_a_half_lease_durations() {
    for killed in 0..3 {
        let pauses = pauses_after(killed, false).await;

        // Beside the taking over, a shard may have waited for its next read.
        let bound = LEASE_DURATION.mul_f64(1.5) + Duration::from_secs(1);
        assert!(pauses.values().all(|pause| *pause <= bound), "worker {killed}: {pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_worker_stopped_in_good_order_are_processed_again_within_two_seconds() {
    for stopped in 0..3 {
        let pauses = pauses_after(stopped, true).await;

        let bound = Duration::from_secs(2) + Duration::from_secs(1);
        assert!(pauses.values().all(|pause| *pause <= bound), "worker {stopped}: {pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_is_given_no_lease_again() {
    for killed in 0..3 {
        let journal = Journal::default();
        let (stream, mut workers, putting) = fleet(&journal).await;
        workers.remove(killed).kill();
        let dead = format!("w{}", killed + 1);
        sleep(LEASE_DURATION.mul_f64(1.5)).await;

        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let status = FleetStatus::read(&stream.aws, APPLICATION).await.expect("the table is there");
            let given = |owner: &Option<kcl::WorkerId>| owner.as_ref().is_some_and(|owner| owner.as_str() == dead);
            assert!(!status.leases.iter().any(|lease| given(&lease.owner) || given(&lease.next_owner)), "{status}");
            sleep(Duration::from_millis(500)).await;
        }
        putting.abort();
    }
}

fn of_both_streams(stream: &TestStream, worker_id: &str) -> WorkerBuilder {
    let builder = Worker::builder(&stream.aws, APPLICATION, Streams::new([STREAM, OTHER_STREAM]));
    builder.worker_id(worker_id).initial_position(InitialPosition::TrimHorizon)
}

/// The longest time that a shard stands still when the leader dies and Kinesis' control plane does not answer as it should.
async fn pause_without_control_plane(
    build: impl Fn(&TestStream, &str) -> WorkerBuilder,
    answer: impl Fn(FaultRule) -> Fault,
) -> Duration {
    let journal = Journal::default();
    let (stream, mut workers, putting) = fleet_of(&journal, build).await;
    for action in ["kinesis:ListShards", "kinesis:DescribeStreamSummary"] {
        answer(stream.local.faults().on(action));
    }
    let since = Instant::now();
    workers.remove(0).kill();
    // Long enough for descriptions of streams to be renewed.
    sleep(Duration::from_secs(45)).await;
    putting.abort();
    let pauses = longest_pauses(&journal, since);
    assert_eq!(pauses.len(), 6, "every shard is processed again");
    pauses.into_values().max().expect("there are shards")
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_is_down_does_not_delay_a_takeover() {
    type Answer = fn(FaultRule) -> Fault;
    let answers: [(&str, Answer); 4] = [
        ("healthy", |rule| rule.delay(Duration::ZERO)),
        ("throttled", FaultRule::throttle),
        ("failing", FaultRule::fail),
        ("hanging", |rule| rule.delay(Duration::from_secs(3600))),
    ];
    let bound = LEASE_DURATION.mul_f64(1.5) + Duration::from_secs(1);
    for (how, answer) in answers {
        let one = pause_without_control_plane(TestStream::worker, answer).await;
        let several = pause_without_control_plane(of_both_streams, answer).await;
        println!("{how}: {one:?} with one stream, {several:?} with several");
        assert!(one <= bound && several <= bound, "{how}: {one:?} {several:?}");
    }
}
