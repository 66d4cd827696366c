//! Phases of a large fleet's life, and what they take.

use std::{collections::BTreeMap, time::Duration};

use kcl::Renewals;
use kinesis_local::LocalAws;
use tokio::time::Instant;

use crate::TableRequests;

/// Minimum number of streams among which the shards are divided, where there are as many shards.
const STREAMS: u32 = 4;
/// Maximum number of shards of a stream.
/// docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
const SHARDS_OF_STREAM: u32 = 10_000;

/// Size of a fleet.
#[derive(Debug, Clone, Copy)]
pub struct FleetSize {
    /// Number of workers.
    pub workers: usize,
    /// Number of leases.
    pub leases: u32,
    /// Renewal of the leases.
    pub renewals: Renewals,
}

impl FleetSize {
    /// Number of shards of each stream.
    pub(super) fn streams(&self) -> Vec<u32> {
        let streams = STREAMS.min(self.leases).max(self.leases.div_ceil(SHARDS_OF_STREAM));
        (0..streams).map(|stream| self.leases / streams + u32::from(stream < self.leases % streams)).collect()
    }
}

/// Phase of a fleet's life, as it was simulated.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Name of the phase.
    pub name: &'static str,
    /// Time until each shard is processed, by no worker many more than by others.
    pub balanced: Duration,
    /// Time that the writes need at least, by the table's limit.
    pub needed: Duration,
    /// Requests to the lease table by operation.
    pub requests: BTreeMap<&'static str, u64>,
    /// Read units of the lease table.
    pub read_units: f64,
    /// Write units of the lease table.
    pub write_units: f64,
}

impl Phase {
    /// Time beyond `allowance`, over what the writes need. `None` if nothing is written.
    pub fn ratio(&self, allowance: Duration) -> Option<f64> {
        let beyond = self.balanced.saturating_sub(allowance).as_secs_f64();
        (!self.needed.is_zero()).then(|| beyond / self.needed.as_secs_f64())
    }
}

/// Begin of a phase.
#[derive(Debug)]
pub(super) struct Begun {
    at: Instant,
    requests: TableRequests,
    units: (f64, f64),
}

impl Begun {
    pub(super) fn now(aws: &LocalAws) -> Self {
        Self { at: Instant::now(), requests: TableRequests::of(aws), units: units(aws) }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// The phase that ends now, of which the writes alone need so long.
    pub(super) fn phase(&self, name: &'static str, needed: Duration, aws: &LocalAws) -> Phase {
        let (read_units, write_units) = units(aws);
        Phase {
            name,
            balanced: self.elapsed(),
            needed,
            requests: self.requests.counts(),
            read_units: read_units - self.units.0,
            write_units: write_units - self.units.1,
        }
    }
}

fn units(aws: &LocalAws) -> (f64, f64) {
    let consumed = aws.consumed_capacity();
    (consumed.read_units, consumed.write_units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_spread_evenly_over_streams_that_can_hold_them() {
        let streams = |leases| FleetSize { workers: 1, leases, renewals: Renewals::Automatic }.streams();

        assert_eq!(streams(1), [1]);
        assert_eq!(streams(10), [3, 3, 2, 2]);
        assert_eq!(streams(1_000), [250; 4]);
        assert_eq!(streams(100_000), [10_000; 10]);
        assert_eq!(streams(100_001), [9_091; 11]);
    }
}
