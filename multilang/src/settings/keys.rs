//! Keys of the daemon for Java that change nothing here, and why; the nearest known key to an unknown one.

/// Keys with an effect.
pub(crate) const HONOURED: &[&str] = &[
    "applicationName",
    "AwsCredentialsProvider",
    "AwsCredentialsProviderCloudWatch",
    "AwsCredentialsProviderDynamoDB",
    "childExitMillis",
    "clientVersionConfig",
    "cloudWatchClient.endpointOverride",
    "cloudWatchClient.region",
    "coordinatorStateTableName",
    "deadLetterFile",
    "dynamoDbClient.endpointOverride",
    "dynamoDbClient.region",
    "dynamoDBEndpoint",
    "executableName",
    "failoverTimeMillis",
    "fanoutConfig.consumerArn",
    "fanoutConfig.consumerName",
    "gracefulLeaseHandoffTimeoutMillis",
    "idleTimeBetweenReadsInMillis",
    "initialPositionInStream",
    "initialPositionInStreamExtended",
    "isGracefulLeaseHandoffEnabled",
    "kinesisClient.endpointOverride",
    "kinesisClient.region",
    "kinesisEndpoint",
    "logWarningForTaskAfterMillis",
    "maxLeasesForWorker",
    "maxRecords",
    "memoryBudgetMiB",
    "metricsBufferTimeMillis",
    "metricsEnabledDimensions",
    "metricsLevel",
    "metricsMaxQueueSize",
    "migrateAllEntitiesToLeaseTable",
    "pollingConfig.idleTimeBetweenReadsInMillis",
    "pollingConfig.maxRecords",
    "probeAddress",
    "processorErrorAttempts",
    "processorErrorPolicy",
    "regionName",
    "retrievalMode",
    "shutdownGraceMillis",
    "streamArn",
    "streamName",
    "tableName",
    "timeoutInSeconds",
    "workerId",
    "workerIdentifier",
    "workerMetricsTableName",
];

/// Known keys without effect, and what is true in their place.
pub(crate) const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("allowThroughputOvershoot", "leases are balanced by their number"),
    ("callProcessRecordsEvenForEmptyRecordList", "empty batches are never delivered"),
    ("cleanupLeasesUponShardCompletion", "leases of ended shards are always deleted"),
    ("coordinatorStateBillingMode", "that table is never created here"),
    ("coordinatorStateDeletionProtectionEnabled", "that table is never created here"),
    ("coordinatorStatePointInTimeRecoveryEnabled", "that table is never created here"),
    ("coordinatorStateReadCapacity", "that table is never created here"),
    ("coordinatorStateTags", "that table is never created here"),
    ("coordinatorStateWriteCapacity", "that table is never created here"),
    ("dampeningPercentage", "leases are balanced by their number"),
    ("disableWorkerMetrics", "leases are balanced by their number"),
    ("enablePriorityLeaseAssignment", "expired leases are always assigned first"),
    ("fanoutConfig.maxDescribeStreamConsumerRetries", "calls are repeated until they succeed"),
    ("fanoutConfig.maxDescribeStreamSummaryRetries", "calls are repeated until they succeed"),
    ("fanoutConfig.registerStreamConsumerRetries", "calls are repeated until they succeed"),
    ("fanoutConfig.retryBackoffMillis", "pauses between repeated calls grow by themselves"),
    ("ignoreUnexpectedChildShards", "shards are listed again until parents and children agree"),
    ("initialLeaseTableReadCapacity", "the lease table is created on demand"),
    ("initialLeaseTableWriteCapacity", "the lease table is created on demand"),
    ("inMemoryWorkerMetricsCaptureFrequencyMillis", "leases are balanced by their number"),
    ("leaseAssignmentIntervalMillis", "leases are assigned within a second of a change"),
    ("leaseTableDeletionProtectionEnabled", "set it on the table itself"),
    ("leaseTablePitrEnabled", "set it on the table itself"),
    ("leaseTableScanTotalSegments", "the lease table is read by one scan"),
    ("listShardsBackoffTimeInMillis", "pauses between repeated calls grow by themselves"),
    ("maxActiveThreads", "a child takes no thread"),
    ("maxGetRecordsThreadPool", "reads take no thread"),
    ("maxLeaseRenewalThreads", "renewals take no thread"),
    ("maxLeasesToStealAtOneTime", "leases are handed over in good order, as many as balance the fleet"),
    ("maxListShardsRetryAttempts", "calls are repeated until they succeed"),
    ("maxThroughputPerHostKBps", "leases are balanced by their number"),
    (
        "millisBehindLatestThresholdForReducedTps",
        "a shard without records is read once in idleTimeBetweenReadsInMillis",
    ),
    ("noOfPersistedMetricsPerWorkerMetrics", "leases are balanced by their number"),
    ("parentShardPollIntervalMillis", "child shards start as soon as their parents have ended"),
    ("processingLanguage", "the language of the children does not matter"),
    ("reBalanceThresholdPercentage", "leases are balanced by their number"),
    ("retryGetRecordsInSeconds", "a read that is not answered is repeated after 30 s"),
    ("schedulerInitializationBackoffTimeMillis", "pauses between repeated calls grow by themselves"),
    ("shardSyncIntervalMillis", "shards are listed at each sign of a change, and once a minute or more seldom"),
    ("skipShardSyncAtWorkerInitializationIfLeasesExist", "shards are listed at the start"),
    ("staleWorkerMetricsEntryCleanupDuration", "leases are balanced by their number"),
    ("tableMigrationCompleteBakeTimeSeconds", "leaders of Java drive the migration"),
    ("taskBackoffTimeMillis", "a child that failed is followed by another after 1 s to 30 s"),
    ("validateSequenceNumberBeforeCheckpointing", "sequence numbers are always checked"),
    ("varianceBalancingFrequency", "leases are balanced by their number"),
    ("workerMetricsBillingMode", "that table is never created here"),
    ("workerMetricsDeletionProtectionEnabled", "that table is never created here"),
    ("workerMetricsEMAAlpha", "leases are balanced by their number"),
    ("workerMetricsPointInTimeRecoveryEnabled", "that table is never created here"),
    ("workerMetricsReadCapacity", "that table is never created here"),
    ("workerMetricsReporterFreqInMillis", "leases are balanced by their number"),
    ("workerMetricsTags", "that table is never created here"),
    ("workerMetricsWriteCapacity", "that table is never created here"),
];

/// Maximum difference of a key from one that is suggested in its place, in letters.
const MAX_DIFFERENCE: usize = 3;

/// Remark on a key without effect.
pub(crate) fn note<'a>(key: &str, honoured: impl Iterator<Item = &'a str>) -> String {
    if let Some((_, reason)) = WITHOUT_EFFECT.iter().find(|(known, _)| *known == key) {
        return format!("{key} has no effect: {reason}");
    }
    let known = honoured.chain(WITHOUT_EFFECT.iter().map(|(known, _)| *known));
    let difference = |known: &str| strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &key.to_ascii_lowercase());
    let nearest = known.map(|known| (difference(known), known)).min();
    match nearest.filter(|(difference, _)| *difference <= MAX_DIFFERENCE) {
        Some((_, nearest)) => format!("{key} is unknown and has no effect; is {nearest} meant?"),
        None => format!("{key} is unknown and has no effect"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_effect_are_named_with_a_reason_or_the_nearest_key() {
        let honoured = || ["retrievalMode", "streamName"].into_iter();

        assert_eq!(note("maxActiveThreads", honoured()), "maxActiveThreads has no effect: a child takes no thread");
        let nearest = "RetrievalMode is unknown and has no effect; is retrievalMode meant?";
        assert_eq!(note("RetrievalMode", honoured()), nearest);
        let nearest = "shardSyncIntervalMilis is unknown and has no effect; is shardSyncIntervalMillis meant?";
        assert_eq!(note("shardSyncIntervalMilis", honoured()), nearest);
        assert_eq!(note("colour", honoured()), "colour is unknown and has no effect");
    }

    #[test]
    fn keys_are_listed_once_in_order() {
        assert!(HONOURED.windows(2).all(|pair| pair[0].to_ascii_lowercase() < pair[1].to_ascii_lowercase()));
        assert!(WITHOUT_EFFECT.windows(2).all(|pair| pair[0].0.to_ascii_lowercase() < pair[1].0.to_ascii_lowercase()));
    }
}
