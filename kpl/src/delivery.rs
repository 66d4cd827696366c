//! The answer to a put.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake},
};

use tokio::sync::oneshot;

use self::slots::Waiter;
pub(crate) use self::{
    slots::Slots,
    ticket::{Prepared, Ticket},
};
use crate::{
    Attempt, DeliveryError, SequenceNumber, ShardId, blocking::assert_may_block, kinesis::Stored, locked::locked,
};

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

/// A record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Shared by the user records of an aggregate.
    stored: Arc<Stored>,
    sub_sequence_number: Option<u32>,
    /// `None`: the first attempt succeeded.
    retried: Option<Box<Retried>>,
}

/// How a record fared before it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retried {
    pub(crate) attempts: u32,
    pub(crate) failed: Vec<Attempt>,
}

impl Delivered {
    pub(crate) fn new(stored: Arc<Stored>, sub_sequence_number: Option<u32>, retried: Option<Box<Retried>>) -> Self {
        Self { stored, sub_sequence_number, retried }
    }

    /// The shard that took the record.
    pub fn shard_id(&self) -> &ShardId {
        &self.stored.shard_id
    }

    /// Place of the Kinesis record in the shard. All user records of an aggregate have the same.
    pub fn sequence_number(&self) -> &SequenceNumber {
        &self.stored.sequence_number
    }

    /// Place of the user record in its aggregate, from 0; `None` if it is a Kinesis record of its own.
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.sub_sequence_number.map(u64::from)
    }

    /// How often the record was sent, the time that succeeded included.
    pub fn attempts(&self) -> u32 {
        self.retried.as_ref().map_or(1, |retried| retried.attempts)
    }

    /// Attempts that failed, the earliest first. Of more than 16, the first one and the last 15 are kept.
    pub fn failed_attempts(&self) -> &[Attempt] {
        self.retried.as_ref().map_or(&[], |retried| &retried.failed)
    }
}

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
