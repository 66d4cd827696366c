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
use crate::{Attempt, DeliveryError, SequenceNumber, ShardId, kinesis::Stored, locked::locked};

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
pub(crate) type Outcome = Result<Receipt, DeliveryError>;

/// A record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The shard that took the record.
    pub shard_id: ShardId,
    /// Place of the Kinesis record in the shard. All user records of an aggregate have the same.
    pub sequence_number: SequenceNumber,
    /// Place of the user record in its aggregate, from 0; `None` if it is a Kinesis record of its own.
    pub sub_sequence_number: Option<u64>,
    /// How often the record was sent, the time that succeeded included.
    pub attempts: u32,
    /// Attempts that failed, the earliest first. Of more than 16, the first one and the last 15 are kept.
    pub failed_attempts: Vec<Attempt>,
}

/// A [`Delivered`] in small: there is one for each record that is not awaited yet.
#[derive(Debug)]
pub(crate) struct Receipt {
    /// Shared by the user records of an aggregate.
    pub(crate) stored: Arc<Stored>,
    pub(crate) sub_sequence_number: Option<u32>,
    /// `None`: the first attempt succeeded.
    pub(crate) retried: Option<Box<Retried>>,
}

/// How a record fared before it was stored.
#[derive(Debug)]
pub(crate) struct Retried {
    pub(crate) attempts: u32,
    pub(crate) failed: Vec<Attempt>,
}

impl Receipt {
    /// How often the record was sent.
    pub(crate) fn attempts(&self) -> u32 {
        self.retried.as_ref().map_or(1, |retried| retried.attempts)
    }
}

impl From<Receipt> for Delivered {
    fn from(receipt: Receipt) -> Self {
        let attempts = receipt.attempts();
        let Stored { shard_id, sequence_number } = Arc::unwrap_or_clone(receipt.stored);
        let sub_sequence_number = receipt.sub_sequence_number.map(u64::from);
        let failed_attempts = receipt.retried.map_or_else(Vec::new, |retried| retried.failed);
        Self { shard_id, sequence_number, sub_sequence_number, attempts, failed_attempts }
    }
}

impl Delivery {
    /// Blocks until the record is stored or is not going to be.
    ///
    /// # Errors
    /// If it is not stored.
    ///
    /// # Panics
    /// Where blocking would stop an async runtime, in its tasks.
    pub fn wait(mut self) -> Result<Delivered, DeliveryError> {
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
        Poll::Ready(outcome.map(Delivered::from))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.abandon();
        }
    }
}
