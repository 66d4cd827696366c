//! The meaning of an answer for a Kinesis record: delivered, failed, sent again, or not known yet.
//!
//! - (A) A stored plain record is delivered: consumers never discard it, whichever shard stored it.
//! - (B) An aggregate is delivered or sent again as a whole: a KCL discards all of it if one record is outside of the range.
//! - (C) Only errors that may pass are retried: throttling and faults; a refusal that may pass, for a short while.
//! - (D) A request that is refused like all others is not searched for a bad record for long.

use std::time::{Duration, Instant};

use super::{collector::Sent, pending::Detach, shard_map::ShardMap};
use crate::{
    delivered::Stored,
    error::DeliveryErrorKind,
    kinesis::{KinesisError, KinesisErrorKind},
};

/// Upper bound of the pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Time from the first refusal that may pass to the end of retries.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time without such a refusal after which the next one counts as the first.
const PATIENCE_RETURNS_AFTER: Duration = Duration::from_secs(30);

/// Number of records in a row, each refused alone with the same words, after which all requests count as refused.
const REFUSED_ALONE: u32 = 4;
/// Maximum bytes of such a record: a longer one may be too long for a proxy.
const SMALL_BYTES: usize = 256 * 1024;

/// Place of a stored Kinesis record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Consumers take it.
    Right,
    /// A KCL discards it.
    Wrong,
    /// The shard's range is not known.
    Unknown,
}

/// Judges the place. `trusted`: the map was known to be right when the record was sent.
pub(crate) fn place<T: Detach>(sent: &Sent<T>, stored: &Stored, map: &ShardMap, trusted: bool) -> Place {
    if !is_judged(sent) || trusted && sent.predicted.as_ref() == Some(&stored.shard_id) {
        return Place::Right;
    }
    match map.ranges.get(&stored.shard_id) {
        None => Place::Unknown,
        Some(range) if sent.record.hash_keys().are_in(range) => Place::Right,
        Some(_) => Place::Wrong,
    }
}

/// Returns whether the shard matters: not for a plain record, nor for one hash key sent without known shards.
pub(crate) fn is_judged<T: Detach>(sent: &Sent<T>) -> bool {
    sent.record.is_aggregate() && (sent.predicted.is_some() || sent.record.hash_keys().are_mixed())
}

/// The attempt's error of a record stored in a wrong shard.
pub(crate) fn wrong_shard(stored: &Stored) -> KinesisError {
    let message = format!("stored in {}, which does not own all records of the aggregate", stored.shard_id);
    KinesisError::new(KinesisErrorKind::Transient, "WrongShard", message)
}

/// Failures since the last success.
#[derive(Debug, Default)]
pub(crate) struct Retrier {
    /// Times of the first and the last refusal that may pass.
    doubtful: Option<(Instant, Instant)>,
    /// Error of records refused alone, and their number.
    pub(crate) refused: Option<(KinesisError, u32)>,
}

impl Retrier {
    pub(crate) fn stored(&mut self) {
        *self = Self::default();
    }

    /// Reason to give records up after `error`; `None`: they are sent again.
    pub(crate) fn given_up(
        &mut self,
        error: &KinesisError,
        fail_if_throttled: bool,
        now: Instant,
    ) -> Option<DeliveryErrorKind> {
        use KinesisErrorKind::{Doubtful, Invalid, Permanent, Throttled, Transient};
        let (code, message) = error.words();
        match error.kind() {
            Throttled if fail_if_throttled => Some(DeliveryErrorKind::Throttled { code, message }),
            Throttled | Transient => None,
            Doubtful if self.is_patient(now) => None,
            Doubtful | Invalid | Permanent => Some(DeliveryErrorKind::Rejected { code, message }),
        }
    }

    fn is_patient(&mut self, now: Instant) -> bool {
        let recent = self.doubtful.filter(|(_, last)| now.saturating_duration_since(*last) < PATIENCE_RETURNS_AFTER);
        let first = recent.map_or(now, |(first, _)| first);
        self.doubtful = Some((first, now));
        now < first + PATIENCE
    }

    /// Time left for refusals that may pass, if any.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        let (first, _) = self.doubtful?;
        Some((first + PATIENCE).saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    pub(crate) fn refused_alone(&mut self, error: &KinesisError, bytes: usize) {
        if bytes <= SMALL_BYTES {
            let before = self.refused.take().filter(|(last, _)| last == error);
            self.refused = Some((error.clone(), before.map_or(0, |(_, count)| count) + 1));
        }
    }

    /// Returns whether every request is refused with `error`.
    pub(crate) fn refuses_all(&self, error: &KinesisError) -> bool {
        self.refused.as_ref().is_some_and(|(last, count)| last == error && *count >= REFUSED_ALONE)
    }
}

/// Pause after failures in a row: `luck`, from 0 to 1, of a growing bound ("full jitter").
/// Source: <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>
pub(crate) fn pause(failures: u32, luck: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE).mul_f64(luck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    fn error(kind: KinesisErrorKind) -> KinesisError {
        KinesisError::new(kind, "c", "m")
    }

    fn rejected() -> DeliveryErrorKind {
        DeliveryErrorKind::Rejected { code: "c".into(), message: "m".into() }
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        for (failures, bound_ms) in [(1, 50), (2, 100), (5, 800), (8, 5000), (u32::MAX, 5000)] {
            assert_eq!(pause(failures, 1.0), Duration::from_millis(bound_ms), "{failures} failures");
            assert_eq!(pause(failures, 0.5), Duration::from_millis(bound_ms / 2), "{failures} failures");
        }
    }

    #[test]
    fn throttling_and_faults_are_retried_and_nothing_else_is() {
        use KinesisErrorKind::{Invalid, Permanent, Throttled, Transient};
        let given_up = |kind, fail| Retrier::default().given_up(&error(kind), fail, start());

        assert_eq!([Throttled, Transient].map(|kind| given_up(kind, false)), [None, None]);
        assert_eq!([Invalid, Permanent].map(|kind| given_up(kind, false)), [Some(rejected()), Some(rejected())]);
        assert!(matches!(given_up(Throttled, true), Some(DeliveryErrorKind::Throttled { .. })));
        assert_eq!(given_up(Transient, true), None);
    }

    #[test]
    fn refusals_that_may_pass_are_retried_for_a_while_and_then_not() {
        let (mut retrier, now, doubtful) = (Retrier::default(), start(), error(KinesisErrorKind::Doubtful));
        let mut given_up = |at| retrier.given_up(&doubtful, false, at).is_some();

        assert!(!given_up(now) && !given_up(now + PATIENCE - Duration::from_millis(1)));
        assert!(given_up(now + PATIENCE), "the patience is over");
        assert!(given_up(now + PATIENCE + Duration::from_secs(29)), "for whatever is put");
        assert!(!given_up(now + PATIENCE + Duration::from_secs(60)), "and comes back");
        retrier.stored();
        assert_eq!(retrier.patience(now), None);
    }

    #[test]
    fn several_records_refused_alike_show_that_all_requests_are() {
        let (mut retrier, invalid) = (Retrier::default(), error(KinesisErrorKind::Invalid));
        let other = KinesisError::new(KinesisErrorKind::Invalid, "c", "other");

        (0..REFUSED_ALONE).for_each(|_| retrier.refused_alone(&invalid, SMALL_BYTES + 1));
        assert_eq!(retrier.refused, None, "they may all be too long");
        (1..REFUSED_ALONE).for_each(|_| retrier.refused_alone(&invalid, 10));
        assert!(retrier.refused.is_some() && !retrier.refuses_all(&invalid));
        retrier.refused_alone(&invalid, 10);
        assert!(retrier.refuses_all(&invalid) && !retrier.refuses_all(&other));
        retrier.refused_alone(&other, 10);
        assert!(!retrier.refuses_all(&invalid) && !retrier.refuses_all(&other));
    }
}
