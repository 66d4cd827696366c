//! A subscription as an event stream: asks Kinesis for the next event, and waits while there is none.
//!
//! It moves only while it is read, so a slow reader slows it down and nothing piles up.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use crate::event_stream::{self, EventStream};
use crate::kinesis::{Next, Step, Subscription};
use crate::services::{Service, Services};
use crate::wire::Format;

/// The form of the frames of a subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    pub(crate) format: Format,
    /// Number of events after which the connection breaks.
    pub(crate) cut_after: Option<usize>,
}

/// The frames of a subscription that has begun.
pub(crate) fn events(services: Arc<Services>, subscription: Subscription, framing: Framing) -> EventStream {
    let Framing { format, cut_after } = framing;
    let reader = Reader { services, subscription, format, has_begun: false, has_failed: false };
    let frames = futures::stream::unfold(reader, async |mut reader| {
        let frame = reader.next().await?;
        Some((Ok(frame), reader))
    });
    match cut_after {
        None => EventStream::new(frames),
        Some(events) => {
            // The first frame is not an event.
            EventStream::new(frames.take(events.saturating_add(1)).chain(event_stream::broken()))
        }
    }
}

#[derive(Debug)]
struct Reader {
    services: Arc<Services>,
    subscription: Subscription,
    format: Format,
    has_begun: bool,
    has_failed: bool,
}

impl Reader {
    /// The next frame, when there is one. `None` at the end of the session or of the shard, and after an exception.
    async fn next(&mut self) -> Option<Bytes> {
        let content_type = Service::Kinesis.content_type(self.format);
        if !self.has_begun {
            self.has_begun = true;
            let fields = BTreeMap::<&str, &str>::new();
            return Some(event_stream::event("initial-response", content_type, self.format.encode(&fields)));
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
                    let payload = self.format.encode(&event);
                    return Some(event_stream::event("SubscribeToShardEvent", content_type, payload));
                }
                Ok(Next::Idle { until }) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(self.services.clock.instant(until)) => {}
                    }
                }
                Ok(Next::Ended) => return None,
                Err(error) => {
                    self.has_failed = true;
                    return Some(event_stream::exception(error.code(), content_type, error.encode(self.format)));
                }
            }
        }
    }
}
