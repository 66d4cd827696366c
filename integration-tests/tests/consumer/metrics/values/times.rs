//! Times.

use super::*;

/// Delays in milliseconds of the calls of a worker.
const DELAYS: [(&str, u64); 9] = [
    ("kinesis:GetRecords", GET_RECORDS),
    ("kinesis:GetShardIterator", GET_ITERATOR),
    ("kinesis:ListShards", LIST),
    ("dynamodb:UpdateItem", UPDATE),
    ("dynamodb:PutItem", PUT),
    ("dynamodb:Query", QUERY),
    ("dynamodb:Scan", SCAN),
    ("dynamodb:GetItem", GET),
    // Renewals of several leases.
    ("dynamodb:BatchExecuteStatement", UPDATE),
];
const GET_RECORDS: u64 = 30;
const GET_ITERATOR: u64 = 20;
const LIST: u64 = 110;
const UPDATE: u64 = 40;
const PUT: u64 = 50;
const QUERY: u64 = 60;
const SCAN: u64 = 70;
const GET: u64 = 90;
/// Times of the processor. That of a batch includes its checkpoint, an UpdateItem.
const INITIALIZE: u64 = 300;
const PROCESS: u64 = 360;
const END: u64 = 500;

pub(super) const TABLES: &[&[Row]] = &[TIMES];

const TIMES: &[Row] = &[
    ("ProcessTask", "KinesisDataFetcher.getRecords.Time", Expected::Millis(&[GET_RECORDS])),
    ("ProcessTask", "KinesisDataFetcher.getShardIterator.Time", Expected::Millis(&[GET_ITERATOR])),
    ("ProcessTask", "RecordProcessor.processRecords.Time", Expected::Millis(&[PROCESS + UPDATE])),
    ("ProcessTask", "UpdateLease.Time", Expected::Millis(&[UPDATE])),
    ("ProcessTask", "Time", Expected::Millis(&[0, PROCESS + UPDATE])),
    ("InitializeTask", "RecordProcessor.initialize.Time", Expected::Millis(&[INITIALIZE])),
    ("BlockOnParentShardTask", "Time", Expected::Millis(&[0, GET])),
    ("ShutdownTask", "RecordProcessor.shutdown.Time", Expected::Millis(&[END])),
    ("ShutdownTask", "UpdateLease.Time", Expected::Millis(&[UPDATE])),
    ("ShutdownTask", "CreateLease.Time", Expected::Millis(&[PUT])),
    ("ShutdownTask", "Time", Expected::Millis(&[2 * (GET + PUT) + END + UPDATE])),
    ("RenewAllLeases", "Time", Expected::Millis(&[UPDATE])),
    ("RenewAllLeases", "RenewLease.Time", Expected::Millis(&[UPDATE])),
    ("LeaseDiscovery", "ListLeaseKeysForWorker.Time", Expected::Millis(&[QUERY])),
    ("LeaseDiscovery", "FetchNewLeases.Time", Expected::Millis(&[0, GET])),
    ("LeaseDiscovery", "Time", Expected::Millis(&[QUERY, QUERY + GET])),
    ("LeaseAssignmentManager", "LeaseAndWorkerMetricsLoad.Time", Expected::Millis(&[SCAN])),
    ("LeaseAssignmentManager", "AssignExpiredOrUnassignedLeases.Time", Expected::Millis(&[0])),
    ("LeaseAssignmentManager", "ParallelyAssignLeases.Time", Expected::Millis(&[UPDATE])),
    ("LeaseAssignmentManager", "Time", Expected::Millis(&[SCAN, SCAN + UPDATE])),
    ("WorkerMetricStatsReporter", "Time", Expected::Millis(&[UPDATE])),
    ("ShardSyncTask", "CreateLease.Time", Expected::Millis(&[PUT])),
    ("ShardSyncTask", "Time", Expected::Millis(&[LIST + PUT])),
    ("PeriodicShardSyncManager", "Time", Expected::Millis(&[0, LIST + PUT])),
];

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

pub(super) fn start(builder: WorkerBuilder) -> Running {
    Running::start_factory(builder, |_: &ShardContext| Slow)
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

        assert_values(&all, TIMES);
    })
    .await;
}
