//! Splits, merges and scaling: lineage, and the end of a shard as its readers see it.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ScalingType, Shard, ShardIteratorType};

use super::{code, data, get, iterator, kinesis, message, put, shard};

const HALF: &str = "170141183460469231731687303715884105728";

async fn split(kinesis: &Client, shard_id: &str, at: &str) {
    kinesis.split_shard().stream_name("s").shard_to_split(shard_id).new_starting_hash_key(at).send().await.unwrap();
}

async fn merge(kinesis: &Client, one: &str, other: &str) {
    let request = kinesis.merge_shards().stream_name("s").shard_to_merge(one).adjacent_shard_to_merge(other);
    request.send().await.unwrap();
}

async fn scale(kinesis: &Client, target: i32) {
    let request = kinesis.update_shard_count().stream_name("s").target_shard_count(target);
    let answer = request.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
    assert_eq!(answer.target_shard_count(), Some(target));
}

async fn shards(kinesis: &Client) -> Vec<Shard> {
    kinesis.list_shards().stream_name("s").send().await.unwrap().shards.unwrap()
}

/// A shard as text: number, parents, whether it is closed.
fn lineage(shards: &[Shard]) -> Vec<String> {
    let number = |id: &str| id.trim_start_matches("shardId-").parse::<u32>().unwrap().to_string();
    let describe = |shard: &Shard| {
        let parents = shard.parent_shard_id().into_iter().chain(shard.adjacent_parent_shard_id());
        let parents = parents.map(number).collect::<Vec<_>>().join("+");
        let closed = shard.sequence_number_range().unwrap().ending_sequence_number().is_some();
        format!("{}<{parents}{}", number(shard.shard_id()), if closed { " closed" } else { "" })
    };
    shards.iter().map(describe).collect()
}

#[tokio::test(start_paused = true)]
async fn a_split_shard_has_two_children() {
    let kinesis = kinesis(1).await;

    split(&kinesis, &shard(0), HALF).await;

    let shards = shards(&kinesis).await;
    assert_eq!(lineage(&shards), ["0< closed", "1<0", "2<0"]);
    let ranges: Vec<_> = shards.iter().map(|shard| shard.hash_key_range().unwrap().starting_hash_key()).collect();
    assert_eq!(ranges, ["0", "0", HALF]);
}

#[tokio::test(start_paused = true)]
async fn a_merged_shard_has_two_parents() {
    let kinesis = kinesis(2).await;

    merge(&kinesis, &shard(0), &shard(1)).await;

    assert_eq!(lineage(&shards(&kinesis).await), ["0< closed", "1< closed", "2<0+1"]);
}

#[tokio::test(start_paused = true)]
async fn scaling_is_a_chain_of_splits_and_merges() {
    let kinesis = kinesis(2).await;

    scale(&kinesis, 4).await;
    assert_eq!(lineage(&shards(&kinesis).await), ["0< closed", "1< closed", "2<0", "3<0", "4<1", "5<1"]);

    scale(&kinesis, 3).await;
    let all = shards(&kinesis).await;
    let by_id = |id: &str| all.iter().find(|shard| shard.shard_id() == id).unwrap();
    for child in &all {
        for parent in child.parent_shard_id().into_iter().chain(child.adjacent_parent_shard_id()).map(by_id) {
            let ending = parent.sequence_number_range().unwrap().ending_sequence_number().unwrap();
            assert!(child.sequence_number_range().unwrap().starting_sequence_number() > ending);
        }
    }
    let mut open: Vec<_> = all
        .iter()
        .filter(|shard| shard.sequence_number_range().unwrap().ending_sequence_number().is_none())
        .map(|shard| shard.hash_key_range().unwrap().starting_hash_key().parse::<u128>().unwrap())
        .collect();
    open.sort_unstable();
    assert_eq!(open, [0, u128::MAX / 3, u128::MAX / 3 * 2]);
    assert!(all[6..].iter().all(|shard| shard.parent_shard_id().is_some()));
}

#[tokio::test(start_paused = true)]
async fn doubling_and_halving_leave_no_slivers() {
    let kinesis = kinesis(3).await;

    scale(&kinesis, 6).await;
    scale(&kinesis, 3).await;

    let splits = ["0< closed", "1< closed", "2< closed"];
    let halves = ["3<0 closed", "4<0 closed", "5<1 closed", "6<1 closed", "7<2 closed", "8<2 closed"];
    let merges = ["9<3+4", "10<5+6", "11<7+8"];
    assert_eq!(lineage(&shards(&kinesis).await), [&splits[..], &halves[..], &merges[..]].concat());
}

#[tokio::test(start_paused = true)]
async fn scaling_at_most_doubles_or_halves() {
    let kinesis = kinesis(3).await;
    let scale = async |target: i32| {
        let request = kinesis.update_shard_count().stream_name("s").target_shard_count(target);
        request.scaling_type(ScalingType::UniformScaling).send().await
    };

    assert_eq!(
        message(scale(7).await),
        "UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: 3, \
         Target shard count: 7"
    );
    assert!(scale(1).await.unwrap_err().into_service_error().is_limit_exceeded_exception());
    assert_eq!(code(scale(0).await), "ValidationException");
    assert_eq!(scale(6).await.unwrap().current_shard_count(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_read_to_its_end_and_names_its_children() {
    let kinesis = kinesis(1).await;
    put(&kinesis, "k", "1").await;
    put(&kinesis, "k", "2").await;
    let start = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;
    let tip = iterator(&kinesis, &shard(0), ShardIteratorType::Latest).await;
    split(&kinesis, &shard(0), HALF).await;

    let first = kinesis.get_records().shard_iterator(start).limit(1).send().await.unwrap();
    assert_eq!((data(&first), first.child_shards()), (vec!["1"], &[][..]));

    let last = get(&kinesis, first.next_shard_iterator().unwrap()).await;
    assert_eq!(data(&last), ["2"]);
    assert_eq!((last.next_shard_iterator(), last.millis_behind_latest()), (None, Some(0)));
    let children: Vec<_> = last.child_shards().iter().map(|child| (child.shard_id(), child.parent_shards())).collect();
    assert_eq!(children, [(&*shard(1), &[shard(0)][..]), (&*shard(2), &[shard(0)][..])]);
    assert_eq!(last.child_shards()[1].hash_key_range().unwrap().starting_hash_key(), HALF);

    let at_tip = get(&kinesis, &tip).await;
    assert!(at_tip.records().is_empty() && at_tip.next_shard_iterator().is_none());
    assert_eq!(at_tip.child_shards().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn both_parents_of_a_merge_name_their_child() {
    let kinesis = kinesis(2).await;
    merge(&kinesis, &shard(0), &shard(1)).await;

    for parent in [shard(0), shard(1)] {
        let end = get(&kinesis, &iterator(&kinesis, &parent, ShardIteratorType::TrimHorizon).await).await;
        assert_eq!(end.child_shards()[0].shard_id(), shard(2));
        assert_eq!(end.child_shards()[0].parent_shards(), [shard(0), shard(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_of_children_are_above_those_of_their_parents() {
    let kinesis = kinesis(1).await;
    let mut last = put(&kinesis, "k", "x").await;
    for round in 1..6 {
        let open = shards(&kinesis).await.len();
        if round % 2 == 1 {
            split(&kinesis, last.shard_id(), HALF).await;
        } else {
            merge(&kinesis, &shard(open as u32 - 2), &shard(open as u32 - 1)).await;
        }
        let next = put(&kinesis, "k", "x").await;
        assert_ne!(next.shard_id(), last.shard_id());
        assert!(next.sequence_number() > last.sequence_number());
        last = next;
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_impossible_reshardings() {
    let kinesis = kinesis(3).await;
    let split = async |shard_id: String, at: &str| {
        code(kinesis.split_shard().stream_name("s").shard_to_split(shard_id).new_starting_hash_key(at).send().await)
    };
    let merge = async |one: u32, other: u32| {
        let request = kinesis.merge_shards().stream_name("s").shard_to_merge(shard(one));
        request.adjacent_shard_to_merge(shard(other)).send().await
    };

    assert_eq!(split(shard(9), "5").await, "ResourceNotFoundException");
    assert_eq!(split(shard(0), "0").await, "InvalidArgumentException");
    assert_eq!(split(shard(0), HALF).await, "InvalidArgumentException");
    assert_eq!(split(shard(0), "half").await, "ValidationException");
    assert_eq!(code(merge(0, 2).await), "InvalidArgumentException");
    assert_eq!(code(merge(0, 0).await), "InvalidArgumentException");
    merge(1, 0).await.unwrap();
    assert_eq!(code(merge(0, 1).await), "InvalidArgumentException", "both are closed");
}
