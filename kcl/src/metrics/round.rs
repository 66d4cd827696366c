//! A round of renewals: all those of a worker's leases in a third of a lease duration.

use std::time::Duration;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    failed: bool,
    slowest: Duration,
}

impl Round {
    pub(super) fn add(&mut self, success: bool, took: Duration) {
        self.failed |= !success;
        self.slowest = self.slowest.max(took);
    }

    /// Ends the round: whether all succeeded, and how long the slowest took.
    pub(super) fn end(&mut self) -> (bool, Duration) {
        let Self { failed, slowest } = std::mem::take(self);
        (!failed, slowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_succeeds_if_all_do_and_takes_as_long_as_the_slowest() {
        let mut round = Round::default();
        round.add(true, Duration::from_millis(3));
        round.add(false, Duration::from_millis(9));
        round.add(true, Duration::from_millis(5));

        assert_eq!(round.end(), (false, Duration::from_millis(9)));
        assert_eq!(round.end(), (true, Duration::ZERO), "nothing was to be renewed");
    }
}
