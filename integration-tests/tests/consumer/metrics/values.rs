//! The value of each metric: times by delays of the calls that they measure, failures by faults, gauges by the state they show.

use integration_tests::{Running, number, text};
use kcl::{InitialPosition, Renewals, WorkerBuilder};

use super::*;

/// Delays in milliseconds of the calls of a worker.
const DELAYS: [(&str, u64); 9] = [
    ("kinesis:GetRecords", 30),
    ("kinesis:GetShardIterator", 20),
    ("kinesis:ListShards", 110),
    ("dynamodb:UpdateItem", 40),
    ("dynamodb:PutItem", 50),
    ("dynamodb:Query", 60),
    ("dynamodb:Scan", 70),
    ("dynamodb:GetItem", 90),
    // Renewals of several leases.
    ("dynamodb:BatchExecuteStatement", 40),
];
/// Times of the processor. That of a batch includes its checkpoint, an UpdateItem.
const INITIALIZE: u64 = 300;
const PROCESS: u64 = 360;
const END: u64 = 500;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A processor that takes its time, and checkpoints each batch.
struct Slow;

impl RecordProcessor for Slow {
    type Error = BoxError;

    async fn initialize(&mut self, _: &ShardContext) -> Result<(), BoxError> {
        sleep(millis(INITIALIZE)).await;
        Ok(())
    }

    async fn process_records(&mut self, _: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        sleep(millis(PROCESS)).await;
        Ok(checkpointer.checkpoint().await?)
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        sleep(millis(END)).await;
        Ok(())
    }
}

fn start(builder: WorkerBuilder) -> Running {
    Running::start_factory(builder, |_: &ShardContext| Slow)
}

/// Fault of samples: there are none, or one is none of these, give or take 3 ms.
fn complaint(all: &[Series], operation: &str, name: &str, expected: &[u64]) -> Option<String> {
    let samples = values(all, operation, name);
    #[expect(clippy::cast_precision_loss, reason = "small times")]
    let is_expected = |sample: &f64| expected.iter().any(|it| (sample - *it as f64).abs() <= 3.0);
    let is_right = !samples.is_empty() && samples.iter().all(is_expected);
    (!is_right).then(|| format!("{operation} {name}: {samples:?}, not of {expected:?}\n"))
}

#[tokio::test(start_paused = true)]
async fn each_time_is_that_of_what_it_measures() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let delays = DELAYS.map(|(action, delay)| world.local.faults().on(action).delay(millis(delay)));
        let worker = start(world.worker("w1").renewals(Renewals::EachLease));
        sleep(SECOND * 30).await;
        world.put(0..10).await;
        sleep(SECOND * 10).await;
        world.split(SHARD).await;
        sleep(SECOND * 20).await;
        let all = recorded(&snapshotter);
        delays.into_iter().for_each(kinesis_local::Fault::remove);
        worker.stop().await.expect("worker stops");

        let [get_records, get_iterator, list, update, put, query, scan, get, _] = DELAYS.map(|(_, delay)| delay);
        let end = 2 * (get + put) + END + update;
        let expected: &[(&str, &str, &[u64])] = &[
            ("ProcessTask", "KinesisDataFetcher.getRecords.Time", &[get_records]),
            ("ProcessTask", "KinesisDataFetcher.getShardIterator.Time", &[get_iterator]),
            ("ProcessTask", "RecordProcessor.processRecords.Time", &[PROCESS + update]),
            ("ProcessTask", "UpdateLease.Time", &[update]),
            ("ProcessTask", "Time", &[0, PROCESS + update]),
            ("InitializeTask", "RecordProcessor.initialize.Time", &[INITIALIZE]),
            ("BlockOnParentShardTask", "Time", &[0, get]),
            ("ShutdownTask", "RecordProcessor.shutdown.Time", &[END]),
            ("ShutdownTask", "UpdateLease.Time", &[update]),
            ("ShutdownTask", "CreateLease.Time", &[put]),
            ("ShutdownTask", "Time", &[end]),
            ("RenewAllLeases", "Time", &[update]),
            ("RenewAllLeases", "RenewLease.Time", &[update]),
            ("LeaseDiscovery", "ListLeaseKeysForWorker.Time", &[query]),
            ("LeaseDiscovery", "FetchNewLeases.Time", &[0, get]),
            ("LeaseDiscovery", "Time", &[query, query + get]),
            ("LeaseAssignmentManager", "LeaseAndWorkerMetricsLoad.Time", &[scan]),
            ("LeaseAssignmentManager", "AssignExpiredOrUnassignedLeases.Time", &[0]),
            ("LeaseAssignmentManager", "ParallelyAssignLeases.Time", &[update]),
            ("LeaseAssignmentManager", "Time", &[scan, scan + update]),
            ("WorkerMetricStatsReporter", "Time", &[update]),
            ("ShardSyncTask", "CreateLease.Time", &[put]),
            ("ShardSyncTask", "Time", &[list + put]),
            ("PeriodicShardSyncManager", "Time", &[0, list + put]),
        ];
        let wrong = expected.iter().filter_map(|(operation, name, times)| complaint(&all, operation, name, times));
        let wrong: String = wrong.collect();
        assert!(wrong.is_empty(), "{wrong}");
    })
    .await;
}

/// Asserts that a metric has samples of 0 and of 1.
#[track_caller]
fn assert_both(all: &[Series], metrics: &[(&str, &str)]) {
    let wrong: Vec<_> = metrics
        .iter()
        .map(|(operation, name)| (operation, name, values(all, operation, name)))
        .filter(|(.., samples)| !(samples.contains(&0.0) && samples.contains(&1.0)))
        .filter(|(.., samples)| samples.iter().all(|sample| [0.0, 1.0].contains(sample)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_have_a_success_of_0_in_the_metric_of_their_operation() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let faults = world.local.faults();
        let worker = start(world.worker("w1").renewals(Renewals::EachLease));
        world.settled().await;

        for action in ["kinesis:GetRecords", "dynamodb:Scan", "dynamodb:UpdateItem"] {
            world.put(0..10).await;
            let failing = faults.on(action).fail();
            sleep(SECOND * 20).await;
            failing.remove();
            // A checkpoint that is too late, and an iterator anew after a lost lease.
            let refused = faults.on("kinesis:GetShardIterator").times(2).fail();
            sleep(SECOND * 120).await;
            refused.remove();
        }
        let creating = faults.on("dynamodb:PutItem").times(8).fail();
        world.split(SHARD).await;
        sleep(SECOND * 10).await;
        creating.remove();
        sleep(SECOND * 120).await;

        assert_both(
            &recorded(&snapshotter),
            &[
                ("ProcessTask", "KinesisDataFetcher.getRecords.Success"),
                ("ProcessTask", "KinesisDataFetcher.getShardIterator.Success"),
                ("ProcessTask", "UpdateLease.Success"),
                ("ProcessTask", "Success"),
                ("ShutdownTask", "CreateLease.Success"),
                ("ShutdownTask", "CreateLease_TRIM_HORIZON.Success"),
                ("LeaseAssignmentManager", "Success"),
                ("WorkerMetricStatsReporter", "Success"),
            ],
        );
        worker.stop().await.expect("worker stops");
    })
    .await;
}

/// A processor that fails once at its first call, and once at the shard's end.
struct Stumbling(Arc<Mutex<u32>>);

impl RecordProcessor for Stumbling {
    type Error = BoxError;

    async fn initialize(&mut self, _: &ShardContext) -> Result<(), BoxError> {
        let mut calls = self.0.lock().expect("no panic");
        *calls += 1;
        if *calls == 1 { Err("not yet".into()) } else { Ok(()) }
    }

    async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_call_that_fails_and_an_end_that_is_taken_away_are_no_successes() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let calls = Arc::new(Mutex::new(0));
        let factory = move |_: &ShardContext| Stumbling(Arc::clone(&calls));
        let worker = Running::start_factory(world.worker("w1").renewals(Renewals::EachLease), factory);
        world.settled().await;
        // Nothing can be written of the shard's end until another worker has its lease.
        let ending = world.local.faults().on("dynamodb:PutItem").fail();
        world.split(SHARD).await;
        sleep(SECOND * 5).await;
        world.take_lease_away(SHARD).await;
        sleep(SECOND * 5).await;
        ending.remove();
        sleep(SECOND * 120).await;

        assert_both(&recorded(&snapshotter), &[("InitializeTask", "Success"), ("ShutdownTask", "Success")]);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_start_is_no_success() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        world.local.deny("dynamodb:DescribeTable");

        let mut worker = start(world.worker("w1"));
        worker.ended().await.expect_err("it may not look at its table");

        assert_eq!(values(&recorded(&snapshotter), "Scheduler:Initialize", "Initialize.Success"), [0.0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn gauges_show_leases_workers_and_what_cannot_be_given() {
    with_recorder(async |snapshotter| {
        let world = World::start(3).await;
        let worker = start(world.worker("w1").max_leases(2));
        sleep(SECOND * 60).await;

        let all = recorded(&snapshotter);
        let gauge = |operation: &str, name: &str| values(&all, operation, name);
        assert_eq!(gauge("LeaseAssignmentManager", "TotalLeases"), [3.0]);
        assert_eq!(gauge("LeaseAssignmentManager", "ExpiredLeases"), [1.0]);
        assert_eq!(gauge("LeaseAssignmentManager", "LeaseSpillover"), [1.0]);
        assert_eq!(gauge("LeaseAssignmentManager", "NumWorkers"), [1.0]);
        assert_eq!(gauge("RenewAllLeases", "CurrentLeases"), [2.0]);
        assert_eq!(gauge("PeriodicShardSyncManager", "NumStreamsToSync"), [0.0], "nothing is due");
        assert_eq!(gauge("PeriodicShardSyncManager", "NumStreamsWithPartialLeases"), [0.0]);
        assert_eq!(gauge("LeaderDecider", "LeaderDecider:IsLeader"), [1.0]);
        assert_eq!(sum(&all, "LeaseAssignmentManager", "NumOfLeasesReassignment"), 2.0);
        assert_eq!(sum(&all, "LeaseDiscovery", "NewLeasesDiscovered"), 2.0);
        for quiet in ["OwnerMismatch", "GetLease:Error"] {
            assert_eq!(sum(&all, "LeaseDiscovery", quiet), 0.0);
        }
        worker.stop().await.expect("worker stops");
        let all = recorded(&snapshotter);
        assert_eq!(values(&all, "RenewAllLeases", "CurrentLeases"), [0.0], "it has stopped");
        assert_eq!(values(&all, "LeaseAssignmentManager", "TotalLeases"), [0.0], "it leads no more");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_leaving_is_counted_as_failing() {
    struct Staying;

    impl RecordProcessor for Staying {
        type Error = BoxError;

        async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
            Ok(())
        }

        async fn shutdown_requested(&mut self, _: &Checkpointer) -> Result<(), BoxError> {
            sleep(SECOND * 25).await;
            Ok(())
        }
    }

    with_recorder(async |snapshotter| {
        let world = World::start(2).await;
        let leader = start(world.worker("w1"));
        world.settled().await;
        let silent = world.worker("w2").metrics(Metrics::new().level(MetricsLevel::None));
        let other = Running::start_factory(silent, |_: &ShardContext| Staying);
        world.settled().await;

        let stopping = tokio::spawn(other.stop());
        sleep(SECOND * 15).await;

        let all = recorded(&snapshotter);
        assert_eq!(values(&all, "LeaseAssignmentManager", "NumWorkersWithFailingWorkerMetric"), [1.0]);
        stopping.await.expect("no panic").expect("worker stops");
        leader.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn leases_that_cannot_be_read_found_or_given_are_counted() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let worker = start(world.worker("w1").renewals(Renewals::EachLease));
        world.settled().await;
        drop(recorded(&snapshotter));

        // An item that claims to be a lease.
        world.table().put([("leaseKey".to_owned(), text("broken")), ("checkpoint".to_owned(), number(1))].into()).await;
        sleep(SECOND * 60).await;
        let all = recorded(&snapshotter);
        let scans = values(&all, "LeaseAssignmentManager", "LeaseAndWorkerMetricsLoad.Time").len();
        let faults = sum(&all, "LeaseAssignmentManager", "LeaseDeserializationFailureCount");
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let scans = scans as f64;
        assert!(faults >= 1.0 && (scans - 1.0..=scans).contains(&faults), "{faults} in {scans} scans");
        world.table().delete("broken").await;

        // Found, and not to be read.
        world.take_lease_away(SHARD).await;
        sleep(SECOND * 5).await;
        let unreadable = world.local.faults().on("dynamodb:GetItem").fail();
        sleep(SECOND * 60).await;
        unreadable.remove();
        assert!(sum(&recorded(&snapshotter), "LeaseDiscovery", "GetLease:Error") >= 1.0);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

/// Waits until the lease of the only shard has this owner, or none.
async fn until_owned(world: &World, owner: Option<&str>) {
    let owner = owner.map(text);
    for _ in 0..2_000 {
        let items = world.table().items().await.unwrap_or_default();
        let lease = items.into_iter().find(|item| item.get("leaseKey") == Some(&text(SHARD)));
        if lease.is_some_and(|lease| lease.get("leaseOwner") == owner.as_ref()) {
            return;
        }
        sleep(millis(20)).await;
    }
    panic!("the lease never had owner {owner:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_changes_hands_before_it_is_read_is_a_mismatch() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let slow = world.local.faults().on("dynamodb:GetItem").delay(SECOND);
        let worker = start(world.worker("w1"));
        until_owned(&world, Some("w1")).await;
        world.take_lease_away(SHARD).await;
        sleep(SECOND * 3).await;
        slow.remove();

        assert_eq!(sum(&recorded(&snapshotter), "LeaseDiscovery", "OwnerMismatch"), 1.0);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_changes_before_it_is_given_is_a_failed_assignment() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let slow = world.local.faults().on("dynamodb:UpdateItem").delay(SECOND);
        let worker = start(world.worker("w1"));
        until_owned(&world, None).await;
        let mut lease = world.table().get(SHARD).await.expect("it is there");
        lease.extend([("leaseOwner".to_owned(), text("other")), ("leaseCounter".to_owned(), number(7))]);
        world.table().put(lease).await;
        sleep(SECOND * 3).await;
        slow.remove();

        let all = recorded(&snapshotter);
        assert_eq!(sum(&all, "LeaseAssignmentManager", "FailedAssignmentCount"), 1.0);
        assert_eq!(values(&all, "LeaseAssignmentManager", "ParallelyAssignLeases.Success"), [0.0]);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_read_and_those_that_wait_for_deletion_are_counted() {
    with_recorder(async |snapshotter| {
        let world = World::without_stream(kinesis_local::LocalAws::start().await);
        for stream in ["orders", "payments", "old"] {
            world.create(stream, 2).await;
        }
        let config = |stream: &str| StreamConfig::new(stream).initial_position(InitialPosition::TrimHorizon);
        let streams = Streams::new(["orders", "payments", "old"].map(config))
            .former_streams(FormerStreams::DeleteAfter(SECOND * 3_600));
        let worker = world.spawn(world.multi_worker("w1", &streams));
        world.settled().await;
        streams.remove("old");
        sleep(SECOND * 300).await;

        let all = recorded(&snapshotter);
        let gauge = |operation: &str, name: &str| values(&all, operation, name);
        assert_eq!(gauge("MultiStreamTracker", "ActiveStreams.Count"), [2.0]);
        assert_eq!(gauge("MultiStreamTracker", "StreamsPendingDeletion.Count"), [1.0]);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_merged_child_without_a_second_parent_or_its_lease_is_counted() {
    with_recorder(async |snapshotter| {
        let world = World::start(2).await;
        let worker = start(world.worker("w1").renewals(Renewals::EachLease));
        world.settled().await;
        let uncreated = world.local.faults().on("dynamodb:PutItem").fail();
        world.table().delete("shardId-000000000001").await;
        world.merge_neighbours().await;
        sleep(SECOND * 20).await;
        uncreated.remove();
        sleep(SECOND * 120).await;

        let all = recorded(&snapshotter);
        assert!(sum(&all, "ShutdownTask", "MissingMergeParentLease") >= 1.0);
        assert_eq!(sum(&all, "ShutdownTask", "MissingMergeParent"), 0.0);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn held_bytes_are_those_of_what_is_in_hand() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let handler = |_: Record| async {
            sleep(SECOND * 100).await;
            Ok::<(), BoxError>(())
        };
        let builder = world.worker("w1").build_for_each(CheckpointEvery::default(), 1, handler).expect("settings");
        let worker = builder.start();
        world.settled().await;
        let put = world.kinesis.put_record().stream_name(integration_tests::STREAM).partition_key("k");
        let data = aws_sdk_kinesis::primitives::Blob::new(vec![b'x'; 500_000]);
        put.data(data).send().await.expect("stored");
        sleep(SECOND * 30).await;

        let held = values(&recorded(&snapshotter), "MemoryBudget", "HeldBytes");
        assert!(held.iter().all(|bytes| (500_000.0..40e6).contains(bytes)), "{held:?}");
        worker.stop().await.expect("worker stops");
        assert_eq!(values(&recorded(&snapshotter), "MemoryBudget", "HeldBytes"), [0.0]);
    })
    .await;
}
