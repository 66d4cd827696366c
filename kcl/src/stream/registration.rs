//! SHELL: the consumer that a worker's shards subscribe as: found or registered once, whoever asks first.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, time::sleep};

use super::Stream;
use crate::{
    error::{KinesisError, KinesisErrorKind},
    event::{Event, Events},
    kinesis::retried,
    logic::backoff::Backoff,
    time::now,
};

/// Pauses between tries to find or register a consumer, and how many follow the first: about 30 s in all.
const BACKOFF: Backoff = Backoff::of_millis(1_000, 10_000);
const RETRIES: u32 = 7;
/// Looks at a consumer that is being created or deleted, and the pause between them: it takes seconds.
const LOOKS: u32 = 60;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Registration {
    /// Held while the consumer is looked up or registered, so that it is done once for all shards.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    arn: Option<Arc<str>>,
    /// End and error of a failed try, which takes long: all who waited for it share the outcome.
    refused: Option<(Instant, KinesisError)>,
}

impl Registration {
    /// The ARN of an active consumer; registers it if need be. Cancellation: safe, the next to ask goes on.
    pub(crate) async fn arn(&self, stream: &Stream, name: &str, events: &Events) -> Result<Arc<str>, KinesisError> {
        if let Some(given) = &stream.consumer_arn {
            return Ok(Arc::clone(given));
        }
        let asked = now();
        let mut state = self.state.lock().await;
        if let Some(arn) = &state.arn {
            return Ok(Arc::clone(arn));
        }
        if let Some((_, error)) = state.refused.as_ref().filter(|(ended, _)| *ended > asked) {
            return Err(error.copy());
        }
        match retried(BACKOFF, RETRIES, || establish(events, stream, name)).await {
            Ok(arn) => Ok(Arc::clone(state.arn.insert(arn))),
            Err(error) => {
                state.refused = Some((now(), error.copy()));
                Err(error)
            }
        }
    }

    pub(crate) fn is_untried(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| state.arn.is_none() && state.refused.is_none())
    }

    /// The consumer is gone, so it must be looked up again, unless another shard has done so already.
    pub(crate) async fn forget(&self, gone: &str) {
        let mut state = self.state.lock().await;
        if state.arn.as_deref() == Some(gone) {
            state.arn = None;
        }
    }
}

async fn establish(events: &Events, stream: &Stream, name: &str) -> Result<Arc<str>, KinesisError> {
    let kinesis = &stream.kinesis;
    let stream_arn = stream.describe().await?.identity.arn;
    for _ in 0..LOOKS {
        match kinesis.find_consumer(&stream_arn, name).await? {
            Some(found) if found.active => return Ok(found.arn.into()),
            Some(_) => {}
            None => match kinesis.register_consumer(&stream_arn, name).await {
                Ok(registered) => {
                    let (stream_id, consumer_arn) = (stream.id.clone(), registered.arn.clone());
                    events.emit(Event::ConsumerRegistered { stream_id, consumer_arn });
                    if registered.active {
                        return Ok(registered.arn.into());
                    }
                    // Often it is active at once, whatever this answer says.
                    continue;
                }
                // Another worker was faster, or the stream is being changed.
                Err(error) if error.kind == KinesisErrorKind::InUse => {}
                Err(error) => return Err(error),
            },
        }
        sleep(LOOK_PAUSE).await;
    }
    let source = format!("consumer {name} is not active after {LOOKS} looks");
    Err(KinesisError::new(KinesisErrorKind::InUse, "kinesis:DescribeStreamConsumer", source))
}
