//! Health of publishing: what is said of failures, and when it is tried again. Pure.
//!
//! (A) Of failures in a row the first is reported, and then the success that ends them. (B) Pauses double up to a maximum.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: u32,
    lost: u64,
}

impl Health {
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Counts data that are lost.
    pub(crate) fn lost(&mut self, data: usize) {
        self.lost += data as u64;
    }

    /// A request failed. Returns whether that is news, and the pause before the next; `random` is from 0 to 1.
    pub(crate) fn failed(&mut self, random: f64) -> (bool, Duration) {
        let pause = MAX_PAUSE.min(FIRST_PAUSE * 2_u32.pow(self.failures.min(6)));
        self.failures = self.failures.saturating_add(1);
        (self.failures == 1, pause.mul_f64(0.5 + random / 2.0))
    }

    /// A request succeeded. Returns the number of data lost since the failure that it ends, if any.
    pub(crate) fn succeeded(&mut self) -> Option<u64> {
        (std::mem::take(&mut self.failures) > 0).then(|| std::mem::take(&mut self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_failures_is_news_and_the_success_after_them() {
        let mut health = Health::default();
        assert_eq!(health.succeeded(), None);
        assert_eq!(health.failed(1.0), (true, Duration::from_secs(1)));
        assert_eq!(health.failed(1.0), (false, Duration::from_secs(2)));
        health.lost(7);
        assert_eq!(health.succeeded(), Some(7));
        assert_eq!(health.succeeded(), None);
        assert_eq!(health.failed(0.0), (true, Duration::from_millis(500)));
    }

    #[test]
    fn pauses_end_at_a_minute() {
        let mut health = Health::default();
        let pauses: Vec<u64> = (0..9).map(|_| health.failed(1.0).1.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
