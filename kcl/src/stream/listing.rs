//! SHELL: lists a stream's shards, and waits while the stream is being created.

use std::time::Duration;

use super::Stream;
use crate::{
    error::{KinesisError, WorkerError},
    kinesis::retry::retried,
    logic::backoff::Backoff,
    model::{Shard, StreamIdentity},
};

/// Pauses between tries, and how many follow the first: about 20 s in all.
const BACKOFF: Backoff = Backoff::of_millis(400, 10_000);
const RETRIES: u32 = 7;

pub(crate) async fn list(stream: &Stream, for_initial_position: bool) -> Result<Vec<Shard>, KinesisError> {
    let position = for_initial_position.then_some(&stream.initial_position);
    retried(BACKOFF, RETRIES, || stream.kinesis.list_shards(position)).await
}

pub(crate) async fn wait_until_active(stream: &Stream) -> Result<StreamIdentity, WorkerError> {
    /// Pause between looks at a stream that is being created.
    const POLL: Duration = Duration::from_secs(1);
    loop {
        let described = retried(BACKOFF, RETRIES, || stream.describe()).await;
        let found = described.map_err(|error| WorkerError::of_stream(&stream.given, error))?;
        if found.active {
            return Ok(found.identity);
        }
        tracing::info!(stream = stream.given, "waiting for the stream to become active");
        tokio::time::sleep(POLL).await;
    }
}
