//! The table of the consumer's metrics. Sources: the KCL's developer guide, and classes of `software.amazon.kinesis` that
//! add data to a `MetricsScope`.

use kpl::metric::Samples;

const NONE: &[&str] = &[];
const SHARD: &[&str] = &["ShardId", "StreamId"];
const STREAM: &[&str] = &["StreamId"];
const WORKER: &[&str] = &["WorkerIdentifier"];
const CALL: &[&str] = &["Call"];

const PROCESS: Option<&str> = Some("ProcessTask");
const INITIALIZE: Option<&str> = Some("InitializeTask");
const WAIT: Option<&str> = Some("BlockOnParentShardTask");
const SHUTDOWN: Option<&str> = Some("ShutdownTask");
const RENEW: Option<&str> = Some("RenewAllLeases");
const DISCOVER: Option<&str> = Some("LeaseDiscovery");
const ASSIGN: Option<&str> = Some("LeaseAssignmentManager");
const AUDIT: Option<&str> = Some("PeriodicShardSyncManager");
const SYNC: Option<&str> = Some("ShardSyncTask");
const STREAMS: Option<&str> = Some("MultiStreamTracker");
const REPORT: Option<&str> = Some("WorkerMetricStatsReporter");

const RECORDED: Samples = Samples::Recorded;

kpl::declare_metrics! { "kcl";
    RECORDS_PROCESSED = PROCESS, "RecordsProcessed", Counter Count Summary Java, SHARD, RECORDED,
        "user records given to a processor, of a read without records 0";
    DATA_BYTES_PROCESSED = PROCESS, "DataBytesProcessed", Counter Bytes Summary Java, SHARD, RECORDED,
        "data of the user records given to a processor, of a read without records 0";
    FRAMES_UNOPENED = PROCESS, "CompressedRecordsUnopened", Counter Count Summary Ours, SHARD, RECORDED,
        "compressed records that cannot be opened";
    COPIES_DROPPED = PROCESS, "CopiesDropped", Counter Count Summary Ours, SHARD, RECORDED,
        "user records left out because they were delivered before";
    RECORDS_UNDECIDED = PROCESS, "RecordsUndecided", Counter Count Summary Ours, SHARD, RECORDED,
        "user records delivered although they may be copies of what is not known any more";
    MILLIS_BEHIND_LATEST = PROCESS, "MillisBehindLatest", Gauge Milliseconds Summary Java, SHARD, RECORDED,
        "time by which a shard's processing is behind the end of the shard";
    PROCESS_SUCCESS = PROCESS, "Success", Histogram Count Summary Java, SHARD, RECORDED,
        "1 if what a read returned was processed, else 0";
    PROCESS_TIME = PROCESS, "Time", Histogram Milliseconds Summary Java, SHARD, RECORDED,
        "time that the processing of what a read returned took, its deaggregation included";
    PROCESS_RECORDS_TIME = PROCESS, "RecordProcessor.processRecords.Time",
        Histogram Milliseconds Summary Java, SHARD, RECORDED,
        "time that a call of process_records took";
    GET_RECORDS_SUCCESS = PROCESS, "KinesisDataFetcher.getRecords.Success",
        Histogram Count Detailed Java, SHARD, RECORDED,
        "1 if a call of GetRecords succeeded, else 0";
    GET_RECORDS_TIME = PROCESS, "KinesisDataFetcher.getRecords.Time",
        Histogram Milliseconds Detailed Java, SHARD, RECORDED,
        "time that a call of GetRecords took";
    GET_ITERATOR_SUCCESS = PROCESS, "KinesisDataFetcher.getShardIterator.Success",
        Histogram Count Detailed Java, SHARD, RECORDED,
        "1 if a call of GetShardIterator succeeded, else 0";
    GET_ITERATOR_TIME = PROCESS, "KinesisDataFetcher.getShardIterator.Time",
        Histogram Milliseconds Detailed Java, SHARD, RECORDED,
        "time that a call of GetShardIterator took";
    EXPIRED_ITERATOR = PROCESS, "ExpiredIterator", Counter Count Summary Java, STREAM, RECORDED,
        "iterators that Kinesis refused as expired";
    UPDATE_LEASE_SUCCESS = PROCESS, "UpdateLease.Success", Histogram Count Detailed Java, SHARD, RECORDED,
        "1 if a checkpoint was stored, else 0";
    UPDATE_LEASE_TIME = PROCESS, "UpdateLease.Time", Histogram Milliseconds Detailed Java, SHARD, RECORDED,
        "time that the write of a checkpoint took";
    APPLICATION_BEHIND = Some("ApplicationTracker"), "MillisBehindLatest",
        Gauge Milliseconds Summary Java, NONE, RECORDED,
        "maximum, over the shards of a worker and up to 5 seconds, of the time by which processing is behind the end of the shard";
    INITIALIZE_PROCESSOR_TIME = INITIALIZE, "RecordProcessor.initialize.Time",
        Histogram Milliseconds Summary Java, NONE, RECORDED,
        "time that a call of initialize took";
    INITIALIZE_SUCCESS = INITIALIZE, "Success", Histogram Count Summary Ours, NONE, RECORDED,
        "1 if a call of initialize succeeded, else 0";
    WAIT_SUCCESS = WAIT, "Success", Histogram Count Summary Ours, NONE, RECORDED,
        "1 if a shard's parents are processed, 0 if the lease went elsewhere before";
    WAIT_TIME = WAIT, "Time", Histogram Milliseconds Summary Ours, NONE, RECORDED,
        "time that a shard waited for its parents";
    SHUTDOWN_PROCESSOR_TIME = SHUTDOWN, "RecordProcessor.shutdown.Time",
        Histogram Milliseconds Summary Java, NONE, RECORDED,
        "time that a call of shard_ended, lease_lost or shutdown_requested took";
    SHUTDOWN_SUCCESS = SHUTDOWN, "Success", Histogram Count Summary Ours, NONE, RECORDED,
        "1 if a shard's end was carried out, 0 if the lease went elsewhere before";
    SHUTDOWN_TIME = SHUTDOWN, "Time", Histogram Milliseconds Summary Ours, NONE, RECORDED,
        "time that a shard's end took";
    END_LEASE_SUCCESS = SHUTDOWN, "UpdateLease.Success", Histogram Count Detailed Java, SHARD, RECORDED,
        "1 if the checkpoint SHARD_END was stored, else 0";
    END_LEASE_TIME = SHUTDOWN, "UpdateLease.Time", Histogram Milliseconds Detailed Java, SHARD, RECORDED,
        "time that the write of SHARD_END took";
    CREATE_CHILD_SUCCESS = SHUTDOWN, "CreateLease.Success", Histogram Count Detailed Java, NONE, RECORDED,
        "1 if a child's lease was created or was there already, else 0";
    CREATE_CHILD_TIME = SHUTDOWN, "CreateLease.Time", Histogram Milliseconds Detailed Java, NONE, RECORDED,
        "time that the write of a child's lease took";
    CREATE_CHILD_TRIM_HORIZON = SHUTDOWN, "CreateLease_TRIM_HORIZON.Success",
        Histogram Count Detailed Java, NONE, RECORDED,
        "1 if a child's lease at TRIM_HORIZON was created or was there already, else 0";
    MISSING_MERGE_PARENT = SHUTDOWN, "MissingMergeParent", Counter Count Summary Java, NONE, RECORDED,
        "ended shards with one child, which names no second parent";
    MISSING_MERGE_PARENT_LEASE = SHUTDOWN, "MissingMergeParentLease", Counter Count Summary Java, NONE, RECORDED,
        "ended shards whose child waits for a lease of its other parent";
    CURRENT_LEASES = RENEW, "CurrentLeases", Gauge Count Summary Java, WORKER, RECORDED,
        "leases that a worker holds";
    LOST_LEASES = RENEW, "LostLeases", Counter Count Summary Java, WORKER, RECORDED,
        "leases that a worker lost";
    RENEW_ALL_SUCCESS = RENEW, "Success", Histogram Count Summary Java, WORKER, RECORDED,
        "1 if all renewals within a third of the lease duration succeeded, else 0";
    RENEW_ALL_TIME = RENEW, "Time", Histogram Milliseconds Summary Java, WORKER, RECORDED,
        "time that the slowest of these renewals took";
    RENEW_LEASE_SUCCESS = RENEW, "RenewLease.Success", Histogram Count Detailed Java, WORKER, RECORDED,
        "1 if the write that renews a lease succeeded, else 0";
    RENEW_LEASE_TIME = RENEW, "RenewLease.Time", Histogram Milliseconds Detailed Java, WORKER, RECORDED,
        "time that the write that renews a lease took";
    NEW_LEASES_DISCOVERED = DISCOVER, "NewLeasesDiscovered", Counter Count Detailed Java, WORKER, RECORDED,
        "leases that a worker was given and found";
    LIST_KEYS_TIME = DISCOVER, "ListLeaseKeysForWorker.Time", Histogram Milliseconds Detailed Java, WORKER, RECORDED,
        "time that the query for a worker's lease keys took";
    FETCH_LEASES_TIME = DISCOVER, "FetchNewLeases.Time", Histogram Milliseconds Detailed Java, WORKER, RECORDED,
        "time that reading the leases found took";
    OWNER_MISMATCH = DISCOVER, "OwnerMismatch", Counter Count Detailed Java, WORKER, RECORDED,
        "leases found that have another owner by now";
    GET_LEASE_ERROR = DISCOVER, "GetLease:Error", Counter Count Summary Java, WORKER, RECORDED,
        "leases found that could not be read";
    DISCOVER_SUCCESS = DISCOVER, "Success", Histogram Count Summary Java, WORKER, RECORDED,
        "1 if a look for new leases succeeded, else 0";
    DISCOVER_TIME = DISCOVER, "Time", Histogram Milliseconds Summary Java, WORKER, RECORDED,
        "time that a look for new leases took";
    TOTAL_LEASES = ASSIGN, "TotalLeases", Gauge Count Summary Java, NONE, RECORDED,
        "leases in the table, as the leader sees it";
    NUM_WORKERS = ASSIGN, "NumWorkers", Gauge Count Summary Java, NONE, RECORDED,
        "workers that get leases, as the leader sees it";
    FAILING_WORKERS = ASSIGN, "NumWorkersWithFailingWorkerMetric", Gauge Count Summary Java, NONE, RECORDED,
        "workers that say that they cannot measure their use, or that they are leaving";
    EXPIRED_LEASES = ASSIGN, "ExpiredLeases", Gauge Count Summary Java, NONE, RECORDED,
        "leases that no worker keeps alive";
    LEASE_SPILLOVER = ASSIGN, "LeaseSpillover", Gauge Count Summary Java, NONE, RECORDED,
        "expired leases that no worker may take";
    LEASE_FAULTS = ASSIGN, "LeaseDeserializationFailureCount", Counter Count Summary Java, NONE, RECORDED,
        "items of the lease table that a scan could not read";
    REASSIGNMENTS = ASSIGN, "NumOfLeasesReassignment", Counter Count Summary Java, NONE, RECORDED,
        "leases that the leader gave to a worker";
    FAILED_ASSIGNMENTS = ASSIGN, "FailedAssignmentCount", Counter Count Detailed Java, NONE, RECORDED,
        "leases that the leader could not give to a worker";
    LOAD_TIME = ASSIGN, "LeaseAndWorkerMetricsLoad.Time", Histogram Milliseconds Detailed Java, NONE, RECORDED,
        "time that a scan of the lease table took";
    PLAN_TIME = ASSIGN, "AssignExpiredOrUnassignedLeases.Time", Histogram Milliseconds Detailed Java, NONE, RECORDED,
        "time that the plan of an assignment took, its balancing included";
    WRITE_SUCCESS = ASSIGN, "ParallelyAssignLeases.Success", Histogram Count Detailed Java, NONE, RECORDED,
        "1 if all writes of an assignment succeeded, else 0";
    WRITE_TIME = ASSIGN, "ParallelyAssignLeases.Time", Histogram Milliseconds Detailed Java, NONE, RECORDED,
        "time that the writes of an assignment took";
    ASSIGN_SUCCESS = ASSIGN, "Success", Histogram Count Summary Java, NONE, RECORDED,
        "1 if an assignment succeeded, else 0";
    ASSIGN_TIME = ASSIGN, "Time", Histogram Milliseconds Summary Java, NONE, RECORDED,
        "time that an assignment took";
    INITIALIZED = Some("Scheduler:Initialize"), "Initialize.Success", Histogram Count Summary Java, NONE, RECORDED,
        "1 if a worker could start, else 0";
    REPORT_SUCCESS = REPORT, "Success", Histogram Count Summary Java, WORKER, RECORDED,
        "1 if a worker's report was stored, else 0";
    REPORT_TIME = REPORT, "Time", Histogram Milliseconds Summary Java, WORKER, RECORDED,
        "time that the write of a worker's report took";
    IS_LEADER = Some("LeaderDecider"), "LeaderDecider:IsLeader", Gauge Count Detailed Java, NONE, RECORDED,
        "1 if the worker leads, else 0";
    PARTIAL_STREAMS = AUDIT, "NumStreamsWithPartialLeases", Gauge Count Summary Java, NONE, RECORDED,
        "streams whose leases leave a hole in the hash keys";
    STREAMS_TO_SYNC = AUDIT, "NumStreamsToSync", Gauge Count Summary Java, NONE, RECORDED,
        "streams whose shards are listed";
    AUDIT_SUCCESS = AUDIT, "Success", Histogram Count Summary Java, NONE, RECORDED,
        "1 if the shards of all streams that were due could be compared with their leases, else 0";
    AUDIT_TIME = AUDIT, "Time", Histogram Milliseconds Summary Java, NONE, RECORDED,
        "time that these comparisons took";
    SYNC_SUCCESS = SYNC, "Success", Histogram Count Summary Java, NONE, RECORDED,
        "1 if the shards of a stream could be compared with its leases, else 0";
    SYNC_TIME = SYNC, "Time", Histogram Milliseconds Summary Java, NONE, RECORDED,
        "time that the comparison of a stream took";
    SYNC_SHARDS_SUCCESS = SYNC, "SyncShards.Success", Histogram Count Detailed Java, NONE, RECORDED,
        "1 if the shards of a stream could be compared with its leases, else 0";
    CREATE_LEASE_SUCCESS = SYNC, "CreateLease.Success", Histogram Count Detailed Java, NONE, RECORDED,
        "1 if a lease was created or was there already, else 0";
    CREATE_LEASE_TIME = SYNC, "CreateLease.Time", Histogram Milliseconds Detailed Java, NONE, RECORDED,
        "time that the write of a lease took";
    CREATE_LEASE_TRIM_HORIZON = SYNC, "CreateLease_TRIM_HORIZON.Success", Histogram Count Detailed Java, NONE, RECORDED,
        "1 if a lease at TRIM_HORIZON was created or was there already, else 0";
    CREATE_LEASE_LATEST = SYNC, "CreateLease_LATEST.Success", Histogram Count Detailed Java, NONE, RECORDED,
        "1 if a lease at LATEST was created or was there already, else 0";
    CREATE_LEASE_AT_TIMESTAMP = SYNC, "CreateLease_AT_TIMESTAMP.Success", Histogram Count Detailed Java, NONE, RECORDED,
        "1 if a lease at AT_TIMESTAMP was created or was there already, else 0";
    ACTIVE_STREAMS = STREAMS, "ActiveStreams.Count", Gauge Count Summary Java, NONE, RECORDED,
        "streams that are listed and read";
    STREAMS_PENDING_DELETION = STREAMS, "StreamsPendingDeletion.Count", Gauge Count Summary Java, NONE, RECORDED,
        "streams with leases that are no longer listed";
    STREAMS_NOT_EXISTING = STREAMS, "NonExistingStreamDelete.Count", Counter Count Summary Java, NONE, RECORDED,
        "streams that do not exist whose leases were deleted";
    DELETED_STREAMS = STREAMS, "DeletedStreams.Count", Counter Count Summary Java, NONE, RECORDED,
        "streams whose leases were deleted";
    HELD_BYTES = Some("MemoryBudget"), "HeldBytes", Gauge Bytes Summary Ours, WORKER, RECORDED,
        "memory of what a worker has read and not finished, and of reads under way at their largest";
    READ_UNITS = Some("LeaseTable"), "ReadUnits", Histogram None Detailed Ours, CALL, RECORDED,
        "read capacity units that a request to the lease table consumed";
    WRITE_UNITS = Some("LeaseTable"), "WriteUnits", Histogram None Detailed Ours, CALL, RECORDED,
        "write capacity units that a request to the lease table consumed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_kind_and_unit_and_an_operation_has_it_once() {
        for (n, metric) in METRICS.iter().enumerate() {
            for before in &METRICS[..n] {
                if before.name == metric.name {
                    // Prometheus and recorders know a metric by its name.
                    assert_eq!((before.kind, before.unit), (metric.kind, metric.unit), "{}", metric.name);
                    assert_ne!(before.operation, metric.operation, "{}", metric.name);
                }
            }
        }
    }
}
