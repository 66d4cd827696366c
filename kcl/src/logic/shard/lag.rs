//! Lag of a shard's processing behind the end of the shard. Pure.
//!
//! (A) While a processor holds a batch, or more waits behind it, the lag is at least the batch's, and grows. (B) While reads
//! fail or wait for memory, and while a processor is initialized, it grows. (C) Of a shard that is read and processed it is what
//! the last answer says.

use std::time::{Duration, Instant};

use super::stall::Activity;
use crate::model::ShardPhase;

impl Activity {
    /// The lag at `now`; None while it is not known, as before the first answer.
    pub(crate) fn lag(&self, phase: ShardPhase, now: Instant) -> Option<Duration> {
        if matches!(phase, ShardPhase::Ended | ShardPhase::Leaving | ShardPhase::WaitingForParents) {
            return None;
        }
        let grown = |(lag, at): (Duration, Instant)| lag.saturating_add(now.saturating_duration_since(at));
        let is_not_read = self.read_failure.is_some() || self.waits_for_memory;
        let last = match (self.read, is_not_read) {
            (Some(read), true) => Some(grown(read)),
            (Some((lag, _)), false) => Some(lag),
            // At least as long as nothing could be read.
            (None, true) => Some(grown((Duration::ZERO, self.began))),
            (None, false) => None,
        };
        let initializing = self.busy_since.filter(|_| phase == ShardPhase::Initializing);
        let initializing = initializing.map(|since| grown((last.unwrap_or_default(), since)));
        self.in_hand.map(grown).max(last).max(initializing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lag_after(seconds: u32, phase: ShardPhase, change: impl FnOnce(&mut Activity, Instant)) -> Option<Duration> {
        let start = crate::tests::some_time();
        let mut activity = Activity::beginning(start);
        change(&mut activity, start);
        activity.lag(phase, start + SECOND * seconds)
    }

    #[test]
    fn it_is_what_the_last_answer_says() {
        let read = |activity: &mut Activity, start| activity.read = Some((SECOND * 5, start));
        assert_eq!(lag_after(60, ShardPhase::Processing, read), Some(SECOND * 5));
        assert_eq!(lag_after(60, ShardPhase::Processing, |_, _| {}), None);
    }

    #[test]
    fn it_grows_while_a_batch_is_in_hand_or_reads_fail() {
        let in_hand = |activity: &mut Activity, start: Instant| {
            activity.read = Some((Duration::ZERO, start));
            activity.in_hand = Some((SECOND * 5, start));
        };
        assert_eq!(lag_after(60, ShardPhase::BackingOff, in_hand), Some(SECOND * 65));
        let failing = |activity: &mut Activity, start| {
            activity.read = Some((SECOND, start));
            activity.read_failure = Some((String::new(), true));
        };
        assert_eq!(lag_after(60, ShardPhase::Processing, failing), Some(SECOND * 61));
        let never = |activity: &mut Activity, _| activity.read_failure = Some((String::new(), false));
        assert_eq!(lag_after(60, ShardPhase::Processing, never), Some(SECOND * 60));
    }

    #[test]
    fn it_grows_while_reads_wait_for_memory() {
        let waits = |activity: &mut Activity, start| {
            (activity.read, activity.waits_for_memory) = (Some((SECOND * 5, start)), true);
        };
        assert_eq!(lag_after(60, ShardPhase::Processing, waits), Some(SECOND * 65));
        let never = |activity: &mut Activity, _| activity.waits_for_memory = true;
        assert_eq!(lag_after(60, ShardPhase::Processing, never), Some(SECOND * 60));
    }

    #[test]
    fn it_grows_while_a_processor_is_initialized_though_reads_go_on() {
        let hangs = |activity: &mut Activity, start: Instant| {
            activity.busy_since = Some(start);
            activity.read = Some((SECOND * 5, start + SECOND * 59));
        };
        assert_eq!(lag_after(60, ShardPhase::Initializing, hangs), Some(SECOND * 65));
        assert_eq!(lag_after(60, ShardPhase::Processing, hangs), Some(SECOND * 5));
        let busy = |activity: &mut Activity, start| activity.busy_since = Some(start);
        assert_eq!(lag_after(60, ShardPhase::Initializing, busy), Some(SECOND * 60));
    }

    #[test]
    fn a_shard_that_waits_or_is_done_has_none() {
        for phase in [ShardPhase::WaitingForParents, ShardPhase::Ended, ShardPhase::Leaving] {
            let in_hand = |activity: &mut Activity, start| activity.in_hand = Some((SECOND, start));
            assert_eq!(lag_after(1, phase, in_hand), None);
        }
    }
}
