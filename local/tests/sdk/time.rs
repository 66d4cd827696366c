//! The virtual clock: long waits pass at once, and no timeout fires early.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::types::ShardIteratorType;
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

use super::{data, get, iterator, kinesis, put, shard};

#[tokio::test(start_paused = true)]
async fn an_hour_of_polling_takes_an_hour_of_virtual_time() {
    let kinesis = kinesis(1).await;
    let begun = Instant::now();
    let mut next = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;

    let mut read = 0;
    for second in 0..3600 {
        if second % 60 == 0 {
            put(&kinesis, "k", "x").await;
        }
        let answer = get(&kinesis, &next).await;
        read += answer.records().len();
        next = answer.next_shard_iterator.unwrap();
        sleep(Duration::from_secs(1)).await;
    }

    assert_eq!((read, begun.elapsed()), (60, Duration::from_secs(3600)));
}

#[tokio::test(start_paused = true)]
async fn calls_take_no_time_so_the_shortest_timeout_never_fires() {
    let config = LocalAws::start().await.sdk_config();
    let short = Duration::from_millis(1);
    let timeouts = TimeoutConfig::builder().operation_timeout(short).operation_attempt_timeout(short).build();
    let kinesis = Client::new(&config.into_builder().timeout_config(timeouts).build());
    let begun = Instant::now();

    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    for n in 0..100 {
        put(&kinesis, "k", &n.to_string()).await;
    }

    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_lasts_as_long_as_its_timeouts_allow() {
    let aws = LocalAws::start().await;
    let kinesis = Client::new(&aws.sdk_config());
    aws.faults().on("kinesis:CreateStream").delay(Duration::from_secs(60));
    let begun = Instant::now();

    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();

    assert_eq!(begun.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn the_read_timeout_ends_a_call_that_is_not_answered() {
    let aws = LocalAws::start().await;
    let timeouts = TimeoutConfig::builder().read_timeout(Duration::from_secs(1)).build();
    let retries = RetryConfig::standard().with_max_attempts(1);
    let config = aws.sdk_config().into_builder().timeout_config(timeouts).retry_config(retries).build();
    let kinesis = Client::new(&config);
    let slow = aws.faults().on("kinesis:ListStreams").delay(Duration::from_secs(3));
    let begun = Instant::now();

    let error = kinesis.list_streams().send().await.unwrap_err();

    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    assert!(matches!(&error, SdkError::DispatchFailure(failure) if failure.is_timeout()), "{error:?}");
    slow.remove();
    kinesis.list_streams().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_arrive_at_the_virtual_time() {
    let kinesis = kinesis(1).await;
    put(&kinesis, "k", "x").await;
    sleep(Duration::from_secs(86_399)).await;
    put(&kinesis, "k", "y").await;

    let answer = get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;

    assert_eq!(data(&answer), ["x", "y"]);
    let arrival = |n: usize| answer.records()[n].approximate_arrival_timestamp().unwrap().to_millis().unwrap();
    assert_eq!(arrival(1) - arrival(0), 86_399_000);
}

#[tokio::test]
async fn a_polling_loop_lets_others_run() {
    let kinesis = kinesis(1).await;
    let polling = tokio::spawn({
        let kinesis = kinesis.clone();
        async move {
            loop {
                let next = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;
                if !get(&kinesis, &next).await.records().is_empty() {
                    break;
                }
            }
        }
    });
    tokio::task::yield_now().await;

    put(&kinesis, "k", "x").await;

    polling.await.unwrap();
}
