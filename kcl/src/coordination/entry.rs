//! SHELL: checks before anything is changed: streams that can be read, a fleet that this application may join.

use std::{future::Future, sync::atomic::Ordering, time::Duration};

use futures::TryFutureExt as _;
use tokio::time::sleep;

use crate::{
    context::Context,
    error::{KinesisErrorKind, TableError, WorkerError},
    event::{Event, chain},
    logic::backoff::Backoff,
    model::{StreamIdentity, VERSION_3},
    stream::Catalog,
    time::now,
};

/// Patience with failures that may pass, other than throttling.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses before a failed step is tried again: spread, so that workers started together do not ask in step.
const BACKOFF: Backoff = Backoff::of_millis(500, 10_000);

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
    patiently(context, || context.table.find_layout().err_into()).await?;
    patiently(context, || context.table.prepare().err_into()).await?;
    patiently(context, || declare(context)).await?;
    patiently(context, || check_kind(context)).await
}

/// Tries a step of the start until it succeeds. Throttling is waited out without a limit, as a restarted worker would
/// add to it; other failures that may pass for [`PATIENCE`]. Each is an event.
pub(crate) async fn patiently<T, F>(context: &Context, step: impl Fn() -> F) -> Result<T, WorkerError>
where
    F: Future<Output = Result<T, WorkerError>>,
{
    let (mut failures, mut failing_since) = (0, None);
    loop {
        let begun = now();
        let error = match step().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let is_throttled = match &error {
            WorkerError::LeaseTable(failure) if failure.may_pass() => {
                context.table_failed(failure);
                matches!(failure, TableError::Throttled { .. })
            }
            WorkerError::Stream { stream, source } if source.may_pass() => {
                let (stream, error) = (stream.clone(), chain(source));
                context.events.emit(Event::StreamUnavailable { stream, error });
                source.kind == KinesisErrorKind::Throttled
            }
            _ => return Err(error),
        };
        if is_throttled {
            failing_since = None;
        } else if now() - *failing_since.get_or_insert(begun) >= PATIENCE {
            return Err(error);
        }
        failures += 1;
        sleep(BACKOFF.pause(failures, fastrand::f64())).await;
    }
}

/// Refuses leases of the other kind of application: of one stream, or of several.
pub(crate) async fn check_kind(context: &Context) -> Result<(), WorkerError> {
    if context.table.sample().await?.iter().all(|lease| context.catalog.fits(lease)) {
        return Ok(());
    }
    let (theirs, ours) = match &context.catalog {
        Catalog::Single(_) => ("several streams", "one"),
        Catalog::Multi(_) => ("one stream", "several"),
    };
    let reason = format!("its leases are of an application of {theirs}, and this one is of {ours}");
    Err(foreign(context, reason))
}

/// Notes the only stream in the table, which must be declared, or finds that another is noted there.
pub(crate) async fn claim(context: &Context, stream: &StreamIdentity) -> Result<(), WorkerError> {
    let noted = context.table.claim_stream(stream).await?;
    if noted == *stream {
        return Ok(());
    }
    Err(WorkerError::other_stream(&context.settings.table, stream, &noted))
}

async fn declare(context: &Context) -> Result<(), WorkerError> {
    if check_version(context).await? {
        return Ok(());
    }
    let me = &context.settings.worker_id;
    let leases = context.table.scan().await?.leases;
    let is_owned = leases.iter().any(|lease| lease.owner.as_ref().is_some_and(|owner| owner != me));
    // By workers of 3.x, if one has declared it since we looked.
    if is_owned && !check_version(context).await? {
        let reason = "it has owned leases and no migration state, as KCL 2.x leaves it".to_owned();
        return Err(foreign(context, reason));
    }
    // False: another worker declared it meanwhile; look what it declared.
    if !context.table.declare_v3(me, context.clock.millis()).await? {
        check_version(context).await?;
    } else {
        context.is_v3.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// True if the fleet is declared to be of KCL 3.x; an error if it is of something else.
pub(crate) async fn check_version(context: &Context) -> Result<bool, WorkerError> {
    let version = context.table.fleet_version().await?;
    context.is_v3.store(version.as_deref() == Some(VERSION_3), Ordering::Relaxed);
    match version.as_deref() {
        None => Ok(false),
        Some(VERSION_3 | "CLIENT_VERSION_3X_WITH_ROLLBACK") => Ok(true),
        Some(state) => Err(foreign(context, format!("its migration state is {state}, only KCL 3.x is supported"))),
    }
}

fn foreign(context: &Context, reason: String) -> WorkerError {
    WorkerError::ForeignFleet { table: context.settings.table.clone(), reason }
}
