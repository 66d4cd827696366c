use std::time::SystemTime;

use kpl::HashKey;
use proptest::prelude::*;

use super::*;

const AT_TIMESTAMP: InitialPosition = InitialPosition::AtTimestamp(SystemTime::UNIX_EPOCH);

fn shard(index: u32, parents: &[u32], open: bool, range: HashKeyRange) -> Shard {
    Shard {
        id: id(index),
        parents: parents.iter().copied().map(id).collect(),
        hash_key_range: range,
        starting_sequence_number: (index + 1).to_string().parse().unwrap(),
        ending_sequence_number: (!open).then(|| (index + 1000).to_string().parse().unwrap()),
    }
}

fn id(index: u32) -> ShardId {
    format!("shardId-{index:012}").into()
}

fn leased(indexes: &[u32]) -> HashSet<ShardId> {
    indexes.iter().map(|index| id(*index)).collect()
}

fn created(plan: &[Lease]) -> Vec<(u32, Checkpoint)> {
    plan.iter()
        .map(|lease| (lease.shard_id.as_str()["shardId-".len()..].parse().unwrap(), lease.checkpoint.clone()))
        .collect()
}

/// Shards 0 to 5; 0 + 1 became 6, 2 + 3 became 7, 6 + 7 became 8, 5 became 9 and 10, 4 stays.
fn tree() -> Vec<Shard> {
    let any = HashKeyRange::FULL;
    vec![
        shard(0, &[], false, any),
        shard(1, &[], false, any),
        shard(2, &[], false, any),
        shard(3, &[], false, any),
        shard(4, &[], true, any),
        shard(5, &[], false, any),
        shard(6, &[0, 1], false, any),
        shard(7, &[2, 3], false, any),
        shard(8, &[6, 7], true, any),
        shard(9, &[5], true, any),
        shard(10, &[5], true, any),
    ]
}

#[test]
fn an_empty_table_gets_a_lease_for_every_listed_shard_at_the_initial_position() {
    let half = HashKey(u128::MAX / 2);
    let lower = HashKeyRange { start: HashKey::MIN, end: half };
    let upper = HashKeyRange { start: HashKey(half.0 + 1), end: HashKey::MAX };
    let shards = [shard(1, &[], true, upper), shard(0, &[], true, lower)];

    let plan = plan_first(&shards, &InitialPosition::Latest).unwrap();

    assert_eq!(created(&plan), [(0, Checkpoint::Latest), (1, Checkpoint::Latest)]);
    assert_eq!(plan[0].hash_key_range, Some(lower));
}

#[test]
fn an_empty_table_waits_while_a_part_of_the_hash_key_space_is_not_listed() {
    let lower = HashKeyRange { start: HashKey::MIN, end: HashKey(9) };

    let refused = plan_first(&[shard(0, &[], true, lower)], &InitialPosition::TrimHorizon);

    assert_eq!(refused, Err(Inconsistent::Hole(HashKeyRange { start: HashKey(10), end: HashKey::MAX })));
}

#[test]
fn of_a_merge_with_one_leased_side_the_other_side_gets_its_lease() {
    let leases = leased(&[4, 5, 7]);

    let latest = plan_missing(&tree(), &leases, &InitialPosition::Latest).unwrap();
    assert_eq!(created(&latest), [(6, Checkpoint::Latest)]);
    let horizon = plan_missing(&tree(), &leases, &InitialPosition::TrimHorizon).unwrap();
    assert_eq!(created(&horizon), [(0, Checkpoint::TrimHorizon), (1, Checkpoint::TrimHorizon)]);
    let timestamp = plan_missing(&tree(), &leases, &AT_TIMESTAMP).unwrap();
    assert_eq!(created(&timestamp), [(0, Checkpoint::AtTimestamp), (1, Checkpoint::AtTimestamp)]);
}

#[test]
fn an_unreached_lineage_starts_at_its_oldest_listed_shards_or_with_latest_at_its_tip() {
    let none = leased(&[4]);

    let horizon = plan_missing(&tree(), &none, &InitialPosition::TrimHorizon).unwrap();
    assert_eq!(created(&horizon).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2, 3, 5]);
    let latest = plan_missing(&tree(), &none, &InitialPosition::Latest).unwrap();
    assert_eq!(created(&latest).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [8, 9, 10]);
}

/// What is planned for shards of which these have leases, at LATEST and at TRIM_HORIZON. AT_TIMESTAMP starts where
/// TRIM_HORIZON does.
fn assert_planned(shards: &[Shard], leases: &[u32], latest: &[u32], trim_horizon: &[u32]) {
    let planned = |position| created(&plan_missing(shards, &leased(leases), position).unwrap());
    let at = |shards: &[u32], checkpoint: Checkpoint| -> Vec<(u32, Checkpoint)> {
        shards.iter().map(|shard| (*shard, checkpoint.clone())).collect()
    };
    let horizon = InitialPosition::TrimHorizon;
    assert_eq!(planned(&InitialPosition::Latest), at(latest, Checkpoint::Latest), "{leases:?} LATEST");
    assert_eq!(planned(&horizon), at(trim_horizon, Checkpoint::TrimHorizon), "{leases:?} TRIM_HORIZON");
    assert_eq!(planned(&AT_TIMESTAMP), at(trim_horizon, Checkpoint::AtTimestamp), "{leases:?} AT_TIMESTAMP");
}

#[test]
fn splits_and_merges_are_planned_for_by_what_has_leases() {
    let all = tree();
    assert_planned(&all, &[0, 1, 2, 3, 4, 5], &[], &[]); // the first generation
    assert_planned(&all, &[4, 8, 9, 10], &[], &[]); // the last
    assert_planned(&all, &[4, 5, 6, 7], &[], &[]); // one between
    assert_planned(&all, &[4], &[8, 9, 10], &[0, 1, 2, 3, 5]);
    assert_planned(&all, &[6], &[4, 7, 9, 10], &[2, 3, 4, 5]); // half of a merge
    assert_planned(&all, &[8], &[4, 9, 10], &[4, 5]);
    assert_planned(&all, &[9], &[4, 8, 10], &[0, 1, 2, 3, 4, 5]); // half of a split
    assert_planned(&all, &[5, 9], &[4, 8], &[0, 1, 2, 3, 4]); // a split whose parent is still there
    assert_planned(&all, &[0, 8], &[4, 9, 10], &[4, 5]); // leases of several generations
}

#[test]
fn what_retention_has_forgotten_is_planned_for_from_the_oldest_that_is_left() {
    let left: Vec<Shard> = tree().into_iter().skip(4).collect();
    assert_planned(&left, &[4], &[8, 9, 10], &[5, 6, 7]);
    assert_planned(&left, &[6], &[4, 7, 9, 10], &[4, 5, 7]);
    assert_planned(&left, &[0, 1, 2, 3], &[4, 8, 9, 10], &[4, 5, 6, 7]); // leases of shards that are gone
    let tips: Vec<Shard> = tree().into_iter().filter(Shard::is_open).collect();
    assert_planned(&tips, &[9], &[4, 8, 10], &[4, 8, 10]);
}

#[test]
fn a_merge_of_sides_of_different_depth_waits_for_both() {
    // 0 became 2 and 3; 3 and 1 became 4.
    let any = HashKeyRange::FULL;
    let shards = vec![
        shard(0, &[], false, any),
        shard(1, &[], false, any),
        shard(2, &[0], true, any),
        shard(3, &[0], false, any),
        shard(4, &[3, 1], true, any),
    ];
    assert_planned(&shards, &[0], &[1], &[1]);
    assert_planned(&shards, &[1], &[2, 3], &[0]);
    assert_planned(&shards, &[2], &[4], &[0, 1]);
    assert_planned(&shards, &[2, 4], &[], &[]);
}

#[test]
fn descendants_of_leased_shards_wait_for_their_parents_to_end() {
    assert_eq!(plan_missing(&tree(), &leased(&[0, 1, 2, 3, 4, 5]), &InitialPosition::Latest), Ok(Vec::new()));
}

#[test]
fn parents_trimmed_from_the_listing_are_no_obstacle() {
    let shards = [shard(8, &[6, 7], true, HashKeyRange::FULL)];

    let plan = plan_missing(&shards, &leased(&[]), &InitialPosition::TrimHorizon).unwrap();

    assert_eq!(created(&plan), [(8, Checkpoint::TrimHorizon)]);
    assert_eq!(plan[0].parents, [id(6), id(7)]);
}

#[test]
fn a_child_of_an_open_parent_is_an_inconsistent_listing() {
    let shards = [shard(0, &[], true, HashKeyRange::FULL), shard(1, &[0], true, HashKeyRange::FULL)];

    let refused = plan_missing(&shards, &leased(&[]), &InitialPosition::Latest);

    assert_eq!(refused, Err(Inconsistent::OpenParent { child: id(1), parent: id(0) }));
}

#[test]
fn a_history_of_ten_thousand_splits_does_not_overflow_the_stack() {
    let shards: Vec<Shard> = (0..10_000)
        .map(|index| {
            let parent: &[u32] = if index == 0 { &[] } else { &[index - 1] };
            shard(index, parent, index == 9_999, HashKeyRange::FULL)
        })
        .collect();

    let plan = plan_missing(&shards, &leased(&[]), &InitialPosition::TrimHorizon).unwrap();

    assert_eq!(created(&plan), [(0, Checkpoint::TrimHorizon)]);
}

/// A random history of splits and merges over a hash key space of 16 cells.
fn history(steps: &[(prop::sample::Index, bool)]) -> Vec<Shard> {
    const CELL: u128 = 1 << 124;
    let range = |from: u128, to: u128| HashKeyRange {
        start: HashKey(from * CELL),
        end: HashKey(to.wrapping_mul(CELL).wrapping_sub(1)),
    };
    let mut shards = vec![shard(0, &[], true, HashKeyRange::FULL)];
    let mut open: Vec<(u32, u128, u128)> = vec![(0, 0, 16)];
    for (pick, merge) in steps {
        let at = pick.index(open.len());
        let (index, from, to) = open[at];
        let next = u32::try_from(shards.len()).unwrap();
        if *merge && at + 1 < open.len() {
            let (neighbour, _, neighbour_to) = open[at + 1];
            shards.push(shard(next, &[index, neighbour], true, range(from, neighbour_to)));
            close(&mut shards, &[index, neighbour]);
            open.splice(at..=at + 1, [(next, from, neighbour_to)]);
        } else if !*merge && to - from > 1 {
            let middle = from.midpoint(to);
            shards.push(shard(next, &[index], true, range(from, middle)));
            shards.push(shard(next + 1, &[index], true, range(middle, to)));
            close(&mut shards, &[index]);
            open.splice(at..=at, [(next, from, middle), (next + 1, middle, to)]);
        }
    }
    shards
}

fn close(shards: &mut [Shard], indexes: &[u32]) {
    for index in indexes {
        let shard = &mut shards[*index as usize];
        shard.ending_sequence_number = Some((index + 1000).to_string().parse().unwrap());
    }
}

/// Every open shard has a lease, or all its listed parents are reached.
fn reached(shards: &[Shard], leases: &HashSet<ShardId>, shard: &ShardId) -> bool {
    if leases.contains(shard) {
        return true;
    }
    let found = shards.iter().find(|candidate| candidate.id == *shard).unwrap();
    !found.parents.is_empty() && found.parents.iter().all(|parent| reached(shards, leases, parent))
}

proptest! {
    #[test]
    fn after_a_sync_every_open_shard_is_leased_or_reached_through_all_its_parents(
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
        kept in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        position in prop_oneof![Just(InitialPosition::TrimHorizon), Just(InitialPosition::Latest), Just(AT_TIMESTAMP)],
    ) {
        let shards = history(&steps);
        let mut leases: HashSet<ShardId> = kept.iter().map(|pick| shards[pick.index(shards.len())].id.clone()).collect();

        let plan = plan_missing(&shards, &leases, &position).unwrap();
        leases.extend(plan.iter().map(|lease| lease.shard_id.clone()));

        for shard in shards.iter().filter(|shard| shard.is_open()) {
            prop_assert!(reached(&shards, &leases, &shard.id), "{} is not reached by {leases:?}", shard.id);
        }
        prop_assert_eq!(plan_missing(&shards, &leases, &position).unwrap(), Vec::new(), "idempotent");
    }
}
