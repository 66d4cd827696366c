//! Containment of the application's code: its panics and stalls go no further.

use std::{
    any::Any,
    future::Future,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{task::JoinError, time::sleep};

use crate::error::BoxError;

pub(crate) enum Outcome<T> {
    Returned(T),
    Failed(BoxError),
    /// It did not return within the grace time after the work had to stop, and was dropped.
    Abandoned,
}

/// Awaits a call; after `interrupted` resolves, for `grace` more and no longer.
pub(crate) async fn contained<T, E: Into<BoxError>>(
    call: impl Future<Output = Result<T, E>>,
    interrupted: impl Future,
    grace: Duration,
) -> Outcome<T> {
    let call = call.map(|result| result.map_err(Into::into));
    let mut call = std::pin::pin!(Some(AssertUnwindSafe(call).catch_unwind()));
    let patience = async {
        interrupted.await;
        sleep(grace).await;
    };
    let outcome = tokio::select! {
        biased;
        result = call.as_mut().as_pin_mut().expect("the call is dropped below") => match result {
            Ok(Ok(value)) => Outcome::Returned(value),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(panic) => Outcome::Failed(panicked(panic)),
        },
        () = patience => Outcome::Abandoned,
    };
    // The values of an abandoned call are the application's, too.
    logged(contained_now(|| call.set(None)));
    outcome
}

/// Runs a call that does not wait.
pub(crate) fn contained_now<T>(call: impl FnOnce() -> T) -> Result<T, BoxError> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(panicked)
}

fn logged(dropped: Result<(), BoxError>) {
    if let Err(error) = dropped {
        tracing::error!(error, "a value of the application failed to be dropped");
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> BoxError {
    let text = panic_text(&*panic);
    drop(Contained::new(panic));
    format!("panicked: {text}").into()
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "(no text)".to_owned())
}

/// Resumes the panic of a task of the library's own, which must not go unnoticed.
pub(crate) fn propagate(failure: JoinError) {
    if let Ok(panic) = failure.try_into_panic() {
        resume_unwind(panic);
    }
}

/// A value of the application. A panic while it is dropped is logged, and nothing else.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        logged(contained_now(|| drop(value)));
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> DerefMut for Contained<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb(&'static str);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !self.0.is_empty() {
                std::panic::panic_any(Bomb(&self.0[1..]));
            }
        }
    }

    #[test]
    fn survives_what_panics_while_it_is_dropped() {
        drop(Contained::new(Bomb("twice")));
        assert_eq!(contained_now(|| drop(Bomb("once"))).unwrap_err().to_string(), "panicked: (no text)");
    }

    #[tokio::test(start_paused = true)]
    async fn survives_an_abandoned_call_that_panics_while_it_is_dropped() {
        let call = async {
            let _bomb = Bomb("!");
            std::future::pending::<Result<(), BoxError>>().await
        };

        let outcome = contained(call, std::future::ready(()), Duration::from_secs(1)).await;

        assert!(matches!(outcome, Outcome::Abandoned));
    }
}
