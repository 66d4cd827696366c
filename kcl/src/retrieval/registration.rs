//! SHELL: the consumer that a worker's shards subscribe as: found or registered once, whoever asks first.

use std::{sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use tokio::{sync::Mutex, time::sleep};

use crate::{
    config::FanOut,
    coordination::Context,
    event::Event,
    kinesis::{KinesisError, KinesisErrorKind},
    stream::Stream,
};

/// Looks at a consumer that is being created or deleted, and the pause between them: it takes seconds.
const LOOKS: u32 = 60;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The consumer's ARN, once known.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    /// Held while the consumer is looked up or registered, so that it is done once for all shards.
    arn: Mutex<Option<Arc<str>>>,
}

impl Registration {
    /// The ARN of an active consumer; registers it if need be.
    ///
    /// Cancellation: safe, the next to ask goes on.
    pub(super) async fn arn(
        &self,
        context: &Context,
        stream: &Stream,
        fan_out: &FanOut,
    ) -> Result<Arc<str>, KinesisError> {
        if let Some(given) = &stream.consumer_arn {
            return Ok(Arc::clone(given));
        }
        let mut known = self.arn.lock().await;
        if let Some(arn) = &*known {
            return Ok(Arc::clone(arn));
        }
        let name = fan_out.name(&context.settings.application);
        let arn = (|| establish(context, stream, name)).retry(backoff()).when(is_transient).await?;
        Ok(Arc::clone(known.insert(arn)))
    }

    /// The consumer is gone, so it must be looked up again, unless another shard has done so already.
    pub(super) async fn forget(&self, gone: &str) {
        let mut known = self.arn.lock().await;
        if known.as_deref() == Some(gone) {
            *known = None;
        }
    }
}

async fn establish(context: &Context, stream: &Stream, name: &str) -> Result<Arc<str>, KinesisError> {
    let kinesis = &stream.kinesis;
    let stream_arn = kinesis.describe().await?.identity.arn;
    for _ in 0..LOOKS {
        match kinesis.find_consumer(&stream_arn, name).await? {
            Some(found) if found.active => return Ok(found.arn.into()),
            Some(_) => {}
            None => match kinesis.register_consumer(&stream_arn, name).await {
                Ok(registered) => {
                    let (stream_id, consumer_arn) = (stream.id.clone(), registered.arn.clone());
                    context.events.emit(Event::ConsumerRegistered { stream_id, consumer_arn });
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
    let source = format!("consumer {name} is not active after {LOOKS} looks").into();
    Err(KinesisError { kind: KinesisErrorKind::InUse, action: "kinesis:DescribeStreamConsumer", source })
}

fn is_transient(error: &KinesisError) -> bool {
    matches!(error.kind, KinesisErrorKind::Throttled | KinesisErrorKind::Other)
}

/// Up to 8 tries within about 30 s.
fn backoff() -> ExponentialBuilder {
    let (first, longest) = (Duration::from_millis(500), Duration::from_secs(5));
    ExponentialBuilder::default().with_jitter().with_min_delay(first).with_max_delay(longest).with_max_times(7)
}
