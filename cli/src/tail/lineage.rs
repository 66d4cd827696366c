//! The shards that are read, and when each may start: after its parents. Pure.

use std::collections::{HashMap, HashSet};

use kpl::{HashKey, ShardId};

use crate::reading::shards::Shard;

/// Shards that are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// One shard alone.
    pub(crate) shard: Option<ShardId>,
    /// Those that may hold records of this hash key.
    pub(crate) hash_key: Option<HashKey>,
}

impl Wanted {
    fn includes(&self, shard: &Shard) -> bool {
        self.shard.as_ref().is_none_or(|only| *only == shard.id)
            && self.hash_key.is_none_or(|key| shard.range.contains(key))
    }
}

/// Progress of a reading through the lineage of the shards.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    wanted: Wanted,
    running: HashSet<ShardId>,
    ended: HashSet<ShardId>,
    /// Shards that wait for a parent.
    waiting: HashMap<ShardId, Shard>,
}

impl Lineage {
    /// Starts with `first`; returns those of them that are wanted.
    pub(crate) fn start(wanted: Wanted, first: Vec<Shard>) -> (Self, Vec<Shard>) {
        let mut lineage = Self { wanted, ..Self::default() };
        let first: Vec<Shard> = first.into_iter().filter(|shard| lineage.wanted.includes(shard)).collect();
        lineage.running.extend(first.iter().map(|shard| shard.id.clone()));
        (lineage, first)
    }

    /// Notes that a shard is read to its end; returns the children that can be read now, from their first record on.
    pub(crate) fn end(&mut self, shard: &ShardId, children: Vec<Shard>) -> Vec<Shard> {
        self.running.remove(shard);
        self.ended.insert(shard.clone());
        for child in children {
            let is_known = self.running.contains(&child.id) || self.ended.contains(&child.id);
            if self.wanted.includes(&child) && !is_known {
                self.waiting.insert(child.id.clone(), child);
            }
        }
        // A parent that is not read here at all was passed before the start, or is not wanted.
        let blocks = |parent: &ShardId| self.running.contains(parent) || self.waiting.contains_key(parent);
        let ready: Vec<ShardId> =
            self.waiting.values().filter(|it| !it.parents.iter().any(blocks)).map(|it| it.id.clone()).collect();
        let mut ready: Vec<Shard> = ready.iter().filter_map(|id| self.waiting.remove(id)).collect();
        ready.sort_by(|a, b| a.id.cmp(&b.id));
        self.running.extend(ready.iter().map(|shard| shard.id.clone()));
        ready
    }

    /// Returns whether all shards are read to their ends.
    pub(crate) fn is_done(&self) -> bool {
        self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use kpl::HashKeyRange;

    use super::*;

    fn shard(id: &str, range: std::ops::RangeInclusive<u128>, parents: &[&str]) -> Shard {
        let range = HashKeyRange { start: HashKey(*range.start()), end: HashKey(*range.end()) };
        Shard { id: id.into(), range, parents: parents.iter().map(|id| ShardId::from(*id)).collect() }
    }

    fn ids(shards: &[Shard]) -> Vec<&str> {
        shards.iter().map(|shard| shard.id.as_str()).collect()
    }

    #[test]
    fn a_merged_shard_starts_after_both_parents() {
        let merged = || vec![shard("2", 0..=99, &["0", "1"])];
        let (mut lineage, first) =
            Lineage::start(Wanted::default(), vec![shard("0", 0..=49, &[]), shard("1", 50..=99, &[])]);

        assert_eq!(ids(&first), ["0", "1"]);
        assert!(lineage.end(&"0".into(), merged()).is_empty());
        assert_eq!(ids(&lineage.end(&"1".into(), merged())), ["2"]);
        assert!(!lineage.is_done());
        assert!(lineage.end(&"2".into(), Vec::new()).is_empty() && lineage.is_done());
    }

    #[test]
    fn follows_only_the_shards_of_a_key() {
        let wanted = Wanted { hash_key: Some(HashKey(60)), shard: None };
        let (mut lineage, first) = Lineage::start(wanted, vec![shard("0", 0..=49, &[]), shard("1", 50..=99, &[])]);

        assert_eq!(ids(&first), ["1"]);
        let children = vec![shard("2", 50..=59, &["1"]), shard("3", 60..=99, &["1"])];
        assert_eq!(ids(&lineage.end(&"1".into(), children)), ["3"]);
    }

    #[test]
    fn a_parent_that_is_not_read_holds_nobody_back() {
        let (mut lineage, _) = Lineage::start(Wanted::default(), vec![shard("1", 50..=99, &["gone"])]);

        assert_eq!(ids(&lineage.end(&"1".into(), vec![shard("2", 0..=99, &["gone", "1"])])), ["2"]);
    }

    #[test]
    fn one_shard_alone_has_no_successors() {
        let wanted = Wanted { shard: Some("1".into()), hash_key: None };
        let (mut lineage, first) = Lineage::start(wanted, vec![shard("0", 0..=49, &[]), shard("1", 50..=99, &[])]);

        assert_eq!(ids(&first), ["1"]);
        assert!(lineage.end(&"1".into(), vec![shard("2", 50..=99, &["1"])]).is_empty() && lineage.is_done());
    }
}
