//! Decides what an answer means for a Kinesis record: delivered, failed for good, to be sent again, or not known yet.
//!
//! - (A) A plain record that is stored is delivered: consumers never discard it, whichever shard took it.
//! - (B) An aggregate is delivered as a whole or sent again as a whole: a KCL discards all of an aggregate if one record
//!   is outside of the shard's range.
//! - (C) Only what may change is retried. Throttling and faults are; a missing stream or missing rights are not.

use std::time::Duration;

use super::{collector::Sent, pending::Detach, shard_map::ShardMap};
use crate::{
    DeliveryErrorKind,
    kinesis::{KinesisError, KinesisErrorKind, Stored},
};

/// Upper bound of the pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Where the pause ends to grow.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What became of a Kinesis record that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Consumers will take it.
    Right,
    /// A KCL will discard it.
    Wrong,
    /// The shard's range is not known.
    Unknown,
}

/// Judges where a Kinesis record was stored.
pub(crate) fn place<T: Detach>(sent: &Sent<T>, stored: &Stored, map: &ShardMap) -> Place {
    if !sent.record.is_aggregate() || sent.predicted.as_ref() == Some(&stored.shard_id) {
        return Place::Right;
    }
    match map.range_of(&stored.shard_id) {
        None => Place::Unknown,
        Some(range) if sent.record.hash_keys().are_in(range) => Place::Right,
        Some(_) => Place::Wrong,
    }
}

/// The error that an attempt is remembered by whose record was stored in a wrong shard.
pub(crate) fn wrong_shard(stored: &Stored) -> KinesisError {
    let message = format!("stored in {}, which does not own all records of the aggregate", stored.shard_id);
    KinesisError::new(KinesisErrorKind::Transient, "WrongShard", message)
}

/// Why a record is given up after `error`; `None` if it is to be sent again.
pub(crate) fn given_up(error: &KinesisError, fail_if_throttled: bool) -> Option<DeliveryErrorKind> {
    let (code, message) = (error.code().clone(), error.message().clone());
    match error.kind() {
        KinesisErrorKind::Throttled if fail_if_throttled => Some(DeliveryErrorKind::Throttled { code, message }),
        KinesisErrorKind::Throttled | KinesisErrorKind::Transient => None,
        KinesisErrorKind::Invalid | KinesisErrorKind::Permanent => Some(DeliveryErrorKind::Rejected { code, message }),
    }
}

/// Pause after a number of failures in a row: anything up to a bound that grows ("full jitter").
/// Source: <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>
pub(crate) fn pause(failures: u32, rng: &mut fastrand::Rng) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let bound = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
    Duration::from_nanos(rng.u64(0..=bound.as_nanos() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_pause(failures: u32) -> Duration {
        let mut rng = fastrand::Rng::with_seed(1);
        (0..1000).map(|_| pause(failures, &mut rng)).max().expect("pauses")
    }

    #[test]
    fn pauses_grow_to_a_bound_and_spread_over_all_of_it() {
        for (failures, bound_ms) in [(1, 50), (2, 100), (5, 800), (8, 5000), (u32::MAX, 5000)] {
            let (longest, bound) = (longest_pause(failures), Duration::from_millis(bound_ms));
            assert!(longest <= bound && longest > bound * 9 / 10, "{failures} failures: {longest:?}");
        }
    }

    #[test]
    fn throttling_and_faults_are_retried_and_nothing_else_is() {
        use KinesisErrorKind::{Invalid, Permanent, Throttled, Transient};
        let given_up = |kind, fail_if_throttled| given_up(&KinesisError::new(kind, "c", "m"), fail_if_throttled);
        let (code, message) = ("c".into(), "m".into());
        let rejected = DeliveryErrorKind::Rejected { code, message };

        assert_eq!([Throttled, Transient].map(|kind| given_up(kind, false)), [None, None]);
        assert_eq!([Invalid, Permanent].map(|kind| given_up(kind, false)), [Some(rejected.clone()), Some(rejected)]);
        assert!(matches!(given_up(Throttled, true), Some(DeliveryErrorKind::Throttled { .. })));
        assert_eq!(given_up(Transient, true), None);
    }
}
