// Settings of KCL 3.4, which shares leases by utilization alone, in proportion to the failover time, as the defaults are
// to theirs, but for the leader's lock, which lives 120 s by default.

import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.leases.LeaseManagementConfig;

final class Tuning {
    /** A worker counts as active for twice as long. */
    private static final long REPORT_MILLIS = 6_000;

    static void apply(LeaseManagementConfig leases, long failover) {
        leases.leaseAssignmentIntervalMillis(failover / 2)
                .dynamoDbLockBasedLeaderLeaseDurationInMillis(failover)
                .dynamoDbLockBasedLeaderHeartbeatPeriodInMillis(failover / 4);
        leases.workerUtilizationAwareAssignmentConfig().workerMetricsReporterFreqInMillis(REPORT_MILLIS);
        leases.gracefulLeaseHandoffConfig().gracefulLeaseHandoffTimeoutMillis(10_000);
    }

    static void migrateToOneTable(CoordinatorConfig coordinator) {
        throw new UnsupportedOperationException("KCL 3.4 does not know the migration to one table");
    }
}
