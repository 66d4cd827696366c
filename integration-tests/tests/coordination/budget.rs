//! Requests of a fleet at rest to the lease table, the budget of each loop; and the meter, which must agree.

use std::collections::BTreeMap;

use integration_tests::MinuteAtRest;
use kcl::Renewals;

/// Maximum renewals of a lease of 10 s a minute: each is at least 3.33 s after the one before.
const RENEWALS: f64 = 18.0;
/// Leases that are renewed by one request.
const ROUND: f64 = 25.0;
/// Reports of a worker a minute.
const REPORTS: f64 = 6.0;

#[tokio::test(start_paused = true)]
async fn a_fleet_at_rest_stays_within_its_budget_of_requests() {
    for shards in [4, 64] {
        let minute = MinuteAtRest::measure(shards, Renewals::EachLease).await;

        let total = minute.total();
        let MinuteAtRest { requests, metered, read_units, write_units } = minute;
        println!(
            "{shards} shards, 2 workers, a minute: {total:.1} requests, {read_units:.1} read units, \
             {write_units:.1} write units; {requests:.1?}"
        );
        // The leader's scans; the other's looks at lock and own item; for changes by other hands; the fleet's version.
        let reads = [("Scan", 24.0), ("BatchGetItem", 34.0), ("Query", 6.0), ("GetItem", 3.0)];
        // The leader's heartbeats; renewals of each worker's leases, and those of a round of one lease; reports.
        let rounds = 2.0 * (f64::from(shards) / 2.0 / ROUND).ceil() * RENEWALS;
        let writes = [("PutItem", 68.0), ("BatchExecuteStatement", rounds), ("UpdateItem", 2.0 * REPORTS + 2.0)];
        let budget: BTreeMap<&str, f64> = reads.into_iter().chain(writes).collect();
        for (name, count) in &requests {
            let most = budget.get(name).copied().unwrap_or(0.0);
            assert!(*count <= most, "{shards} shards: {count} requests a minute of {name}, at most {most}");
        }
        // An answer may be on its way when the minute begins or ends.
        assert!((total - metered).abs() <= 1.0, "{total} requests counted, {metered} metered");
        let alone = requests["PutItem"] + requests["UpdateItem"];
        let renewed = write_units - alone;
        let most = f64::from(shards) * RENEWALS;
        assert!(renewed > most * 0.9 && renewed <= most, "{renewed} renewals of small items, at most {most}");
        assert!(read_units > 0.0 && read_units <= 140.0, "{read_units} read units");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_by_heartbeats_at_rest_stays_within_its_budget_of_requests() {
    // What scans, queries and comparisons read grows with the leases. The scans of few are the leader's looks, too.
    for (shards, scans, looks, most_read) in [(4, 28.0, 30.0, 130.0), (64, 25.0, 53.0, 255.0)] {
        let minute = MinuteAtRest::measure(shards, Renewals::Automatic).await;

        let total = minute.total();
        let MinuteAtRest { requests, metered, read_units, write_units } = minute;
        println!(
            "{shards} shards, 2 workers by heartbeats, a minute: {total:.1} requests, {read_units:.1} read units, \
             {write_units:.1} write units; {requests:.1?}"
        );
        // The leader's scans; looks at the lock, comparisons; the other's looks for changes by anybody; the fleet's version.
        let reads = [("Scan", scans), ("BatchGetItem", looks), ("Query", 24.0), ("GetItem", 3.0)];
        // The lock; heartbeats.
        let writes = [("PutItem", 2.5), ("UpdateItem", 41.0)];
        let budget: BTreeMap<&str, f64> = reads.into_iter().chain(writes).collect();
        for (name, count) in &requests {
            let most = budget.get(name).copied().unwrap_or(0.0);
            assert!(*count <= most, "{shards} shards: {count} requests a minute of {name}, at most {most}");
        }
        assert!((total - metered).abs() <= 1.0, "{total} requests counted, {metered} metered");
        assert!(write_units <= 43.0, "{write_units} write units");
        assert!(read_units > 0.0 && read_units <= most_read, "{read_units} read units");
    }
}
