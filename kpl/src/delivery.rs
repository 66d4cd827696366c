//! The answer to a put.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake},
};

use tokio::{
    runtime::Handle,
    sync::{self, oneshot},
};

use self::slots::Waiter;
pub(crate) use self::{
    slots::Slots,
    ticket::{Prepared, Ticket},
};
use crate::{delivered::Delivered, error::DeliveryError, locked::locked};

mod slots;
mod ticket;

/// Resolves when a record is stored, or is not going to be.
///
/// # Cancellation
/// Dropping it does not take the record back.
#[must_use = "dropping a Delivery hides whether the record was stored"]
#[derive(Debug)]
pub struct Delivery {
    /// None once resolved.
    waiter: Option<Waiter>,
}

/// What is left for a [`Delivery`].
pub(crate) type Outcome = Result<Delivered, DeliveryError>;

impl Delivery {
    /// Blocks until the record is stored or is not going to be.
    ///
    /// # Errors
    /// If it is not stored.
    ///
    /// # Panics
    /// In async code, where blocking would stop the runtime, also when it need not wait. Not in closures of tokio's
    /// `spawn_blocking` and `block_in_place`.
    #[track_caller]
    pub fn wait(mut self) -> Result<Delivered, DeliveryError> {
        assert_may_block();
        loop {
            let (sender, woken) = oneshot::channel();
            let waker = Arc::new(Signal(Mutex::new(Some(sender)))).into();
            if let Poll::Ready(outcome) = Pin::new(&mut self).poll(&mut Context::from_waker(&waker)) {
                return outcome;
            }
            // A ticket resolves its delivery at the latest when it is dropped.
            let _ = woken.blocking_recv();
        }
    }
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

/// Wakes a thread.
struct Signal(Mutex<Option<oneshot::Sender<()>>>);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        if let Some(sender) = locked(&self.0).take() {
            let _ = sender.send(()); // nobody waits any more
        }
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(waiter) = &self.waiter else { panic!("a Delivery was polled after it had resolved") };
        let outcome = std::task::ready!(waiter.poll(cx.waker()));
        self.waiter = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.abandon();
        }
    }
}
