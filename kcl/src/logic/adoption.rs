//! The takeover of an application of KCL 1.x or 2.x: whether somebody lives there, and what its leases must be. Pure.
//!
//! These versions have neither a register of workers nor a lock: a change of a lease is their only sign of life.
//! (A) Nothing is claimed before all leases have stood still for the whole wait; each change begins it anew.
//! (B) A claim takes the owner away and raises the counter, so that a worker that only paused can no longer write. A lease
//!     that nobody ever took stays as it is: the stream's first plan may be incomplete.
//! (C) The lowest key is claimed first, and alone: of several workers that begin together only one claims the rest.
//! (D) Whatever changes a lease otherwise than planned stops the takeover, and the wait begins anew.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::lineage::shard_sync::is_untouched;
use crate::model::{Addition, Lease, LeaseKey, OldLease, Shard, WorkerId};

/// Time for which workers wait for the end of an old fleet that goes on. After it they end at its next sign of life.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Minimum and maximum pause between two looks.
const POLL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// Looks in a wait, within those bounds.
const LOOKS: u32 = 20;

pub(crate) type Leases = BTreeMap<LeaseKey, OldLease>;

/// Waits for the end of an old fleet.
#[derive(Debug)]
pub(crate) struct Watch {
    wait: Duration,
    begun: Instant,
    still_since: Instant,
    leases: Leases,
}

impl Watch {
    /// Begins to wait: what happened before the first look is not known.
    pub(crate) fn begin(leases: Leases, wait: Duration, now: Instant) -> Self {
        Self { wait, begun: now, still_since: now, leases }
    }

    /// Compares the leases with those of the look before. Returns a sign of life, which begins the wait anew.
    pub(crate) fn look(&mut self, leases: Leases, now: Instant) -> Option<String> {
        let sign = first_change(&self.leases, &leases);
        self.leases = leases;
        if sign.is_some() {
            self.still_since = now;
        }
        sign
    }

    /// Time to wait if nothing moves any more.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        self.wait.saturating_sub(now - self.still_since)
    }

    /// True if the old fleet, which has just moved, has outlived all patience.
    pub(crate) fn is_hopeless(&self, now: Instant) -> bool {
        now - self.begun >= PATIENCE.max(self.wait * 2)
    }

    pub(crate) fn poll(&self) -> Duration {
        (self.wait / LOOKS).clamp(POLL.0, POLL.1)
    }

    /// The leases as they stand still.
    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }
}

/// The first difference between two looks, as a sentence.
pub(crate) fn first_change(before: &Leases, after: &Leases) -> Option<String> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| before.get(*key) != after.get(*key)).min().map(|key| change(key, before.get(key), after.get(key)))
}

/// Sentence that says how a lease changed.
pub(crate) fn change(key: &LeaseKey, before: Option<&OldLease>, after: Option<&OldLease>) -> String {
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, _) => return format!("lease {key} was created"),
        (_, None) => return format!("lease {key} was deleted"),
    };
    let (old, new) = (&before.lease, &after.lease);
    match (&after.claimed_by, &new.owner) {
        (Some(claimant), None) if before.claimed_by != after.claimed_by => {
            format!("worker {claimant} claimed lease {key}")
        }
        (_, Some(owner)) if old.owner.as_ref() != Some(owner) => format!("worker {owner} took lease {key}"),
        (_, Some(owner)) if old.counter != new.counter => format!("worker {owner} wrote lease {key}"),
        _ => format!("lease {key} was written"),
    }
}

/// The leases to claim, in this order.
pub(crate) fn to_claim(leases: &Leases) -> Vec<&OldLease> {
    leases.values().filter(|old| !is_untouched(&old.lease)).collect()
}

/// A lease after the claim of it by this worker.
pub(crate) fn claimed(old: &OldLease, by: &WorkerId) -> OldLease {
    let lease = Lease { owner: None, checkpoint_owner: None, counter: old.lease.counter + 1, ..old.lease.clone() };
    OldLease { lease, claimed_by: Some(by.clone()) }
}

/// A lease after its completion, with what it lacked.
pub(crate) fn completed(claimed: &OldLease, addition: Option<&Addition>) -> OldLease {
    let mut lease = claimed.lease.clone();
    match addition {
        Some(Addition::HashKeyRange(range)) => lease.hash_key_range = Some(*range),
        Some(Addition::Children(children)) => lease.children.clone_from(children),
        None => {}
    }
    OldLease { lease, claimed_by: None }
}

/// Compares the hash key ranges that leases have with those of the stream's shards. Returns what differs, if anything:
/// then they were made for another stream.
pub(crate) fn find_other_stream(leases: &[&Lease], shards: &[Shard]) -> Option<String> {
    leases.iter().find_map(|lease| {
        let (shard, theirs) = (shards.iter().find(|shard| shard.id == lease.shard_id)?, lease.hash_key_range?);
        let (id, ours) = (&shard.id, shard.hash_key_range);
        (ours != theirs).then(|| format!("its lease of {id} has the hash keys {theirs}, and the stream's shard {ours}"))
    })
}

/// Advice on a fleet in a migration state other than those of KCL 3.x.
pub(crate) fn advice(state: &str) -> &'static str {
    match state {
        "CLIENT_VERSION_UPGRADE_FROM_2X" => {
            "its workers of KCL 3.x are COMPATIBLE_WITH_2X: bring them to client version 3X, or stop them all, delete \
             the items that are no leases, and adopt it as one of 2.x"
        }
        "CLIENT_VERSION_2X" => {
            "it was rolled back to KCL 2.x: roll it forward to 3X with its own workers, or stop them all, delete the \
             items that are no leases, and adopt it as one of 2.x"
        }
        _ => "only KCL 3.x is supported",
    }
}

#[cfg(test)]
mod tests {
    use kpl::{HashKey, HashKeyRange};

    use super::*;
    use crate::{model::Checkpoint, tests::some_time};

    const WAIT: Duration = Duration::from_secs(180);

    fn old(shard: &str, owner: Option<&str>, counter: u64) -> OldLease {
        let lease = Lease::unowned(shard.into(), Checkpoint::from_wire("5", 3).unwrap());
        OldLease { lease: Lease { owner: owner.map(Into::into), counter, ..lease }, claimed_by: None }
    }

    fn leases(of: impl IntoIterator<Item = OldLease>) -> Leases {
        of.into_iter().map(|old| (old.lease.key.clone(), old)).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_sign_of_life_begins_the_wait_anew() {
        let start = some_time();
        let mut watch = Watch::begin(leases([old("a", Some("java"), 7)]), WAIT, start);

        assert_eq!(watch.look(leases([old("a", Some("java"), 7)]), start + seconds(100)), None);
        assert_eq!(watch.remaining(start + seconds(100)), seconds(80));
        let sign = watch.look(leases([old("a", Some("java"), 8)]), start + seconds(170));
        assert_eq!(sign.as_deref(), Some("worker java wrote lease a"));
        assert_eq!(watch.remaining(start + seconds(170)), WAIT);
        assert_eq!(watch.look(leases([old("a", Some("java"), 8)]), start + seconds(350)), None);
        assert_eq!(watch.remaining(start + seconds(350)), Duration::ZERO);
    }

    #[test]
    fn a_fleet_that_stops_within_an_hour_is_waited_for() {
        let start = some_time();
        let watch = Watch::begin(Leases::new(), WAIT, start);
        assert!(!watch.is_hopeless(start + seconds(3_599)) && watch.is_hopeless(start + seconds(3_600)));

        let slow = Watch::begin(Leases::new(), seconds(2_400), start);
        assert!(!slow.is_hopeless(start + seconds(4_799)) && slow.is_hopeless(start + seconds(4_800)));
    }

    #[test]
    fn every_change_is_a_sign_of_life() {
        let before = leases([old("a", Some("java"), 7), old("b", None, 2)]);
        let with = |changed: OldLease| first_change(&before, &leases([changed, old("b", None, 2)]));
        let of_a = || old("a", Some("java"), 7);
        let at_8 = || Checkpoint::from_wire("8", 0).unwrap();

        assert_eq!(with(of_a()), None);
        assert_eq!(with(old("a", Some("other"), 8)).unwrap(), "worker other took lease a");
        assert_eq!(with(old("a", None, 8)).unwrap(), "lease a was written");
        let checkpointed = OldLease { lease: Lease { checkpoint: at_8(), ..of_a().lease }, ..of_a() };
        assert_eq!(with(checkpointed).unwrap(), "lease a was written", "whatever the counter says");
        assert_eq!(with(claimed(&of_a(), &"w2".into())).unwrap(), "worker w2 claimed lease a");
        assert_eq!(first_change(&before, &leases([of_a()])).unwrap(), "lease b was deleted");
        assert_eq!(first_change(&leases([of_a()]), &before).unwrap(), "lease b was created");
    }

    #[test]
    fn claims_every_lease_that_was_ever_taken_lowest_key_first() {
        let all = leases([old("b", Some("java"), 7), old("c", None, 0), old("a", None, 3)]);

        let keys: Vec<&str> = to_claim(&all).iter().map(|old| old.lease.key.as_str()).collect();

        assert_eq!(keys, ["a", "b"]);
    }

    #[test]
    fn a_claim_and_a_completion_leave_the_progress_alone() {
        let before = OldLease {
            lease: Lease { parents: vec!["p".into()], owner_switches: 4, ..old("a", Some("java"), 7).lease },
            claimed_by: Some("crashed".into()),
        };

        let mine = claimed(&before, &"w1".into());
        let range = Addition::HashKeyRange(HashKeyRange::FULL);
        let done = completed(&mine, Some(&range));

        assert_eq!(mine.claimed_by, Some("w1".into()));
        let expected =
            Lease { owner: None, counter: 8, hash_key_range: Some(HashKeyRange::FULL), ..before.lease.clone() };
        assert_eq!(done, OldLease { lease: expected, claimed_by: None });
    }

    #[test]
    fn leases_with_the_hash_keys_of_another_stream_are_found() {
        let half = HashKeyRange { start: HashKey(0), end: HashKey(u128::MAX / 2) };
        let shard = Shard {
            id: "a".into(),
            parents: Vec::new(),
            hash_key_range: HashKeyRange::FULL,
            starting_sequence_number: "1".parse().unwrap(),
            ending_sequence_number: None,
        };
        let lease = |hash_key_range| Lease { hash_key_range, ..old("a", None, 1).lease };
        let find = |range| find_other_stream(&[&lease(range)], std::slice::from_ref(&shard));

        assert_eq!(find(None), None, "KCL 1.x notes no hash keys");
        assert_eq!(find(Some(HashKeyRange::FULL)), None);
        assert!(find(Some(half)).unwrap().starts_with("its lease of a has the hash keys"));
    }
}
