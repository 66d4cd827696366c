//! The outcome of a put.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use tokio::{runtime::Handle, sync};

use self::slots::Waiter;
pub(crate) use self::{
    slots::Slots,
    ticket::{Prepared, Ticket},
};
use crate::{
    delivered::Delivered,
    error::{DeliveryError, DeliveryErrorKind, Failure},
    record::UserRecord,
};

mod slots;
mod ticket;

/// Resolves when a record is stored, or has failed.
///
/// # Cancellation
/// Dropping it does not cancel the put.
#[must_use = "dropping a Delivery hides whether the record was stored"]
#[derive(Debug)]
pub struct Delivery(Waiter);

type Outcome = Result<Delivered, DeliveryError>;

impl Delivery {
    /// Blocks until the record is stored, or has failed, which is the error.
    ///
    /// # Panics
    /// In async code, where blocking would stop the runtime, even if it need not wait; but not in closures of tokio's
    /// `spawn_blocking` and `block_in_place`.
    #[track_caller]
    pub fn wait(mut self) -> Result<Delivered, DeliveryError> {
        assert_may_block();
        let waker = Arc::new(Unpark(thread::current())).into();
        loop {
            if let Poll::Ready(outcome) = self.0.poll(&waker) {
                return outcome;
            }
            thread::park();
        }
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx.waker())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
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
