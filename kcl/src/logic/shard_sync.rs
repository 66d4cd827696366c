//! Plans which leases the stream's shards still need. Pure.
//!
//! (A) On an empty table every listed shard gets a lease at the initial position; their hash key ranges must cover the
//!     whole space.
//! (B) Otherwise exactly one generation per lineage is created: for an open shard without leased ancestors the oldest
//!     ancestors that are still listed, or with LATEST the shard itself. Later generations follow when it ends.
//! (C) Leases are created oldest first, so that an interrupted run leaves ancestors, never orphans.
//! (D) Planning again after creating what was planned plans nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use kpl::{HashKeyRange, ShardId};

use super::coverage::find_hole;
use crate::{checkpoint::Checkpoint, config::InitialPosition, kinesis::Shard, lease::Lease};

/// Why no plan could be made; the listing is at odds with itself and will be right later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inconsistent {
    /// A resharding is under way: part of the hash key space is not listed.
    Hole(HashKeyRange),
    /// A child is listed whose parent is still open.
    OpenParent { child: ShardId, parent: ShardId },
}

impl Checkpoint {
    /// The sentinel of an initial position.
    pub(crate) fn initial(position: &InitialPosition) -> Self {
        match position {
            InitialPosition::TrimHorizon => Self::TrimHorizon,
            InitialPosition::Latest => Self::Latest,
            InitialPosition::AtTimestamp(_) => Self::AtTimestamp,
        }
    }
}

/// The lease for a shard that has none.
pub(crate) fn new_lease(shard: &Shard, checkpoint: Checkpoint) -> Lease {
    Lease {
        parents: shard.parents.clone(),
        hash_key_range: Some(shard.hash_key_range),
        ..Lease::unowned(shard.id.clone(), checkpoint)
    }
}

/// Plans the leases of an empty table, from the shards listed for the initial position.
pub(crate) fn plan_first(shards: &[Shard], position: &InitialPosition) -> Result<Vec<Lease>, Inconsistent> {
    if let Some(hole) = find_hole(shards.iter().map(|shard| shard.hash_key_range)) {
        return Err(Inconsistent::Hole(hole));
    }
    let checkpoint = Checkpoint::initial(position);
    Ok(oldest_first(shards.iter()).map(|shard| new_lease(shard, checkpoint.clone())).collect())
}

/// Plans the leases that a table with leases lacks, from all shards of the stream.
pub(crate) fn plan_missing(
    shards: &[Shard],
    leased: &HashSet<ShardId>,
    position: &InitialPosition,
) -> Result<Vec<Lease>, Inconsistent> {
    let listed: HashMap<&ShardId, &Shard> = shards.iter().map(|shard| (&shard.id, shard)).collect();
    check_parents_closed(shards, &listed)?;
    let mut lineage = Lineage { listed: &listed, leased, position, descends: HashMap::new(), create: BTreeMap::new() };
    for shard in shards.iter().filter(|shard| shard.is_open() && !leased.contains(&shard.id)) {
        if !lineage.descends_from_lease(&shard.id) {
            lineage.create.insert(&shard.id, Checkpoint::initial(position));
        } else {
            lineage.create.remove(&shard.id);
        }
    }
    let create = lineage.create;
    let chosen = oldest_first(shards.iter().filter(|shard| create.contains_key(&shard.id)));
    Ok(chosen.map(|shard| new_lease(shard, create[&shard.id].clone())).collect())
}

fn check_parents_closed(shards: &[Shard], listed: &HashMap<&ShardId, &Shard>) -> Result<(), Inconsistent> {
    for shard in shards {
        let open = |parent: &&ShardId| listed.get(parent).is_some_and(|parent| parent.is_open());
        if let Some(parent) = shard.parents.iter().find(open) {
            return Err(Inconsistent::OpenParent { child: shard.id.clone(), parent: parent.clone() });
        }
    }
    Ok(())
}

fn oldest_first<'a>(shards: impl Iterator<Item = &'a Shard>) -> impl Iterator<Item = &'a Shard> {
    let mut shards: Vec<&Shard> = shards.collect();
    shards.sort_by(|a, b| a.starting_sequence_number.cmp(&b.starting_sequence_number).then_with(|| a.id.cmp(&b.id)));
    shards.into_iter()
}

/// Walks from open shards to their ancestors.
struct Lineage<'a> {
    listed: &'a HashMap<&'a ShardId, &'a Shard>,
    leased: &'a HashSet<ShardId>,
    position: &'a InitialPosition,
    /// Whether a shard will be reached from a lease that exists or is to be created.
    descends: HashMap<&'a ShardId, bool>,
    create: BTreeMap<&'a ShardId, Checkpoint>,
}

impl<'a> Lineage<'a> {
    /// Decides for `shard` and all its ancestors, ancestors first; a stack, since lineages can be long.
    fn descends_from_lease(&mut self, shard: &'a ShardId) -> bool {
        let mut stack = vec![shard];
        while let Some(&top) = stack.last() {
            let undecided: Vec<&ShardId> =
                self.listed_parents(top).filter(|parent| !self.descends.contains_key(parent)).collect();
            if self.descends.contains_key(top) || undecided.is_empty() || self.has_lease(top) {
                stack.pop();
                if !self.descends.contains_key(top) {
                    self.decide(top);
                }
            } else {
                stack.extend(undecided);
            }
        }
        self.descends[shard]
    }

    fn listed_parents(&self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> + use<'a> {
        let listed = self.listed;
        let parents = listed.get(shard).map_or(&[][..], |shard| &shard.parents[..]);
        parents.iter().filter(move |parent| listed.contains_key(parent))
    }

    fn has_lease(&self, shard: &ShardId) -> bool {
        self.leased.contains(shard)
    }

    /// Decides for one shard whose parents are decided.
    fn decide(&mut self, shard: &'a ShardId) {
        if self.has_lease(shard) {
            self.descends.insert(shard, true);
            return;
        }
        let parents: Vec<&'a ShardId> = self.listed_parents(shard).collect();
        let reached =
            |lineage: &Self, parent: &ShardId| lineage.descends[parent] || lineage.create.contains_key(parent);
        let descends = parents.iter().any(|parent| reached(self, parent));
        if descends {
            for parent in parents {
                self.complete_merge(parent);
            }
        } else if !matches!(self.position, InitialPosition::Latest) {
            self.create.insert(shard, Checkpoint::initial(self.position));
        }
        self.descends.insert(shard, descends);
    }

    /// A parent of a shard that is reached by a lease must be processed too; give it a lease if nothing else reaches it.
    fn complete_merge(&mut self, parent: &'a ShardId) {
        if self.has_lease(parent) {
            return;
        }
        let flagged = self.create.contains_key(parent);
        let descends = self.descends[parent];
        if flagged || !descends {
            let at_horizon = flagged && !matches!(self.position, InitialPosition::AtTimestamp(_));
            let checkpoint = if at_horizon { Checkpoint::TrimHorizon } else { Checkpoint::initial(self.position) };
            self.create.insert(parent, checkpoint);
        }
    }
}

#[cfg(test)]
mod tests;
