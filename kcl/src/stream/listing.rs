//! SHELL: lists a stream's shards, and waits while the stream is being created.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use super::Stream;
use crate::{
    error::{KinesisError, WorkerError},
    model::{shard::Shard, stream_id::StreamIdentity},
};

/// Lists shards, again and again while throttled.
pub(crate) async fn list(stream: &Stream, for_initial_position: bool) -> Result<Vec<Shard>, KinesisError> {
    let position = for_initial_position.then_some(&stream.initial_position);
    (|| stream.kinesis.list_shards(position)).retry(backoff()).when(KinesisError::may_pass).await
}

/// Waits while the stream is being created.
pub(crate) async fn wait_until_active(stream: &Stream) -> Result<StreamIdentity, WorkerError> {
    /// Between looks at a stream that is being created.
    const POLL: Duration = Duration::from_secs(1);
    loop {
        let described = (|| stream.describe()).retry(backoff()).when(KinesisError::may_pass).await;
        let found = described.map_err(|error| WorkerError::of_stream(&stream.given, error))?;
        if found.active {
            return Ok(found.identity);
        }
        tracing::info!(stream = stream.given, "waiting for the stream to become active");
        tokio::time::sleep(POLL).await;
    }
}

/// Up to 8 tries within about 20 s.
fn backoff() -> ExponentialBuilder {
    let (first, longest) = (Duration::from_millis(200), Duration::from_secs(5));
    ExponentialBuilder::default().with_jitter().with_min_delay(first).with_max_delay(longest).with_max_times(7)
}
