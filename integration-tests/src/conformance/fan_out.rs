//! Checks of SubscribeToShard: what a subscription tells, and how it ends.

use std::time::Duration;

use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use tokio::time::{Instant, sleep};

use super::check::{api, checks};
use super::consumers::active;
use super::expect::{Failure, Outcome, equal, holds, refused, refused_as};
use super::peer::Peer;
use super::stream::{HALF, Stream, a_moment, shard_id, texts};
use super::subscription::{SILENCE, Subscription};

checks! {
    Kinesis a_subscription_at_trim_horizon_tells_all_records: api!("StartingPosition");
    Kinesis a_subscription_at_latest_tells_later_records: api!("StartingPosition");
    Kinesis a_subscription_at_a_number_tells_that_record_first: api!("StartingPosition");
    Kinesis a_subscription_after_a_number_tells_the_next_record_first: api!("StartingPosition");
    Kinesis a_subscription_at_a_time_tells_records_from_then_on: api!("StartingPosition");
    Kinesis a_subscription_tells_records_as_they_come: api!("SubscribeToShard");
    Kinesis a_subscription_tells_each_record_once: api!("SubscribeToShard");
    Kinesis a_record_is_told_as_it_was_put: api!("SubscribeToShardEvent");
    Kinesis an_event_of_an_open_shard_has_a_continuation: api!("SubscribeToShardEvent");
    Kinesis the_continuation_goes_on_after_the_last_record: api!("SubscribeToShardEvent");
    Kinesis an_event_at_the_tip_is_0_milliseconds_behind: api!("SubscribeToShardEvent");
    Kinesis a_subscription_to_an_idle_shard_is_not_silent: api!("SubscribeToShardEvent");
    Kinesis a_subscription_tells_the_children_of_a_split_shard: api!("SubscribeToShardEvent");
    Kinesis a_subscription_tells_the_child_of_merged_shards: api!("SubscribeToShardEvent");
    Kinesis the_end_of_a_shard_has_no_continuation: api!("SubscribeToShardEvent");
    Kinesis all_records_are_told_before_the_end_of_a_shard: api!("SubscribeToShardEvent");
    Kinesis a_subscription_ends_with_its_shard: api!("SubscribeToShard");
    Kinesis a_waiting_subscription_learns_that_its_shard_ended: api!("SubscribeToShardEvent");
    Kinesis a_second_subscription_within_5_seconds_is_refused: api!("SubscribeToShard");
    Kinesis a_second_subscription_after_5_seconds_takes_over: api!("SubscribeToShard");
    Kinesis a_subscription_that_was_taken_over_ends: api!("SubscribeToShard");
    Kinesis consumers_do_not_disturb_each_other: api!("SubscribeToShard");
    Kinesis a_consumer_subscribes_to_several_shards: api!("SubscribeToShard");
    VirtualTime a_subscription_lasts_for_five_minutes: api!("SubscribeToShard");
    Kinesis a_subscription_ends_when_its_consumer_is_deregistered: api!("SubscribeToShardEventStream");
    Kinesis a_subscription_ends_when_its_stream_is_deleted: api!("SubscribeToShardEventStream");
    Kinesis subscribing_to_a_missing_shard_is_refused: api!("SubscribeToShard");
    Kinesis subscribing_with_a_missing_consumer_is_refused: api!("SubscribeToShard");
    Kinesis subscribing_at_a_number_needs_one: api!("StartingPosition");
}

fn at(position_type: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(position_type).build().expect("type is set")
}

fn by_number(position_type: ShardIteratorType, number: &str) -> StartingPosition {
    StartingPosition::builder().r#type(position_type).sequence_number(number).build().expect("type is set")
}

type Answer = Result<SubscribeToShardOutput, SdkError<SubscribeToShardError>>;

async fn call(stream: &Stream, consumer: &str, n: usize, position: StartingPosition) -> Answer {
    let call = stream.kinesis.subscribe_to_shard().consumer_arn(consumer).shard_id(shard_id(n));
    call.starting_position(position).send().await
}

async fn subscribe(
    stream: &Stream,
    consumer: &str,
    n: usize,
    position: StartingPosition,
) -> Result<Subscription, Failure> {
    Ok(Subscription(call(stream, consumer, n, position).await?.event_stream))
}

/// A stream of one shard that holds `0`, `1` and `2`, a consumer, and the sequence numbers.
async fn three(peer: &Peer) -> Result<(Stream, String, Vec<String>), Failure> {
    let stream = Stream::create(peer, 1).await?;
    let mut numbers = Vec::new();
    for n in 0..3 {
        numbers.push(stream.put("k", n.to_string()).await?.sequence_number().to_owned());
        a_moment().await;
    }
    let consumer = active(&stream, "app").await?;
    Ok((stream, consumer, numbers))
}

/// A subscription to all of [`three`].
async fn subscribed(peer: &Peer) -> Result<(Stream, String, Subscription), Failure> {
    let (stream, consumer, _) = three(peer).await?;
    let subscription = subscribe(&stream, &consumer, 0, at(ShardIteratorType::TrimHorizon)).await?;
    Ok((stream, consumer, subscription))
}

async fn a_subscription_at_trim_horizon_tells_all_records(peer: Peer) -> Outcome {
    let (_stream, _, mut subscription) = subscribed(&peer).await?;
    equal("records", texts(&subscription.records(3).await?), ["0", "1", "2"])
}

async fn a_subscription_at_latest_tells_later_records(peer: Peer) -> Outcome {
    let (stream, consumer, _) = three(&peer).await?;
    let mut subscription = subscribe(&stream, &consumer, 0, at(ShardIteratorType::Latest)).await?;
    subscription.next().await?;
    stream.put("k", "new").await?;
    equal("records", texts(&subscription.records(1).await?), ["new"])
}

async fn a_subscription_at_a_number_tells_that_record_first(peer: Peer) -> Outcome {
    let (stream, consumer, numbers) = three(&peer).await?;
    let position = by_number(ShardIteratorType::AtSequenceNumber, &numbers[1]);
    let mut subscription = subscribe(&stream, &consumer, 0, position).await?;
    equal("records", texts(&subscription.records(2).await?), ["1", "2"])
}

async fn a_subscription_after_a_number_tells_the_next_record_first(peer: Peer) -> Outcome {
    let (stream, consumer, numbers) = three(&peer).await?;
    let position = by_number(ShardIteratorType::AfterSequenceNumber, &numbers[1]);
    let mut subscription = subscribe(&stream, &consumer, 0, position).await?;
    equal("records", texts(&subscription.records(1).await?), ["2"])
}

async fn a_subscription_at_a_time_tells_records_from_then_on(peer: Peer) -> Outcome {
    let (stream, consumer, _) = three(&peer).await?;
    // Longer than a second, for a peer whose arrival times are whole seconds.
    sleep(Duration::from_millis(1100)).await;
    stream.put("k", "3").await?;
    let position = StartingPosition::builder().r#type(ShardIteratorType::AtTimestamp);
    let position = position.timestamp(stream.arrival(0, 3).await?).build().expect("type is set");
    let mut subscription = subscribe(&stream, &consumer, 0, position).await?;
    equal("records", texts(&subscription.records(1).await?), ["3"])
}

async fn a_subscription_tells_records_as_they_come(peer: Peer) -> Outcome {
    let (stream, _, mut subscription) = subscribed(&peer).await?;
    subscription.records(3).await?;
    for text in ["3", "4"] {
        stream.put("k", text).await?;
        equal("records", texts(&subscription.records(1).await?), [text])?;
    }
    Ok(())
}

async fn a_subscription_tells_each_record_once(peer: Peer) -> Outcome {
    let (stream, _, mut subscription) = subscribed(&peer).await?;
    for n in 3..20 {
        stream.put("k", n.to_string()).await?;
    }
    let records = subscription.records(20).await?;
    equal("records", texts(&records), (0..20).map(|n| n.to_string()).collect::<Vec<_>>())
}

async fn a_record_is_told_as_it_was_put(peer: Peer) -> Outcome {
    let (stream, consumer, numbers) = three(&peer).await?;
    let mut subscription = subscribe(&stream, &consumer, 0, at(ShardIteratorType::TrimHorizon)).await?;
    let told = subscription.records(3).await?;
    let read = stream.read_all(0).await?.records;
    equal("number", told[0].sequence_number(), numbers[0].as_str())?;
    equal("key", told[0].partition_key(), Some("k"))?;
    equal("arrival", told[0].approximate_arrival_timestamp(), read[0].approximate_arrival_timestamp())
}

async fn an_event_of_an_open_shard_has_a_continuation(peer: Peer) -> Outcome {
    let (_stream, _, mut subscription) = subscribed(&peer).await?;
    let events =
        subscription.until("the last record", |event| texts(event.records()).contains(&"2".to_owned())).await?;
    let all = events.iter().all(|event| !event.continuation_sequence_number().is_empty());
    holds(all, format!("every one of {} events has a ContinuationSequenceNumber", events.len()))
}

async fn the_continuation_goes_on_after_the_last_record(peer: Peer) -> Outcome {
    let (stream, _, mut subscription) = subscribed(&peer).await?;
    let events =
        subscription.until("the last record", |event| texts(event.records()).contains(&"2".to_owned())).await?;
    let continuation = events[events.len() - 1].continuation_sequence_number();
    stream.put("k", "3").await?;
    let other = active(&stream, "other").await?;
    let position = by_number(ShardIteratorType::AfterSequenceNumber, continuation);
    let mut subscription = subscribe(&stream, &other, 0, position).await?;
    equal("records", texts(&subscription.records(1).await?), ["3"])
}

async fn an_event_at_the_tip_is_0_milliseconds_behind(peer: Peer) -> Outcome {
    let (_stream, _, mut subscription) = subscribed(&peer).await?;
    let events =
        subscription.until("the last record", |event| texts(event.records()).contains(&"2".to_owned())).await?;
    equal("MillisBehindLatest", events[events.len() - 1].millis_behind_latest(), 0)
}

async fn a_subscription_to_an_idle_shard_is_not_silent(peer: Peer) -> Outcome {
    let (_stream, _, mut subscription) = subscribed(&peer).await?;
    subscription.records(3).await?;
    for _ in 0..2 {
        let event = subscription.next().await?;
        holds(event.is_some_and(|event| event.records().is_empty()), "an event without records")?;
    }
    Ok(())
}

/// A subscription to a shard that holds `0`, `1` and `2` and was split.
async fn split(peer: &Peer) -> Result<(Stream, Subscription), Failure> {
    let (stream, consumer, _) = three(peer).await?;
    stream.split(0, HALF).await?;
    let subscription = subscribe(&stream, &consumer, 0, at(ShardIteratorType::TrimHorizon)).await?;
    Ok((stream, subscription))
}

async fn a_subscription_tells_the_children_of_a_split_shard(peer: Peer) -> Outcome {
    let (_stream, mut subscription) = split(&peer).await?;
    let events = subscription.until_end().await?;
    let children = events[events.len() - 1].child_shards();
    let ids: Vec<_> = children.iter().map(|child| child.shard_id()).collect();
    equal("children", ids, [shard_id(1), shard_id(2)])?;
    equal("parents", children[0].parent_shards(), [shard_id(0)])
}

async fn a_subscription_tells_the_child_of_merged_shards(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    let consumer = active(&stream, "app").await?;
    stream.merge(0, 1).await?;
    let mut subscription = subscribe(&stream, &consumer, 1, at(ShardIteratorType::TrimHorizon)).await?;
    let events = subscription.until_end().await?;
    let child = &events[events.len() - 1].child_shards()[0];
    let mut parents = child.parent_shards().to_vec();
    parents.sort_unstable();
    equal("child and parents", (child.shard_id(), parents), (shard_id(2).as_str(), vec![shard_id(0), shard_id(1)]))
}

async fn the_end_of_a_shard_has_no_continuation(peer: Peer) -> Outcome {
    let (_stream, mut subscription) = split(&peer).await?;
    let events = subscription.until_end().await?;
    // The client shows a missing number as an empty one.
    equal("ContinuationSequenceNumber", events[events.len() - 1].continuation_sequence_number(), "")
}

async fn all_records_are_told_before_the_end_of_a_shard(peer: Peer) -> Outcome {
    let (_stream, mut subscription) = split(&peer).await?;
    let events = subscription.until_end().await?;
    let told: Vec<_> = events.iter().flat_map(|event| texts(event.records())).collect();
    equal("records", told, ["0", "1", "2"])
}

async fn a_subscription_ends_with_its_shard(peer: Peer) -> Outcome {
    let (_stream, mut subscription) = split(&peer).await?;
    subscription.until_end().await?;
    equal("further event", subscription.next().await?, None)
}

async fn a_waiting_subscription_learns_that_its_shard_ended(peer: Peer) -> Outcome {
    let (stream, _, mut subscription) = subscribed(&peer).await?;
    subscription.records(3).await?;
    stream.split(0, HALF).await?;
    let events = subscription.until_end().await?;
    equal("children", events[events.len() - 1].child_shards().len(), 2)
}

async fn a_second_subscription_within_5_seconds_is_refused(peer: Peer) -> Outcome {
    let (stream, consumer, _subscription) = subscribed(&peer).await?;
    let again = call(&stream, &consumer, 0, at(ShardIteratorType::Latest)).await;
    refused_as(again, SubscribeToShardError::is_resource_in_use_exception)
}

async fn a_second_subscription_after_5_seconds_takes_over(peer: Peer) -> Outcome {
    let (stream, consumer, _elder) = subscribed(&peer).await?;
    sleep(Duration::from_millis(5100)).await;
    let mut younger = subscribe(&stream, &consumer, 0, at(ShardIteratorType::TrimHorizon)).await?;
    equal("records", texts(&younger.records(3).await?), ["0", "1", "2"])
}

async fn a_subscription_that_was_taken_over_ends(peer: Peer) -> Outcome {
    let (stream, consumer, mut elder) = subscribed(&peer).await?;
    sleep(Duration::from_millis(5100)).await;
    let _younger = subscribe(&stream, &consumer, 0, at(ShardIteratorType::Latest)).await?;
    // "the previous connection expires or fails with a ResourceInUseException"
    let _expired_or_failed = elder.ending(SILENCE).await?;
    Ok(())
}

async fn consumers_do_not_disturb_each_other(peer: Peer) -> Outcome {
    let (stream, _, mut one) = subscribed(&peer).await?;
    let other = active(&stream, "other").await?;
    let mut two = subscribe(&stream, &other, 0, at(ShardIteratorType::TrimHorizon)).await?;
    equal("records of one", texts(&one.records(3).await?), ["0", "1", "2"])?;
    equal("records of the other", texts(&two.records(3).await?), ["0", "1", "2"])
}

async fn a_consumer_subscribes_to_several_shards(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    let consumer = active(&stream, "app").await?;
    let mut lower = subscribe(&stream, &consumer, 0, at(ShardIteratorType::TrimHorizon)).await?;
    let mut upper = subscribe(&stream, &consumer, 1, at(ShardIteratorType::TrimHorizon)).await?;
    stream.put_to("0", "low").await?;
    stream.put_to(HALF, "high").await?;
    equal("records of the lower shard", texts(&lower.records(1).await?), ["low"])?;
    equal("records of the upper shard", texts(&upper.records(1).await?), ["high"])
}

async fn a_subscription_lasts_for_five_minutes(peer: Peer) -> Outcome {
    let begun = Instant::now();
    let (_stream, _, mut subscription) = subscribed(&peer).await?;
    holds(subscription.ending(Duration::from_secs(400)).await?.is_none(), "the session ends without an error")?;
    let seconds = begun.elapsed().as_secs();
    holds((299..=301).contains(&seconds), format!("{seconds} seconds are five minutes"))
}

async fn ends_with_not_found(mut subscription: Subscription) -> Outcome {
    let answer = subscription.ending(SILENCE).await?.map_or(Ok("ended without an error"), Err);
    refused_as(answer, SubscribeToShardEventStreamError::is_resource_not_found_exception)
}

async fn a_subscription_ends_when_its_consumer_is_deregistered(peer: Peer) -> Outcome {
    let (stream, consumer, subscription) = subscribed(&peer).await?;
    stream.kinesis.deregister_stream_consumer().consumer_arn(consumer).send().await?;
    ends_with_not_found(subscription).await
}

async fn a_subscription_ends_when_its_stream_is_deleted(peer: Peer) -> Outcome {
    let (stream, _, subscription) = subscribed(&peer).await?;
    stream.kinesis.delete_stream().stream_name(&stream.name).enforce_consumer_deletion(true).send().await?;
    ends_with_not_found(subscription).await
}

async fn subscribing_to_a_missing_shard_is_refused(peer: Peer) -> Outcome {
    let (stream, consumer, _) = three(&peer).await?;
    let answer = call(&stream, &consumer, 9, at(ShardIteratorType::Latest)).await;
    refused_as(answer, SubscribeToShardError::is_resource_not_found_exception)
}

async fn subscribing_with_a_missing_consumer_is_refused(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let missing = format!("{}/consumer/missing:1700000000", stream.arn);
    let answer = call(&stream, &missing, 0, at(ShardIteratorType::Latest)).await;
    refused_as(answer, SubscribeToShardError::is_resource_not_found_exception)
}

async fn subscribing_at_a_number_needs_one(peer: Peer) -> Outcome {
    let (stream, consumer, _) = three(&peer).await?;
    let answer = call(&stream, &consumer, 0, at(ShardIteratorType::AtSequenceNumber)).await;
    refused(answer.map(|_| ()), "InvalidArgumentException")
}
