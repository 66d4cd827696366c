//! SHELL: creates leases that a stream's shards lack, and completes others. Planned by `logic::lineage`.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    context::Context,
    error::{KinesisError, TableError},
    event::Event,
    logic::lineage::{
        audit::{Completion, complete},
        lookup::DESCRIPTION_LIFE,
        shard_sync::{Inconsistent, generations, is_unread, plan_first, plan_missing},
    },
    model::{Conditional, Lease, Shard},
    stream::{CONFIRMED, Presence, Stream},
    time::now,
};

/// Leases of one stream that are created at a time. A new on-demand table takes 4,000 writes a second.
const CONCURRENT_CREATIONS: usize = 8;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error("shards of the stream cannot be listed")]
    List(#[from] KinesisError),
    #[error("the listed shards contradict each other, a resharding may be under way: {0:?}")]
    Inconsistent(Inconsistent),
    #[error("the stream was deleted and created again")]
    Replaced,
    #[error("leases cannot be written")]
    Write(#[from] TableError),
}

/// Creates what is missing beside the stream's leases that exist. True: leases were created or deleted.
pub(crate) async fn sync(context: &Context, stream: &Stream, leases: &[&Lease]) -> Result<bool, SyncError> {
    let position = &stream.initial_position;
    require_the_same(stream, DESCRIPTION_LIFE).await?;
    if is_unread(leases, position) {
        let plan = plan_first(&stream.try_list(true).await?, leases, position);
        return create(context, stream, plan).await;
    }
    let shards = stream.try_list(false).await?;
    let created = create(context, stream, plan_missing(&shards, leases, position)).await?;
    let deleted = complete_leases(context, stream, leases, &shards).await?;
    Ok(created || deleted)
}

/// Refuses a listing that may be of another stream of that name. A stream that cannot be described is taken for the same.
async fn require_the_same(stream: &Stream, age: Duration) -> Result<(), SyncError> {
    match stream.confirm(age).await {
        Ok(Presence::Replaced(_)) => Err(SyncError::Replaced),
        _ => Ok(()),
    }
}

async fn create(context: &Context, stream: &Stream, plan: Result<Vec<Lease>, Inconsistent>) -> Result<bool, SyncError> {
    let plan = plan.map_err(SyncError::Inconsistent)?;
    if !plan.is_empty() {
        require_the_same(stream, CONFIRMED).await?;
    }
    let mut created = Vec::new();
    // An interruption must not leave a child without its ancestors.
    for generation in generations(plan) {
        let create = |lease: Lease| async {
            let lease = stream.lease(lease);
            let begun = now();
            let created = context.table.create(&lease).await;
            context.metrics.lease_created(created.is_ok(), now() - begun, &lease.checkpoint);
            let is_new = created? == Conditional::Applied;
            Ok::<_, TableError>(is_new.then_some(lease.shard_id))
        };
        let new = stream::iter(generation).map(create).buffered(CONCURRENT_CREATIONS);
        created.extend(new.try_collect::<Vec<_>>().await?.into_iter().flatten());
    }
    let any = !created.is_empty();
    if any {
        context.events.emit(Event::LeasesCreated { stream_id: stream.id.clone(), shards: created });
    }
    Ok(any)
}

/// True: leases were deleted.
async fn complete_leases(
    context: &Context,
    stream: &Stream,
    leases: &[&Lease],
    shards: &[Shard],
) -> Result<bool, SyncError> {
    let completions = complete(leases, shards);
    if !completions.is_empty() {
        require_the_same(stream, CONFIRMED).await?;
    }
    let mut deleted = Vec::new();
    for (key, completion) in completions {
        match completion {
            Completion::Add(addition) => context.table.add_to(&key, &addition).await?,
            Completion::Garbage => {
                if let Conditional::Applied = context.table.delete_ended(&key).await? {
                    deleted.extend(leases.iter().find(|lease| lease.key == key).map(|lease| lease.shard_id.clone()));
                }
            }
        }
    }
    let any = !deleted.is_empty();
    if any {
        context.events.emit(Event::LeasesCleanedUp { stream_id: stream.id.clone(), shards: deleted });
    }
    Ok(any)
}
