//! Visibility of a fleet.

use std::{collections::BTreeMap, time::Duration};

use integration_tests::World;
use kcl::{Assignment, Checkpoint, FleetStatus};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn the_status_tells_leader_workers_owners_and_progress() {
    let world = World::start(4).await;
    let workers = ["w1", "w2"].map(|id| world.run(id));
    world.put(0..400).await;
    world.journal.processed(400).await;
    world.settled().await;

    let status = world.status().await;

    assert!(status.leader.is_some());
    assert_eq!(status.version.as_deref(), Some("CLIENT_VERSION_3X"));
    let shares: Vec<_> = status.workers.iter().map(|worker| (worker.id.to_string(), worker.leases)).collect();
    assert_eq!(shares, [("w1".to_owned(), 2), ("w2".to_owned(), 2)]);
    assert!(status.leases.iter().all(|lease| matches!(lease.checkpoint, Checkpoint::At(_))));
    assert!(status.leases.iter().all(|lease| lease.throughput_kbps.is_some()));
    let text = status.to_string();
    assert!(text.contains("worker   w1  2 leases") && text.contains("lease    shardId-000000000003"), "{text}");
    for worker in workers {
        worker.stop().await.unwrap();
    }
    let after = world.status().await;
    assert_eq!((after.leader, after.workers.len()), (None, 0));
    assert!(after.leases.iter().all(|lease| lease.owner.is_none()));
}

#[tokio::test]
async fn the_status_of_an_unknown_application_is_an_error_that_names_its_table() {
    let world = World::start(1).await;

    let error = FleetStatus::read(&world.aws, "NoSuchApplication").await.unwrap_err();

    assert_eq!(error.to_string(), "lease table NoSuchApplication does not exist");
}

/// The value of each metric, by operation and name; of histograms the number of values.
fn values(snapshotter: &Snapshotter) -> BTreeMap<(String, String), f64> {
    let mut values = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let operation = key.key().labels().find(|label| label.key() == "Operation");
        let operation = operation.map(|label| label.value().to_owned()).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.len() as f64,
        };
        values.insert((operation, key.key().name().to_owned()), value);
    }
    values
}

#[tokio::test(start_paused = true)]
async fn the_coordination_records_metrics_under_the_kcls_names() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let world = World::start(3).await;

    let worker = world.run("w1");
    sleep(Duration::from_secs(30)).await;

    let values = values(&snapshotter);
    let value = |operation: &str, name: &str| values.get(&(operation.to_owned(), name.to_owned())).copied();
    assert_eq!(value("RenewAllLeases", "CurrentLeases"), Some(3.0), "{values:?}");
    assert_eq!(value("MemoryBudget", "HeldBytes"), Some(0.0));
    assert_eq!(value("LeaseAssignmentManager", "TotalLeases"), Some(3.0));
    assert_eq!(value("LeaseAssignmentManager", "NumWorkers"), Some(1.0));
    assert_eq!(value("LeaseAssignmentManager", "NumOfLeasesReassignment"), Some(3.0));
    assert_eq!(value("LeaderDecider", "LeaderDecider:IsLeader"), Some(1.0));
    assert_eq!(value("LeaseDiscovery", "NewLeasesDiscovered"), Some(3.0));
    assert!(value("RenewAllLeases", "RenewLease.Success") >= Some(20.0));
    assert!(value("RenewAllLeases", "Success") >= Some(5.0), "one a round");
    assert!(value("LeaseDiscovery", "Success") >= Some(5.0));
    assert!(value("LeaseAssignmentManager", "Time") >= Some(5.0));
    assert_eq!(value("ShardSyncTask", "CreateLease_TRIM_HORIZON.Success"), Some(3.0), "{values:?}");
    assert_eq!(value("PeriodicShardSyncManager", "NumStreamsWithPartialLeases"), Some(0.0));
    assert!(value("WorkerMetricStatsReporter", "Time") >= Some(2.0));
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_balanced_by_utilization_shares_idle_shards_too() {
    let world = World::start(6).await;
    let workers = ["w1", "w2", "w3"].map(|id| {
        let builder = world.worker(id).assignment(Assignment::Utilization);
        world.spawn(builder)
    });
    for start in (0..6_000).step_by(100) {
        world.put(start..start + 100).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.journal.processed(6_000).await;

    let status = world.status().await;
    let leases: Vec<usize> = status.workers.iter().map(|worker| worker.leases).collect();
    assert_eq!(leases, [2, 2, 2]);
    assert_eq!(world.journal.ids().len(), 6_000, "no duplicates");
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_stopped_while_it_joins_is_not_left_in_the_fleet() {
    let world = World::start(1).await;
    world.local.faults().on("dynamodb:UpdateItem").after_effect().delay(Duration::from_secs(1));
    let worker = world.run("w1");
    world.until_status("the worker joins", |fleet| !fleet.workers.is_empty()).await;
    worker.stop().await.unwrap();
    sleep(Duration::from_secs(5)).await; // so that a late write is there

    assert_eq!(world.status().await.workers, [], "the worker's item is gone");
}
