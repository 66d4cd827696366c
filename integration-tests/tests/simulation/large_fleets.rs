//! A fleet with a hundred leases a worker, at the limits of its table. `KCL_LARGE_FLEET_WORKERS` says how many workers;
//! `cargo bench --bench large_fleet` measures.

use std::{env, time::Duration};

use integration_tests::{FleetSize, LargeFleet};
use kcl::Renewals;

/// Number of workers unless the environment says another.
const WORKERS: usize = 10;
const LEASE_DURATION: Duration = Duration::from_secs(10);

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
    let mut fleet = LargeFleet::new(size(renewals), LEASE_DURATION).await;
    let cold = fleet.start_cold().await;
    fleet.rest().await;
    let lost = fleet.lose_a_third().await;
    fleet.rest().await;
    for phase in [cold, lost, fleet.deploy().await] {
        println!("{phase:?}");
        let ratio = phase.ratio(LEASE_DURATION);
        assert!(ratio <= 1.5, "{}: {ratio:.2} of what its writes need", phase.name);
    }
}
