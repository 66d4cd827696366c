//! SHELL: creates the leases that the stream's shards need. Planned by [`logic::shard_sync`](crate::logic::shard_sync).

use std::{collections::HashSet, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};

use super::Context;
use crate::{
    error::WorkerError,
    event::Event,
    kinesis::{KinesisError, KinesisErrorKind, Shard, StreamIdentity},
    lease::{Conditional, Lease, LeaseKey},
    logic::shard_sync::{Inconsistent, plan_first, plan_missing},
};

/// Why shards could not be synced; the next cycle tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error("shards of the stream cannot be listed")]
    List(#[from] KinesisError),
    #[error("the listed shards contradict each other, a resharding may be under way: {0:?}")]
    Inconsistent(Inconsistent),
    #[error("leases cannot be created")]
    Create(#[from] crate::lease::store::StoreError),
}

/// Creates what is missing beside the leases that exist, and returns how many leases were created.
pub(crate) async fn sync(context: &Context, leases: &[Lease]) -> Result<usize, SyncError> {
    let position = &context.settings.initial_position;
    let plan = if leases.is_empty() {
        let shards = list(context, true).await?;
        plan_first(&shards, position)
    } else {
        let leased: HashSet<LeaseKey> = leases.iter().map(|lease| lease.key.clone()).collect();
        plan_missing(&list(context, false).await?, &leased, position)
    };
    let mut created = Vec::new();
    for lease in plan.map_err(SyncError::Inconsistent)? {
        // In order, oldest first: an interruption must not leave a child without its ancestors.
        match context.store.create(&lease).await? {
            Conditional::Applied => created.push(lease.shard_id),
            Conditional::Conflict(_) => {}
        }
    }
    let count = created.len();
    if count > 0 {
        context.events.emit(Event::LeasesCreated { shards: created });
    }
    Ok(count)
}

/// Lists shards, again and again while throttled.
pub(crate) async fn list(context: &Context, for_initial_position: bool) -> Result<Vec<Shard>, KinesisError> {
    let position = for_initial_position.then_some(&context.settings.initial_position);
    (|| context.kinesis.list_shards(position)).retry(backoff()).when(is_transient).await
}

/// Waits while the stream is being created.
pub(crate) async fn wait_until_active(context: &Context) -> Result<StreamIdentity, WorkerError> {
    /// Between looks at a stream that is being created.
    const POLL: Duration = Duration::from_secs(1);
    loop {
        let described = (|| context.kinesis.describe()).retry(backoff()).when(is_transient).await;
        let stream = described.map_err(|error| WorkerError::of_stream(&context.settings.stream, error))?;
        if stream.active {
            return Ok(stream.identity);
        }
        tracing::info!(stream = context.settings.stream, "waiting for the stream to become active");
        tokio::time::sleep(POLL).await;
    }
}

fn is_transient(error: &KinesisError) -> bool {
    matches!(error.kind, KinesisErrorKind::Throttled | KinesisErrorKind::Other)
}

/// Up to 8 tries within about 20 s.
fn backoff() -> ExponentialBuilder {
    let (first, longest) = (Duration::from_millis(200), Duration::from_secs(5));
    ExponentialBuilder::default().with_jitter().with_min_delay(first).with_max_delay(longest).with_max_times(7)
}
