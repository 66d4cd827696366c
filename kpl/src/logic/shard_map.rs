//! The shard map: ranges of the shards, and the time of the next listing.
//!
//! The old map stays in use while a new one is listed. A map that does not cover every hash key exactly once was read in the
//! middle of a reshard and is refused.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    hash_key::{HashKey, HashKeyRange},
    id::ShardId,
    kinesis::{KinesisError, KinesisErrorKind, Shard},
};

/// Maximum age of a map while records flow.
const REFRESH_AFTER: Duration = Duration::from_secs(60);
/// Pause after a failed listing; it grows by half each time. Source: KPL (aws/kinesis/core/shard_map.cc).
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Upper bound of the pause. Source: as above.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Time for which a confirmed map is right: no stream is deleted and created again in less.
const TRUSTED_FOR: Duration = Duration::from_secs(5);

/// Number of failures in a row after which nothing waits for a listing.
const FAILURES_WAITED_FOR: u32 = 3;

/// The open shards of a stream, and those of the previous map.
#[derive(Default)]
pub(crate) struct ShardMap {
    pub(crate) shards: Vec<Shard>,
    /// Those of the previous map included, for answers by shards closed since.
    pub(crate) ranges: HashMap<ShardId, HashKeyRange>,
    /// Time of the last listing, or of the last record stored while the map was trusted.
    confirmed_at: Option<Instant>,
}

impl ShardMap {
    /// The map was right at `at`.
    pub(crate) fn confirm(&mut self, at: Instant) {
        self.confirmed_at = self.confirmed_at.max(Some(at));
    }

    /// Returns whether the stream is certainly the same.
    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        self.confirmed_at.is_some_and(|at| now.saturating_duration_since(at) < TRUSTED_FOR)
    }

    /// Returns whether one open shard owns all these hash keys.
    pub(crate) fn fits_one(&self, keys: HashKeyRange) -> bool {
        let owner = self.shards.partition_point(|shard| shard.hash_key_range.end < keys.start);
        self.shards.get(owner).is_some_and(|shard| shard.hash_key_range.contains(keys.end))
    }

    /// Takes a listing; says whether the open shards have changed. An error, if they do not cover every hash key exactly
    /// once, leaves the map unchanged.
    pub(crate) fn update(&mut self, mut listed: Vec<Shard>) -> Result<bool, KinesisError> {
        listed.sort_by_key(|shard| shard.hash_key_range.start);
        check_cover(&listed)?;
        if listed == self.shards {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.shards, listed);
        let known = before.into_iter().chain(self.shards.iter().cloned());
        self.ranges = known.map(|shard| (shard.shard_id, shard.hash_key_range)).collect();
        Ok(true)
    }
}

fn check_cover(shards: &[Shard]) -> Result<(), KinesisError> {
    let inconsistent = |message| KinesisError::new(KinesisErrorKind::Transient, "InconsistentShardMap", message);
    let mut next = Some(HashKey::MIN);
    for Shard { shard_id, hash_key_range: HashKeyRange { start, end } } in shards {
        if next != Some(*start) || end < start {
            return Err(inconsistent(format!("{shard_id} begins at {start}, expected {next:?}")));
        }
        next = end.0.checked_add(1).map(HashKey);
    }
    match next {
        None => Ok(()),
        Some(HashKey(key)) => Err(inconsistent(format!("no open shard from {key} on"))),
    }
}

/// Time of the next listing. Listings are counted to order them with evidence, however fast things happen.
#[derive(Default)]
pub(crate) struct Listing {
    running: bool,
    pub(crate) started: u64,
    /// Number of the latest successful one, from 1.
    pub(crate) succeeded: u64,
    succeeded_at: Option<Instant>,
    /// Number in a row.
    pub(crate) failures: u32,
    /// Nothing should wait for a listing.
    pub(crate) hopeless: bool,
    retry_at: Option<Instant>,
    /// There is evidence against the map.
    wanted: bool,
}

impl Listing {
    pub(crate) fn answered(&self) -> u64 {
        self.started - u64::from(self.running)
    }

    /// Requests a listing later than the first `seen`, unless one has started.
    pub(crate) fn want_after(&mut self, seen: u64) {
        let latest = if self.running { self.started } else { self.succeeded };
        self.wanted |= latest <= seen;
    }

    /// Returns whether a listing is due; `describe`: a description is.
    pub(crate) fn is_due(&self, describe: bool, now: Instant) -> bool {
        let old = || self.succeeded_at.is_none_or(|at| now >= at + REFRESH_AFTER);
        !self.running && self.retry_at.is_none_or(|at| at <= now) && (self.wanted || describe || old())
    }

    pub(crate) fn start_if_due(&mut self, describe: bool, now: Instant) -> bool {
        let due = self.is_due(describe, now);
        if due {
            (self.running, self.wanted, self.started) = (true, false, self.started + 1);
        }
        due
    }

    /// Time of the next listing without new evidence: after a failure, or for a description.
    pub(crate) fn due_at(&self, describe_at: Option<Instant>) -> Option<Instant> {
        self.retry_at.or(describe_at).filter(|_| !self.running)
    }

    /// The service answers again: earlier failures are void.
    pub(crate) fn retry_now(&mut self) {
        (self.hopeless, self.retry_at) = (false, None);
    }

    pub(crate) fn has_succeeded(&mut self, now: Instant) {
        (self.running, self.failures, self.hopeless, self.retry_at) = (false, 0, false, None);
        (self.succeeded, self.succeeded_at) = (self.started, Some(now));
    }

    /// Returns the pause. `luck`, from 0 to 1, decides half of it: the producers of a stream do not list all at once.
    pub(crate) fn has_failed(&mut self, kind: KinesisErrorKind, now: Instant, luck: f64) -> Duration {
        (self.running, self.wanted) = (false, true);
        let bound = FIRST_PAUSE.mul_f64(1.5_f64.powi(self.failures.min(20) as i32)).min(MAX_PAUSE);
        let pause = bound.mul_f64((1.0 + luck) / 2.0);
        self.failures += 1;
        let refused = matches!(kind, KinesisErrorKind::Permanent | KinesisErrorKind::Doubtful);
        self.hopeless = refused || self.failures >= FAILURES_WAITED_FOR;
        self.retry_at = Some(now + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shard, start, uniform_shards};

    #[test]
    fn gaps_and_overlaps_are_refused_and_the_old_map_stays() {
        let mut map = ShardMap::default();
        map.update(uniform_shards(2)).unwrap();
        let half = u128::MAX / 2;

        for listed in [
            vec![],
            vec![shard("a", 0, half)],
            vec![shard("a", 0, half), shard("b", half + 2, u128::MAX)],
            vec![shard("a", 0, half), shard("b", half, u128::MAX)],
            vec![shard("parent", 0, u128::MAX), shard("a", 0, half), shard("b", half + 1, u128::MAX)],
        ] {
            let error = map.update(listed.clone()).expect_err("not a cover");
            assert_eq!(error.code(), "InconsistentShardMap", "{listed:?}");
            assert_eq!(map.shards, uniform_shards(2));
        }
    }

    #[test]
    fn only_a_change_is_a_change() {
        let mut map = ShardMap::default();
        let mut shards = uniform_shards(3);

        assert_eq!(map.update(shards.clone()), Ok(true));
        shards.reverse();
        assert_eq!(map.update(shards), Ok(false));
        assert_eq!(map.update(uniform_shards(2)), Ok(true));
    }

    #[test]
    fn shards_of_the_map_before_are_still_known_and_elder_ones_are_forgotten() {
        let mut map = ShardMap::default();
        for id in ["first", "second", "third"] {
            map.update(vec![shard(id, 0, u128::MAX)]).unwrap();
        }

        assert_eq!(map.ranges.get(&"first".into()), None);
        assert_eq!(map.ranges.get(&"second".into()), Some(&HashKeyRange::FULL));
        assert_eq!(map.ranges.get(&"third".into()), Some(&HashKeyRange::FULL));
    }

    #[test]
    fn the_first_listing_is_due_at_once_and_the_next_one_after_a_minute() {
        let (mut listing, now) = (Listing::default(), start());

        assert!(listing.start_if_due(false, now));
        assert!(!listing.start_if_due(false, now));
        listing.has_succeeded(now);
        assert!(!listing.start_if_due(false, now + REFRESH_AFTER - Duration::from_nanos(1)));
        assert!(listing.start_if_due(false, now + REFRESH_AFTER));
    }

    #[test]
    fn evidence_elder_than_the_map_is_ignored() {
        let (mut listing, now) = (Listing::default(), start());
        let before = listing.started;
        listing.start_if_due(false, now);
        let meanwhile = listing.started;
        listing.want_after(before);
        listing.has_succeeded(now);

        listing.want_after(before);
        assert!(!listing.start_if_due(false, now));
        listing.want_after(meanwhile);
        assert!(listing.start_if_due(false, now));
    }

    #[test]
    fn pauses_after_failures_grow_by_half_up_to_thirty_seconds() {
        let (mut listing, now) = (Listing::default(), start());

        let pauses: Vec<_> =
            (0..12).map(|_| listing.has_failed(KinesisErrorKind::Transient, now, 1.0).as_millis()).collect();

        assert_eq!(pauses[..4], [1000, 1500, 2250, 3375]);
        assert_eq!(pauses[11], 30_000);
        assert!(!listing.start_if_due(false, now + Duration::from_secs(29)));
        assert!(listing.start_if_due(false, now + Duration::from_secs(30)));
        listing.has_succeeded(now);
        assert_eq!(listing.has_failed(KinesisErrorKind::Transient, now, 0.0), FIRST_PAUSE / 2);
    }
}
