//! Throughput of a lease's processor, as it is written with each renewal. Pure.
//! Source: KCL's lease throughput: moving average, half of it the newest window, in KiB/s with six decimals.

use std::time::Duration;

/// Weight of the newest window.
const ALPHA: f64 = 0.5;
const KIB: f64 = 1024.0;

/// The average after a window in which `bytes` were delivered.
pub(crate) fn average(before: Option<f64>, bytes: u64, window: Duration) -> Option<f64> {
    if window.is_zero() {
        return before;
    }
    #[expect(clippy::cast_precision_loss, reason = "exact up to 9 PB in a window")]
    let now = bytes as f64 / KIB / window.as_secs_f64();
    let average = before.map_or(now, |before| before + ALPHA * (now - before));
    Some((average * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_by_halves_and_decays_to_nothing() {
        let second = Duration::from_secs(1);

        assert_eq!(average(None, 2048, second), Some(2.0));
        assert_eq!(average(Some(2.0), 4096, second), Some(3.0));
        let idle = (0..60).try_fold(3.0, |before, _| average(Some(before), 0, second));
        assert!(idle < Some(0.001), "{idle:?}");
        assert_eq!(average(Some(3.0), 10, Duration::ZERO), Some(3.0));
    }
}
