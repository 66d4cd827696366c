//! Success rates: samples of 1, and of 0 where something failed.

use super::{times::start, *};

/// Rounds in which each call is to meet its fault once: when it is made is random.
const ROUNDS: usize = 20;

pub(super) const TABLES: &[&[Row]] = &[CALLS, ENDS, FIRST_AND_LAST, WAITED, SYNCED, STARTED];

#[tokio::test(start_paused = true)]
async fn calls_that_fail_have_a_success_of_0_in_the_metric_of_their_operation() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let faults = world.local.faults();
        let worker = start(world.worker("w1").renewals(Renewals::EachLease));
        world.settled().await;

        let mut all = recorded(&snapshotter);
        for _ in 0..ROUNDS {
            if wrong(&all, CALLS).is_empty() {
                break;
            }
            meet_faults(&world).await;
            all.extend(recorded(&snapshotter));
        }
        assert_values(&all, CALLS);

        let creating = faults.on("dynamodb:PutItem").times(8).fail();
        world.split(SHARD).await;
        sleep(SECOND * 10).await;
        creating.remove();
        sleep(SECOND * 120).await;
        let ending = faults.on("dynamodb:UpdateItem").refuse(400, "AccessDeniedException", "for a while");
        world.split("shardId-000000000001").await;
        sleep(SECOND * 6).await;
        ending.remove();
        sleep(SECOND * 120).await;

        assert_values(&recorded(&snapshotter), ENDS);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

/// Calls of a running worker fail for a while, one kind after the other.
async fn meet_faults(world: &World) {
    let faults = world.local.faults();
    // Without the index, leases are looked for by a scan.
    let index = &["dynamodb:Query", "dynamodb:Scan"];
    for actions in [&["kinesis:GetRecords"][..], &["dynamodb:Scan"], &["dynamodb:UpdateItem"], index] {
        world.put(0..10).await;
        let failing: Vec<_> = actions.iter().map(|action| faults.on(action).fail()).collect();
        sleep(SECOND * 20).await;
        failing.into_iter().for_each(kinesis_local::Fault::remove);
        // A checkpoint that is too late, and an iterator anew after a lost lease.
        let refused = faults.on("kinesis:GetShardIterator").times(2).fail();
        sleep(SECOND * 120).await;
        refused.remove();
    }
}

const CALLS: &[Row] = &[
    ("ProcessTask", "KinesisDataFetcher.getRecords.Success", Expected::SuccessAndFailure),
    ("ProcessTask", "KinesisDataFetcher.getShardIterator.Success", Expected::SuccessAndFailure),
    ("ProcessTask", "UpdateLease.Success", Expected::SuccessAndFailure),
    ("ProcessTask", "Success", Expected::SuccessAndFailure),
    ("RenewAllLeases", "Success", Expected::SuccessAndFailure),
    ("RenewAllLeases", "RenewLease.Success", Expected::SuccessAndFailure),
    ("LeaseDiscovery", "Success", Expected::SuccessAndFailure),
    ("LeaseAssignmentManager", "Success", Expected::SuccessAndFailure),
    ("WorkerMetricStatsReporter", "Success", Expected::SuccessAndFailure),
];

const ENDS: &[Row] = &[
    ("ShutdownTask", "CreateLease.Success", Expected::SuccessAndFailure),
    ("ShutdownTask", "CreateLease_TRIM_HORIZON.Success", Expected::SuccessAndFailure),
    ("ShutdownTask", "UpdateLease.Success", Expected::SuccessAndFailure),
];

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

        assert_values(&recorded(&snapshotter), FIRST_AND_LAST);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const FIRST_AND_LAST: &[Row] = &[
    ("InitializeTask", "Success", Expected::SuccessAndFailure),
    ("ShutdownTask", "Success", Expected::SuccessAndFailure),
];

/// A processor that ends the first shard late.
struct LateEnd {
    is_late: bool,
}

impl RecordProcessor for LateEnd {
    type Error = BoxError;

    async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        if self.is_late {
            sleep(SECOND * 180).await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_goes_elsewhere_while_its_parents_are_awaited_is_no_success() {
    with_recorder(async |snapshotter| {
        let world = World::start(2).await;
        let factory = |shard: &ShardContext| LateEnd { is_late: shard.shard_id.as_str() == SHARD };
        let worker = Running::start_factory(world.worker("w1").renewals(Renewals::EachLease), factory);
        world.settled().await;
        world.merge_neighbours().await;
        let child = "shardId-000000000002";
        let is_owned = |lease: &kcl::LeaseStatus| lease.shard_id.as_str() == child && lease.owner.is_some();
        world.until_status("the child has an owner", |status| status.leases.iter().any(is_owned)).await;
        sleep(SECOND * 10).await;
        world.take_lease_away(child).await;
        sleep(SECOND * 360).await;

        assert_values(&recorded(&snapshotter), WAITED);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const WAITED: &[Row] = &[("BlockOnParentShardTask", "Success", Expected::SuccessAndFailure)];

#[tokio::test(start_paused = true)]
async fn shards_that_cannot_be_listed_and_leases_that_cannot_be_written_are_no_successes() {
    with_recorder(async |snapshotter| {
        let world = World::without_stream(kinesis_local::LocalAws::start().await);
        let long_ago = std::time::SystemTime::UNIX_EPOCH + SECOND;
        let positions = [InitialPosition::TrimHorizon, InitialPosition::Latest, InitialPosition::AtTimestamp(long_ago)];
        let names = ["oldest", "newest", "timed"];
        for name in names {
            world.create(name, 1).await;
        }
        let config = |(name, position)| StreamConfig::new(name).initial_position(position);
        let streams = Streams::new(names.into_iter().zip(positions).map(config));
        let worker = world.spawn(world.multi_worker("w1", &streams));
        world.settled().await;

        for action in ["kinesis:ListShards", "dynamodb:PutItem", "dynamodb:UpdateItem"] {
            let failing = world.local.faults().on(action).fail();
            for lease in world.table().leases().await {
                world.table().delete(lease["leaseKey"].as_s().expect("a text")).await;
            }
            sleep(SECOND * 60).await;
            failing.remove();
            sleep(SECOND * 120).await;
        }

        assert_values(&recorded(&snapshotter), SYNCED);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const SYNCED: &[Row] = &[
    ("PeriodicShardSyncManager", "Success", Expected::SuccessAndFailure),
    ("ShardSyncTask", "Success", Expected::SuccessAndFailure),
    ("ShardSyncTask", "SyncShards.Success", Expected::SuccessAndFailure),
    ("ShardSyncTask", "CreateLease.Success", Expected::SuccessAndFailure),
    ("ShardSyncTask", "CreateLease_TRIM_HORIZON.Success", Expected::SuccessAndFailure),
    ("ShardSyncTask", "CreateLease_LATEST.Success", Expected::SuccessAndFailure),
    ("ShardSyncTask", "CreateLease_AT_TIMESTAMP.Success", Expected::SuccessAndFailure),
    ("LeaseAssignmentManager", "ParallelyAssignLeases.Success", Expected::SuccessAndFailure),
];

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_start_is_no_success() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        world.local.deny("dynamodb:DescribeTable");
        let mut refused = start(world.worker("w1"));
        refused.ended().await.expect_err("it may not look at its table");
        world.local.allow("dynamodb:DescribeTable");
        let worker = start(world.worker("w1"));
        world.settled().await;

        assert_values(&recorded(&snapshotter), STARTED);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const STARTED: &[Row] = &[("Scheduler:Initialize", "Initialize.Success", Expected::SuccessAndFailure)];
