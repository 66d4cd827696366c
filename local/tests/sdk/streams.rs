//! Creating, describing, listing and deleting streams.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::client::Waiters;
use aws_sdk_kinesis::types::{ScalingType, ShardIteratorType, StreamMode, StreamModeDetails, StreamStatus};
use kinesis_local::LocalAws;
use tokio::time::Instant;

use super::{code, data, get, iterator, kinesis, message, put, shard};

async fn empty() -> Client {
    Client::new(&LocalAws::start().await.sdk_config())
}

#[tokio::test(start_paused = true)]
async fn a_new_stream_is_active_at_once() {
    let kinesis = kinesis(3).await;

    let answer = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();

    let summary = answer.stream_description_summary().unwrap();
    assert_eq!(summary.stream_name(), "s");
    assert_eq!(summary.stream_arn(), "arn:aws:kinesis:us-east-1:000000000000:stream/s");
    assert_eq!(summary.stream_status(), &StreamStatus::Active);
    assert_eq!((summary.open_shard_count(), summary.retention_period_hours()), (3, 24));
    assert_eq!(summary.stream_mode_details().unwrap().stream_mode(), &StreamMode::Provisioned);
    assert!(summary.stream_id().is_some());
    assert_eq!(summary.max_record_size_in_kib(), Some(1024));
}

#[tokio::test(start_paused = true)]
async fn describe_stream_pages_through_the_shards() {
    let kinesis = kinesis(101).await;

    let first = kinesis.describe_stream().stream_name("s").limit(200).send().await.unwrap();
    let rest = kinesis.describe_stream().stream_name("s").exclusive_start_shard_id(shard(99)).send().await.unwrap();

    let (first, rest) = (first.stream_description().unwrap(), rest.stream_description().unwrap());
    assert_eq!((first.shards().len(), first.has_more_shards()), (100, true));
    assert_eq!((rest.shards().len(), rest.has_more_shards()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn streams_are_listed_by_name_in_pages() {
    let kinesis = empty().await;
    for name in ["c", "a", "b"] {
        kinesis.create_stream().stream_name(name).shard_count(1).send().await.unwrap();
    }

    let first = kinesis.list_streams().limit(2).send().await.unwrap();
    let by_token = kinesis.list_streams().next_token(first.next_token().unwrap()).send().await.unwrap();
    let by_name = kinesis.list_streams().exclusive_start_stream_name("b").send().await.unwrap();

    assert_eq!((first.stream_names(), first.has_more_streams()), (&["a".to_owned(), "b".to_owned()][..], true));
    assert_eq!(first.stream_summaries()[1].stream_name(), "b");
    for rest in [by_token, by_name] {
        assert_eq!((rest.stream_names(), rest.has_more_streams()), (&["c".to_owned()][..], false));
        assert_eq!(rest.next_token(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_until_the_stream_is_deleted() {
    let kinesis = kinesis(1).await;
    let create = || kinesis.create_stream().stream_name("s").shard_count(1).send();

    let taken = create().await.unwrap_err().into_service_error();
    assert!(taken.is_resource_in_use_exception());
    assert_eq!(taken.meta().message(), Some("Stream s under account 000000000000 already exists."));

    kinesis.delete_stream().stream_name("s").send().await.unwrap();
    assert_eq!(code(kinesis.delete_stream().stream_name("s").send().await), "ResourceNotFoundException");
    create().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_created_anew_shares_nothing_with_the_one_before() {
    let kinesis = kinesis(1).await;
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("app").send().await.unwrap();
    let number = put(&kinesis, "k", "x").await.sequence_number;
    let old = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;

    // In the same millisecond, so that only what the streams keep apart by themselves does.
    kinesis.delete_stream().stream_name("s").enforce_consumer_deletion(true).send().await.unwrap();
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();

    assert_eq!(code(kinesis.get_records().shard_iterator(old).send().await), "ResourceNotFoundException");
    let from = kinesis.get_shard_iterator().stream_name("s").shard_id(shard(0)).starting_sequence_number(number);
    let refused = from.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).send().await;
    assert!(message(refused).ends_with("is invalid because it did not come from this stream."));
    let arn = consumer.consumer().unwrap().consumer_arn();
    let described = kinesis.describe_stream_consumer().consumer_arn(arn).send().await;
    assert_eq!(code(described), "ResourceNotFoundException");
    let anew = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;
    assert_eq!(data(&get(&kinesis, &anew).await).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn refuses_impossible_streams() {
    let kinesis = empty().await;
    let create =
        async |name: &str, shards: i32| kinesis.create_stream().stream_name(name).shard_count(shards).send().await;

    create(&"n".repeat(128), 1).await.unwrap();
    assert_eq!(code(create(&"n".repeat(129), 1).await), "ValidationException");
    assert_eq!(code(create("", 1).await), "ValidationException");
    assert_eq!(
        message(create("a/b", 1).await),
        "1 validation error detected: Value 'a/b' at 'streamName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z0-9_.-]+"
    );
    assert_eq!(code(create("s", 0).await), "ValidationException");
    assert!(create("s", 10_001).await.unwrap_err().into_service_error().is_limit_exceeded_exception());
    assert_eq!(code(kinesis.create_stream().stream_name("s").send().await), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn an_on_demand_stream_has_four_shards_and_is_not_resharded_by_hand() {
    let kinesis = empty().await;
    let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
    kinesis.create_stream().stream_name("s").stream_mode_details(mode).send().await.unwrap();

    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    assert_eq!(summary.stream_description_summary().unwrap().open_shard_count(), 4);
    let scale = kinesis.update_shard_count().stream_name("s").target_shard_count(8);
    let refused = scale.scaling_type(ScalingType::UniformScaling).send().await.unwrap_err();
    assert!(refused.into_service_error().is_validation_exception());
}

#[tokio::test(start_paused = true)]
async fn keeps_statuses_for_as_long_as_configured() {
    let aws = LocalAws::builder()
        .creating_takes(Duration::from_secs(20))
        .updating_takes(Duration::from_secs(30))
        .deleting_takes(Duration::from_secs(10))
        .start()
        .await;
    let kinesis = Client::new(&aws.sdk_config());
    let status = async || {
        let answer = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
        answer.stream_description_summary().unwrap().stream_status().clone()
    };
    let begun = Instant::now();

    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    assert_eq!(status().await, StreamStatus::Creating);
    kinesis.wait_until_stream_exists().stream_name("s").wait(Duration::from_secs(60)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(20), "{:?}", begun.elapsed());

    let scale = kinesis.update_shard_count().stream_name("s").target_shard_count(2);
    scale.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
    assert_eq!(status().await, StreamStatus::Updating);
    assert_eq!(kinesis.list_shards().stream_name("s").send().await.unwrap().shards().len(), 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(status().await, StreamStatus::Active);
    assert_eq!(kinesis.list_shards().stream_name("s").send().await.unwrap().shards().len(), 3);

    kinesis.delete_stream().stream_name("s").send().await.unwrap();
    assert_eq!(status().await, StreamStatus::Deleting);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(code(kinesis.describe_stream_summary().stream_name("s").send().await), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn operations_that_are_not_here_are_unknown() {
    let kinesis = kinesis(1).await;

    assert_eq!(code(kinesis.describe_account_settings().send().await), "UnknownOperationException");
}
