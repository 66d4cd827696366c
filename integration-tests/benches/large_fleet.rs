//! Large fleets in virtual time, at the limits of a new on-demand table: time to balance from a cold start, after a third
//! died with the leader, and over a rolling deploy, over the time that the writes need by the table's limit.
//!
//! By heartbeats, as a table could not take 100,000 leases renewed one by one.
//! `cargo bench -p integration-tests --bench large_fleet -- WORKERS LEASES`; without numbers, 1,000 leases by 10 workers.

use std::{env, time::Duration};

use integration_tests::{
    FleetSize, LargeFleet, Phase,
    bench::{cpu_nanos, report},
};
use kcl::Renewals;

const LEASE_DURATION: Duration = Duration::from_secs(10);

fn main() {
    let numbers: Vec<u32> = env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (workers, leases) = match numbers[..] {
        [workers, leases] => (workers as usize, leases),
        _ => (10, 1_000),
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime can be made");
    runtime.block_on(measure(FleetSize { workers, leases, renewals: Renewals::Automatic }));
}

async fn measure(size: FleetSize) {
    let FleetSize { workers, leases, .. } = size;
    let begun = cpu_nanos();
    for phase in LargeFleet::live(size, LEASE_DURATION).await {
        show(size, &phase);
    }
    let seconds = Duration::from_nanos(cpu_nanos() - begun).as_secs_f64();
    report(&format!("{workers} workers, {leases} leases: the simulation's CPU"), seconds, "s");
}

fn show(size: FleetSize, phase: &Phase) {
    let FleetSize { workers, leases, .. } = size;
    let what = format!("{workers} workers, {leases} leases, {}", phase.name);
    report(&format!("{what}: balanced after"), phase.balanced.as_secs_f64(), "s");
    report(&format!("{what}: over what the writes need"), phase.ratio(), "ratio");
    for (operation, requests) in &phase.requests {
        let requests = f64::from(u32::try_from(*requests).expect("millions"));
        report(&format!("{what}: {operation}"), requests, "requests");
    }
}
