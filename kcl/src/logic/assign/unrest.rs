//! Signs of change in the leader's scans. Pure.
//!
//! (A) A worker that came, left or began to leave, a lease that came, went, ended or changed an owner is a sign; a renewal,
//!     a checkpoint and a report are none.
//! (B) A live worker's lease falls silent only when its counter stands still for half a lease duration: renewals are a third
//!     apart. It is a sign until it expires.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use crate::model::{Lease, TableScan};

/// State that the last scan showed, without the progress of workers.
#[derive(Debug, Default)]
pub(crate) struct Unrest {
    seen: Option<u64>,
}

impl Unrest {
    /// Takes in a scan. True: something changed since the one before.
    pub(crate) fn observe(&mut self, scan: &TableScan) -> bool {
        // Sums do not depend on the order in which a scan returns the items.
        let leases =
            scan.leases.iter().map(|lease| hash((&lease.key, &lease.owner, &lease.checkpoint_owner, lease.is_ended())));
        let workers =
            scan.workers.iter().map(|worker| hash((&worker.id, &worker.instance, worker.leaving, worker.drained)));
        let now = leases.chain(workers).fold(0, u64::wrapping_add);
        self.seen.replace(now) != Some(now)
    }
}

fn hash(facts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    facts.hash(&mut hasher);
    hasher.finish()
}

/// The first moment at which a lease that has fallen silent expires. `leases` are those in the table, each with the time
/// for which its counter has been unchanged.
pub(crate) fn first_expiry<'a>(
    leases: impl Iterator<Item = (&'a Lease, Duration)>,
    lease_duration: Duration,
    now: Instant,
) -> Option<Instant> {
    let silent = leases.filter(|(lease, age)| {
        !lease.is_ended() && lease.actual_owner().is_some() && *age >= lease_duration / 2 && *age <= lease_duration
    });
    silent.map(|(_, age)| now + (lease_duration - age)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Checkpoint, WorkerItem};

    const DURATION: Duration = Duration::from_secs(10);

    fn owned(shard: &str, owner: &str) -> Lease {
        Lease { owner: Some(owner.into()), ..Lease::unowned(shard.into(), Checkpoint::TrimHorizon) }
    }

    fn worker(id: &str) -> WorkerItem {
        WorkerItem { last_update_seconds: 1_000, instance: Some("a".to_owned()), ..WorkerItem::new(id.into()) }
    }

    fn scan() -> TableScan {
        let leases = vec![owned("s0", "w1"), owned("s1", "w2")];
        TableScan { leases, workers: vec![worker("w1"), worker("w2")], ..TableScan::default() }
    }

    #[test]
    fn progress_is_no_sign_and_neither_is_the_order_of_items() {
        let (mut unrest, mut scan) = (Unrest::default(), scan());
        assert!(unrest.observe(&scan), "the first one is news");

        scan.leases[0].counter += 1;
        scan.leases[1].checkpoint = Checkpoint::from_wire("17", 0).unwrap();
        scan.workers[0].last_update_seconds += 10;
        scan.leases.reverse();

        assert!(!unrest.observe(&scan));
    }

    #[test]
    fn every_change_of_workers_and_owners_is_a_sign() {
        let changes: [fn(&mut TableScan); 9] = [
            |scan| scan.workers.push(worker("w3")),
            |scan| drop(scan.workers.pop()),
            |scan| scan.workers[1].leaving = true,
            |scan| scan.workers[1].instance = Some("b".to_owned()),
            |scan| scan.leases.push(owned("s2", "w1")),
            |scan| drop(scan.leases.pop()),
            |scan| scan.leases[0].owner = None,
            |scan| scan.leases[0].checkpoint_owner = Some("w2".into()),
            |scan| scan.leases[0].checkpoint = Checkpoint::ShardEnd,
        ];
        for (number, change) in changes.iter().enumerate() {
            let (mut unrest, mut scan) = (Unrest::default(), scan());
            unrest.observe(&scan);

            change(&mut scan);

            assert!(unrest.observe(&scan), "change {number}");
            assert!(!unrest.observe(&scan), "change {number} is news once");
        }
    }

    #[test]
    fn a_lease_is_silent_from_half_its_duration_until_it_expires() {
        let now = crate::tests::some_time();
        let (lease, free) = (owned("s0", "w1"), Lease::unowned("s1".into(), Checkpoint::TrimHorizon));
        let ended = Lease { checkpoint: Checkpoint::ShardEnd, ..owned("s2", "w1") };
        let expiry = |lease: &Lease, age| first_expiry([(lease, age)].into_iter(), DURATION, now);
        let millisecond = Duration::from_millis(1);

        assert_eq!(expiry(&lease, DURATION / 2 - millisecond), None);
        assert_eq!(expiry(&lease, DURATION / 2), Some(now + DURATION / 2));
        assert_eq!(expiry(&lease, DURATION), Some(now));
        assert_eq!(expiry(&lease, DURATION + millisecond), None);
        assert_eq!(expiry(&free, DURATION / 2), None);
        assert_eq!(expiry(&ended, DURATION / 2), None);
        let both = [(&lease, DURATION / 2), (&lease, DURATION.mul_f64(0.8))];
        assert_eq!(first_expiry(both.into_iter(), DURATION, now), Some(now + DURATION.mul_f64(0.2)));
    }
}
