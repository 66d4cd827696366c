//! The audit of a stream's leases: when its shards must be listed, and what the leases lack. Pure.
//!
//! (A) A stream without leases is listed at once, any other once in a leader's term; again, after a pause, if that failed.
//! (B) A hole that leases leave in the hash key space must be seen the same some cycles in a row: for a moment one is
//!     normal, while a shard ends.
//! (C) Leases that lack something are a reason, but not an urgent one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use kpl::{HashKeyRange, ShardId};

use super::shard_sync::{find_hole, shows_reading};
use crate::model::{Addition, Lease, LeaseKey, Shard};

/// Cycles in a row that must see the same hole in the hash key space before shards are listed.
/// Source: KCL `leasesRecoveryAuditorInconsistencyConfidenceThreshold`.
const HOLE_CONFIDENCE: u32 = 3;
/// Minimum time between two listings of a stream with leases.
const REST: Duration = Duration::from_secs(30);
/// Pause between two listings for the sake of what is not known of ended shards.
/// Source: KCL `garbageLeaseCleanupIntervalMillis`.
const LONG_REST: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Default)]
pub(crate) struct Audit {
    hole: Option<(HashKeyRange, u32)>,
    listed: Option<Instant>,
    failed: bool,
}

impl Audit {
    /// Looks at the leases of the stream. True: list its shards now.
    pub(crate) fn is_due(&mut self, leases: &[&Lease], now: Instant) -> bool {
        let Some(listed) = self.listed.filter(|_| !leases.is_empty()) else { return true };
        let hole = find_hole(leases.iter().filter(|lease| !lease.is_ended()).filter_map(|lease| lease.hash_key_range));
        self.hole = match (hole, self.hole.take()) {
            (Some(hole), Some((known, seen))) if hole == known => Some((hole, seen + 1)),
            (Some(hole), _) => Some((hole, 1)),
            (None, _) => None,
        };
        let rested = now - listed;
        let sure = self.confirmed_hole().is_some();
        (sure || self.failed) && rested >= REST || rested >= LONG_REST && leases.iter().any(|lease| is_childless(lease))
    }

    pub(crate) fn begun(&mut self, now: Instant) {
        self.listed = Some(now);
    }

    pub(crate) fn ended(&mut self, succeeded: bool, now: Instant) {
        (self.listed, self.failed) = (Some(now), !succeeded);
    }

    /// A hole that has been seen often enough to be one.
    pub(crate) fn confirmed_hole(&self) -> Option<HashKeyRange> {
        self.hole.filter(|(_, seen)| *seen >= HOLE_CONFIDENCE).map(|(hole, _)| hole)
    }

    pub(crate) fn has_hole(&self) -> bool {
        self.hole.is_some()
    }
}

fn is_childless(lease: &Lease) -> bool {
    lease.is_ended() && lease.children.is_empty()
}

/// A lack of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The part of the hash key space, which leases of old versions lack; or the children of an ended shard.
    Add(Addition),
    /// The stream has forgotten the ended shard and whatever followed it: the lease is of no use.
    Garbage,
}

/// Compares the leases of a stream with all its shards as listed.
pub(crate) fn complete(leases: &[&Lease], shards: &[Shard]) -> Vec<(LeaseKey, Completion)> {
    if shards.is_empty() {
        return Vec::new(); // no stream is without shards
    }
    let is_read = leases.iter().any(|lease| shows_reading(lease));
    let by_id: HashMap<&ShardId, &Shard> = shards.iter().map(|shard| (&shard.id, shard)).collect();
    let children_of = children(shards);
    let completion = |lease: &&Lease| {
        let listed = by_id.get(&lease.shard_id);
        let completion = if is_childless(lease) {
            let children = children_of.get(&lease.shard_id).cloned().unwrap_or_default();
            match (children.is_empty(), listed) {
                (false, _) => Completion::Add(Addition::Children(children)),
                (true, None) if is_read => Completion::Garbage,
                (true, _) => return None,
            }
        } else {
            let range = listed.filter(|_| lease.hash_key_range.is_none())?.hash_key_range;
            Completion::Add(Addition::HashKeyRange(range))
        };
        Some((lease.key.clone(), completion))
    };
    leases.iter().filter_map(completion).collect()
}

/// Children of each shard that has some, in the order of the listing.
fn children(shards: &[Shard]) -> HashMap<&ShardId, Vec<ShardId>> {
    let mut children: HashMap<&ShardId, Vec<ShardId>> = HashMap::new();
    for (parent, shard) in shards.iter().flat_map(|shard| shard.parents.iter().map(move |parent| (parent, shard))) {
        children.entry(parent).or_default().push(shard.id.clone());
    }
    children
}

#[cfg(test)]
mod tests {
    use kpl::HashKey;

    use super::*;
    use crate::model::Checkpoint;

    fn lease(shard: &str, range: Option<(u128, u128)>) -> Lease {
        let hash_key_range = range.map(|(start, end)| HashKeyRange { start: HashKey(start), end: HashKey(end) });
        Lease { hash_key_range, ..Lease::unowned(shard.into(), Checkpoint::Latest) }
    }

    fn ended(shard: &str, children: &[&str]) -> Lease {
        let children = children.iter().map(|&child| child.into()).collect();
        Lease { checkpoint: Checkpoint::ShardEnd, children, ..lease(shard, None) }
    }

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard {
            id: id.into(),
            parents: parents.iter().map(|&parent| parent.into()).collect(),
            hash_key_range: HashKeyRange::FULL,
            starting_sequence_number: "1".parse().unwrap(),
            ending_sequence_number: None,
        }
    }

    /// An audit whose first listing is `ago`.
    fn audited(ago: Duration) -> (Audit, Instant) {
        let start = crate::tests::some_time();
        let mut audit = Audit::default();
        audit.begun(start);
        (audit, start + ago)
    }

    #[test]
    fn a_stream_is_listed_first_of_all_and_whenever_it_has_no_leases() {
        let whole = lease("a", Some((0, u128::MAX)));
        assert!(Audit::default().is_due(&[&whole], crate::tests::some_time()));
        let (mut audit, now) = audited(Duration::ZERO);
        assert!(audit.is_due(&[], now));
        assert!(!audit.is_due(&[&whole], now));
    }

    #[test]
    fn a_listing_that_failed_is_repeated_after_a_pause() {
        let whole = lease("a", Some((0, u128::MAX)));
        let (mut audit, now) = audited(Duration::ZERO);
        audit.ended(false, now);
        assert!(!audit.is_due(&[&whole], now + REST - Duration::from_secs(1)));
        assert!(audit.is_due(&[&whole], now + REST));

        audit.begun(now + REST);
        audit.ended(true, now + REST);
        assert!(!audit.is_due(&[&whole], now + LONG_REST));
    }

    #[test]
    fn a_hole_must_be_seen_three_times_in_a_row() {
        let (mut audit, now) = audited(REST);
        let (left, right) = (lease("a", Some((0, 9))), lease("b", Some((11, u128::MAX))));
        let due: Vec<bool> = (0..3).map(|_| audit.is_due(&[&left, &right], now)).collect();
        assert_eq!(due, [false, false, true]);
        assert_eq!(audit.confirmed_hole(), Some(HashKeyRange { start: HashKey(10), end: HashKey(10) }));
        assert!(audit.has_hole());
    }

    #[test]
    fn a_shifting_or_closing_hole_begins_anew() {
        let (mut audit, now) = audited(REST);
        let (left, right) = (lease("a", Some((0, 9))), lease("b", Some((11, u128::MAX))));
        let whole = lease("c", Some((0, u128::MAX)));
        for leases in [vec![&left], vec![&left], vec![&right], vec![&right], vec![&whole], vec![&left], vec![&left]] {
            assert!(!audit.is_due(&leases, now), "{leases:?}");
        }
    }

    #[test]
    fn a_hole_that_stays_is_not_a_reason_to_list_again_and_again() {
        let (mut audit, now) = audited(REST);
        let left = lease("a", Some((0, 9)));
        let due = (0..5).filter(|_| {
            let due = audit.is_due(&[&left], now);
            if due {
                audit.begun(now);
            }
            due
        });
        assert_eq!(due.count(), 1);
    }

    #[test]
    fn overlaps_and_ended_leases_are_no_holes() {
        let (mut audit, now) = audited(REST);
        let leases = [lease("b", Some((5, u128::MAX))), lease("a", Some((0, 9))), ended("c", &["a"])];
        assert!(!(0..9).any(|_| audit.is_due(&leases.each_ref(), now)));
    }

    #[test]
    fn an_ended_lease_without_children_is_a_reason_after_half_an_hour() {
        let (whole, ended) = (lease("b", Some((0, u128::MAX))), ended("a", &[]));
        let (mut audit, now) = audited(LONG_REST - Duration::from_secs(1));
        assert!(!audit.is_due(&[&whole, &ended], now));
        assert!(audit.is_due(&[&whole, &ended], now + Duration::from_secs(1)));
    }

    #[test]
    fn ranges_are_filled_in_where_the_shard_is_listed() {
        let (known, old, trimmed) = (lease("a", Some((0, 9))), lease("b", None), lease("c", None));
        let completed = complete(&[&known, &old, &trimmed], &[shard("a", &[]), shard("b", &[])]);
        assert_eq!(completed, [(old.key.clone(), Completion::Add(Addition::HashKeyRange(HashKeyRange::FULL)))]);
    }

    #[test]
    fn fills_in_children_of_ended_leases_and_drops_forgotten_shards() {
        let (parent, forgotten, young) = (ended("a", &[]), ended("b", &[]), ended("c", &[]));
        let done = ended("d", &["x"]);
        let read = Lease { counter: 1, ..lease("e", Some((0, 9))) };
        let shards = [shard("a1", &["a"]), shard("a2", &["a"]), shard("c", &[])];
        let completed = complete(&[&parent, &forgotten, &young, &done, &read], &shards);
        let children = Completion::Add(Addition::Children(vec!["a1".into(), "a2".into()]));
        assert_eq!(completed, [(parent.key, children), (forgotten.key.clone(), Completion::Garbage)]);
        assert_eq!(complete(&[&forgotten], &shards), [], "nothing else shows that the stream has been read");
        assert_eq!(complete(&[&ended("b", &[])], &[]), [], "an empty listing proves nothing");
    }
}
