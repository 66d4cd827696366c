//! Plans the writes of a reset. Pure.
//!
//! (A) The shards that hold the position start there, and all that follow them from their beginning, leased or not: a
//!     lease that is missing between parent and child would let the child run too early.
//! (B) What was closed before the position is done with: its lease is ended.
//! (C) Oldest first, so that at any time a child is held back by those parents that will be processed again.

use std::collections::{HashMap, HashSet};

use kpl::ShardId;

use super::shard_sync::oldest_first;
use crate::model::{Lease, Shard};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It starts at the position.
    Position,
    /// It starts at its beginning.
    Start,
    /// It is not processed any more.
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) shard_id: ShardId,
    pub(crate) goal: Goal,
    /// The present lease; None: it will be created.
    pub(crate) lease: Option<Lease>,
    /// None if the stream has forgotten it.
    pub(crate) shard: Option<Shard>,
    /// The shards that follow it, as far as they are known.
    pub(crate) children: Vec<ShardId>,
}

/// Plans a reset of all shards, or of one and those that follow it. `first` are the shards that hold the position.
pub(crate) fn plan(listed: &[Shard], first: &HashSet<ShardId>, leases: &[&Lease], only: Option<&ShardId>) -> Vec<Step> {
    let by_shard: HashMap<&ShardId, &Lease> = leases.iter().map(|lease| (&lease.shard_id, *lease)).collect();
    let mut steps = if only.is_none() { forgotten(listed, leases) } else { Vec::new() };
    let (mut follows, mut in_scope) = (HashSet::new(), HashSet::new());
    for shard in oldest_first(listed.iter()) {
        let parents = || shard.parents.iter();
        if parents().any(|parent| first.contains(parent) || follows.contains(parent)) {
            follows.insert(&shard.id);
        }
        if only.is_some_and(|only| *only != shard.id) && !parents().any(|parent| in_scope.contains(parent)) {
            continue;
        }
        in_scope.insert(&shard.id);
        let lease = by_shard.get(&shard.id).copied();
        let goal = match (first.contains(&shard.id), follows.contains(&shard.id)) {
            (_, true) => Goal::Start,
            (true, false) => Goal::Position,
            (false, false) => Goal::End,
        };
        if goal == Goal::End && lease.is_none_or(Lease::is_ended) {
            continue;
        }
        let children = children(listed, &shard.id);
        let (shard_id, lease) = (shard.id.clone(), lease.cloned());
        steps.push(Step { shard_id, goal, lease, shard: Some(shard.clone()), children });
    }
    steps
}

/// Leases of shards that the stream has forgotten.
fn forgotten(listed: &[Shard], leases: &[&Lease]) -> Vec<Step> {
    let ids: HashSet<&ShardId> = listed.iter().map(|shard| &shard.id).collect();
    let left = leases.iter().filter(|lease| !ids.contains(&lease.shard_id) && !lease.is_ended());
    let step = |lease: &&Lease| Step {
        shard_id: lease.shard_id.clone(),
        goal: Goal::End,
        lease: Some((*lease).clone()),
        shard: None,
        children: children(listed, &lease.shard_id),
    };
    left.map(step).collect()
}

fn children(listed: &[Shard], parent: &ShardId) -> Vec<ShardId> {
    listed.iter().filter(|shard| shard.parents.contains(parent)).map(|shard| shard.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use kpl::{HashKey, HashKeyRange};

    use super::*;
    use crate::model::Checkpoint;

    fn shard(id: &str, start: u32, parents: &[&str]) -> Shard {
        Shard {
            id: id.into(),
            parents: parents.iter().map(|parent| (*parent).into()).collect(),
            hash_key_range: HashKeyRange { start: HashKey(0), end: HashKey(1) },
            starting_sequence_number: start.to_string().parse().unwrap(),
            ending_sequence_number: None,
        }
    }

    /// a split into b and c, these merged into d; e beside them all.
    fn lineage() -> Vec<Shard> {
        vec![
            shard("d", 30, &["b", "c"]),
            shard("c", 20, &["a"]),
            shard("e", 2, &[]),
            shard("b", 20, &["a"]),
            shard("a", 1, &[]),
        ]
    }

    fn lease(id: &str, checkpoint: &str) -> Lease {
        Lease::unowned(id.into(), Checkpoint::from_wire(checkpoint, 0).unwrap())
    }

    fn planned(first: &[&str], leases: &[Lease], only: Option<&str>) -> Vec<(String, Goal, bool)> {
        let first = first.iter().map(|id| ShardId::from(*id)).collect();
        let leases: Vec<&Lease> = leases.iter().collect();
        let steps = plan(&lineage(), &first, &leases, only.map(ShardId::from).as_ref());
        steps.into_iter().map(|step| (step.shard_id.to_string(), step.goal, step.lease.is_some())).collect()
    }

    fn step(id: &str, goal: Goal, exists: bool) -> (String, Goal, bool) {
        (id.to_owned(), goal, exists)
    }

    #[test]
    fn starts_shards_after_the_position_at_their_beginning_without_leases_too() {
        let leases = [lease("d", "77"), lease("e", "78")];

        let steps = planned(&["a", "e"], &leases, None);

        let expected = [
            step("a", Goal::Position, false),
            step("e", Goal::Position, true),
            step("b", Goal::Start, false),
            step("c", Goal::Start, false),
            step("d", Goal::Start, true),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn ends_leases_of_shards_closed_before_the_position() {
        let leases = [lease("a", "SHARD_END"), lease("b", "21"), lease("d", "77"), lease("e", "78")];

        let steps = planned(&["d", "e"], &leases, None);

        let expected = [step("e", Goal::Position, true), step("b", Goal::End, true), step("d", Goal::Position, true)];
        assert_eq!(steps, expected);
    }

    #[test]
    fn one_shard_is_reset_with_those_that_follow_it_and_no_other() {
        let leases = [lease("c", "22"), lease("d", "77"), lease("e", "78")];

        assert_eq!(
            planned(&["b", "c", "e"], &leases, Some("b")),
            [step("b", Goal::Position, false), step("d", Goal::Start, true)]
        );
        assert_eq!(planned(&["d", "e"], &leases, Some("b")), [step("d", Goal::Position, true)]);
        assert_eq!(planned(&["a", "e"], &leases, Some("e")), [step("e", Goal::Position, true)]);
    }

    #[test]
    fn a_lease_of_a_shard_that_the_stream_has_forgotten_is_ended() {
        let leases = [lease("z", "5"), lease("y", "SHARD_END"), lease("a", "6"), lease("e", "7")];

        assert_eq!(planned(&["a", "e"], &leases, None)[0], step("z", Goal::End, true));
        assert_eq!(planned(&["a", "e"], &leases, None).len(), 6);
    }
}
