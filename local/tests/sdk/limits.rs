//! Limits on throughput, calls and memory, when they are asked for.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, ShardIteratorType, StartingPosition, SubscribeToShardEventStream,
};
use kinesis_local::{Builder, LocalAws};
use tokio::time::{Instant, sleep};

use super::{code, get, iterator, kinesis, put, shard};

const MIB: usize = 1 << 20;

async fn start(builder: Builder) -> Client {
    let config = builder.start().await.sdk_config();
    let kinesis = Client::new(&config.into_builder().retry_config(RetryConfig::disabled()).build());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    kinesis
}

async fn limited() -> Client {
    start(LocalAws::builder().enforce_limits()).await
}

async fn put_many(kinesis: &Client, count: usize, bytes: usize) -> PutRecordsOutput {
    let entry = PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new(vec![7; bytes - 1]));
    let entries = vec![entry.build().unwrap(); count];
    kinesis.put_records().stream_name("s").set_records(Some(entries)).send().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn fails_single_records_beyond_a_thousand_a_second_for_a_shard() {
    let kinesis = limited().await;

    assert_eq!(put_many(&kinesis, 500, 10).await.failed_record_count(), Some(0));
    assert_eq!(put_many(&kinesis, 300, 10).await.failed_record_count(), Some(0));
    let answer = put_many(&kinesis, 500, 10).await;
    assert_eq!(answer.failed_record_count(), Some(300));
    let failed = &answer.records()[200];
    assert_eq!(failed.error_code(), Some("ProvisionedThroughputExceededException"));
    assert_eq!(
        failed.error_message(),
        Some("Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.")
    );
    let single = kinesis.put_record().stream_name("s").partition_key("k").data(Blob::new("x")).send().await;
    assert!(single.unwrap_err().into_service_error().is_provisioned_throughput_exceeded_exception());

    sleep(Duration::from_secs(1)).await;
    put(&kinesis, "k", "x").await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_mebibyte_a_second() {
    let kinesis = limited().await;

    assert_eq!(put_many(&kinesis, 5, MIB / 4).await.failed_record_count(), Some(1));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(put_many(&kinesis, 1, MIB).await.failed_record_count(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn throttles_nothing_without_limits() {
    let kinesis = kinesis(1).await;

    for _ in 0..3 {
        assert_eq!(put_many(&kinesis, 1, MIB).await.failed_record_count(), Some(0));
    }
    let iterator = iterator(&kinesis, &shard(0), ShardIteratorType::Latest).await;
    for _ in 0..10 {
        get(&kinesis, &iterator).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_read_five_times_and_two_mebibytes_a_second() {
    let kinesis = limited().await;
    for _ in 0..4 {
        assert_eq!(put_many(&kinesis, 1, MIB).await.failed_record_count(), Some(0));
        sleep(Duration::from_secs(1)).await;
    }
    let latest = iterator(&kinesis, &shard(0), ShardIteratorType::Latest).await;
    let horizon = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;
    let read = async |iterator: &str| kinesis.get_records().shard_iterator(iterator).send().await;

    for _ in 0..5 {
        read(&latest).await.unwrap();
    }
    let sixth = read(&latest).await.unwrap_err().into_service_error();
    assert!(sixth.is_provisioned_throughput_exceeded_exception());

    sleep(Duration::from_secs(1)).await;
    assert_eq!(read(&horizon).await.unwrap().records().len(), 4);
    sleep(Duration::from_millis(1999)).await;
    assert_eq!(code(read(&latest).await), "ProvisionedThroughputExceededException");
    sleep(Duration::from_millis(1)).await;
    read(&latest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_that_manage_streams_are_limited() {
    let kinesis = limited().await;

    for _ in 0..5 {
        kinesis.list_streams().send().await.unwrap();
    }
    assert!(kinesis.list_streams().send().await.unwrap_err().into_service_error().is_limit_exceeded_exception());
    sleep(Duration::from_secs(1)).await;
    kinesis.list_streams().send().await.unwrap();

    for _ in 0..5 {
        iterator(&kinesis, &shard(0), ShardIteratorType::Latest).await;
    }
    let sixth = kinesis.get_shard_iterator().stream_name("s").shard_id(shard(0));
    let sixth = sixth.shard_iterator_type(ShardIteratorType::Latest).send().await.unwrap_err();
    assert!(sixth.into_service_error().is_provisioned_throughput_exceeded_exception());
}

#[tokio::test(start_paused = true)]
async fn delivers_two_mebibytes_and_starts_one_subscription_a_second() {
    let kinesis = limited().await;
    for _ in 0..4 {
        put_many(&kinesis, 1, MIB).await;
        sleep(Duration::from_secs(1)).await;
    }
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("app").send().await.unwrap();
    let consumer = consumer.consumer().unwrap().consumer_arn().to_owned();
    let subscribe = || {
        let from = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().unwrap();
        kinesis.subscribe_to_shard().consumer_arn(&consumer).shard_id(shard(0)).starting_position(from).send()
    };
    let begun = Instant::now();

    let mut events = subscribe().await.unwrap().event_stream;
    assert!(subscribe().await.unwrap_err().into_service_error().is_limit_exceeded_exception());

    let mut told = Vec::new();
    while told.len() < 4 {
        let Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) = events.recv().await.unwrap() else {
            panic!("the subscription ended")
        };
        assert_eq!(event.records().len(), 1);
        told.push(begun.elapsed().as_millis());
    }
    assert_eq!(told, [0, 500, 1000, 1500]);
}

#[tokio::test(start_paused = true)]
async fn a_full_memory_throttles_until_retention_makes_room() {
    let kinesis = start(LocalAws::builder().max_retained_bytes(3 * MIB as u64)).await;
    for _ in 0..3 {
        assert_eq!(put_many(&kinesis, 1, MIB).await.failed_record_count(), Some(0));
    }

    assert_eq!(put_many(&kinesis, 2, 10).await.failed_record_count(), Some(2));
    kinesis.create_stream().stream_name("other").shard_count(1).send().await.unwrap();
    let other = || kinesis.put_record().stream_name("other").partition_key("k").data(Blob::new("x")).send();
    assert!(other().await.unwrap_err().into_service_error().is_provisioned_throughput_exceeded_exception());

    sleep(Duration::from_millis(86_400_001)).await;
    other().await.unwrap();
    put_many(&kinesis, 3, MIB).await;
    assert!(other().await.is_err());

    kinesis.delete_stream().stream_name("s").send().await.unwrap();
    other().await.unwrap();
}
