//! A clock of the services that differs from the process'.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use aws_smithy_async::time::SharedTimeSource;
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

use super::{code, get, iterator, message, put, shard};

const HOUR: Duration = Duration::from_secs(3600);

struct Skewed {
    aws: LocalAws,
    kinesis: Client,
    process: SharedTimeSource,
}

impl Skewed {
    /// A Kinesis with one stream, `s`, and a client that tries once.
    async fn start() -> Self {
        let aws = LocalAws::start().await;
        let config = aws.sdk_config().into_builder().retry_config(RetryConfig::disabled()).build();
        let process = config.time_source().unwrap();
        let kinesis = Client::new(&config);
        kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
        Self { aws, kinesis, process }
    }

    fn now_millis(&self) -> i64 {
        DateTime::from(self.process.now()).to_millis().unwrap()
    }

    /// Milliseconds by which the newest record arrived after the process' clock, or before when negative.
    async fn put_and_compare(&self) -> i64 {
        put(&self.kinesis, "k", "x").await;
        let answer =
            get(&self.kinesis, &iterator(&self.kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;
        let arrival = answer.records().last().unwrap().approximate_arrival_timestamp().unwrap();
        arrival.to_millis().unwrap() - self.now_millis()
    }
}

#[tokio::test(start_paused = true)]
async fn records_arrive_by_the_clock_of_the_service() {
    let skewed = Skewed::start().await;

    assert_eq!(skewed.put_and_compare().await, 0);
    skewed.aws.set_clock_ahead(Duration::from_millis(60_500));
    assert_eq!(skewed.put_and_compare().await, 60_500);
    sleep(HOUR).await;
    skewed.aws.set_clock_behind(Duration::from_secs(60));
    assert_eq!(skewed.put_and_compare().await, -60_000);
}

#[tokio::test(start_paused = true)]
async fn a_time_is_in_the_future_by_the_clock_of_the_service() {
    let skewed = Skewed::start().await;
    skewed.aws.set_clock_behind(Duration::from_secs(30));
    let now = skewed.now_millis();
    let at = |millis| {
        let request = skewed.kinesis.get_shard_iterator().stream_name("s").shard_id(shard(0));
        request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(millis)).send()
    };

    at(now - 30_000).await.unwrap();
    let refused = at(now).await;

    let current = now - 30_000;
    let text = format!("timestampInMillis: {now}, currentTimestampInMillis: {current}");
    assert!(message(refused).ends_with(&text));
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_is_five_minutes_off_is_refused_once() {
    for is_ahead in [true, false] {
        let skewed = Skewed::start().await;
        let set = |seconds| {
            let by = Duration::from_secs(seconds);
            if is_ahead { skewed.aws.set_clock_ahead(by) } else { skewed.aws.set_clock_behind(by) }
        };
        set(298);
        skewed.kinesis.list_streams().send().await.unwrap();
        set(700);

        let refused = skewed.kinesis.list_streams().send().await;

        assert_eq!(code(refused), "InvalidSignatureException");
        // From the refusal the client has learnt what time it is.
        skewed.kinesis.list_streams().send().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn retries_heal_a_skewed_signature_in_every_service() {
    let aws = LocalAws::start().await;
    aws.set_clock_ahead(HOUR);
    let config = aws.sdk_config();

    Client::new(&config).list_streams().send().await.unwrap();
    aws_sdk_dynamodb::Client::new(&config).list_tables().send().await.unwrap();

    let once = config.into_builder().retry_config(RetryConfig::disabled()).build();
    let error = aws_sdk_dynamodb::Client::new(&once).list_tables().send().await.unwrap_err();
    let SdkError::ServiceError(refused) = &error else { panic!("{error:?}") };
    assert!(refused.raw().headers().get("date").is_some());
    assert_eq!(code(Err::<(), _>(error)), "InvalidSignatureException");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_when_the_clock_is_set_back() {
    let Skewed { aws, kinesis, .. } = Skewed::start().await;
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("app").send().await.unwrap();
    let from = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().unwrap();
    let call = kinesis.subscribe_to_shard().consumer_arn(consumer.consumer().unwrap().consumer_arn());
    let begun = Instant::now();
    let mut events = call.shard_id(shard(0)).starting_position(from).send().await.unwrap().event_stream;
    events.recv().await.unwrap().unwrap();

    aws.set_clock_behind(HOUR);

    for _ in 0..3 {
        let before = Instant::now();
        events.recv().await.unwrap().unwrap();
        assert!(before.elapsed() <= Duration::from_secs(5));
    }
    while events.recv().await.unwrap().is_some() {}
    assert!(begun.elapsed() <= Duration::from_secs(310), "{:?}", begun.elapsed());
}
