//! A round of renewals: all those of a worker's leases in a third of a lease duration. Pure.
//!
//! (A) A round in which a renewal failed is a failure. (B) So is one in which none ended while one was under way from its
//! beginning to its end. (C) One without any renewal is neither.

use std::time::Duration;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    ended: u32,
    failed: bool,
    slowest: Duration,
    /// Renewals under way, and how many were at the round's beginning.
    under_way: u32,
    carried: u32,
}

impl Round {
    pub(super) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// A renewal ended: whether it succeeded and how long it took; `None` if its lease was dropped meanwhile.
    pub(super) fn add(&mut self, outcome: Option<(bool, Duration)>) {
        self.under_way = self.under_way.saturating_sub(1);
        self.carried = self.carried.min(self.under_way);
        if let Some((success, took)) = outcome {
            self.ended += 1;
            self.failed |= !success;
            self.slowest = self.slowest.max(took);
        }
    }

    /// Ends the round, which lasted so long: whether all succeeded, and how long the slowest took.
    pub(super) fn end(&mut self, lasted: Duration) -> Option<(bool, Duration)> {
        let Self { ended, failed, slowest, under_way, carried } = *self;
        *self = Self { under_way, carried: under_way, ..Self::default() };
        match (ended, carried) {
            (0, 0) => None,
            (0, _) => Some((false, lasted)),
            _ => Some((!failed, slowest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn renewed(round: &mut Round, success: bool, seconds: u32) {
        round.begin();
        round.add(Some((success, SECOND * seconds)));
    }

    #[test]
    fn a_round_succeeds_if_all_do_and_takes_as_long_as_the_slowest() {
        let mut round = Round::default();
        renewed(&mut round, true, 3);
        renewed(&mut round, false, 9);
        renewed(&mut round, true, 5);
        assert_eq!(round.end(SECOND), Some((false, SECOND * 9)));
        renewed(&mut round, true, 2);
        assert_eq!(round.end(SECOND), Some((true, SECOND * 2)));
    }

    #[test]
    fn a_round_without_renewals_is_no_success() {
        let mut round = Round::default();
        assert_eq!(round.end(SECOND), None);
        round.begin();
        round.add(None);
        assert_eq!(round.end(SECOND), None, "its lease was dropped");
    }

    #[test]
    fn a_renewal_that_hangs_for_a_round_is_a_failure() {
        let mut round = Round::default();
        round.begin();
        assert_eq!(round.end(SECOND), None, "it began in this round");
        assert_eq!(round.end(SECOND), Some((false, SECOND)));
        renewed(&mut round, true, 1);
        assert_eq!(round.end(SECOND), Some((true, SECOND)), "another lease's was answered");
        round.add(Some((true, SECOND * 3)));
        assert_eq!(round.end(SECOND), Some((true, SECOND * 3)));
        assert_eq!(round.end(SECOND), None);
    }
}
