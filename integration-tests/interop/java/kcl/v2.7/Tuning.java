// What can be made quick in KCL 2.x: nothing besides what all versions share.

import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.leases.LeaseManagementConfig;

final class Tuning {
    static void apply(LeaseManagementConfig leases, long failover) {}

    static void migrateToOneTable(CoordinatorConfig coordinator) {
        throw new UnsupportedOperationException("KCL 2.7 does not know the migration to one table");
    }
}
