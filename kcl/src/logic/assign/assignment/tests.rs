use proptest::prelude::*;

use super::*;
use crate::model::{Checkpoint, LeaseKey};

fn candidate(shard: usize, owner: Option<&str>) -> Candidate {
    let lease = Lease::unowned(format!("shardId-{shard:012}").into(), Checkpoint::TrimHorizon);
    Candidate { lease: Lease { owner: owner.map(WorkerId::from), ..lease }, expired: false, handoff_overdue: false }
}

fn handing_over(shard: usize, from: &str, to: &str) -> Candidate {
    let mut candidate = candidate(shard, Some(to));
    candidate.lease.checkpoint_owner = Some(from.into());
    candidate
}

fn workers(ids: &[&str]) -> Vec<WorkerId> {
    ids.iter().map(|id| WorkerId::from(*id)).collect()
}

fn load(candidates: &[Candidate], worker: &WorkerId) -> usize {
    candidates.iter().filter(|c| !c.lease.is_ended() && c.lease.owner.as_ref() == Some(worker)).count()
}

/// Carries the moves out as if every worker did its part at once.
fn carry_out(candidates: &mut [Candidate], moves: &[Move]) {
    for planned in moves {
        let candidate = candidates.iter_mut().find(|c| c.lease.key == planned.lease.key).unwrap();
        candidate.lease.owner = Some(planned.to.clone());
        candidate.lease.checkpoint_owner = None;
        candidate.expired = false;
        candidate.handoff_overdue = false;
    }
}

#[test]
fn unowned_leases_are_spread_over_the_active_workers() {
    let mut leases: Vec<_> = (0..5).map(|shard| candidate(shard, None)).collect();

    let moves = plan(&leases, &workers(&["a", "b"]), usize::MAX);
    carry_out(&mut leases, &moves);

    assert!(moves.iter().all(|planned| planned.how == How::Assign));
    assert_eq!((load(&leases, &"a".into()), load(&leases, &"b".into())), (3, 2));
}

#[test]
fn a_worker_that_joins_gets_its_share_by_handoff() {
    let leases: Vec<_> = (0..4).map(|shard| candidate(shard, Some("a"))).collect();

    let moves = plan(&leases, &workers(&["a", "b"]), usize::MAX);

    assert_eq!(moves.len(), 2);
    assert!(moves.iter().all(|planned| planned.how == How::HandOff && planned.to == "b".into()));
}

#[test]
fn a_handoff_under_way_counts_for_its_new_owner_so_nothing_more_is_moved() {
    let leases = [candidate(0, Some("a")), handing_over(1, "a", "b")];

    assert_eq!(plan(&leases, &workers(&["a", "b"]), usize::MAX), []);
}

#[test]
fn the_leases_of_a_dead_worker_go_to_the_living() {
    let mut dead = candidate(0, Some("gone"));
    dead.expired = true;

    let moves = plan(&[dead, candidate(1, Some("a"))], &workers(&["a", "b"]), usize::MAX);

    assert_eq!(moves.len(), 1);
    assert_eq!((moves[0].to.as_str(), moves[0].how), ("b", How::Seize));
}

#[test]
fn a_worker_that_lets_leases_expire_gets_none_although_it_still_reports() {
    let mut expired = candidate(0, Some("stuck"));
    expired.expired = true;

    let moves = plan(&[expired, candidate(1, None)], &workers(&["a", "stuck"]), usize::MAX);

    assert!(moves.iter().all(|planned| planned.to == "a".into()), "{moves:?}");
    assert_eq!(moves.len(), 2);
}

#[test]
fn the_only_worker_keeps_its_expired_lease_without_a_write() {
    let mut expired = candidate(0, Some("a"));
    expired.expired = true;

    assert_eq!(plan(&[expired], &workers(&["a"]), usize::MAX), []);
}

#[test]
fn an_overdue_handoff_is_ended_for_its_new_owner() {
    let mut stuck = handing_over(0, "a", "b");
    stuck.handoff_overdue = true;

    let moves = plan(&[stuck], &workers(&["a", "b"]), usize::MAX);

    assert_eq!((moves[0].to.as_str(), moves[0].how), ("b", How::Assign));
}

#[test]
fn ended_leases_are_neither_moved_nor_counted() {
    let mut ended: Vec<_> = (0..3).map(|shard| candidate(shard, Some("a"))).collect();
    for candidate in &mut ended {
        candidate.lease.checkpoint = Checkpoint::ShardEnd;
    }
    ended.push(candidate(3, Some("a")));

    assert_eq!(plan(&ended, &workers(&["a", "b"]), usize::MAX), []);
}

#[test]
fn nobody_gets_more_than_its_maximum() {
    let leases: Vec<_> = (0..5).map(|shard| candidate(shard, None)).collect();

    let moves = plan(&leases, &workers(&["a", "b"]), 2);

    assert_eq!(moves.len(), 4);
}

#[test]
fn plans_nothing_without_workers() {
    assert_eq!(plan(&[candidate(0, None)], &[], usize::MAX), []);
}

prop_compose! {
    fn fleet()(workers in 1_usize..8)(
        leases in prop::collection::vec((prop::option::of(0..workers + 2), any::<bool>(), any::<bool>(), prop::option::of(0..workers)), 0..40),
        workers in Just(workers),
    ) -> (Vec<Candidate>, Vec<WorkerId>) {
        let id = |worker: usize| format!("w{worker}");
        let candidates = leases.into_iter().enumerate().map(|(shard, (owner, expired, ended, successor))| {
            // Owners beyond the active workers are gone, so their leases have expired.
            let gone = owner.is_some_and(|owner| owner >= workers);
            let mut candidate = candidate(shard, owner.map(id).as_deref());
            candidate.expired = owner.is_some() && (expired || gone);
            if let (Some(owner), Some(successor)) = (owner, successor) && successor != owner {
                candidate.lease.checkpoint_owner = Some(WorkerId::new(id(owner)));
                candidate.lease.owner = Some(WorkerId::new(id(successor)));
            }
            if ended && !candidate.lease.in_handoff() {
                candidate.lease.checkpoint = Checkpoint::ShardEnd;
            }
            candidate
        }).collect();
        (candidates, (0..workers).map(|worker| WorkerId::new(id(worker))).collect())
    }
}

/// New owners of the leases that nobody keeps alive, each found by a look at all workers.
fn given_one_by_one(leases: &[Candidate], workers: &[WorkerId]) -> Vec<(LeaseKey, WorkerId)> {
    let live: Vec<&Candidate> = leases.iter().filter(|candidate| !candidate.lease.is_ended()).collect();
    let expired = live.iter().filter(|candidate| candidate.expired);
    let suspects: Vec<&WorkerId> = expired.filter_map(|candidate| candidate.lease.actual_owner()).collect();
    let trusted: Vec<&WorkerId> = workers.iter().filter(|worker| !suspects.contains(worker)).collect();
    let able = if trusted.is_empty() { workers.iter().collect() } else { trusted };
    let mut loads: BTreeMap<&WorkerId, usize> = workers.iter().map(|worker| (worker, 0)).collect();
    for candidate in live.iter().filter(|candidate| !is_orphan(candidate)) {
        if let Some(load) = candidate.lease.owner.as_ref().and_then(|owner| loads.get_mut(owner)) {
            *load += 1;
        }
    }
    let mut given = Vec::new();
    for Candidate { lease, .. } in live.into_iter().filter(|candidate| is_orphan(candidate)) {
        let successor = lease.owner.as_ref().filter(|owner| lease.in_handoff() && able.contains(owner));
        let to = successor.or_else(|| able.iter().copied().min_by_key(|worker| loads[worker])).unwrap();
        *loads.get_mut(to).unwrap() += 1;
        if lease.actual_owner() != Some(to) || lease.in_handoff() {
            given.push((lease.key.clone(), to.clone()));
        }
    }
    given
}

proptest! {
    #[test]
    fn levels_loads_to_a_difference_of_one_with_nothing_left_to_plan((mut leases, workers) in fleet()) {
        // Twice: workers that let a lease expire are trusted again once it is somebody's, and leases in
        // handoff can be moved again once they have arrived.
        for _ in 0..2 {
            let moves = plan(&leases, &workers, usize::MAX);
            carry_out(&mut leases, &moves);
            for candidate in &mut leases {
                candidate.lease.checkpoint_owner = None;
                candidate.expired = false;
            }
        }

        let loads: Vec<usize> = workers.iter().map(|worker| load(&leases, worker)).collect();
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
        prop_assert_eq!(plan(&leases, &workers, usize::MAX), []);
    }

    #[test]
    fn gives_every_lease_that_nobody_keeps_alive_an_active_owner((mut leases, workers) in fleet()) {
        let moves = plan(&leases, &workers, usize::MAX);
        carry_out(&mut leases, &moves);

        for candidate in leases.iter().filter(|c| !c.lease.is_ended()) {
            prop_assert!(candidate.lease.owner.as_ref().is_some_and(|owner| workers.contains(owner)), "{candidate:?}");
        }
    }

    #[test]
    fn gives_each_lease_to_the_first_of_the_least_loaded((leases, workers) in fleet()) {
        let moves = plan(&leases, &workers, usize::MAX);
        let given = moves.into_iter().filter(|planned| planned.how != How::HandOff);
        let given: Vec<(LeaseKey, WorkerId)> = given.map(|planned| (planned.lease.key, planned.to)).collect();

        prop_assert_eq!(given, given_one_by_one(&leases, &workers));
    }

    #[test]
    fn no_lease_is_moved_twice_in_one_plan((leases, workers) in fleet()) {
        let moves = plan(&leases, &workers, usize::MAX);
        let keys: HashSet<_> = moves.iter().map(|planned| &planned.lease.key).collect();

        prop_assert_eq!(keys.len(), moves.len());
    }
}
