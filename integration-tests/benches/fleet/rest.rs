//! Requests and capacity units of a fleet of two workers at rest, in virtual time on services in this process.

use integration_tests::{MinuteAtRest, bench::report};
use kcl::{BoxError, Renewals};

pub(crate) const NAME: &str = "rest";

pub(crate) fn measure(shards: usize) -> Result<(), BoxError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build()?;
    let shards = i32::try_from(shards)?;
    for (renewals, how) in [(Renewals::EachLease, "each lease"), (Renewals::Automatic, "by heartbeat")] {
        let minute = runtime.block_on(MinuteAtRest::measure(shards, renewals));
        let what = format!("{shards} shards, 2 workers at {NAME}, {how}");
        report(&format!("{what}: requests to the lease table"), minute.total(), "requests/min");
        for (operation, requests) in minute.requests.iter().filter(|(_, requests)| **requests > 0.0) {
            report(&format!("{what}: {operation}"), *requests, "requests/min");
        }
        report(&format!("{what}: read units"), minute.read_units, "units/min");
        report(&format!("{what}: write units"), minute.write_units, "units/min");
    }
    Ok(())
}
