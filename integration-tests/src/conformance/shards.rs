//! Checks of ListShards: shards and their ranges, pages, the six filters.

use std::time::Duration;

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType};
use tokio::time::sleep;

use super::check::{api, checks};
use super::expect::{Failure, Outcome, equal, holds, present, refused};
use super::peer::Peer;
use super::stream::{HALF, LAST, Stream, ending, filter, filter_by_time, ids, range, shard_id};

const OVER_A_SECOND: Duration = Duration::from_millis(1100);

checks! {
    Kinesis ranges_of_shards_cover_the_hash_keys: api!("HashKeyRange");
    Kinesis ranges_of_shards_are_equally_long: api!("CreateStream");
    Kinesis an_open_shard_has_no_ending_sequence_number: api!("SequenceNumberRange");
    Kinesis shards_are_listed_after_an_id: api!("ListShards");
    Kinesis a_page_of_shards_ends_with_a_token: api!("ListShards");
    Kinesis a_token_continues_the_list_of_shards: api!("ListShards");
    Kinesis the_last_page_of_shards_has_no_token: api!("ListShards");
    Kinesis a_token_keeps_its_filter: api!("ListShards");
    Kinesis a_token_allows_no_name_beside_it: api!("ListShards");
    Kinesis a_token_that_is_none_is_refused: api!("ListShards");
    VirtualTime a_token_expires_after_300_seconds: api!("ListShards");
    Kinesis a_page_of_no_shards_is_refused: api!("ListShards");
    Kinesis a_page_of_more_than_10000_shards_is_refused: api!("ListShards");
    Kinesis at_latest_lists_open_shards: api!("ShardFilter");
    Kinesis at_trim_horizon_lists_what_was_open_then: api!("ShardFilter");
    Kinesis from_trim_horizon_lists_all: api!("ShardFilter");
    Kinesis after_shard_id_lists_later_ids: api!("ShardFilter");
    Kinesis at_timestamp_before_a_split_lists_the_parent: api!("ShardFilter");
    Kinesis at_timestamp_after_a_split_lists_the_children: api!("ShardFilter");
    Kinesis from_timestamp_before_a_split_lists_parent_and_children: api!("ShardFilter");
    Kinesis from_timestamp_after_a_split_lists_the_children: api!("ShardFilter");
    VirtualTime after_retention_at_trim_horizon_lists_the_children: api!("ShardFilter");
    VirtualTime after_retention_from_trim_horizon_lists_the_children: api!("ShardFilter");
    Kinesis after_shard_id_needs_an_id: api!("ShardFilter");
    Kinesis at_timestamp_needs_a_time: api!("ShardFilter");
    Kinesis a_filter_has_one_of_six_types: api!("ShardFilter");
}

async fn ranges_of_shards_cover_the_hash_keys(peer: Peer) -> Outcome {
    let shards = Stream::create(&peer, 3).await?.shards().await?;
    let mut next = 0;
    for shard in &shards[..shards.len() - 1] {
        let (start, end) = range(shard)?;
        equal("start of a range", start, next)?;
        next = end + 1;
    }
    let (start, end) = range(&shards[shards.len() - 1])?;
    equal("start of the last range", start, next)?;
    equal("end of the last range", end.to_string(), LAST)
}

async fn ranges_of_shards_are_equally_long(peer: Peer) -> Outcome {
    for shard in Stream::create(&peer, 4).await?.shards().await? {
        let (start, end) = range(&shard)?;
        equal("length of a range", end - start, u128::MAX / 4)?;
    }
    Ok(())
}

async fn an_open_shard_has_no_ending_sequence_number(peer: Peer) -> Outcome {
    let shard = Stream::create(&peer, 1).await?.shard(0).await?;
    present(shard.sequence_number_range().map(|range| range.starting_sequence_number()), "StartingSequenceNumber")?;
    equal("EndingSequenceNumber", ending(&shard), None::<&str>)
}

async fn shards_are_listed_after_an_id(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 3).await?;
    let list = stream.kinesis.list_shards().stream_name(&stream.name).exclusive_start_shard_id(shard_id(0));
    equal("shards", ids(list.send().await?.shards()), [shard_id(1), shard_id(2)])
}

/// A stream of three shards, the first page of two, and its token.
async fn paged(peer: &Peer) -> Result<(Stream, Vec<String>, String), Failure> {
    let stream = Stream::create(peer, 3).await?;
    let page = stream.kinesis.list_shards().stream_name(&stream.name).max_results(2).send().await?;
    let token = present(page.next_token(), "NextToken")?.to_owned();
    let shards = ids(page.shards()).into_iter().map(str::to_owned).collect();
    Ok((stream, shards, token))
}

async fn a_page_of_shards_ends_with_a_token(peer: Peer) -> Outcome {
    let (_, shards, _) = paged(&peer).await?;
    equal("shards", shards, [shard_id(0), shard_id(1)])
}

async fn a_token_continues_the_list_of_shards(peer: Peer) -> Outcome {
    let (stream, _, token) = paged(&peer).await?;
    let rest = stream.kinesis.list_shards().next_token(token).send().await?;
    equal("shards", ids(rest.shards()), [shard_id(2)])
}

async fn the_last_page_of_shards_has_no_token(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 3).await?;
    let page = stream.kinesis.list_shards().stream_name(&stream.name).max_results(3).send().await?;
    equal("token", page.next_token(), None::<&str>)
}

async fn a_token_keeps_its_filter(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 3).await?;
    stream.split(1, "170141183460469231731687303715884105728").await?;
    let list = stream.kinesis.list_shards().stream_name(&stream.name).max_results(1);
    let page = list.shard_filter(filter(ShardFilterType::AtLatest)).send().await?;
    equal("first page", ids(page.shards()), [shard_id(0)])?;
    let token = present(page.next_token(), "NextToken")?;
    let rest = stream.kinesis.list_shards().next_token(token).send().await?;
    equal("second page", ids(rest.shards()), [shard_id(2), shard_id(3), shard_id(4)])
}

async fn a_token_allows_no_name_beside_it(peer: Peer) -> Outcome {
    let (stream, _, token) = paged(&peer).await?;
    let both = stream.kinesis.list_shards().stream_name(&stream.name).next_token(token).send().await;
    refused(both, "InvalidArgumentException")
}

async fn a_token_that_is_none_is_refused(peer: Peer) -> Outcome {
    let answer = peer.kinesis().list_shards().next_token("none").send().await;
    refused(answer, "InvalidArgumentException")
}

async fn a_token_expires_after_300_seconds(peer: Peer) -> Outcome {
    let (stream, _, token) = paged(&peer).await?;
    sleep(Duration::from_secs(299)).await;
    stream.kinesis.list_shards().next_token(&token).send().await?;
    sleep(Duration::from_secs(2)).await;
    let late = stream.kinesis.list_shards().next_token(&token).send().await;
    refused(late, "ExpiredNextTokenException")
}

async fn a_page_of_no_shards_is_refused(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let list = stream.kinesis.list_shards().stream_name(&stream.name).max_results(0);
    refused(list.send().await, "ValidationException")
}

async fn a_page_of_more_than_10000_shards_is_refused(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.kinesis.list_shards().stream_name(&stream.name).max_results(10_000).send().await?;
    let list = stream.kinesis.list_shards().stream_name(&stream.name).max_results(10_001);
    refused(list.send().await, "ValidationException")
}

/// A stream whose one shard was split, and the times of a record before and of one after: more than a second apart, so
/// that times in whole seconds serve as well.
async fn split(peer: &Peer) -> Result<(Stream, DateTime, DateTime), Failure> {
    let stream = Stream::create(peer, 1).await?;
    sleep(OVER_A_SECOND).await;
    stream.put("k", "before").await?;
    let before = stream.arrival(0, 0).await?;
    sleep(OVER_A_SECOND).await;
    stream.split(0, HALF).await?;
    sleep(OVER_A_SECOND).await;
    stream.put_to("0", "after").await?;
    let after = stream.arrival(1, 0).await?;
    Ok((stream, before, after))
}

async fn at_latest_lists_open_shards(peer: Peer) -> Outcome {
    let (stream, _, _) = split(&peer).await?;
    equal("shards", stream.filtered(filter(ShardFilterType::AtLatest)).await?, [shard_id(1), shard_id(2)])
}

async fn at_trim_horizon_lists_what_was_open_then(peer: Peer) -> Outcome {
    let (stream, _, _) = split(&peer).await?;
    equal("shards", stream.filtered(filter(ShardFilterType::AtTrimHorizon)).await?, [shard_id(0)])
}

async fn from_trim_horizon_lists_all(peer: Peer) -> Outcome {
    let (stream, _, _) = split(&peer).await?;
    let shards = stream.filtered(filter(ShardFilterType::FromTrimHorizon)).await?;
    equal("shards", shards, [shard_id(0), shard_id(1), shard_id(2)])
}

async fn after_shard_id_lists_later_ids(peer: Peer) -> Outcome {
    let (stream, _, _) = split(&peer).await?;
    let after = ShardFilter::builder().r#type(ShardFilterType::AfterShardId).shard_id(shard_id(1));
    equal("shards", stream.filtered(after.build().expect("type is set")).await?, [shard_id(2)])
}

async fn at_timestamp_before_a_split_lists_the_parent(peer: Peer) -> Outcome {
    let (stream, before, _) = split(&peer).await?;
    let shards = stream.filtered(filter_by_time(ShardFilterType::AtTimestamp, before)).await?;
    equal("shards", shards, [shard_id(0)])
}

async fn at_timestamp_after_a_split_lists_the_children(peer: Peer) -> Outcome {
    let (stream, _, after) = split(&peer).await?;
    let shards = stream.filtered(filter_by_time(ShardFilterType::AtTimestamp, after)).await?;
    equal("shards", shards, [shard_id(1), shard_id(2)])
}

async fn from_timestamp_before_a_split_lists_parent_and_children(peer: Peer) -> Outcome {
    let (stream, before, _) = split(&peer).await?;
    let shards = stream.filtered(filter_by_time(ShardFilterType::FromTimestamp, before)).await?;
    equal("shards", shards, [shard_id(0), shard_id(1), shard_id(2)])
}

async fn from_timestamp_after_a_split_lists_the_children(peer: Peer) -> Outcome {
    let (stream, _, after) = split(&peer).await?;
    let shards = stream.filtered(filter_by_time(ShardFilterType::FromTimestamp, after)).await?;
    equal("shards", shards, [shard_id(1), shard_id(2)])
}

async fn after_retention_at_trim_horizon_lists_the_children(peer: Peer) -> Outcome {
    let (stream, _, _) = split(&peer).await?;
    sleep(Duration::from_secs(25 * 3600)).await;
    equal("shards", stream.filtered(filter(ShardFilterType::AtTrimHorizon)).await?, [shard_id(1), shard_id(2)])
}

async fn after_retention_from_trim_horizon_lists_the_children(peer: Peer) -> Outcome {
    let (stream, _, _) = split(&peer).await?;
    sleep(Duration::from_secs(25 * 3600)).await;
    equal("shards", stream.filtered(filter(ShardFilterType::FromTrimHorizon)).await?, [shard_id(1), shard_id(2)])
}

async fn filter_refused(peer: &Peer, filter: ShardFilter, code: &str) -> Outcome {
    let stream = Stream::create(peer, 1).await?;
    refused(stream.kinesis.list_shards().stream_name(&stream.name).shard_filter(filter).send().await, code)
}

async fn after_shard_id_needs_an_id(peer: Peer) -> Outcome {
    filter_refused(&peer, filter(ShardFilterType::AfterShardId), "InvalidArgumentException").await
}

async fn at_timestamp_needs_a_time(peer: Peer) -> Outcome {
    filter_refused(&peer, filter(ShardFilterType::AtTimestamp), "InvalidArgumentException").await
}

async fn a_filter_has_one_of_six_types(peer: Peer) -> Outcome {
    let created = Stream::create(&peer, 1).await?;
    let shards = created.shards().await?;
    holds(shards.len() == 1, "one shard")?;
    filter_refused(&peer, filter(ShardFilterType::from("AT_WHIM")), "ValidationException").await
}
