//! The number of stripes of a lane: doubles while records come fast enough, and falls when aggregates are not filled.
//!
//! - (A) A lane widens only if each of twice as many stripes would fill an aggregate in half of the time that records may wait.
//! - (B) A lane narrows if more than one of 16 aggregates is sent for its deadline or a flush before it is full.
//! - (C) A lane that narrows soon after it widened waits twice as long until it widens again: a few hot partition keys, which no
//!   further stripe helps, cost little.

use std::time::{Duration, Instant};

/// Full aggregates that make up for one that is not.
const FULL_PER_PARTIAL: usize = 16;
/// Time until a narrowed lane may widen, and its maximum; it doubles with each vain attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// Pauses that a lane stays wide if that was not in vain.
const LASTING: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Width {
    /// Full aggregates that no partial one has used up.
    credit: usize,
    /// Credit is used up; the fill of the last partial aggregate in percent.
    overdrawn: Option<usize>,
    widened_at: Option<Instant>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl Width {
    /// Counts an aggregate that was completed because it is full.
    pub(super) fn filled(&mut self) {
        self.credit = (self.credit + 1).min(2 * FULL_PER_PARTIAL);
    }

    /// Counts an aggregate that was completed for its deadline or a flush, at this share of its limit.
    pub(super) fn completed_at(&mut self, percent: usize) {
        match self.credit.checked_sub(FULL_PER_PARTIAL) {
            Some(credit) => self.credit = credit,
            None => self.overdrawn = Some(self.overdrawn.map_or(percent, |other| other.max(percent))),
        }
    }

    /// Returns whether a lane whose stripes each fill an aggregate within `filled_in` may have twice as many.
    pub(super) fn may_double(&self, filled_in: Duration, buffered: Duration, now: Instant) -> bool {
        filled_in * 4 <= buffered && self.not_before.is_none_or(|at| at <= now)
    }

    pub(super) fn has_widened(&mut self, now: Instant) {
        self.widened_at = Some(now);
        (self.credit, self.overdrawn) = (FULL_PER_PARTIAL, None);
    }

    /// The number of stripes to which a lane of `stripes` has to narrow.
    pub(super) fn narrower(&mut self, stripes: usize, now: Instant) -> Option<usize> {
        let percent = self.overdrawn.take().filter(|_| stripes > 1)?;
        if let Some(at) = self.widened_at.take() {
            let lasted = now.saturating_duration_since(at) >= self.pause * LASTING;
            self.pause = if lasted { FIRST_PAUSE } else { (2 * self.pause).clamp(FIRST_PAUSE, MAX_PAUSE) };
        }
        self.not_before = Some(now + self.pause);
        self.credit = FULL_PER_PARTIAL;
        let filled = (stripes * percent / 100).clamp(1, stripes / 2);
        Some(1 << filled.ilog2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    const MS: Duration = Duration::from_millis(1);

    fn widened(now: Instant) -> Width {
        let mut width = Width::default();
        width.has_widened(now);
        width
    }

    #[test]
    fn stays_wide_while_one_of_sixteen_aggregates_is_partial() {
        let mut width = widened(start());

        for _ in 0..100 {
            (0..16).for_each(|_| width.filled());
            width.completed_at(10);
            assert_eq!(width.narrower(8, start()), None);
        }
        width.completed_at(10);
        width.completed_at(10);
        assert_eq!(width.narrower(8, start()), Some(1));
    }

    #[test]
    fn narrows_to_what_is_filled_and_to_half_at_least() {
        for (percent, stripes) in [(0, 1), (12, 1), (25, 2), (49, 2), (50, 4), (74, 4)] {
            let mut width = widened(start());
            (0..2).for_each(|_| width.completed_at(percent));
            assert_eq!(width.narrower(8, start()), Some(stripes), "{percent} %");
        }
    }

    #[test]
    fn waits_longer_after_each_vain_attempt_and_not_after_others() {
        let (mut width, mut now) = (widened(start()), start());
        let mut pauses = Vec::new();
        for lasts in [MS, MS, MS, 60_000 * MS, MS] {
            width.has_widened(now);
            now += lasts;
            (0..2).for_each(|_| width.completed_at(0));
            width.narrower(2, now);
            let allowed = |after: u32| width.may_double(MS, 100 * MS, now + MS * after);
            pauses.push((0_u32..).step_by(1000).find(|after| allowed(*after)).expect("at some time"));
        }
        assert_eq!(pauses, [1000, 2000, 4000, 1000, 2000]);
    }

    #[test]
    fn widens_only_if_aggregates_fill_in_half_of_the_time() {
        let width = Width::default();
        assert!(width.may_double(25 * MS, 100 * MS, start()));
        assert!(!width.may_double(26 * MS, 100 * MS, start()));
    }
}
