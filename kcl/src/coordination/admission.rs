//! SHELL: checks and patience of a start, for whoever enters a fleet or takes one over.

use std::{future::Future, sync::atomic::Ordering, time::Duration};

use futures::TryFutureExt as _;
use tokio::time::sleep;

use crate::{
    context::Context,
    error::{KinesisErrorKind, TableError, WorkerError},
    event::{Event, chain},
    logic::{adoption::advice, backoff::Backoff},
    model::{Lease, VERSION_3},
    stream::Catalog,
    time::now,
};

/// Patience with failures that may pass, other than throttling.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses before a failed step is tried again: spread, so that workers started together do not ask in step.
const BACKOFF: Backoff = Backoff::of_millis(500, 10_000);

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

/// Finds out in which tables the application is, and refuses one that is no lease table.
pub(crate) async fn open_table(context: &Context) -> Result<(), WorkerError> {
    patiently(context, || context.table.check_shape().err_into()).await?;
    patiently(context, || context.table.find_layout().err_into()).await
}

/// Refuses leases of the other kind of application: of one stream, or of several.
pub(crate) async fn check_kind(context: &Context) -> Result<(), WorkerError> {
    check_fit(context, context.table.sample().await?.iter())
}

pub(crate) fn check_fit<'a>(context: &Context, mut leases: impl Iterator<Item = &'a Lease>) -> Result<(), WorkerError> {
    if leases.all(|lease| context.catalog.fits(lease)) {
        return Ok(());
    }
    let (theirs, ours) = match &context.catalog {
        Catalog::Single(_) => ("several streams", "one"),
        Catalog::Multi(_) => ("one stream", "several"),
    };
    let reason = format!("its leases are of an application of {theirs}, and this one is of {ours}");
    Err(foreign(context, reason))
}

/// True if the fleet is declared to be of KCL 3.x; an error if it is of something else.
pub(crate) async fn check_version(context: &Context) -> Result<bool, WorkerError> {
    let version = context.table.fleet_version().await?;
    context.is_v3.store(version.as_deref() == Some(VERSION_3), Ordering::Relaxed);
    match version.as_deref() {
        None => Ok(false),
        Some(VERSION_3 | "CLIENT_VERSION_3X_WITH_ROLLBACK") => Ok(true),
        Some(state) => Err(foreign(context, format!("its migration state is {state}: {}", advice(state)))),
    }
}

pub(crate) fn foreign(context: &Context, reason: String) -> WorkerError {
    WorkerError::ForeignFleet { table: context.settings.table.clone(), reason }
}
