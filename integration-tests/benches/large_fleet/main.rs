//! Large fleets in virtual time, at the limits of a new on-demand table: time to balance from a cold start, after a third
//! died with the leader, and over a rolling deploy, over the time that the writes need by the table's limit; requests of a
//! minute at rest.
//!
//! By heartbeats, as a table could not take 100,000 leases renewed one by one.
//! `cargo bench -p integration-tests --bench large_fleet -- WORKERS LEASES`; without numbers, 1,000 leases by 10 workers.
//! `-- growth LEASES FILE.svg` measures fleets of 1, 10, 100 leases and so on up to that number, 1,000 by default, prints the
//! table of docs/performance.md and draws its picture into the file.

mod growth;
mod picture;

use std::{env, path::Path, time::Duration};

use integration_tests::{
    FleetSize, LargeFleet, Phase,
    bench::{cpu_nanos, peak_bytes, report},
};
use kcl::Renewals;
use tokio::runtime::Runtime;

const LEASE_DURATION: Duration = Duration::from_secs(10);
/// Time of a phase that does not count against what its writes need.
const ALLOWANCE: Duration = LEASE_DURATION.saturating_mul(2);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let numbers: Vec<u32> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if arguments.iter().any(|argument| argument == "growth") {
        let picture = arguments.iter().find(|argument| argument.ends_with(".svg"));
        return growth::measure(numbers.first().copied().unwrap_or(1_000), picture.map(Path::new));
    }
    let (workers, leases) = match numbers[..] {
        [workers, leases] => (workers as usize, leases),
        _ => (10, 1_000),
    };
    measure(FleetSize { workers, leases, renewals: Renewals::Automatic });
}

fn virtual_time() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime can be made")
}

fn measure(size: FleetSize) {
    let mut begun = cpu_nanos();
    virtual_time().block_on(live(size, |phase| {
        show(size, &phase);
        let what = format!("{}, {}", name(size), phase.name);
        let now = cpu_nanos();
        report(&format!("{what}: CPU of the simulation"), Duration::from_nanos(now - begun).as_secs_f64(), "s");
        report(&format!("{what}: peak memory until then"), peak_bytes() as f64 / f64::from(1 << 20), "MiB");
        begun = now;
    }));
}

/// A whole life, whose phases are shown as they end.
async fn live(size: FleetSize, mut seen: impl FnMut(Phase)) {
    let mut fleet = LargeFleet::new(size, LEASE_DURATION).await;
    seen(fleet.start_cold().await);
    seen(fleet.minute_at_rest().await);
    seen(fleet.lose_a_third().await);
    fleet.rest().await;
    seen(fleet.deploy().await);
}

fn name(FleetSize { workers, leases, .. }: FleetSize) -> String {
    format!("{workers} workers, {leases} leases")
}

fn show(size: FleetSize, phase: &Phase) {
    let what = format!("{}, {}", name(size), phase.name);
    let ratios = phase.ratio(Duration::ZERO).zip(phase.ratio(ALLOWANCE));
    if let Some((ratio, beyond)) = ratios {
        report(&format!("{what}: balanced after"), phase.balanced.as_secs_f64(), "s");
        report(&format!("{what}: over what the writes need"), ratio, "ratio");
        report(&format!("{what}: beyond 2 lease durations, over what the writes need"), beyond, "ratio");
    }
    report(&format!("{what}: read units"), phase.read_units, "units");
    report(&format!("{what}: write units"), phase.write_units, "units");
    for (operation, requests) in &phase.requests {
        report(&format!("{what}: {operation}"), *requests as f64, "requests");
    }
}
