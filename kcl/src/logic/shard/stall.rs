//! Reasons why a shard makes no progress. Pure.
//!
//! (A) A shard that is read and whose processor returns makes progress, records or not. (B) Of several reasons the one
//! that the others follow from is reported: a processor that does not return lets the buffer fill, and the reading stops.

use std::time::{Duration, Instant};

use kpl::ShardId;

use crate::model::{ShardPhase, Stall};

#[derive(Debug, Clone)]
pub(crate) struct Activity {
    /// Time when it last entered a phase, had a read answered, or a call into the processor returned.
    pub(crate) moved: Instant,
    /// Start of the processor's present call.
    pub(crate) busy_since: Option<Instant>,
    /// Error of the last read, and whether it was throttled; None after one that was answered.
    pub(crate) read_failure: Option<(String, bool)>,
    /// The reader waits for memory, which other shards hold.
    pub(crate) waits_for_memory: bool,
    /// The parents that are not processed yet.
    pub(crate) parents: Vec<ShardId>,
    pub(crate) failing_since: Option<Instant>,
    /// Lag of the last batch at its delivery, and the time of that; None once all that was read is processed.
    pub(crate) in_hand: Option<(Duration, Instant)>,
    /// Lag of the last answer to a read, and the time of that; None before the first.
    pub(crate) read: Option<(Duration, Instant)>,
    /// Time since when it is in work.
    pub(crate) began: Instant,
}

impl Activity {
    pub(crate) fn beginning(now: Instant) -> Self {
        Self {
            moved: now,
            busy_since: None,
            read_failure: None,
            waits_for_memory: false,
            parents: Vec::new(),
            failing_since: None,
            in_hand: None,
            read: None,
            began: now,
        }
    }

    /// True if the processor has nothing to do: no call is under way, and the last did not fail.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.busy_since.is_none() && self.in_hand.is_none() && self.failing_since.is_none()
    }

    /// Last progress: before the first of the failures in a row, or the processor's present call, if there are any.
    pub(crate) fn stands_since(&self) -> Instant {
        self.failing_since.or(self.busy_since).unwrap_or(self.moved)
    }

    /// Reason why the shard has made no progress for at least `patience`; None if it has.
    pub(crate) fn stall(&self, phase: ShardPhase, failures: u32, now: Instant, patience: Duration) -> Option<Stall> {
        let for_long = |since: Instant| (now.saturating_duration_since(since) >= patience).then_some(());
        match phase {
            ShardPhase::Ended | ShardPhase::Leaving => None,
            ShardPhase::Stopped => Some(Stall::Stopped),
            ShardPhase::WaitingForParents => {
                for_long(self.moved).map(|()| Stall::WaitingForParents { parents: self.parents.clone() })
            }
            _ if self.failing_since.is_some_and(|since| for_long(since).is_some()) => {
                Some(Stall::ProcessorFailing { failures })
            }
            _ => match self.busy_since {
                Some(since) => for_long(since).map(|()| Stall::ProcessorBusy),
                None if phase == ShardPhase::Ending => for_long(self.moved).map(|()| Stall::EndNotStored),
                None => for_long(self.moved).map(|()| match &self.read_failure {
                    Some((_, true)) => Stall::Throttled,
                    Some((error, false)) => Stall::ReadFailing { error: error.clone() },
                    None if self.waits_for_memory => Stall::WaitingForMemory,
                    None => Stall::ReadUnanswered,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The stall of a shard that began at `start`, `seconds` later.
    fn after(seconds: u64, phase: ShardPhase, change: impl FnOnce(&mut Activity, Instant)) -> Option<Stall> {
        let start = crate::tests::some_time();
        let mut activity = Activity::beginning(start);
        change(&mut activity, start);
        activity.stall(phase, 3, start + Duration::from_secs(seconds), PATIENCE)
    }

    #[test]
    fn a_shard_that_moved_within_the_patience_is_not_stalled() {
        let phases = [ShardPhase::WaitingForParents, ShardPhase::Initializing, ShardPhase::Processing];
        for phase in phases {
            assert_eq!(after(59, phase, |_, _| {}), None);
        }
    }

    #[test]
    fn says_what_a_shard_waits_for() {
        let parents: Vec<ShardId> = vec!["shardId-1".into()];
        let waits = after(60, ShardPhase::WaitingForParents, |activity, _| activity.parents = parents.clone());
        assert_eq!(waits, Some(Stall::WaitingForParents { parents }));
        let throttled =
            after(60, ShardPhase::Processing, |activity, _| activity.read_failure = Some((String::new(), true)));
        assert_eq!(throttled, Some(Stall::Throttled));
        let failing =
            after(60, ShardPhase::Processing, |activity, _| activity.read_failure = Some(("no".to_owned(), false)));
        assert_eq!(failing, Some(Stall::ReadFailing { error: "no".to_owned() }));
        assert_eq!(after(60, ShardPhase::Processing, |_, _| {}), Some(Stall::ReadUnanswered));
        let starved = after(60, ShardPhase::Processing, |activity, _| activity.waits_for_memory = true);
        assert_eq!(starved, Some(Stall::WaitingForMemory));
        assert_eq!(after(60, ShardPhase::Ending, |_, _| {}), Some(Stall::EndNotStored));
        assert_eq!(after(0, ShardPhase::Stopped, |_, _| {}), Some(Stall::Stopped));
        assert_eq!(after(999, ShardPhase::Ended, |_, _| {}), None);
    }

    #[test]
    fn explains_a_stall_by_a_busy_processor_and_both_by_failures() {
        let busy = after(60, ShardPhase::Processing, |activity, start| {
            activity.busy_since = Some(start);
            activity.read_failure = Some((String::new(), true));
        });
        assert_eq!(busy, Some(Stall::ProcessorBusy));
        let failing = after(60, ShardPhase::BackingOff, |activity, start| {
            activity.failing_since = Some(start);
            activity.moved = start + Duration::from_secs(59);
        });
        assert_eq!(failing, Some(Stall::ProcessorFailing { failures: 3 }));
    }
}
