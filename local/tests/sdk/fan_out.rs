//! Subscriptions: their events, and their end.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep, timeout};

use super::{code, kinesis, put, shard};

const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const HALF: &str = "170141183460469231731687303715884105728";

type Events = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

async fn register(kinesis: &Client) -> String {
    let answer = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("app").send().await.unwrap();
    answer.consumer.unwrap().consumer_arn
}

fn from(position_type: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(position_type).build().unwrap()
}

fn after(number: &str) -> StartingPosition {
    let position = StartingPosition::builder().r#type(ShardIteratorType::AfterSequenceNumber);
    position.sequence_number(number).build().unwrap()
}

async fn subscribe(kinesis: &Client, arn: &str, n: u32, position: StartingPosition) -> Events {
    let call = kinesis.subscribe_to_shard().consumer_arn(arn).shard_id(shard(n)).starting_position(position);
    call.send().await.unwrap().event_stream
}

/// The next event; the subscription has not ended.
async fn next(events: &mut Events) -> SubscribeToShardEvent {
    match events.recv().await.unwrap().unwrap() {
        SubscribeToShardEventStream::SubscribeToShardEvent(event) => event,
        other => panic!("{other:?}"),
    }
}

fn data(event: &SubscribeToShardEvent) -> Vec<&str> {
    event.records().iter().map(|record| std::str::from_utf8(record.data().as_ref()).unwrap()).collect()
}

/// A stream of one shard with a consumer, and its subscription from the beginning.
async fn subscribed() -> (Client, String, Events) {
    let kinesis = kinesis(1).await;
    let arn = register(&kinesis).await;
    let events = subscribe(&kinesis, &arn, 0, from(ShardIteratorType::TrimHorizon)).await;
    (kinesis, arn, events)
}

#[tokio::test(start_paused = true)]
async fn delivers_records_the_moment_they_are_put() {
    let (kinesis, _, mut events) = subscribed().await;
    assert!(next(&mut events).await.records().is_empty());
    let begun = Instant::now();

    let reading = tokio::spawn(async move { (next(&mut events).await, begun.elapsed()) });
    sleep(Duration::from_millis(1234)).await;
    let put = put(&kinesis, "k", "x").await;

    let (event, waited) = reading.await.unwrap();
    assert_eq!(data(&event), ["x"]);
    assert_eq!(waited, Duration::from_millis(1234));
    assert_eq!(event.continuation_sequence_number(), put.sequence_number());
    assert_eq!(event.millis_behind_latest(), 0);
    assert!(event.child_shards.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idle_subscription_is_heard_every_five_seconds_for_five_minutes() {
    let (_, _, mut events) = subscribed().await;
    let begun = Instant::now();

    let mut beats = Vec::new();
    while let Some(event) = events.recv().await.unwrap() {
        let event = event.as_subscribe_to_shard_event().unwrap().clone();
        assert!(event.records().is_empty() && !event.continuation_sequence_number().is_empty());
        beats.push(begun.elapsed().as_secs());
    }

    assert_eq!(beats, (0..60).map(|n| n * 5).collect::<Vec<_>>());
    assert_eq!(begun.elapsed(), Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_continues_where_the_last_one_ended() {
    let (kinesis, arn, mut events) = subscribed().await;
    put(&kinesis, "k", "a").await;
    let mut continuation = String::new();
    while let Some(event) = events.recv().await.unwrap() {
        continuation = event.as_subscribe_to_shard_event().unwrap().continuation_sequence_number().to_owned();
    }
    put(&kinesis, "k", "b").await;

    let mut events = subscribe(&kinesis, &arn, 0, after(&continuation)).await;

    assert_eq!(data(&next(&mut events).await), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_continuation_of_an_empty_event_misses_nothing() {
    let (kinesis, arn, mut events) = subscribed().await;
    let continuation = next(&mut events).await.continuation_sequence_number;
    put(&kinesis, "k", "a").await;
    sleep(Duration::from_secs(5)).await;

    let mut again = subscribe(&kinesis, &arn, 0, after(&continuation)).await;
    assert_eq!(data(&next(&mut again).await), ["a"]);

    sleep(Duration::from_secs(5)).await;
    let at = StartingPosition::builder().r#type(ShardIteratorType::AtSequenceNumber).sequence_number(continuation);
    let mut again = subscribe(&kinesis, &arn, 0, at.build().unwrap()).await;
    assert_eq!(data(&next(&mut again).await), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn latest_starts_after_what_is_there() {
    let kinesis = kinesis(1).await;
    let arn = register(&kinesis).await;
    put(&kinesis, "k", "old").await;

    let mut events = subscribe(&kinesis, &arn, 0, from(ShardIteratorType::Latest)).await;
    assert!(next(&mut events).await.records().is_empty());
    put(&kinesis, "k", "new").await;

    assert_eq!(data(&next(&mut events).await), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_comes_after_its_last_record_with_its_children() {
    let (kinesis, _, mut events) = subscribed().await;
    for n in 0..3 {
        put(&kinesis, "k", &n.to_string().repeat(600_000)).await;
    }
    kinesis.split_shard().stream_name("s").shard_to_split(shard(0)).new_starting_hash_key(HALF).send().await.unwrap();

    for _ in 0..2 {
        let event = next(&mut events).await;
        assert_eq!((event.records().len(), event.child_shards.is_some()), (1, false));
    }
    let end = next(&mut events).await;

    assert_eq!(end.records().len(), 1);
    assert_eq!(end.continuation_sequence_number(), "");
    let children: Vec<_> = end.child_shards().iter().map(|child| child.shard_id().to_owned()).collect();
    assert_eq!(children, [shard(1), shard(2)]);
    assert!(end.child_shards().iter().all(|child| child.parent_shards() == [shard(0)]));
    assert_eq!(end.child_shards()[1].hash_key_range().unwrap().starting_hash_key(), HALF);
    assert!(events.recv().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_subscription_learns_that_its_shard_ended() {
    let aws = LocalAws::builder().updating_takes(Duration::from_millis(1500)).start().await;
    let kinesis = Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(2).send().await.unwrap();
    let arn = register(&kinesis).await;
    let mut events = subscribe(&kinesis, &arn, 1, from(ShardIteratorType::Latest)).await;
    next(&mut events).await;
    let begun = Instant::now();

    let merge = kinesis.merge_shards().stream_name("s").shard_to_merge(shard(0)).adjacent_shard_to_merge(shard(1));
    merge.send().await.unwrap();

    let end = loop {
        let event = next(&mut events).await;
        if event.child_shards.is_some() {
            break event;
        }
    };
    assert_eq!(end.child_shards()[0].parent_shards(), [shard(0), shard(1)]);
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn takes_over_a_subscription_after_five_seconds() {
    let (kinesis, arn, mut elder) = subscribed().await;
    next(&mut elder).await;
    let again = || {
        let call = kinesis.subscribe_to_shard().consumer_arn(&arn).shard_id(shard(0));
        call.starting_position(from(ShardIteratorType::Latest)).send()
    };

    sleep(Duration::from_millis(4999)).await;
    assert!(again().await.unwrap_err().into_service_error().is_resource_in_use_exception());

    sleep(Duration::from_millis(1)).await;
    let mut younger = again().await.unwrap().event_stream;
    let replaced = elder.recv().await.unwrap_err();
    let SdkError::ServiceError(replaced) = replaced else { panic!("{replaced:?}") };
    assert!(replaced.err().is_resource_in_use_exception());
    assert!(elder.recv().await.unwrap().is_none());
    put(&kinesis, "k", "x").await;
    next(&mut younger).await;
}

#[tokio::test(start_paused = true)]
async fn consumers_do_not_disturb_each_other() {
    let (kinesis, _, mut one) = subscribed().await;
    let other = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("other").send().await.unwrap();
    let other = other.consumer.unwrap().consumer_arn;
    put(&kinesis, "k", "x").await;

    let mut two = subscribe(&kinesis, &other, 0, from(ShardIteratorType::TrimHorizon)).await;

    assert_eq!(data(&next(&mut one).await), ["x"]);
    assert_eq!(data(&next(&mut two).await), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_fails_when_its_consumer_or_its_stream_goes() {
    for stream_too in [false, true] {
        let (kinesis, arn, mut events) = subscribed().await;
        next(&mut events).await;
        let reading = tokio::spawn(async move { events.recv().await });
        tokio::task::yield_now().await;

        if stream_too {
            kinesis.delete_stream().stream_name("s").enforce_consumer_deletion(true).send().await.unwrap();
        } else {
            kinesis.deregister_stream_consumer().consumer_arn(&arn).send().await.unwrap();
        }

        let begun = Instant::now();
        let gone = reading.await.unwrap().unwrap_err().into_service_error();
        assert!(gone.is_resource_not_found_exception(), "{gone:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_fails_when_retention_forgets_its_shard() {
    let (kinesis, arn, mut events) = subscribed().await;
    put(&kinesis, "k", "x").await;
    kinesis.split_shard().stream_name("s").shard_to_split(shard(0)).new_starting_hash_key(HALF).send().await.unwrap();
    sleep(Duration::from_secs(86_300)).await;
    drop(events);
    events = subscribe(&kinesis, &arn, 0, from(ShardIteratorType::TrimHorizon)).await;
    sleep(Duration::from_secs(101)).await;

    let gone = events.recv().await.unwrap_err().into_service_error();

    assert!(gone.is_resource_not_found_exception(), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn refuses_impossible_subscriptions() {
    let kinesis = kinesis(1).await;
    let arn = register(&kinesis).await;
    let subscribe = async |arn: &str, shard: &str, position: StartingPosition| {
        let call = kinesis.subscribe_to_shard().consumer_arn(arn).shard_id(shard).starting_position(position);
        code(call.send().await)
    };
    let latest = || from(ShardIteratorType::Latest);

    assert_eq!(subscribe(&arn, &shard(9), latest()).await, "ResourceNotFoundException");
    assert_eq!(subscribe(&arn, "garbage", latest()).await, "ResourceNotFoundException");
    assert_eq!(subscribe(&format!("{STREAM}/consumer/none:1"), &shard(0), latest()).await, "ResourceNotFoundException");
    assert_eq!(subscribe(STREAM, &shard(0), latest()).await, "ValidationException");
    assert_eq!(subscribe(&arn, &shard(0), from(ShardIteratorType::AtSequenceNumber)).await, "InvalidArgumentException");
    assert_eq!(subscribe(&arn, &shard(0), after("12345")).await, "InvalidArgumentException");
    assert_eq!(subscribe(&arn, &shard(0), from("WEIRD".into())).await, "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_not_active_cannot_subscribe() {
    let aws = LocalAws::builder().registering_takes(Duration::from_secs(5)).start().await;
    let kinesis = Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let arn = register(&kinesis).await;

    let call = kinesis.subscribe_to_shard().consumer_arn(&arn).shard_id(shard(0));
    let early = call.starting_position(from(ShardIteratorType::Latest)).send().await;
    assert!(early.unwrap_err().into_service_error().is_resource_in_use_exception());

    sleep(Duration::from_secs(5)).await;
    subscribe(&kinesis, &arn, 0, from(ShardIteratorType::Latest)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_stops_nothing() {
    let (kinesis, _, mut events) = subscribed().await;
    assert!(
        timeout(Duration::from_secs(1), async { while next(&mut events).await.records().is_empty() {} }).await.is_err()
    );

    drop(events);

    put(&kinesis, "k", "x").await;
}
