//! SHELL: entry into a fleet: streams that can be read, an application that this worker may join, or takes over.

use std::sync::atomic::Ordering;

use futures::TryFutureExt as _;

use super::{
    admission::{check_kind, check_version, foreign, open_table, patiently},
    adoption,
};
use crate::{
    context::Context,
    error::{TableError, WorkerError},
    model::StreamIdentity,
    stream::Catalog,
};

pub(crate) async fn enter(context: &Context) -> Result<(), WorkerError> {
    match &context.catalog {
        Catalog::Single(stream) => {
            let stream = patiently(context, || stream.wait_until_active()).await?;
            enter_table(context).await?;
            patiently(context, || claim(context, &stream)).await
        }
        Catalog::Multi(multi) => {
            let resolved = multi.resolve(&context.events).await;
            // One that is missing must not keep the others waiting; if all are, it is the configuration that is wrong.
            match resolved.failed.into_iter().next() {
                Some((stream, error)) if resolved.streams.is_empty() && !error.may_pass() => {
                    Err(WorkerError::of_stream(&stream, error))
                }
                _ => enter_table(context).await,
            }
        }
    }
}

async fn enter_table(context: &Context) -> Result<(), WorkerError> {
    open_table(context).await?;
    if let Some(wait) = context.settings.adopt_after {
        Box::pin(adoption::adopt(context, wait)).await?;
    }
    // Before anything is written, even an index.
    let is_declared = patiently(context, || check_table(context)).await?;
    patiently(context, || context.table.prepare().err_into()).await?;
    if !is_declared {
        patiently(context, || declare(context)).await?;
    }
    patiently(context, || check_kind(context)).await
}

/// Notes the only stream in the table, which must be declared, or finds that another is noted there.
pub(crate) async fn claim(context: &Context, stream: &StreamIdentity) -> Result<(), WorkerError> {
    let noted = context.table.claim_stream(stream).await?;
    if noted == *stream {
        return Ok(());
    }
    Err(WorkerError::other_stream(&context.settings.table, stream, &noted))
}

/// True if the application is declared; false if it may be, once there is a table. An error if it is of another kind.
async fn check_table(context: &Context) -> Result<bool, WorkerError> {
    match check_joinable(context).await {
        Err(WorkerError::LeaseTable(TableError::TableMissing { .. })) => Ok(false),
        checked => checked,
    }
}

/// True if the application is declared. An error if it is of KCL 1.x or 2.x, or in between.
async fn check_joinable(context: &Context) -> Result<bool, WorkerError> {
    if check_version(context).await? {
        return Ok(true);
    }
    let me = &context.settings.worker_id;
    let leases = context.table.scan().await?.leases;
    let is_owned = leases.iter().any(|lease| lease.owner.as_ref().is_some_and(|owner| owner != me));
    // By workers of 3.x, if one has declared it since we looked.
    if is_owned && !check_version(context).await? {
        let reason = "it has owned leases and no migration state, as KCL 1.x and 2.x leave it: stop its workers, and let \
                      this one take it over by adopt_2x, or kds migrate --from-2x";
        return Err(foreign(context, reason.to_owned()));
    }
    Ok(is_owned)
}

async fn declare(context: &Context) -> Result<(), WorkerError> {
    if check_joinable(context).await? {
        return Ok(());
    }
    let (me, now) = (&context.settings.worker_id, context.clock.millis());
    // False: another worker declared it meanwhile; look what it declared.
    if !context.table.declare_v3(me, now).await? {
        check_version(context).await?;
    } else {
        context.is_v3.store(true, Ordering::Relaxed);
    }
    Ok(())
}
