//! SHELL: the calls of enhanced fan-out. Translates; decides nothing.

use std::time::Duration;

use aws_sdk_kinesis::{
    Client,
    error::SdkError,
    primitives::DateTime,
    types::{
        ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
        error::SubscribeToShardEventStreamError as StreamError,
    },
};
use futures::{StreamExt as _, stream};
use kpl::ShardId;

use super::{
    Subscription, SubscriptionEvent,
    answer::{before_unreadable, child, failed, record},
};
use crate::{
    error::{KinesisError, KinesisErrorKind},
    model::{ChildShard, KinesisRecord, StartAt},
};

const SUBSCRIBE: &str = "kinesis:SubscribeToShard";

pub(super) async fn subscribe(
    client: &Client,
    consumer_arn: &str,
    shard: &ShardId,
    start: &StartAt,
) -> Result<Subscription, KinesisError> {
    let call = client.subscribe_to_shard().consumer_arn(consumer_arn).shard_id(shard.as_str());
    let output = call.starting_position(starting_position(start)).send().await.map_err(failed(SUBSCRIBE))?;
    // None: after an error nothing follows.
    let events = stream::unfold(Some(output.event_stream), |receiver| async {
        let mut receiver = receiver?;
        loop {
            return match receiver.recv().await {
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(mut told))) => {
                    let goes_on = !end_before_unreadable(&mut told);
                    Some((event(told), goes_on.then_some(receiver)))
                }
                // A kind of event of the future.
                Ok(Some(_)) => continue,
                Ok(None) => None,
                Err(error) => Some((Err(broken(error)), None)),
            };
        }
    });
    Ok(events.boxed())
}

fn starting_position(start: &StartAt) -> StartingPosition {
    let (kind, number, time) = match start {
        StartAt::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
        StartAt::Latest => (ShardIteratorType::Latest, None, None),
        StartAt::Timestamp(time) => (ShardIteratorType::AtTimestamp, None, Some(*time)),
        StartAt::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number), None),
        StartAt::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number), None),
    };
    StartingPosition::builder()
        .r#type(kind)
        .set_sequence_number(number.map(ToString::to_string))
        .set_timestamp(time.map(DateTime::from))
        .build()
        .expect("position has a type")
}

/// Cuts an event before its first unreadable record. True: something was cut; the next subscription begins there.
fn end_before_unreadable(told: &mut SubscribeToShardEvent) -> bool {
    let Some(before) = before_unreadable(&told.records) else { return false };
    told.records.truncate(before);
    told.child_shards = None;
    if let Some(last) = told.records.last() {
        told.continuation_sequence_number.clone_from(&last.sequence_number);
    }
    true
}

fn event(told: SubscribeToShardEvent) -> Result<SubscriptionEvent, KinesisError> {
    let behind = u64::try_from(told.millis_behind_latest).ok();
    let children: Option<Vec<ChildShard>> = told.child_shards().iter().map(child).collect();
    let children = children.ok_or_else(|| KinesisError::other(SUBSCRIBE, "a child shard that cannot be read"))?;
    let continuation = match told.continuation_sequence_number.as_str() {
        "" => None,
        number => Some(
            number
                .parse()
                .map_err(|error| KinesisError::other(SUBSCRIBE, Box::new(error) as crate::error::BoxError))?,
        ),
    };
    let records: Result<Vec<KinesisRecord>, _> = told.records.into_iter().map(record).collect();
    let records = records.map_err(|error| KinesisError::other(SUBSCRIBE, error))?;
    Ok(SubscriptionEvent { records, continuation, children, behind_latest: behind.map(Duration::from_millis) })
}

/// Error that ended a subscription. Its exceptions have no codes in their bodies, so the variant decides.
fn broken<R>(error: SdkError<StreamError, R>) -> KinesisError
where
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let kind = match error.as_service_error() {
        Some(StreamError::ResourceNotFoundException(_)) => KinesisErrorKind::NotFound,
        Some(StreamError::ResourceInUseException(_)) => KinesisErrorKind::InUse,
        Some(StreamError::KmsAccessDeniedException(_)) => KinesisErrorKind::AccessDenied,
        Some(StreamError::KmsThrottlingException(_)) => KinesisErrorKind::Throttled,
        _ => return failed(SUBSCRIBE)(error),
    };
    KinesisError { kind, ..failed(SUBSCRIBE)(error) }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::{primitives::Blob, types::Record};

    use super::*;

    fn told(numbers: &[&str]) -> SubscribeToShardEvent {
        let record = |number: &&str| {
            let record = Record::builder().sequence_number(*number).partition_key("a").data(Blob::new("0"));
            record.build().unwrap()
        };
        SubscribeToShardEvent::builder()
            .set_records(Some(numbers.iter().map(record).collect()))
            .continuation_sequence_number("9")
            .millis_behind_latest(0)
            .build()
            .unwrap()
    }

    #[test]
    fn gives_records_before_an_unreadable_one_first() {
        for (numbers, given, ends) in [(&["1", "2"][..], 2, false), (&["1", "x", "3"], 1, true), (&[], 0, false)] {
            let mut told = told(numbers);
            assert_eq!(end_before_unreadable(&mut told), ends, "{numbers:?}");
            let event = event(told).unwrap();
            assert_eq!(event.records.len(), given);
            assert_eq!(event.continuation, Some(if ends { "1" } else { "9" }.parse().unwrap()));
        }
    }

    #[test]
    fn an_unreadable_record_fails_the_reading_and_is_named() {
        let mut told = told(&["x", "3"]);
        assert!(!end_before_unreadable(&mut told));
        assert!(event(told).unwrap_err().source.to_string().contains("\"x\""));
    }
}
