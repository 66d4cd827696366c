//! SHELL: creates leases that a stream's shards lack, and completes others. Planned by `logic::lineage`.

use std::{mem, time::Duration};

use futures::{StreamExt as _, stream};
use kpl::ShardId;

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
/// Creations throttled in a row, each after the SDK's own attempts, after which the rest is left to another listing.
const MAX_THROTTLED: usize = 64;

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
        let leases = generation.into_iter().map(|lease| stream.lease(lease)).collect();
        created.extend(create_all(context, leases).await?);
    }
    created.sort();
    let any = !created.is_empty();
    if any {
        context.events.emit(Event::LeasesCreated { stream_id: stream.id.clone(), shards: created });
    }
    Ok(any)
}

/// Creates leases in any order; the shards of those that are new. What the table's limit refuses is tried again while
/// other creations succeed: a stream of thousands of shards takes seconds of all that a new table can write.
async fn create_all(context: &Context, leases: Vec<Lease>) -> Result<Vec<ShardId>, TableError> {
    let (mut created, mut left, mut throttled) = (Vec::new(), leases, 0);
    while !left.is_empty() {
        let create = |lease: Lease| async { (create_one(context, &lease).await, lease) };
        let mut writes = stream::iter(mem::take(&mut left)).map(create).buffer_unordered(CONCURRENT_CREATIONS);
        while let Some((written, lease)) = writes.next().await {
            match written {
                Ok(is_new) => {
                    throttled = 0;
                    created.extend(is_new.then_some(lease.shard_id));
                }
                Err(error @ TableError::Throttled { .. }) if throttled < MAX_THROTTLED => {
                    context.table_failed(&error);
                    throttled += 1;
                    left.push(lease);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(created)
}

/// True: the lease is new.
async fn create_one(context: &Context, lease: &Lease) -> Result<bool, TableError> {
    let begun = now();
    let created = context.table.create(lease).await;
    context.metrics.lease_created(created.is_ok(), now() - begun, &lease.checkpoint);
    Ok(created? == Conditional::Applied)
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
