//! The health of a worker: live, ready, why not, and where each shard stands.

use std::time::Duration;

use integration_tests::{APPLICATION, SHARD, STREAM, World};
use kcl::{BoxError, CheckpointEvery, HealthProblem, Record, Stall, WorkerHandle};
use serde_json::json;
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);

/// A worker whose handler of a record takes this long.
fn start(world: &World, takes: Duration) -> WorkerHandle {
    let handler = move |_: Record| async move {
        sleep(takes).await;
        Ok::<(), BoxError>(())
    };
    world.worker("w1").build_for_each(CheckpointEvery::default(), 1, handler).expect("configuration is right").start()
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_ready_from_its_join_to_its_stop_and_live_to_its_end() {
    let world = World::start(1).await;
    world.local.faults().on("dynamodb:*").delay(Duration::from_millis(100));
    let worker = start(&world, Duration::ZERO);

    let health = worker.health();
    assert_eq!((health.live, health.ready, &*health.problems), (true, false, &[HealthProblem::Starting][..]));
    world.until("it is ready", || worker.health().ready).await;
    assert!(worker.is_ready());
    world.until("it knows who leads", || worker.health().leader.as_deref() == Some("w1")).await;

    worker.request_stop();
    let health = worker.health();
    assert_eq!((health.live, health.ready, &*health.problems), (true, false, &[HealthProblem::Stopping][..]));
    worker.stop().await.expect("worker stops");
    let health = worker.health();
    assert_eq!((health.live, health.ready), (false, false));
    assert_eq!(health.problems[0].to_string(), "the worker has stopped");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_by_itself_says_why() {
    let world = World::start(1).await;
    let worker = start(&world, Duration::ZERO);
    world.settled().await;

    world.table().delete_table().await;
    worker.wait().await.expect_err("the table is gone");

    let health = worker.health();
    assert!(!health.live, "{health:?}");
    let problem = health.problems[0].to_string();
    assert!(problem.starts_with("the worker has ended: ") && problem.contains("lease table"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_knows_who_leads_and_when_nobody_does() {
    let world = World::start(2).await;
    let leader = world.run("leader");
    world.settled().await;
    let worker = start(&world, Duration::ZERO);
    world.until("it is ready", || worker.health().ready && worker.health().leader.is_some()).await;
    assert_eq!(worker.health().leader.as_deref(), Some("leader"));

    // Nobody can take the lock of the dead one.
    world.local.deny("dynamodb:PutItem");
    leader.kill();
    sleep(MINUTE).await;

    let health = worker.health();
    assert!(health.live && !health.ready, "{health:?}");
    assert!(health.problems.contains(&HealthProblem::LeaderUnknown), "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_table_that_is_away_is_named_and_ends_no_life() {
    let world = World::start(1).await;
    let worker = start(&world, Duration::ZERO);
    world.settled().await;

    let away = world.local.faults().on("dynamodb:*").unavailable();
    sleep(MINUTE).await;

    let health = worker.health();
    assert!(health.live && !health.ready, "{health:?}");
    let unreachable = health.problems.iter().find_map(|problem| match problem {
        HealthProblem::LeaseTableFailing { for_millis, error, .. } => Some((*for_millis, error.clone())),
        _ => None,
    });
    let (for_millis, error) = unreachable.expect("the table is named");
    assert!((55_000..=65_000).contains(&for_millis), "{for_millis}");
    assert!(error.as_ref().is_some_and(|error| error.contains("ServiceUnavailable")), "{error:?}");

    away.remove();
    world.until("it is ready again", || worker.health().ready).await;
}

/// Action and resource of each call that fails.
fn failing(worker: &WorkerHandle) -> Vec<(String, String)> {
    let failing = worker.health().problems.into_iter().filter_map(|problem| match problem {
        HealthProblem::CallFailing { action, resource, .. } => Some((action, resource)),
        _ => None,
    });
    failing.collect()
}

fn call(action: &str, resource: &str) -> Vec<(String, String)> {
    vec![(action.to_owned(), resource.to_owned())]
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_may_not_list_shards_is_never_ready_and_says_why() {
    let world = World::start(1).await;
    world.local.faults().on("dynamodb:*").delay(Duration::from_millis(20));
    world.local.deny("kinesis:ListShards");
    let worker = start(&world, Duration::ZERO);
    for _ in 0..1_000 {
        sleep(Duration::from_millis(10)).await;
        assert!(!worker.health().ready && !worker.is_ready(), "{:?}", worker.health());
    }

    sleep(MINUTE).await;
    let health = worker.health();
    assert!(health.live && health.problems.contains(&HealthProblem::ShardsNotListed), "{health:?}");
    assert_eq!(failing(&worker), call("kinesis:ListShards", STREAM));
    let text = health.problems.iter().map(ToString::to_string).find(|text| text.contains("ListShards"));
    assert!(text.is_some_and(|text| text.contains("AccessDenied")), "{health:?}");

    world.local.allow("kinesis:ListShards");
    world.until("it is ready", || worker.health().ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_permission_lost_while_running_is_a_problem_until_it_is_back() {
    for (action, resource) in
        [("kinesis:GetRecords", STREAM), ("dynamodb:UpdateItem", APPLICATION), ("dynamodb:Scan", APPLICATION)]
    {
        let world = World::start(1).await;
        let worker = start(&world, Duration::ZERO);
        world.settled().await;
        assert!(worker.health().ready, "{:?}", worker.health());

        world.local.deny(action);
        sleep(MINUTE / 2).await;
        assert_eq!(failing(&worker), call(action, resource), "{:?}", worker.health());
        sleep(MINUTE * 2).await;
        assert_eq!(failing(&worker), call(action, resource), "it keeps failing: {:?}", worker.health());
        assert!(worker.health().live && !worker.is_ready());

        world.local.allow(action);
        world.until("it is ready again", || worker.health().ready).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_beside_one_that_lists_the_shards_is_ready_without_listing_them() {
    let world = World::start(2).await;
    let _leader = world.run("leader");
    world.settled().await;

    world.local.deny("kinesis:ListShards");
    let worker = start(&world, Duration::ZERO);

    world.until("it is ready", || worker.health().ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_processor_hangs_is_told_of_and_lags_ever_further_while_the_worker_is_ready() {
    let world = World::start(2).await;
    let worker = start(&world, MINUTE * 60);
    world.put(0..1).await;
    sleep(MINUTE * 2).await;

    let health = worker.health();
    let hangs = health.shards.iter().position(|shard| shard.stall.is_some()).expect("a processor hangs");
    let lag = || worker.health().shards[hangs].behind_latest_millis.unwrap_or_default();
    let before = lag();
    sleep(MINUTE).await;

    assert!(health.live && health.ready, "{health:?}");
    let stalls: Vec<_> = health.stalled().map(|shard| shard.stall.clone()).collect();
    assert_eq!(stalls, [Some(Stall::ProcessorBusy)]);
    assert!(health.shards[hangs].without_progress_millis >= 110_000, "{health:?}");
    assert!(health.shards[1 - hangs].without_progress_millis <= 2_000, "{health:?}");
    assert_eq!(lag(), before + 60_000);
}

#[tokio::test(start_paused = true)]
async fn health_is_written_as_json_for_a_probes_answer() {
    let world = World::start(1).await;
    let worker = start(&world, MINUTE * 60);
    world.settled().await;
    sleep(Duration::from_secs(2)).await; // the first read is answered

    let mut json = serde_json::to_value(worker.health()).expect("it can be written");
    json["shards"][0]["without_progress_millis"] = json!(0);

    let expected = json!({
        "worker_id": "w1", "live": true, "ready": true, "problems": [], "leader": "w1",
        "shards": [{
            "stream": STREAM, "shard_id": SHARD, "phase": "processing", "checkpoint": "TRIM_HORIZON",
            "behind_latest_millis": 0, "failures": 0, "without_progress_millis": 0, "stall": null,
        }],
    });
    assert_eq!(json, expected);
    let problem = serde_json::to_value(HealthProblem::LeaderUnknown).expect("it can be written");
    assert_eq!(problem, json!({ "problem": "leader_unknown" }));
    let stall = serde_json::to_value(Stall::ProcessorBusy).expect("it can be written");
    assert_eq!(stall, json!({ "reason": "processor_busy" }));
}
