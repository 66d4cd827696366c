//! Checks of SplitShard, MergeShards and UpdateShardCount: lineage, and how a closed shard is read to its end.

use std::collections::BTreeSet;

use aws_sdk_kinesis::types::{ScalingType, Shard, ShardFilterType, ShardIteratorType};

use super::check::{api, checks, guide};
use super::expect::{Failure, Outcome, equal, holds, present, refused, refused_with};
use super::peer::Peer;
use super::stream::{BELOW_HALF, HALF, Stream, ending, filter, number, range, shard_id};

const RESHARDING: &str = guide!("streams/latest/dev/kinesis-using-sdk-java-after-resharding");

checks! {
    Kinesis a_split_closes_the_shard: api!("SplitShard");
    Kinesis a_split_opens_two_shards_with_the_next_ids: api!("SplitShard");
    Kinesis shards_of_a_split_have_the_ranges_asked_for: api!("SplitShard");
    Kinesis shards_of_a_split_have_one_parent: api!("Shard");
    Kinesis numbers_of_children_start_after_those_of_their_parent: RESHARDING;
    Kinesis the_ending_number_is_not_before_the_last_record: api!("SequenceNumberRange");
    Kinesis a_merge_closes_both_shards: api!("MergeShards");
    Kinesis the_shard_of_a_merge_has_both_ranges: api!("MergeShards");
    Kinesis the_shard_of_a_merge_has_two_parents: api!("Shard");
    Kinesis scaling_up_opens_shards_of_equal_size: api!("UpdateShardCount");
    Kinesis scaling_down_opens_shards_of_equal_size: api!("UpdateShardCount");
    Kinesis scaling_tells_counts_before_and_after: api!("UpdateShardCount");
    Kinesis shards_of_a_scaling_have_parents: api!("Shard");
    Kinesis the_open_shard_count_follows_changes: api!("StreamDescriptionSummary");
    Kinesis records_before_a_split_stay_in_the_parent: RESHARDING;
    Kinesis records_after_a_split_go_to_the_children: RESHARDING;
    Kinesis a_closed_shard_ends_without_a_next_iterator: api!("GetRecords");
    Kinesis the_end_of_a_split_shard_tells_its_children: api!("GetRecords");
    Kinesis the_end_of_a_merged_shard_tells_its_child: api!("GetRecords");
    Kinesis children_are_told_with_parents_and_ranges: api!("ChildShard");
    Kinesis an_open_shard_tells_no_children: api!("GetRecords");
    Kinesis the_end_of_a_shard_can_be_read_again: api!("GetRecords");
    Kinesis latest_of_a_closed_shard_is_its_end: api!("GetShardIterator");
    Kinesis an_iterator_from_before_a_split_reads_to_the_end: RESHARDING;
    Kinesis a_split_at_the_start_of_a_range_is_refused: api!("SplitShard");
    Kinesis a_split_outside_of_the_range_is_refused: api!("SplitShard");
    Kinesis a_closed_shard_cannot_be_split: api!("SplitShard");
    Kinesis shards_that_are_not_adjacent_cannot_be_merged: api!("MergeShards");
    Kinesis scaling_above_double_is_refused: api!("UpdateShardCount");
    Kinesis scaling_below_half_is_refused: api!("UpdateShardCount");
    Kinesis scaling_is_uniform: api!("UpdateShardCount");
}

/// A stream whose one shard holds `0`, `1` and `2` and was split in the middle.
async fn split(peer: &Peer) -> Result<Stream, Failure> {
    let stream = Stream::create(peer, 1).await?;
    for n in 0..3 {
        stream.put("k", n.to_string()).await?;
    }
    stream.split(0, HALF).await?;
    Ok(stream)
}

/// A stream whose two shards hold `lower` and `upper` and were merged.
async fn merged(peer: &Peer) -> Result<Stream, Failure> {
    let stream = Stream::create(peer, 2).await?;
    stream.put_to("0", "lower").await?;
    stream.put_to(HALF, "upper").await?;
    stream.merge(0, 1).await?;
    Ok(stream)
}

async fn a_split_closes_the_shard(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    holds(ending(&stream.shard(0).await?).is_some(), "the parent has an EndingSequenceNumber")?;
    holds(ending(&stream.shard(1).await?).is_none(), "a child has none")
}

async fn a_split_opens_two_shards_with_the_next_ids(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    equal("open shards", stream.filtered(filter(ShardFilterType::AtLatest)).await?, [shard_id(1), shard_id(2)])
}

async fn shards_of_a_split_have_the_ranges_asked_for(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let (lower, upper) = (range(&stream.shard(1).await?)?, range(&stream.shard(2).await?)?);
    equal("lower range", (lower.0, lower.1.to_string()), (0, BELOW_HALF.to_owned()))?;
    equal("upper range", (upper.0.to_string(), upper.1), (HALF.to_owned(), u128::MAX))
}

/// The parents that a listing tells.
fn parents(shard: &Shard) -> (Option<&str>, Option<&str>) {
    (shard.parent_shard_id(), shard.adjacent_parent_shard_id())
}

async fn shards_of_a_split_have_one_parent(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let parent = shard_id(0);
    equal("parents of the parent", parents(&stream.shard(0).await?), (None, None))?;
    equal("parents of the lower child", parents(&stream.shard(1).await?), (Some(parent.as_str()), None))?;
    equal("parents of the upper child", parents(&stream.shard(2).await?), (Some(parent.as_str()), None))
}

async fn numbers_of_children_start_after_those_of_their_parent(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let parent = stream.shard(0).await?;
    let child = stream.shard(1).await?;
    let end = number(present(ending(&parent), "EndingSequenceNumber")?)?;
    let start = present(child.sequence_number_range(), "SequenceNumberRange")?.starting_sequence_number();
    holds(number(start)? > end, format!("{start} is after {end:?}"))?;
    let put = stream.put_to("0", "x").await?;
    holds(number(put.sequence_number())? > end, format!("{} is after {end:?}", put.sequence_number()))
}

async fn the_ending_number_is_not_before_the_last_record(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let shard = stream.shard(0).await?;
    let end = number(present(ending(&shard), "EndingSequenceNumber")?)?;
    let reading = stream.read_all(0).await?;
    let last = number(present(reading.records.last(), "record")?.sequence_number())?;
    holds(end >= last, format!("{end:?} is not before {last:?}"))
}

async fn a_merge_closes_both_shards(peer: Peer) -> Outcome {
    let stream = merged(&peer).await?;
    let closed = [stream.shard(0).await?, stream.shard(1).await?];
    holds(closed.iter().all(|shard| ending(shard).is_some()), "both parents have an EndingSequenceNumber")?;
    equal("open shards", stream.filtered(filter(ShardFilterType::AtLatest)).await?, [shard_id(2)])
}

async fn the_shard_of_a_merge_has_both_ranges(peer: Peer) -> Outcome {
    let stream = merged(&peer).await?;
    equal("range", range(&stream.shard(2).await?)?, (0, u128::MAX))
}

async fn the_shard_of_a_merge_has_two_parents(peer: Peer) -> Outcome {
    let stream = merged(&peer).await?;
    let child = stream.shard(2).await?;
    let told: BTreeSet<_> = [child.parent_shard_id(), child.adjacent_parent_shard_id()].into_iter().flatten().collect();
    equal("parents", told, BTreeSet::from([shard_id(0).as_str(), shard_id(1).as_str()]))
}

/// Ranges of the open shards, in order.
async fn open_ranges(stream: &Stream) -> Result<Vec<(u128, u128)>, Failure> {
    let shards = stream.shards().await?;
    let open = shards.iter().filter(|shard| ending(shard).is_none());
    let mut ranges = open.map(range).collect::<Result<Vec<_>, _>>()?;
    ranges.sort_unstable();
    Ok(ranges)
}

async fn scaled(peer: &Peer, from: i32, to: i32) -> Outcome {
    let stream = Stream::create(peer, from).await?;
    stream.scale(to).await?;
    let ranges = open_ranges(&stream).await?;
    equal("open shards", ranges.len(), usize::try_from(to).unwrap_or_default())?;
    let mut next = Some(0);
    for (start, end) in ranges {
        equal("start of a range", Some(start), next)?;
        let equal_length = u128::MAX / u128::try_from(to).unwrap_or(1);
        holds((end - start).abs_diff(equal_length) < 1 << 20, format!("{start} to {end} is {equal_length} long"))?;
        next = end.checked_add(1);
    }
    equal("after the last range", next, None)
}

async fn scaling_up_opens_shards_of_equal_size(peer: Peer) -> Outcome {
    scaled(&peer, 2, 3).await?;
    scaled(&peer, 2, 4).await
}

async fn scaling_down_opens_shards_of_equal_size(peer: Peer) -> Outcome {
    scaled(&peer, 3, 2).await?;
    scaled(&peer, 4, 2).await
}

async fn scaling_tells_counts_before_and_after(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let scale = stream.kinesis.update_shard_count().stream_name(&stream.name).target_shard_count(2);
    let answer = scale.scaling_type(ScalingType::UniformScaling).send().await?;
    equal("counts", (answer.current_shard_count(), answer.target_shard_count()), (Some(1), Some(2)))
}

async fn shards_of_a_scaling_have_parents(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    stream.scale(4).await?;
    stream.scale(3).await?;
    let shards = stream.shards().await?;
    let listed: BTreeSet<_> = shards.iter().map(Shard::shard_id).collect();
    for shard in shards.iter().filter(|shard| ![shard_id(0), shard_id(1)].contains(&shard.shard_id().to_owned())) {
        let parent = present(shard.parent_shard_id(), &format!("parent of {}", shard.shard_id()))?;
        holds(listed.contains(parent), format!("{parent}, parent of {}, is listed", shard.shard_id()))?;
    }
    holds(shards.len() > 4, format!("closed shards are among {}", shards.len()))
}

async fn the_open_shard_count_follows_changes(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.split(0, HALF).await?;
    equal("after a split", stream.summary().await?.open_shard_count(), 2)?;
    stream.merge(1, 2).await?;
    equal("after a merge", stream.summary().await?.open_shard_count(), 1)
}

async fn records_before_a_split_stay_in_the_parent(peer: Peer) -> Outcome {
    equal("records", split(&peer).await?.read_all(0).await?.texts(), ["0", "1", "2"])
}

async fn records_after_a_split_go_to_the_children(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    equal("shard of a low hash key", stream.put_to(BELOW_HALF, "low").await?.shard_id(), shard_id(1))?;
    equal("shard of a high hash key", stream.put_to(HALF, "high").await?.shard_id(), shard_id(2))?;
    equal("records of the upper child", stream.read_all(2).await?.texts(), ["high"])
}

async fn a_closed_shard_ends_without_a_next_iterator(peer: Peer) -> Outcome {
    let reading = split(&peer).await?.read_closed(0).await?;
    equal("records", reading.records.len(), 3)
}

/// Ids of the children that the end of a shard tells.
async fn children(stream: &Stream, n: usize) -> Result<Vec<String>, Failure> {
    let reading = stream.read_closed(n).await?;
    Ok(reading.last.child_shards().iter().map(|child| child.shard_id().to_owned()).collect())
}

async fn the_end_of_a_split_shard_tells_its_children(peer: Peer) -> Outcome {
    equal("children", children(&split(&peer).await?, 0).await?, [shard_id(1), shard_id(2)])
}

async fn the_end_of_a_merged_shard_tells_its_child(peer: Peer) -> Outcome {
    let stream = merged(&peer).await?;
    equal("children of the lower shard", children(&stream, 0).await?, [shard_id(2)])?;
    equal("children of the upper shard", children(&stream, 1).await?, [shard_id(2)])
}

async fn children_are_told_with_parents_and_ranges(peer: Peer) -> Outcome {
    let stream = merged(&peer).await?;
    let reading = stream.read_closed(1).await?;
    let child = present(reading.last.child_shards().first(), "ChildShards")?;
    let parents: BTreeSet<_> = child.parent_shards().iter().cloned().collect();
    equal("parents", parents, BTreeSet::from([shard_id(0), shard_id(1)]))?;
    equal("start of the range", child.hash_key_range().map(|range| range.starting_hash_key()), Some("0"))
}

async fn an_open_shard_tells_no_children(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let reading = stream.read_all(1).await?;
    holds(!reading.is_at_end() && reading.last.child_shards().is_empty(), "an open shard does not end")
}

async fn the_end_of_a_shard_can_be_read_again(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let first = children(&stream, 0).await?;
    equal("children", children(&stream, 0).await?, first)
}

async fn latest_of_a_closed_shard_is_its_end(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let reading = stream.read_to_end(&stream.iterator(0, ShardIteratorType::Latest).await?).await?;
    equal("records", reading.texts(), [""; 0])
}

async fn an_iterator_from_before_a_split_reads_to_the_end(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "0").await?;
    let answer = stream.get(&stream.iterator(0, ShardIteratorType::TrimHorizon).await?).await?;
    stream.put("k", "1").await?;
    stream.split(0, HALF).await?;
    let reading = stream.read_to_end(present(answer.next_shard_iterator(), "NextShardIterator")?).await?;
    equal("records", reading.texts(), ["1"])
}

async fn split_refused(stream: &Stream, n: usize, at: &str) -> Outcome {
    let split = stream.kinesis.split_shard().stream_name(&stream.name).shard_to_split(shard_id(n));
    refused(split.new_starting_hash_key(at).send().await, "InvalidArgumentException")
}

async fn a_split_at_the_start_of_a_range_is_refused(peer: Peer) -> Outcome {
    split_refused(&Stream::create(&peer, 2).await?, 1, HALF).await
}

async fn a_split_outside_of_the_range_is_refused(peer: Peer) -> Outcome {
    split_refused(&Stream::create(&peer, 2).await?, 1, "5").await
}

async fn a_closed_shard_cannot_be_split(peer: Peer) -> Outcome {
    let stream = split(&peer).await?;
    let again = stream.kinesis.split_shard().stream_name(&stream.name).shard_to_split(shard_id(0));
    let answer = again.new_starting_hash_key("100").send().await;
    refused_with(answer, &["InvalidArgumentException", "ResourceInUseException", "ValidationException"])
}

async fn shards_that_are_not_adjacent_cannot_be_merged(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 3).await?;
    let merge = stream.kinesis.merge_shards().stream_name(&stream.name).shard_to_merge(shard_id(0));
    refused(merge.adjacent_shard_to_merge(shard_id(2)).send().await, "InvalidArgumentException")
}

async fn scaling_refused(peer: &Peer, from: i32, to: i32) -> Outcome {
    let stream = Stream::create(peer, from).await?;
    let scale = stream.kinesis.update_shard_count().stream_name(&stream.name).target_shard_count(to);
    let answer = scale.scaling_type(ScalingType::UniformScaling).send().await;
    refused_with(answer, &["LimitExceededException", "InvalidArgumentException", "ValidationException"])?;
    equal("open shards", open_ranges(&stream).await?.len(), usize::try_from(from).unwrap_or_default())
}

async fn scaling_above_double_is_refused(peer: Peer) -> Outcome {
    scaling_refused(&peer, 2, 5).await
}

async fn scaling_below_half_is_refused(peer: Peer) -> Outcome {
    scaling_refused(&peer, 5, 2).await
}

async fn scaling_is_uniform(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let scale = stream.kinesis.update_shard_count().stream_name(&stream.name).target_shard_count(2);
    refused(scale.scaling_type(ScalingType::from("SOMEHOW")).send().await, "ValidationException")
}
