//! [`Subscription`]: events of SubscribeToShard, read with an end to every wait.

use std::time::Duration;

use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{Record, SubscribeToShardEvent, SubscribeToShardEventStream};
use aws_smithy_types::event_stream::RawMessage;
use tokio::time::{Instant, timeout};

use super::expect::Failure;

/// Longer than a subscription is ever silent.
pub(super) const SILENCE: Duration = Duration::from_secs(8);

/// Maximum time that a check waits for an event.
const PATIENCE: Duration = Duration::from_secs(12);

/// A subscription that is going on.
pub(super) struct Subscription(pub(super) EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>);

impl Subscription {
    /// The next event, if there is one.
    pub(super) async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>, Failure> {
        let Ok(event) = timeout(SILENCE, self.0.recv()).await else {
            return Err(Failure::new(format!("no event within {SILENCE:?}")));
        };
        match event? {
            None => Ok(None),
            Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => Ok(Some(event)),
            Some(other) => Err(Failure::new(format!("unknown event {other:?}"))),
        }
    }

    /// The events until one satisfies.
    pub(super) async fn until(
        &mut self,
        what: &str,
        satisfies: impl Fn(&SubscribeToShardEvent) -> bool,
    ) -> Result<Vec<SubscribeToShardEvent>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            let is_last = satisfies(&event);
            events.push(event);
            if is_last {
                return Ok(events);
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(format!("{} events without {what} within {PATIENCE:?}", events.len())));
            }
        }
        Err(Failure::new(format!("ended without {what}")))
    }

    /// So many records.
    pub(super) async fn records(&mut self, count: usize) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::new();
        while records.len() < count {
            let events = self.until("records", |event| !event.records().is_empty()).await?;
            records.extend(events.into_iter().flat_map(|event| event.records));
        }
        Ok(records)
    }

    /// The events to that with child shards.
    pub(super) async fn until_end(&mut self) -> Result<Vec<SubscribeToShardEvent>, Failure> {
        self.until("child shards", |event| !event.child_shards().is_empty()).await
    }

    /// Reads until the subscription ends, and tells whether that was by an error.
    pub(super) async fn ending(&mut self, within: Duration) -> Result<Option<EventError>, Failure> {
        let ending = async {
            loop {
                match self.0.recv().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(error) => return Some(error),
                }
            }
        };
        timeout(within, ending).await.map_err(|_| Failure::new(format!("not ended within {within:?}")))
    }
}

pub(super) type EventError = SdkError<SubscribeToShardEventStreamError, RawMessage>;
