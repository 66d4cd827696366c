//! A subscription as an event stream: asks the core for the next event, waits when there is none.
//!
//! It moves only while it is read, so a slow reader slows it down and nothing piles up.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use crate::event_stream::{self, EventStream};
use crate::kinesis::{Next, Step, Subscription};
use crate::services::Services;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The frames of a subscription that has begun. The connection breaks after `cut_after` events, if that is set.
pub(crate) fn events(services: Arc<Services>, subscription: Subscription, cut_after: Option<usize>) -> EventStream {
    let reader = Reader { services, subscription, has_begun: false, has_failed: false };
    let frames = futures::stream::unfold(reader, async |mut reader| {
        let frame = reader.next().await?;
        Some((Ok(frame), reader))
    });
    match cut_after {
        None => EventStream::new(frames),
        Some(events) => {
            // The first frame is not an event.
            let cut = futures::stream::once(async { Err(io::ErrorKind::ConnectionReset.into()) });
            EventStream::new(frames.take(events.saturating_add(1)).chain(cut))
        }
    }
}

#[derive(Debug)]
struct Reader {
    services: Arc<Services>,
    subscription: Subscription,
    has_begun: bool,
    has_failed: bool,
}

impl Reader {
    /// The next frame, when there is one. `None` at the end of the session or of the shard, and after an exception.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.has_begun {
            self.has_begun = true;
            return Some(event_stream::event("initial-response", CONTENT_TYPE, b"{}".to_vec()));
        }
        if self.has_failed {
            return None;
        }
        // A backlog would be read without a pause otherwise, and starve the thread.
        tokio::task::yield_now().await;
        let changed = self.subscription.changed();
        loop {
            let mut changed = pin!(changed.notified());
            // From here on nothing is missed, so what the step below does not see yet wakes it up.
            changed.as_mut().enable();
            match (&*self.services).run(|kinesis, now| kinesis.next_event(&mut self.subscription, now)) {
                Ok(Next::Event(event)) => {
                    let payload = serde_json::to_vec(&event).expect("events are plain structs with string keys");
                    return Some(event_stream::event("SubscribeToShardEvent", CONTENT_TYPE, payload));
                }
                Ok(Next::Idle { until }) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(self.services.clock().instant(until)) => {}
                    }
                }
                Ok(Next::Ended) => return None,
                Err(error) => {
                    self.has_failed = true;
                    return Some(event_stream::exception(error.code(), CONTENT_TYPE, error.to_json()));
                }
            }
        }
    }
}
