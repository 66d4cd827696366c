//! Pauses that double with each failure in a row, up to a maximum. Pure.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) const fn of_millis(first: u64, max: u64) -> Self {
        Self { first: Duration::from_millis(first), max: Duration::from_millis(max) }
    }

    /// Pause after this many failures in a row, without jitter.
    pub(crate) fn ceiling(self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.max)
    }

    /// Pause after this many failures in a row: from half the ceiling up to it. `random` is from 0 to 1.
    pub(crate) fn pause(self, failures: u32, random: f64) -> Duration {
        self.ceiling(failures).mul_f64(0.5 + 0.5 * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_pauses_up_to_the_maximum_and_keeps_half_of_them() {
        let backoff = Backoff::of_millis(100, 300);

        assert_eq!([0, 1, 2, 3, u32::MAX].map(|n| backoff.ceiling(n).as_millis()), [100, 100, 200, 300, 300]);
        assert_eq!([0.0, 0.5, 1.0].map(|random| backoff.pause(2, random).as_millis()), [100, 150, 200]);
    }
}
