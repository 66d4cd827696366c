//! Cleanup of ended leases. Pure.
//!
//! A lease of an ended shard stays until (A) every child has a lease that has got beyond its start, so that nobody
//! needs the parent to find or gate the children, (B) its own parents' leases are gone: the oldest go first, and (C) some
//! lease that stays shows that the stream has been read.

use std::collections::HashMap;

use super::shard_sync::shows_reading;
use crate::model::{Checkpoint, Lease, LeaseKey};

/// Keys of the leases to delete, of all that one stream has.
pub(crate) fn plan(leases: &[&Lease]) -> Vec<LeaseKey> {
    if !leases.iter().any(|lease| shows_reading(lease)) {
        return Vec::new();
    }
    let by_shard: HashMap<_, &Lease> = leases.iter().map(|lease| (&lease.shard_id, *lease)).collect();
    let started = |lease: &&Lease| !matches!(lease.checkpoint, Checkpoint::TrimHorizon | Checkpoint::AtTimestamp);
    let deletable = |lease: &&&Lease| {
        lease.is_ended()
            && !lease.children.is_empty()
            && lease.children.iter().all(|child| by_shard.get(child).is_some_and(started))
            && !lease.parents.iter().any(|parent| by_shard.contains_key(parent))
    };
    leases.iter().filter(deletable).map(|lease| lease.key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(shard: &str, checkpoint: Checkpoint, parents: &[&str], children: &[&str]) -> Lease {
        let ids = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        Lease { parents: ids(parents), children: ids(children), ..Lease::unowned(shard.into(), checkpoint) }
    }

    fn planned(leases: &[Lease]) -> Vec<LeaseKey> {
        plan(&leases.iter().collect::<Vec<_>>())
    }

    fn at_5() -> Checkpoint {
        Checkpoint::from_wire("5", 0).unwrap()
    }

    #[test]
    fn a_split_parent_goes_once_both_children_have_progressed() {
        let parent = lease("p", Checkpoint::ShardEnd, &[], &["a", "b"]);
        let (a, b) = (lease("a", at_5(), &["p"], &[]), lease("b", at_5(), &["p"], &[]));

        assert_eq!(planned(&[parent.clone(), a.clone(), b]), ["p".into()]);
        let idle = lease("b", Checkpoint::TrimHorizon, &["p"], &[]);
        assert_eq!(planned(&[parent.clone(), a.clone(), idle]), []);
        assert_eq!(planned(&[parent, a]), [], "a child without a lease keeps its parent");
    }

    #[test]
    fn grandparents_go_before_parents() {
        let grandparent = lease("g", Checkpoint::ShardEnd, &[], &["p"]);
        let parent = lease("p", Checkpoint::ShardEnd, &["g"], &["c"]);
        let child = lease("c", at_5(), &["p"], &[]);

        assert_eq!(planned(&[parent.clone(), child.clone(), grandparent]), ["g".into()]);
        assert_eq!(planned(&[parent, child]), ["p".into()]);
    }

    #[test]
    fn the_only_lease_that_was_ever_taken_stays() {
        let parent = lease("p", Checkpoint::ShardEnd, &[], &["a"]);
        let child = lease("a", Checkpoint::Latest, &["p"], &[]);
        assert_eq!(planned(&[parent.clone(), child.clone()]), []);

        let taken = Lease { counter: 1, ..child };
        assert_eq!(planned(&[parent, taken]), ["p".into()]);
    }

    #[test]
    fn leases_of_open_shards_and_ended_ones_without_known_children_stay() {
        assert_eq!(planned(&[lease("a", at_5(), &[], &[]), lease("b", Checkpoint::ShardEnd, &[], &[])]), []);
    }
}
