//! ListShards: filters, pages, tokens, and every way to name a stream.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{ScalingType, ShardFilter, ShardFilterType, ShardIteratorType};
use kinesis_local::LocalAws;
use tokio::time::sleep;

use super::{code, kinesis, message, shard};

const QUARTER: &str = "85070591730234615865843651857942052864";

fn ids(answer: &ListShardsOutput) -> Vec<String> {
    answer.shards().iter().map(|shard| shard.shard_id().to_owned()).collect()
}

fn numbered(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|n| shard(*n)).collect()
}

fn filter(filter_type: ShardFilterType) -> ShardFilter {
    ShardFilter::builder().r#type(filter_type).build().unwrap()
}

fn timed(filter_type: ShardFilterType, time: DateTime) -> ShardFilter {
    ShardFilter::builder().r#type(filter_type).timestamp(time).build().unwrap()
}

fn after(shard_id: String) -> ShardFilter {
    ShardFilter::builder().r#type(ShardFilterType::AfterShardId).shard_id(shard_id).build().unwrap()
}

/// Shards 0 and 1; ten seconds later 0 splits into 2 and 3; ten seconds later 3 and 1 merge into 4; ten seconds later
/// it is now. Returns the time of the beginning in milliseconds.
async fn history(kinesis: &Client) -> i64 {
    let ten_seconds = Duration::from_secs(10);
    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let created = *summary.stream_description_summary().unwrap().stream_creation_timestamp();
    sleep(ten_seconds).await;
    let split = kinesis.split_shard().stream_name("s").shard_to_split(shard(0)).new_starting_hash_key(QUARTER);
    split.send().await.unwrap();
    sleep(ten_seconds).await;
    let merge = kinesis.merge_shards().stream_name("s").shard_to_merge(shard(3)).adjacent_shard_to_merge(shard(1));
    merge.send().await.unwrap();
    sleep(ten_seconds).await;
    created.to_millis().unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_filter_shows_its_shards() {
    let kinesis = kinesis(2).await;
    let start = history(&kinesis).await;
    let at = |seconds: i64| timed(ShardFilterType::AtTimestamp, DateTime::from_millis(start + seconds * 1000));
    let from = |seconds: i64| timed(ShardFilterType::FromTimestamp, DateTime::from_millis(start + seconds * 1000));

    for (what, filter, expected) in [
        ("FROM_TRIM_HORIZON", filter(ShardFilterType::FromTrimHorizon), &[0, 1, 2, 3, 4][..]),
        ("AT_TRIM_HORIZON", filter(ShardFilterType::AtTrimHorizon), &[0, 1]),
        ("AT_LATEST", filter(ShardFilterType::AtLatest), &[2, 4]),
        ("AFTER_SHARD_ID", after(shard(1)), &[2, 3, 4]),
        ("AFTER_SHARD_ID of none", after(shard(17)), &[]),
        ("AT_TIMESTAMP before the split", at(5), &[0, 1]),
        ("AT_TIMESTAMP of the split", at(10), &[0, 1, 2, 3]),
        ("AT_TIMESTAMP before the merge", at(15), &[1, 2, 3]),
        ("AT_TIMESTAMP after the merge", at(25), &[2, 4]),
        ("AT_TIMESTAMP before the stream", at(-1000), &[0, 1]),
        ("FROM_TIMESTAMP before the stream", from(-1000), &[0, 1, 2, 3, 4]),
        ("FROM_TIMESTAMP before the merge", from(15), &[1, 2, 3, 4]),
        ("FROM_TIMESTAMP after the merge", from(25), &[2, 4]),
    ] {
        let answer = kinesis.list_shards().stream_name("s").shard_filter(filter).send().await.unwrap();
        assert_eq!(ids(&answer), numbered(expected), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn hides_records_past_retention_before_the_trim_horizon() {
    let kinesis = kinesis(2).await;
    let start = history(&kinesis).await;
    // The trim horizon is now five seconds after the split.
    let so_far = Duration::from_secs(30);
    sleep(Duration::from_secs(24 * 3600 + 15) - so_far).await;

    let list = async |filter| ids(&kinesis.list_shards().stream_name("s").shard_filter(filter).send().await.unwrap());

    assert_eq!(list(filter(ShardFilterType::FromTrimHorizon)).await, numbered(&[1, 2, 3, 4]));
    assert_eq!(list(filter(ShardFilterType::AtTrimHorizon)).await, numbered(&[1, 2, 3]));
    let forgotten = timed(ShardFilterType::AtTimestamp, DateTime::from_millis(start));
    assert_eq!(list(forgotten).await, numbered(&[1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn requires_what_a_filter_needs_and_refuses_the_rest() {
    let kinesis = kinesis(1).await;
    let list = async |filter| code(kinesis.list_shards().stream_name("s").shard_filter(filter).send().await);

    assert_eq!(list(filter(ShardFilterType::AfterShardId)).await, "InvalidArgumentException");
    assert_eq!(list(filter(ShardFilterType::AtTimestamp)).await, "InvalidArgumentException");
    assert_eq!(list(timed(ShardFilterType::AtLatest, DateTime::from_secs(0))).await, "InvalidArgumentException");
    assert_eq!(list(filter("SOMETIMES".into())).await, "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn pages_follow_each_other_by_token() {
    let kinesis = kinesis(5).await;
    let mut pages = Vec::new();

    let mut page = kinesis.list_shards().stream_name("s").max_results(2).send().await.unwrap();
    while let Some(token) = page.next_token() {
        pages.push(ids(&page));
        page = kinesis.list_shards().next_token(token).max_results(2).send().await.unwrap();
    }
    pages.push(ids(&page));

    assert_eq!(pages, [numbered(&[0, 1]), numbered(&[2, 3]), numbered(&[4])]);
    let rest = kinesis.list_shards().stream_name("s").exclusive_start_shard_id(shard(2)).send().await.unwrap();
    assert_eq!(ids(&rest), numbered(&[3, 4]));
}

#[tokio::test(start_paused = true)]
async fn a_token_keeps_the_filter() {
    let kinesis = kinesis(3).await;
    let scale = kinesis.update_shard_count().stream_name("s").target_shard_count(6);
    scale.scaling_type(ScalingType::UniformScaling).send().await.unwrap();

    let first = kinesis.list_shards().stream_name("s").shard_filter(filter(ShardFilterType::AtLatest)).max_results(4);
    let first = first.send().await.unwrap();
    let second = kinesis.list_shards().next_token(first.next_token().unwrap()).send().await.unwrap();

    assert_eq!((ids(&first), ids(&second)), (numbered(&[3, 4, 5, 6]), numbered(&[7, 8])));
    assert_eq!(second.next_token(), None);
}

#[tokio::test(start_paused = true)]
async fn a_page_holds_a_thousand_shards_by_default() {
    let kinesis = kinesis(1001).await;

    let first = kinesis.list_shards().stream_name("s").send().await.unwrap();
    let second = kinesis.list_shards().next_token(first.next_token().unwrap()).send().await.unwrap();

    assert_eq!((first.shards().len(), second.shards().len()), (1000, 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_stands_alone_and_expires_after_five_minutes() {
    let kinesis = kinesis(2).await;
    let page = kinesis.list_shards().stream_name("s").max_results(1).send().await.unwrap();
    let next = || kinesis.list_shards().next_token(page.next_token().unwrap());

    assert_eq!(message(next().stream_name("s").send().await), "NextToken and StreamName cannot be provided together.");
    assert_eq!(code(next().exclusive_start_shard_id(shard(0)).send().await), "InvalidArgumentException");
    let filtered = next().shard_filter(filter(ShardFilterType::AtLatest));
    assert_eq!(code(filtered.send().await), "InvalidArgumentException");
    assert_eq!(code(kinesis.list_shards().next_token("garbage").send().await), "InvalidArgumentException");

    sleep(Duration::from_millis(300_001)).await;
    assert!(next().send().await.unwrap_err().into_service_error().is_expired_next_token_exception());
}

#[tokio::test(start_paused = true)]
async fn refuses_missing_streams_in_the_words_of_the_service() {
    let kinesis = Client::new(&LocalAws::start().await.sdk_config());

    let error = kinesis.list_shards().stream_name("nowhere").send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception());
    assert_eq!(error.meta().message(), Some("Stream nowhere under account 000000000000 not found."));
    let put = kinesis.put_record().stream_name("nowhere").partition_key("k").data(Blob::new("")).send().await;
    assert!(put.unwrap_err().into_service_error().is_resource_not_found_exception());
    assert_eq!(code(kinesis.list_shards().send().await), "InvalidArgumentException");
    assert_eq!(code(kinesis.list_shards().stream_name("a b").send().await), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn every_operation_takes_an_arn_for_the_name() {
    let kinesis = kinesis(2).await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

    let summary = kinesis.describe_stream_summary().stream_arn(arn).send().await.unwrap();
    assert_eq!(summary.stream_description_summary().unwrap().stream_arn(), arn);
    kinesis.describe_stream().stream_arn(arn).send().await.unwrap();
    kinesis.list_shards().stream_arn(arn).send().await.unwrap();
    kinesis.put_record().stream_arn(arn).partition_key("k").data(Blob::new("x")).send().await.unwrap();
    let iterator = kinesis.get_shard_iterator().stream_arn(arn).shard_id(shard(0));
    let iterator = iterator.shard_iterator_type(ShardIteratorType::Latest).send().await.unwrap();
    let records = kinesis.get_records().stream_arn(arn).set_shard_iterator(iterator.shard_iterator);
    records.send().await.unwrap();
    let scale = kinesis.update_shard_count().stream_arn(arn).target_shard_count(1);
    let scaled = scale.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
    assert_eq!((scaled.stream_name(), scaled.stream_arn()), (Some("s"), Some(arn)));
    let split = kinesis.split_shard().stream_arn(arn).shard_to_split(shard(2)).new_starting_hash_key(QUARTER);
    split.send().await.unwrap();
    let merge = kinesis.merge_shards().stream_arn(arn).shard_to_merge(shard(3)).adjacent_shard_to_merge(shard(4));
    merge.send().await.unwrap();
    kinesis.increase_stream_retention_period().stream_arn(arn).retention_period_hours(48).send().await.unwrap();
    kinesis.delete_stream().stream_arn(arn).send().await.unwrap();
    assert!(kinesis.list_streams().send().await.unwrap().stream_names().is_empty());

    let elsewhere = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
    assert_eq!(
        message(kinesis.describe_stream_summary().stream_arn(elsewhere).send().await),
        "Stream s under account 123456789012 not found."
    );
}
