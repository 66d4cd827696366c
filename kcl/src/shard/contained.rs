//! Runs user code so that its panics and its stalls stay in its shard.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tokio::time::sleep;

use crate::BoxError;

/// A processor that panicked.
#[derive(Debug, thiserror::Error)]
#[error("record processor panicked: {text}")]
pub(super) struct Panicked {
    text: String,
}

/// Outcome of a call into user code.
pub(super) enum Outcome<T> {
    Returned(T),
    Failed(BoxError),
    /// It did not return within the grace time after the work had to stop, and was dropped.
    Abandoned,
}

/// Awaits a call; after `interrupted` resolves, for `grace` more and no longer.
pub(super) async fn contained<T, E: Into<BoxError>>(
    call: impl Future<Output = Result<T, E>>,
    interrupted: impl Future,
    grace: Duration,
) -> Outcome<T> {
    let patience = async {
        interrupted.await;
        sleep(grace).await;
    };
    tokio::select! {
        biased;
        result = AssertUnwindSafe(call).catch_unwind() => match result {
            Ok(Ok(value)) => Outcome::Returned(value),
            Ok(Err(error)) => Outcome::Failed(error.into()),
            Err(panic) => Outcome::Failed(Box::new(panicked(&*panic))),
        },
        () = patience => Outcome::Abandoned,
    }
}

/// Runs a call that does not wait.
pub(super) fn contained_now<T>(call: impl FnOnce() -> T) -> Result<T, BoxError> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panicked(&*panic).into())
}

fn panicked(panic: &(dyn Any + Send)) -> Panicked {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Panicked { text: text.unwrap_or_else(|| "(no text)".to_owned()) }
}
