//! Resets of an application's checkpoints: what is processed again afterwards, and what is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use integration_tests::{
    APPLICATION, Journal, Running, SHARD, STREAM, World,
    history::{history, now, numbers},
    number, settled, store, text,
};
use kcl::{Checkpoint, InitialPosition, Reset, ResetError, WorkerBuilder, WorkerError};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// A stream whose past a worker has processed, and then stopped in good order.
async fn processed() -> (World, [SystemTime; 3]) {
    let world = World::start(2).await;
    let worker = world.run("w1");
    let times = history(&world).await;
    world.settled().await;
    assert_eq!(numbers(&world.journal).len(), 400);
    worker.stop().await.expect("worker stops");
    (world, times)
}

fn builder(world: &World) -> WorkerBuilder {
    world.worker("operator")
}

fn at(time: SystemTime) -> Reset {
    Reset::to(InitialPosition::AtTimestamp(time))
}

/// Records that a new worker processes, in order, until no more arrive.
async fn processed_next(world: &World) -> Vec<u64> {
    let journal = Journal::default();
    let workers = ["w2", "w3"].map(|id| Running::noting(world.worker(id), &journal));
    settled(|| (world.events.len(), journal.len())).await;
    for worker in workers {
        worker.stop().await.expect("worker stops");
    }
    assert!(journal.keys_out_of_order().is_empty(), "a child ran before its parent");
    numbers(&journal)
}

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids
}

async fn checkpoints(world: &World) -> BTreeMap<String, Checkpoint> {
    let status = world.status().await;
    status.leases.into_iter().map(|lease| (lease.shard_id.to_string(), lease.checkpoint)).collect()
}

#[tokio::test(start_paused = true)]
async fn repeats_every_record_from_a_time_on_in_order_and_none_before() {
    let (world, times) = processed().await;

    for (time, first) in times.into_iter().zip([100, 200, 300]) {
        builder(&world).reset(at(time)).await.expect("nobody runs");

        assert_eq!(sorted(processed_next(&world).await), (first..400).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn shards_whose_leases_were_deleted_are_processed_again_too() {
    let (world, [_, twenty, _]) = processed().await;
    let leased: BTreeSet<String> = checkpoints(&world).await.into_keys().collect();
    assert!(!leased.contains(SHARD), "the first parent's lease is gone: {leased:?}");

    let report = builder(&world).reset(Reset::to(InitialPosition::TrimHorizon)).await.expect("nobody runs");

    assert!(report.shards.iter().any(|shard| shard.before.is_none()));
    assert_eq!(sorted(processed_next(&world).await), (0..400).collect::<Vec<_>>());
    builder(&world).reset(at(twenty)).await.expect("nobody runs");
    assert_eq!(sorted(processed_next(&world).await), (200..400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn sets_a_lagging_application_to_the_present_and_misses_nothing_later() {
    let world = World::start(2).await;
    let journal = Journal::default();
    let worker = Running::noting(world.worker("w1"), &journal);
    world.put(0..10).await;
    journal.processed(10).await;
    worker.stop().await.expect("worker stops");
    history(&world).await;

    builder(&world).reset(Reset::to(InitialPosition::Latest)).await.expect("nobody runs");
    world.put(400..500).await;

    assert_eq!(sorted(processed_next(&world).await), (400..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_shard_is_reset_with_those_that_follow_it() {
    let (world, [ten, _, _]) = processed().await;
    let before = checkpoints(&world).await;

    let report = builder(&world).reset(at(ten).only_shard(SHARD)).await.expect("nobody runs");

    let reset: BTreeSet<String> = report.shards.iter().map(|reset| reset.shard.shard_id.to_string()).collect();
    let after = checkpoints(&world).await;
    assert!(after.keys().any(|shard| !reset.contains(shard)), "{reset:?}");
    for (shard, checkpoint) in after {
        if !reset.contains(&shard) {
            assert_eq!(before.get(&shard), Some(&checkpoint), "{shard} is left alone");
        }
    }
    assert!(!reset.contains("shardId-000000000001"), "{reset:?}");
    let again: BTreeSet<u64> = processed_next(&world).await.into_iter().collect();
    assert!(!again.is_empty() && again.iter().all(|id| *id >= 100), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn writes_leases_that_java_knows_without_owner_or_pending_checkpoint() {
    let (world, [ten, twenty, _]) = processed().await;
    let open = world.open_shards().await;
    for (name, value) in [("pendingCheckpoint", text("7")), ("latestAsOfMillis", number(7)), ("theirs", text("7"))] {
        world.table().set(&open[0], name, value).await;
    }

    for time in [ten, twenty] {
        builder(&world).reset(at(time)).await.expect("nobody runs");

        let leases = world.table().leases().await;
        assert!(leases.len() > 3, "{leases:?}");
        for item in leases {
            let checkpoint = item["checkpoint"].as_s().expect("is text");
            let is_known = ["TRIM_HORIZON", "SHARD_END"].contains(&checkpoint.as_str())
                || checkpoint.chars().all(|c| c.is_ascii_digit());
            assert!(is_known, "{checkpoint}");
            for absent in ["leaseOwner", "checkpointOwner", "pendingCheckpoint", "latestAsOfMillis"] {
                assert!(!item.contains_key(absent), "{item:?}");
            }
            assert_eq!(item.contains_key("theirs"), item["leaseKey"].as_s() == Ok(&open[0]), "{item:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn resets_to_the_first_user_record_after_a_time_within_aggregates() {
    let world = World::start(1).await;
    let worker = world.run("w1");
    let producer = world.producer();
    store(&producer, 0..50).await;
    sleep(Duration::from_secs(1)).await;
    let time = kcl_now(&world).await;
    store(&producer, 50..100).await;
    world.journal.processed(101).await;
    worker.stop().await.expect("worker stops");

    let report = builder(&world).reset(at(time)).await.expect("nobody runs");

    let Checkpoint::At(position) = &report.shards[0].after else { panic!("{report:?}") };
    assert!(position.sub_sequence_number > 0, "behind the last user record of the aggregate before");
    assert_eq!(sorted(processed_next(&world).await), (50..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reset_to_this_moment_is_not_refused_as_one_to_the_future() {
    let (world, _) = processed().await;

    for _ in 0..5 {
        sleep(Duration::from_millis(1_230)).await;
        let moment = now(&world, 1_000_000).await;
        builder(&world).reset(at(moment)).await.expect("dates are known to the second");
    }

    let tomorrow = now(&world, 1_000_000).await + Duration::from_secs(24 * 60 * 60);
    let refused = builder(&world).reset(at(tomorrow)).await;
    assert!(matches!(refused, Err(ResetError::InFuture)), "{refused:?}");
}

/// A time between two records, which are a second and more apart.
async fn kcl_now(world: &World) -> SystemTime {
    now(world, 1_000_000).await - Duration::from_millis(500)
}

#[tokio::test(start_paused = true)]
async fn refuses_a_reset_and_changes_nothing_while_workers_live() {
    let world = World::start(2).await;
    let worker = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;
    world.settled().await;
    let before = checkpoints(&world).await;

    let refused = builder(&world).reset(Reset::to(InitialPosition::TrimHorizon)).await;

    assert!(matches!(refused, Err(ResetError::WorkersLive { .. })), "{refused:?}");
    assert_eq!(checkpoints(&world).await, before);
    worker.stop().await.expect("worker stops");
    assert_eq!(world.journal.ids().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn waits_for_signs_of_life_after_a_crash_and_not_after_a_stop() {
    let world = World::start(2).await;
    let worker = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;
    worker.stop().await.expect("worker stops");
    let begun = Instant::now();
    builder(&world).reset(Reset::to(InitialPosition::TrimHorizon)).await.expect("nobody runs");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    let worker = world.run("w1");
    world.settled().await;
    worker.kill();
    let begun = Instant::now();
    builder(&world).reset(Reset::to(InitialPosition::TrimHorizon)).await.expect("nobody runs");

    assert!(begun.elapsed() >= Duration::from_secs(35), "{:?}", begun.elapsed());
    assert_eq!(sorted(processed_next(&world).await), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn forced_it_fences_live_workers_which_process_everything_again() {
    let world = World::start(2).await;
    let workers = ["w1", "w2", "w3"].map(|id| world.run(id));
    let [_, twenty, _] = history(&world).await;
    let seen = world.journal.ids().len();

    builder(&world).reset(at(twenty).force()).await.expect("forced");
    world.settled().await;

    let again: BTreeSet<u64> = world.journal.ids()[seen..].iter().copied().filter(|id| *id < 1_000_000).collect();
    assert!(again.is_superset(&(200..400).collect()), "{:?}", again.len());
    assert_eq!(again.first(), Some(&200));
    for worker in workers {
        worker.stop().await.expect("worker stops");
    }
}

#[tokio::test(start_paused = true)]
async fn resets_despite_lost_answers_and_repeats_an_interrupted_reset() {
    let (world, [ten, _, _]) = processed().await;
    world.local.faults().on("dynamodb:UpdateItem").every(2).lose_response();
    world.local.faults().on("dynamodb:PutItem").every(2).lose_response();
    world.local.faults().on("kinesis:*").with_probability(0.3).throttle();
    builder(&world).reset(at(ten)).await.expect("answers are lost, not writes");
    world.local.faults().clear();
    assert_eq!(sorted(processed_next(&world).await), (100..400).collect::<Vec<_>>());

    // Some leases are there, and others are to be created.
    world.local.deny("dynamodb:PutItem");
    let failed = builder(&world).reset(at(ten)).await;
    assert!(matches!(failed, Err(ResetError::Partial { .. })), "{failed:?}");
    world.local.allow("dynamodb:PutItem");
    builder(&world).reset(at(ten)).await.expect("nobody runs");
    assert_eq!(sorted(processed_next(&world).await), (100..400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn refuses_resets_that_make_no_sense() {
    let (world, [ten, _, _]) = processed().await;

    let later = at(now(&world, 1_000_000).await + MINUTE);
    assert!(matches!(builder(&world).reset(later).await, Err(ResetError::InFuture)));
    let unknown = builder(&world).reset(at(ten).only_shard("shardId-000000000099")).await;
    assert!(matches!(unknown, Err(ResetError::UnknownShard { .. })), "{unknown:?}");
    let nowhere = kcl::Worker::builder(&world.aws, "NoSuchApplication", STREAM).reset(at(ten)).await;
    assert!(matches!(nowhere, Err(ResetError::Worker(WorkerError::LeaseTable(_)))), "{nowhere:?}");
    world.create("other", 1).await;
    let other = kcl::Worker::builder(&world.aws, APPLICATION, "other").reset(at(ten)).await;
    assert!(matches!(other, Err(ResetError::Worker(WorkerError::OtherStream { .. }))), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_starts_meanwhile_stops_it() {
    let (world, [ten, _, _]) = processed().await;
    let reads = world.local.faults().on("kinesis:GetRecords").delay(Duration::from_secs(2));
    let operator = builder(&world);
    let reset = tokio::spawn(async move { operator.reset(at(ten)).await });
    world.until("it reads", || reads.count() > 0).await;

    let worker = world.run("w9");
    let outcome = reset.await.expect("no panic");

    let refused = matches!(outcome, Err(ResetError::WorkersLive { .. } | ResetError::Partial { .. }));
    assert!(refused, "{outcome:?}");
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn resets_all_or_one_of_several_streams() {
    let world = World::start(2).await;
    world.create("orders", 1).await;
    let worker = |id: &str| {
        let both = kcl::Streams::new([STREAM, "orders"]);
        world.multi_worker(id, &both)
    };
    let begun = now(&world, 1_000_000).await;
    world.put(0..10).await;
    world.put_to("orders", 77..78).await;
    let run = async |builder: WorkerBuilder, journal: &Journal| {
        let running = Running::noting(builder, journal);
        settled(|| journal.len()).await;
        running.stop().await.expect("worker stops");
        sorted(numbers(journal))
    };
    let all: Vec<u64> = (0..10).chain([77]).collect();
    assert_eq!(run(worker("w1"), &world.journal).await, all);

    let reset = Reset::to(InitialPosition::TrimHorizon);
    worker("operator").reset(reset.clone().only_stream("orders")).await.expect("nobody runs");
    assert_eq!(run(worker("w2"), &Journal::default()).await, [77]);
    worker("operator").reset(reset.clone()).await.expect("nobody runs");
    assert_eq!(run(worker("w3"), &Journal::default()).await, all);
    assert_eq!(run(worker("replay").replay(begun..begun + MINUTE), &Journal::default()).await, all);

    let which = worker("operator").reset(reset.clone().only_shard(SHARD)).await;
    assert!(matches!(which, Err(ResetError::WhichStream)), "{which:?}");
    let unknown = worker("operator").reset(reset.only_stream("payments")).await;
    assert!(matches!(unknown, Err(ResetError::UnknownStream { .. })), "{unknown:?}");
}
