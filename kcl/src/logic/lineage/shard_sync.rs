//! Plans which leases the stream's shards still need. Pure.
//!
//! (A) While nobody has read the stream yet, every shard listed for the initial position gets a lease at it; their hash key
//!     ranges must cover the whole space.
//! (B) Afterwards a lease that has not ended leads to the shards that follow its own, whether its shard is still listed or
//!     not: they get their leases when it ends. A lineage that no lease leads to starts at the oldest of its shards that are
//!     listed: at the initial position if the shard has no parents, otherwise at TRIM_HORIZON. Its parents were opened
//!     and trimmed since the application began, so that at LATEST all its records up to now would be lost.
//! (C) Leases are created after those of their ancestors, so that an interrupted run leaves ancestors, never orphans.
//! (D) Planning again after creating what was planned plans nothing.

use std::collections::{HashMap, HashSet};

use kpl::{HashKey, HashKeyRange, ShardId};

use crate::model::{Checkpoint, InitialPosition, Lease, Shard, StreamId};

/// A listing that contradicts itself, for the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inconsistent {
    /// A resharding is under way: part of the hash key space is not listed.
    Hole(HashKeyRange),
    /// A child is listed whose parent is still open.
    OpenParent { child: ShardId, parent: ShardId },
}

pub(crate) fn new_lease(shard: &Shard, checkpoint: Checkpoint) -> Lease {
    Lease {
        parents: shard.parents.clone(),
        hash_key_range: Some(shard.hash_key_range),
        ..Lease::unowned(shard.id.clone(), checkpoint)
    }
}

/// True if nobody has read the stream yet: it has no leases, or an interrupted first plan left some that nobody ever took.
pub(crate) fn is_unread(leases: &[&Lease], position: &InitialPosition) -> bool {
    let checkpoint = Checkpoint::initial(position);
    leases.iter().all(|lease| is_untouched(lease) && lease.checkpoint == checkpoint)
}

/// True if nobody ever took the lease. While this holds for all leases of a stream, its first plan may be incomplete:
/// all leases must exist before one is given away, or LATEST would be two times.
pub(crate) fn is_untouched(lease: &Lease) -> bool {
    lease.counter == 0 && lease.owner.is_none()
}

/// Streams without a lease that anybody ever took.
pub(crate) fn untouched_streams<'a>(leases: impl Iterator<Item = (StreamId, &'a Lease)> + Clone) -> HashSet<StreamId> {
    let untouched = leases.clone().filter(|(_, lease)| is_untouched(lease));
    let mut streams: HashSet<StreamId> = untouched.map(|(id, _)| id).collect();
    if !streams.is_empty() {
        leases.filter(|(_, lease)| !is_untouched(lease)).for_each(|(id, _)| {
            streams.remove(&id);
        });
    }
    streams
}

/// True if the lease shows that the stream has been read, and stays. Without one, no ended lease is deleted: untaken
/// ones would pass for an interrupted first plan.
pub(crate) fn shows_reading(lease: &Lease) -> bool {
    !lease.is_ended() && (!is_untouched(lease) || matches!(lease.checkpoint, Checkpoint::At(_)))
}

/// Plans the leases of a stream that nobody has read yet, from the shards listed for the initial position.
pub(crate) fn plan_first(
    shards: &[Shard],
    leases: &[&Lease],
    position: &InitialPosition,
) -> Result<Vec<Lease>, Inconsistent> {
    if let Some(hole) = find_hole(shards.iter().map(|shard| shard.hash_key_range)) {
        return Err(Inconsistent::Hole(hole));
    }
    let (checkpoint, leased) = (Checkpoint::initial(position), by_shard(leases));
    let missing = shards.iter().filter(|shard| !leased.contains_key(&shard.id));
    Ok(oldest_first(missing).map(|shard| new_lease(shard, checkpoint.clone())).collect())
}

/// Plans the leases that a stream being read lacks, from all its shards.
pub(crate) fn plan_missing(
    shards: &[Shard],
    leases: &[&Lease],
    position: &InitialPosition,
) -> Result<Vec<Lease>, Inconsistent> {
    let listed: HashMap<&ShardId, &Shard> = shards.iter().map(|shard| (&shard.id, shard)).collect();
    check_parents_closed(shards, &listed)?;
    let leased = by_shard(leases);
    let unleased = unleased_lineages(shards, &listed, &leased);
    let leads =
        |parent: &ShardId| unleased.contains(parent) || leased.get(parent).is_some_and(|lease| !lease.is_ended());
    let is_first = |shard: &&Shard| unleased.contains(&shard.id) && !shard.parents.iter().any(leads);
    let lease = |shard: &Shard| match shard.parents[..] {
        [] => new_lease(shard, Checkpoint::initial(position)),
        _ => new_lease(shard, Checkpoint::TrimHorizon),
    };
    Ok(oldest_first(shards.iter().filter(is_first)).map(lease).collect())
}

/// The planned leases in groups to create one after the other: none is in an earlier group than an ancestor of its shard.
pub(crate) fn generations(plan: Vec<Lease>) -> Vec<Vec<Lease>> {
    let mut generation_of: HashMap<ShardId, usize> = HashMap::new();
    let mut generations: Vec<Vec<Lease>> = Vec::new();
    for lease in plan {
        let after = lease.parents.iter().filter_map(|parent| generation_of.get(parent)).max();
        let generation = after.map_or(0, |parents| parents + 1);
        if generation == generations.len() {
            generations.push(Vec::new());
        }
        generation_of.insert(lease.shard_id.clone(), generation);
        generations[generation].push(lease);
    }
    generations
}

/// Open shards without a lease, and their listed ancestors without one.
fn unleased_lineages<'a>(
    shards: &'a [Shard],
    listed: &HashMap<&ShardId, &'a Shard>,
    leased: &HashMap<&ShardId, &Lease>,
) -> HashSet<&'a ShardId> {
    let mut unleased = HashSet::new();
    let mut left: Vec<&Shard> = shards.iter().filter(|shard| shard.is_open()).collect();
    while let Some(shard) = left.pop() {
        if !leased.contains_key(&shard.id) && unleased.insert(&shard.id) {
            left.extend(shard.parents.iter().filter_map(|parent| listed.get(parent)));
        }
    }
    unleased
}

fn by_shard<'a>(leases: &[&'a Lease]) -> HashMap<&'a ShardId, &'a Lease> {
    leases.iter().map(|lease| (&lease.shard_id, *lease)).collect()
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

pub(super) fn oldest_first<'a>(shards: impl Iterator<Item = &'a Shard>) -> impl Iterator<Item = &'a Shard> {
    let mut shards: Vec<&Shard> = shards.collect();
    shards.sort_by(|a, b| a.starting_sequence_number.cmp(&b.starting_sequence_number).then_with(|| a.id.cmp(&b.id)));
    shards.into_iter()
}

/// First part of the hash key space that no range covers; None if there is none. Overlaps are fine.
pub(crate) fn find_hole(ranges: impl IntoIterator<Item = HashKeyRange>) -> Option<HashKeyRange> {
    let mut ranges: Vec<HashKeyRange> = ranges.into_iter().collect();
    ranges.sort_by_key(|range| range.start);
    let mut uncovered = HashKey::MIN;
    for range in ranges {
        if range.start > uncovered {
            return Some(HashKeyRange { start: uncovered, end: HashKey(range.start.0 - 1) });
        }
        if range.end == HashKey::MAX {
            return None;
        }
        uncovered = uncovered.max(HashKey(range.end.0 + 1));
    }
    Some(HashKeyRange { start: uncovered, end: HashKey::MAX })
}

#[cfg(test)]
mod tests;
