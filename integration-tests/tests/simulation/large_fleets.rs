//! A fleet with a hundred leases a worker, at the limits of its table. `KCL_LARGE_FLEET_WORKERS` says how many workers;
//! `cargo bench --bench large_fleet` measures.

use std::{env, time::Duration};

use integration_tests::{FleetSize, LargeFleet};
use kcl::Renewals;

/// Number of workers unless the environment says another.
const WORKERS: usize = 10;
const LEASE_DURATION: Duration = Duration::from_secs(10);
/// Time of a cold start, of a death and of a deploy beside 1.5 times what the table's write limit needs.
const BESIDE_WRITES: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(20), Duration::from_secs(30)];

fn size(renewals: Renewals) -> FleetSize {
    let workers = env::var("KCL_LARGE_FLEET_WORKERS").map_or(WORKERS, |number| number.parse().expect("is a number"));
    FleetSize { workers, leases: 100 * u32::try_from(workers).expect("is not that large"), renewals }
}

#[tokio::test(start_paused = true)]
async fn a_large_fleet_is_balanced_soon_after_it_starts_loses_a_third_and_is_replaced() {
    live(Renewals::EachLease).await;
}

#[tokio::test(start_paused = true)]
async fn so_is_one_by_heartbeats() {
    live(Renewals::Automatic).await;
}

async fn live(renewals: Renewals) {
    let phases = LargeFleet::live(size(renewals), LEASE_DURATION).await;
    for (phase, beside) in phases.into_iter().zip(BESIDE_WRITES) {
        println!("{phase:?}");
        let within = beside + phase.needed.mul_f64(1.5);
        assert!(phase.balanced <= within, "{}: {:?}, at most {within:?}", phase.name, phase.balanced);
    }
}
