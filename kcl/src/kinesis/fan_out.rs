//! SHELL: the calls of enhanced fan-out. Translates; decides nothing.

use std::mem::take;

use aws_sdk_kinesis::{
    Client,
    error::SdkError,
    types::{
        StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
        error::SubscribeToShardEventStreamError as StreamError,
    },
};
use futures::{StreamExt as _, stream};
use kpl::ShardId;

use super::{
    Subscription, SubscriptionEvent,
    answer::{behind, children, failed, start_at},
    records::records,
};
use crate::{
    error::{BoxError, KinesisError, KinesisErrorKind},
    model::{KinesisRecord, StartAt},
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
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(received))) => {
                    let (event, goes_on) = event(received);
                    Some((event, goes_on.then_some(receiver)))
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
    let (kind, number, time) = start_at(start);
    let position = StartingPosition::builder().r#type(kind).set_sequence_number(number).set_timestamp(time);
    position.build().expect("position has a type")
}

/// The event, and whether the subscription goes on: one with an unreadable record ends before it, and the next begins there.
fn event(mut event: SubscribeToShardEvent) -> (Result<SubscriptionEvent, KinesisError>, bool) {
    let behind_latest = behind(event.millis_behind_latest);
    match records(take(&mut event.records)) {
        Ok(records) => (whole(&event, records), true),
        Err(refused) => match refused.before.last() {
            None => (Err(KinesisError::other(SUBSCRIBE, refused.error)), true),
            Some(last) => {
                let (continuation, children) = (Some(last.sequence_number.clone()), Vec::new());
                (Ok(SubscriptionEvent { records: refused.before, continuation, children, behind_latest }), false)
            }
        },
    }
}

fn whole(event: &SubscribeToShardEvent, records: Vec<KinesisRecord>) -> Result<SubscriptionEvent, KinesisError> {
    let continuation = Some(event.continuation_sequence_number.as_str()).filter(|number| !number.is_empty());
    let continuation = continuation.map(str::parse).transpose();
    Ok(SubscriptionEvent {
        children: children(SUBSCRIBE, event.child_shards())?,
        continuation: continuation.map_err(|error| KinesisError::other(SUBSCRIBE, BoxError::from(error)))?,
        behind_latest: behind(event.millis_behind_latest),
        records,
    })
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

    fn received(numbers: &[&str]) -> SubscribeToShardEvent {
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
            let (event, goes_on) = event(received(numbers));
            let event = event.unwrap();
            assert_eq!((event.records.len(), goes_on), (given, !ends), "{numbers:?}");
            assert_eq!(event.continuation, Some(if ends { "1" } else { "9" }.parse().unwrap()));
        }
    }

    #[test]
    fn an_unreadable_record_fails_the_reading_and_is_named() {
        let (event, _) = event(received(&["x", "3"]));
        assert!(event.unwrap_err().source.to_string().contains("\"x\""));
    }
}
