//! The search of a worker for its leases: how long it may rest between two looks. Pure.

use std::time::{Duration, Instant};

use crate::logic::shard::RENEWALS;

/// Maximum pause under a leader that announces nothing: as a part of a lease's life, which ends unless its new owner finds
/// it, and in any case. Java's pause is 10 s.
const UNANNOUNCED_PART: f64 = 0.5;
const MAX_UNANNOUNCED: Duration = Duration::from_secs(5);
/// The same under a leader that announces what it gives away: for changes by other hands.
const MAX_ANNOUNCED: Duration = Duration::from_secs(30);

/// Maximum pause between two looks. While heartbeats renew the leases, their owner learns of a change by anybody as soon as
/// a renewal would show it.
pub(crate) fn max_rest(by_heartbeat: bool, is_announced: bool, lease_duration: Duration) -> Duration {
    match (by_heartbeat, is_announced) {
        (true, _) => (lease_duration / RENEWALS).min(MAX_ANNOUNCED),
        (false, true) => MAX_ANNOUNCED,
        (false, false) => lease_duration.mul_f64(UNANNOUNCED_PART).min(MAX_UNANNOUNCED),
    }
}

/// Moment until which a scan that began at `scanned`, and showed which leases were lost or given, stands for the look after
/// that at `looked`.
pub(crate) fn spared_until(looked: Instant, scanned: Instant, lease_duration: Duration) -> Instant {
    (scanned + max_rest(true, true, lease_duration)).min(looked + MAX_ANNOUNCED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_for_a_part_of_a_lease_duration_and_never_for_longer_than_announcements_allow() {
        let rest = |by_heartbeat, is_announced, seconds| {
            max_rest(by_heartbeat, is_announced, Duration::from_secs(seconds)).as_millis()
        };

        assert_eq!([6, 10, 300].map(|seconds| rest(false, false, seconds)), [3_000, 5_000, 5_000]);
        assert_eq!([6, 10, 300].map(|seconds| rest(false, true, seconds)), [30_000; 3]);
        for is_announced in [false, true] {
            assert_eq!([6, 10, 300].map(|seconds| rest(true, is_announced, seconds)), [2_000, 3_333, 30_000]);
        }
    }

    #[test]
    fn a_scan_spares_a_look_for_a_renewal_interval_and_all_scans_together_for_half_a_minute() {
        let (looked, lease) = (crate::tests::some_time(), Duration::from_secs(9));
        let spared = |scanned| (spared_until(looked, looked + Duration::from_secs(scanned), lease) - looked).as_secs();

        assert_eq!([0, 2, 26, 27, 40].map(spared), [3, 5, 29, 30, 30]);
    }
}
