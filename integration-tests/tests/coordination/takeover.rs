//! Standstill of shards when a worker leaves, in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use integration_tests::{Journal, Running, STREAM, World};
use kcl::{Event, Streams, WorkerBuilder};
use kinesis_local::{Fault, FaultRule};
use tokio::time::{Instant, sleep};

const LEASE_DURATION: Duration = Duration::from_secs(10);
const SHARDS: i32 = 6;
const OTHER_STREAM: &str = "orders";

/// Three workers that have shared the shards, the leader first, and records that keep coming.
async fn fleet() -> (World, Vec<Running>, tokio::task::JoinHandle<()>) {
    fleet_of(World::worker).await
}

/// Such a fleet of the workers that `build` makes.
async fn fleet_of(build: impl Fn(&World, &str) -> WorkerBuilder) -> (World, Vec<Running>, tokio::task::JoinHandle<()>) {
    let world = World::start(SHARDS).await;
    world.create(OTHER_STREAM, 2).await;
    let run = |id| world.spawn(build(&world, id));
    let mut workers = vec![run("w1")];
    world.until("it leads", || world.events.count(|event| *event == Event::LeaderGained) == 1).await;
    workers.extend(["w2", "w3"].map(run));
    world.settled().await;
    let putting = world.keep_putting(100, Duration::from_millis(500));
    let read = || world.journal.entries().into_iter().filter(|entry| !entry.keys.is_empty());
    let shards = || read().map(|entry| entry.shard_id).collect::<BTreeSet<_>>().len();
    world.until("all shards are processed", || shards() == 6).await;
    (world, workers, putting)
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
    let (world, mut workers, putting) = fleet().await;
    let gone = workers.remove(killed);
    let since = Instant::now();
    if graceful {
        gone.stop().await.expect("worker stops in good order");
    } else {
        gone.kill();
    }
    sleep(Duration::from_secs(30)).await;
    putting.abort();
    let pauses = longest_pauses(&world.journal, since);
    assert_eq!(pauses.len(), 6, "every shard is processed again");
    pauses
}

#[tokio::test(start_paused = true)]
async fn takes_over_from_a_killed_worker_within_one_and_a_half_lease_durations() {
    for killed in 0..3 {
        let pauses = pauses_after(killed, false).await;

        // Beside the taking over, a shard may have waited for its next read.
        let bound = LEASE_DURATION.mul_f64(1.5) + Duration::from_secs(1);
        assert!(pauses.values().all(|pause| *pause <= bound), "worker {killed}: {pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn takes_over_from_a_stopped_worker_of_a_fleet_at_rest_within_five_seconds() {
    for stopped in 0..3 {
        let pauses = pauses_after(stopped, true).await;

        let bound = Duration::from_secs(5) + Duration::from_secs(1);
        assert!(pauses.values().all(|pause| *pause <= bound), "worker {stopped}: {pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_is_given_no_lease_again() {
    for killed in 0..3 {
        let (world, mut workers, putting) = fleet().await;
        workers.remove(killed).kill();
        let dead = format!("w{}", killed + 1);
        sleep(LEASE_DURATION.mul_f64(1.5)).await;

        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let status = world.status().await;
            let given = |owner: &Option<kcl::WorkerId>| owner.as_ref().is_some_and(|owner| owner.as_str() == dead);
            assert!(!status.leases.iter().any(|lease| given(&lease.owner) || given(&lease.next_owner)), "{status}");
            sleep(Duration::from_millis(500)).await;
        }
        putting.abort();
    }
}

fn of_both_streams(world: &World, worker_id: &str) -> WorkerBuilder {
    world.multi_worker(worker_id, &Streams::new([STREAM, OTHER_STREAM]))
}

/// The longest time that a shard stands still when the leader dies and Kinesis' control plane does not answer as it should.
async fn pause_without_control_plane(
    build: impl Fn(&World, &str) -> WorkerBuilder,
    answer: impl Fn(FaultRule) -> Fault,
) -> Duration {
    let (world, mut workers, putting) = fleet_of(build).await;
    for action in ["kinesis:ListShards", "kinesis:DescribeStreamSummary"] {
        answer(world.local.faults().on(action));
    }
    let since = Instant::now();
    workers.remove(0).kill();
    // Long enough for descriptions of streams to be renewed.
    sleep(Duration::from_secs(45)).await;
    putting.abort();
    let pauses = longest_pauses(&world.journal, since);
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
        let one = pause_without_control_plane(World::worker, answer).await;
        let several = pause_without_control_plane(of_both_streams, answer).await;
        println!("{how}: {one:?} with one stream, {several:?} with several");
        assert!(one <= bound && several <= bound, "{how}: {one:?} {several:?}");
    }
}
