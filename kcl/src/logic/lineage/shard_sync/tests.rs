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

#[test]
fn streams_are_untouched_until_one_of_their_leases_was_taken() {
    let new = Lease::unowned(id(0), Checkpoint::Latest);
    let (taken, owned) = (Lease { counter: 1, ..new.clone() }, Lease { owner: Some("w".into()), ..new.clone() });
    let leases = [("a", &new), ("b", &new), ("b", &taken), ("c", &owned), ("c", &new), ("a", &new)];

    let untouched = untouched_streams(leases.iter().map(|(stream, lease)| (StreamId::from(*stream), *lease)));

    assert_eq!(untouched, HashSet::from(["a".into()]));
}

/// Leases of these shards, being processed.
fn leased(indexes: &[u32]) -> Vec<Lease> {
    let begun = |index: &u32| Lease { counter: 1, ..Lease::unowned(id(*index), Checkpoint::TrimHorizon) };
    indexes.iter().map(begun).collect()
}

/// Leases of these shards, processed to their ends.
fn ended(indexes: &[u32]) -> Vec<Lease> {
    leased(indexes).into_iter().map(|lease| Lease { checkpoint: Checkpoint::ShardEnd, ..lease }).collect()
}

fn plan(shards: &[Shard], leases: &[Lease], position: &InitialPosition) -> Result<Vec<Lease>, Inconsistent> {
    plan_missing(shards, &leases.iter().collect::<Vec<_>>(), position)
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
fn creates_a_lease_for_every_listed_shard_in_an_empty_table() {
    let half = HashKey(u128::MAX / 2);
    let lower = HashKeyRange { start: HashKey::MIN, end: half };
    let upper = HashKeyRange { start: HashKey(half.0 + 1), end: HashKey::MAX };
    let shards = [shard(1, &[], true, upper), shard(0, &[], true, lower)];

    let plan = plan_first(&shards, &[], &InitialPosition::Latest).unwrap();

    assert_eq!(created(&plan), [(0, Checkpoint::Latest), (1, Checkpoint::Latest)]);
    assert_eq!(plan[0].hash_key_range, Some(lower));
}

#[test]
fn an_empty_table_waits_while_a_part_of_the_hash_key_space_is_not_listed() {
    let lower = HashKeyRange { start: HashKey::MIN, end: HashKey(9) };

    let refused = plan_first(&[shard(0, &[], true, lower)], &[], &InitialPosition::TrimHorizon);

    assert_eq!(refused, Err(Inconsistent::Hole(HashKeyRange { start: HashKey(10), end: HashKey::MAX })));
}

#[test]
fn a_first_plan_that_was_interrupted_is_completed_at_the_initial_position() {
    let half = HashKey(u128::MAX / 2);
    let lower = HashKeyRange { start: HashKey::MIN, end: half };
    let upper = HashKeyRange { start: HashKey(half.0 + 1), end: HashKey::MAX };
    let shards = [shard(8, &[6, 7], true, lower), shard(9, &[5], true, upper)];
    let position = InitialPosition::Latest;
    let first = plan_first(&shards, &[], &position).unwrap().remove(0);

    assert!(is_unread(&[], &position) && is_unread(&[&first], &position));
    let rest = plan_first(&shards, &[&first], &position).unwrap();

    assert_eq!(created(&rest), [(9, Checkpoint::Latest)]);
}

#[test]
fn leases_are_created_after_those_of_all_their_ancestors() {
    let plan: Vec<Lease> = tree().iter().map(|shard| new_lease(shard, Checkpoint::TrimHorizon)).collect();

    let generations = generations(plan);

    let numbers: Vec<Vec<u32>> =
        generations.iter().map(|leases| created(leases).into_iter().map(|(number, _)| number).collect()).collect();
    assert_eq!(numbers, [vec![0, 1, 2, 3, 4, 5], vec![6, 7, 9, 10], vec![8]]);
}

#[test]
fn takes_a_stream_for_read_once_a_lease_was_taken_or_has_moved() {
    let new = Lease::unowned(id(0), Checkpoint::Latest);
    let taken = Lease { counter: 1, ..new.clone() };
    let owned = Lease { owner: Some("w1".into()), ..new.clone() };
    let child = Lease { checkpoint: Checkpoint::TrimHorizon, ..new.clone() };
    for read in [taken, owned, child] {
        assert!(!is_unread(&[&new, &read], &InitialPosition::Latest), "{read:?}");
    }
}

#[test]
fn gives_leases_to_the_other_side_of_a_half_leased_merge() {
    let leases = leased(&[4, 5, 7]);

    for (position, checkpoint) in positions() {
        let plan = plan(&tree(), &leases, &position).unwrap();
        assert_eq!(created(&plan), [(0, checkpoint.clone()), (1, checkpoint)]);
    }
}

/// Each initial position and its checkpoint.
fn positions() -> [(InitialPosition, Checkpoint); 3] {
    let with_checkpoint = |position| (position, Checkpoint::initial(&position));
    [InitialPosition::Latest, InitialPosition::TrimHorizon, AT_TIMESTAMP].map(with_checkpoint)
}

/// Plan for shards that have these leases: shards without parents at the initial position, all others at
/// TRIM_HORIZON.
fn assert_planned(shards: &[Shard], leases: &[Lease], expected: &[u32]) {
    for (position, checkpoint) in positions() {
        let checkpoint = |index: &u32| match shards.iter().find(|shard| shard.id == id(*index)) {
            Some(shard) if shard.parents.is_empty() => checkpoint.clone(),
            _ => Checkpoint::TrimHorizon,
        };
        let expected: Vec<_> = expected.iter().map(|index| (*index, checkpoint(index))).collect();
        let planned = created(&plan(shards, leases, &position).unwrap());
        assert_eq!(planned, expected, "{position:?} with {leases:?}");
    }
}

#[test]
fn splits_and_merges_are_planned_for_by_what_has_leases() {
    let all = tree();
    assert_planned(&all, &leased(&[0, 1, 2, 3, 4, 5]), &[]); // the first generation
    assert_planned(&all, &leased(&[4, 8, 9, 10]), &[]); // the last
    assert_planned(&all, &leased(&[4, 5, 6, 7]), &[]); // one between
    assert_planned(&all, &leased(&[4]), &[0, 1, 2, 3, 5]);
    assert_planned(&all, &leased(&[6]), &[2, 3, 4, 5]); // half of a merge
    assert_planned(&all, &leased(&[8]), &[4, 5]);
    assert_planned(&all, &leased(&[9]), &[0, 1, 2, 3, 4, 5]); // half of a split
    assert_planned(&all, &leased(&[5, 9]), &[0, 1, 2, 3, 4]); // a split whose parent is still there
    assert_planned(&all, &leased(&[0, 8]), &[4, 5]); // leases of several generations
}

#[test]
fn a_leased_parent_leads_to_its_children_listed_or_not() {
    let left: Vec<Shard> = tree().into_iter().skip(4).collect();
    assert_planned(&left, &leased(&[0, 1, 2, 3]), &[4, 5]);
    assert_planned(&left, &leased(&[0, 3]), &[4, 5]); // one side of each merge is gone altogether
    let tips: Vec<Shard> = tree().into_iter().filter(Shard::is_open).collect();
    assert_planned(&tips, &leased(&[4, 5, 6, 7]), &[]);
    assert_planned(&tips, &leased(&[4, 5, 7]), &[]);
}

#[test]
fn starts_shards_cut_off_by_retention_at_the_oldest_that_is_left() {
    let left: Vec<Shard> = tree().into_iter().skip(4).collect();
    assert_planned(&left, &leased(&[4]), &[5, 6, 7]);
    assert_planned(&left, &leased(&[6]), &[4, 5, 7]);
    let tips: Vec<Shard> = tree().into_iter().filter(Shard::is_open).collect();
    assert_planned(&tips, &leased(&[9]), &[4, 8, 10]);
    assert_planned(&tips, &leased(&[0, 1, 2, 3, 4, 5]), &[8]); // leases of grandparents that are gone
}

#[test]
fn an_ended_lease_leads_nowhere() {
    let tips: Vec<Shard> = tree().into_iter().filter(Shard::is_open).collect();
    for shards in [&tree(), &tips] {
        let leases = [ended(&[5, 6, 7]), leased(&[4])].concat();
        assert_planned(shards, &leases, &[8, 9, 10]);
    }
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
    assert_planned(&shards, &leased(&[0]), &[1]);
    assert_planned(&shards, &leased(&[1]), &[0]);
    assert_planned(&shards, &leased(&[2]), &[0, 1]);
    assert_planned(&shards, &leased(&[2, 4]), &[]);
}

#[test]
fn a_child_of_an_open_parent_is_an_inconsistent_listing() {
    let shards = [shard(0, &[], true, HashKeyRange::FULL), shard(1, &[0], true, HashKeyRange::FULL)];

    let refused = plan(&shards, &leased(&[9]), &InitialPosition::Latest);

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

    assert_planned(&shards, &[], &[0]);
}

/// A stream of which the shards are split and merged; its hash key space has 16 cells.
struct Resharded {
    shards: Vec<Shard>,
    /// Index, first cell and last cell + 1 of the open ones, in the order of their ranges.
    open: Vec<(u32, u128, u128)>,
}

impl Resharded {
    const CELL: u128 = 1 << 124;

    fn new() -> Self {
        Self { shards: vec![shard(0, &[], true, HashKeyRange::FULL)], open: vec![(0, 0, 16)] }
    }

    fn open_shard(&mut self, parents: &[u32], from: u128, to: u128) -> (u32, u128, u128) {
        let start = HashKey(from * Self::CELL);
        let range = HashKeyRange { start, end: HashKey(to.wrapping_mul(Self::CELL).wrapping_sub(1)) };
        let index = u32::try_from(self.shards.len()).unwrap();
        self.shards.push(shard(index, parents, true, range));
        for parent in parents {
            self.shards[*parent as usize].ending_sequence_number = Some((parent + 1000).to_string().parse().unwrap());
        }
        (index, from, to)
    }

    /// Merges a shard with its right neighbour, or splits it, if that can be done.
    fn reshard(&mut self, pick: &prop::sample::Index, merge: bool) {
        let at = pick.index(self.open.len());
        let (index, from, to) = self.open[at];
        if merge && at + 1 < self.open.len() {
            let (neighbour, _, neighbour_to) = self.open[at + 1];
            let merged = self.open_shard(&[index, neighbour], from, neighbour_to);
            self.open.splice(at..=at + 1, [merged]);
        } else if !merge && to - from > 1 {
            let middle = from.midpoint(to);
            let halves = [(from, middle), (middle, to)].map(|(from, to)| self.open_shard(&[index], from, to));
            self.open.splice(at..=at, halves);
        }
    }
}

/// A lease, or all listed parents, lead to the shard.
fn reached(shards: &[Shard], leases: &[Lease], shard: &ShardId) -> bool {
    if leases.iter().any(|lease| lease.shard_id == *shard) {
        return true;
    }
    let found = shards.iter().find(|candidate| candidate.id == *shard).unwrap();
    !found.parents.is_empty() && found.parents.iter().all(|parent| reached(shards, leases, parent))
}

proptest! {
    #[test]
    fn leases_every_open_shard_or_reaches_it_through_all_its_parents(
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
        kept in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        position in prop_oneof![Just(InitialPosition::TrimHorizon), Just(InitialPosition::Latest), Just(AT_TIMESTAMP)],
    ) {
        let mut stream = Resharded::new();
        steps.iter().for_each(|(pick, merge)| stream.reshard(pick, *merge));
        let shards = stream.shards;
        let kept: HashSet<usize> = kept.iter().map(|pick| pick.index(shards.len())).collect();
        let mut leases: Vec<Lease> = kept.into_iter().flat_map(|index| leased(&[index as u32])).collect();

        leases.extend(plan(&shards, &leases, &position).unwrap());

        for shard in shards.iter().filter(|shard| shard.is_open()) {
            prop_assert!(reached(&shards, &leases, &shard.id), "{} is not reached by {leases:?}", shard.id);
        }
        prop_assert_eq!(plan(&shards, &leases, &position).unwrap(), Vec::new(), "idempotent");
    }
}

mod coverage;
mod lifetimes;
