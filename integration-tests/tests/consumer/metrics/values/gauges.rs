//! Gauges of a state.

use aws_sdk_kinesis::primitives::Blob;

use super::{times::start, *};

pub(super) const TABLES: &[&[Row]] = &[GAUGES, STOPPED, PARTIAL, SYNCING, LEAVING, STREAMS, DELETED, HELD];

#[tokio::test(start_paused = true)]
async fn gauges_show_leases_workers_and_what_cannot_be_given() {
    with_recorder(async |snapshotter| {
        let world = World::start(3).await;
        let worker = start(world.worker("w1").max_leases(2));
        sleep(SECOND * 60).await;

        assert_values(&recorded(&snapshotter), GAUGES);
        worker.stop().await.expect("worker stops");
        assert_values(&recorded(&snapshotter), STOPPED);
    })
    .await;
}

const GAUGES: &[Row] = &[
    ("LeaseAssignmentManager", "TotalLeases", Expected::Each(3.0)),
    ("LeaseAssignmentManager", "ExpiredLeases", Expected::Each(1.0)),
    ("LeaseAssignmentManager", "LeaseSpillover", Expected::Each(1.0)),
    ("LeaseAssignmentManager", "NumWorkers", Expected::Each(1.0)),
    ("LeaseAssignmentManager", "NumOfLeasesReassignment", Expected::Sum(2.0)),
    ("PeriodicShardSyncManager", "NumStreamsToSync", Expected::Each(0.0)),
    ("PeriodicShardSyncManager", "NumStreamsWithPartialLeases", Expected::Each(0.0)),
    ("LeaderDecider", "LeaderDecider:IsLeader", Expected::Each(1.0)),
    ("RenewAllLeases", "CurrentLeases", Expected::Each(2.0)),
    ("LeaseDiscovery", "NewLeasesDiscovered", Expected::Sum(2.0)),
    ("LeaseDiscovery", "OwnerMismatch", Expected::Sum(0.0)),
    ("LeaseDiscovery", "GetLease:Error", Expected::Sum(0.0)),
];

const STOPPED: &[Row] = &[
    ("RenewAllLeases", "CurrentLeases", Expected::Each(0.0)),
    ("LeaseAssignmentManager", "TotalLeases", Expected::Each(0.0)),
    ("LeaderDecider", "LeaderDecider:IsLeader", Expected::Each(0.0)),
];

#[tokio::test(start_paused = true)]
async fn streams_without_leases_are_due_and_a_hole_is_shown() {
    with_recorder(async |snapshotter| {
        let world = World::start(2).await;
        let worker = start(world.worker("w1"));
        world.settled().await;
        let unlisted = world.local.faults().on("kinesis:ListShards").fail();
        world.table().delete("shardId-000000000001").await;
        sleep(SECOND * 120).await;
        assert_values(&recorded(&snapshotter), PARTIAL);

        world.table().delete(SHARD).await;
        sleep(SECOND * 120).await;
        assert_values(&recorded(&snapshotter), SYNCING);
        unlisted.remove();
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const PARTIAL: &[Row] = &[("PeriodicShardSyncManager", "NumStreamsWithPartialLeases", Expected::Each(1.0))];

const SYNCING: &[Row] = &[("PeriodicShardSyncManager", "NumStreamsToSync", Expected::Each(1.0))];

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

        assert_values(&recorded(&snapshotter), LEAVING);
        stopping.await.expect("no panic").expect("worker stops");
        leader.stop().await.expect("worker stops");
    })
    .await;
}

const LEAVING: &[Row] = &[("LeaseAssignmentManager", "NumWorkersWithFailingWorkerMetric", Expected::Each(1.0))];

#[tokio::test(start_paused = true)]
async fn streams_that_are_read_deleted_or_waiting_for_it_are_counted() {
    with_recorder(async |snapshotter| {
        let world = World::without_stream(kinesis_local::LocalAws::start().await);
        for stream in ["orders", "payments", "old", "gone"] {
            world.create(stream, 2).await;
        }
        let config = |stream: &str| StreamConfig::new(stream).initial_position(InitialPosition::TrimHorizon);
        let streams = Streams::new(["orders", "payments", "old", "gone"].map(config))
            .former_streams(FormerStreams::DeleteAfter(SECOND * 3_600));
        let worker = world.spawn(world.multi_worker("w1", &streams));
        world.settled().await;
        streams.remove("old");
        world.delete("gone").await;
        streams.remove("gone");
        sleep(SECOND * 300).await;
        let all = recorded(&snapshotter);
        assert_values(&all, STREAMS);

        sleep(SECOND * 3_600).await;
        assert_values(&recorded(&snapshotter), DELETED);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const STREAMS: &[Row] = &[
    ("MultiStreamTracker", "ActiveStreams.Count", Expected::Each(2.0)),
    ("MultiStreamTracker", "StreamsPendingDeletion.Count", Expected::Each(1.0)),
];

const DELETED: &[Row] = &[
    ("MultiStreamTracker", "StreamsPendingDeletion.Count", Expected::Each(0.0)),
    ("MultiStreamTracker", "DeletedStreams.Count", Expected::Sum(1.0)),
    ("MultiStreamTracker", "NonExistingStreamDelete.Count", Expected::Sum(0.0)),
];

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
        put.data(Blob::new(vec![b'x'; 500_000])).send().await.expect("stored");
        sleep(SECOND * 30).await;

        assert_values(&recorded(&snapshotter), HELD);
        worker.stop().await.expect("worker stops");
        assert_eq!(values(&recorded(&snapshotter), "MemoryBudget", "HeldBytes"), [0.0]);
    })
    .await;
}

const HELD: &[Row] = &[("MemoryBudget", "HeldBytes", Expected::Between(500_000.0, 40e6))];
