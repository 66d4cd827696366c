//! The outcome of a put.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    runtime::Handle,
    sync::{self, oneshot},
};

pub(crate) use self::ticket::{Prepared, Ticket};
use crate::{
    delivered::Delivered,
    error::{DeliveryError, DeliveryErrorKind, Failure},
    record::UserRecord,
};

mod ticket;

/// Resolves when a record is stored, or has failed.
///
/// # Cancellation
/// Dropping it does not cancel the put.
#[must_use = "dropping a Delivery hides whether the record was stored"]
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Outcome>);

type Outcome = Result<Delivered, DeliveryError>;

impl Delivery {
    /// Blocks until the record is stored, or has failed, which is the error.
    ///
    /// # Panics
    /// In async code, where blocking would stop the runtime, even if it need not wait; but not in closures of tokio's
    /// `spawn_blocking` and `block_in_place`.
    #[track_caller]
    pub fn wait(self) -> Result<Delivered, DeliveryError> {
        assert_may_block();
        self.0.blocking_recv().unwrap_or_else(|_| lost())
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.unwrap_or_else(|_| lost()))
    }
}

/// Outcome of a ticket that was lost in a panic while outcomes were handed out; its record is lost, too.
fn lost() -> Outcome {
    Err(DeliveryError::new(Failure::unattempted(DeliveryErrorKind::Abandoned), UserRecord::new("", "")))
}

/// Panics where blocking would stop an async runtime.
#[track_caller]
pub(crate) fn assert_may_block() {
    // Threads of `spawn_blocking` have a current runtime, too, and may block.
    if Handle::try_current().is_ok() {
        // The lock is free: this is only for the panic of tokio, which knows.
        drop(sync::Mutex::const_new(()).blocking_lock());
    }
}
