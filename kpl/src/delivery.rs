//! The answer to a put.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake},
};

use bytes::Bytes;
use tokio::sync::oneshot;

pub(crate) use self::slots::Slots;
use self::slots::{Resolver, Waiter};
use crate::{
    Attempt, DeliveryError, DeliveryErrorKind, SequenceNumber, ShardId, UserRecord, error::Failure, kinesis::Stored,
    locked::locked,
};

mod slots;

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

/// A record that was checked and is about to be accepted.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// As it is to be sent.
    pub(crate) record: UserRecord,
    /// The data as they were put, if they are sent encoded. Boxed, because most are not.
    original: Option<Box<Bytes>>,
}

impl Prepared {
    pub(crate) fn new(record: UserRecord) -> Self {
        Self { record, original: None }
    }

    pub(crate) fn encoded(mut record: UserRecord, data: Bytes) -> Self {
        let original = record.replace_data(data);
        Self { record, original: Some(Box::new(original)) }
    }

    /// What the record takes up in the buffer.
    pub(crate) fn space_bytes(&self) -> usize {
        self.record.size_bytes() + self.original.as_ref().map_or(0, |original| original.len())
    }

    /// The record, as it was put.
    pub(crate) fn into_record(mut self) -> UserRecord {
        if let Some(original) = self.original {
            self.record.replace_data(*original);
        }
        self.record
    }
}

/// A record on its way and the duty to resolve its [`Delivery`]. Dropping the ticket resolves it as abandoned, so that
/// nothing is lost silently, whatever happens to its owner.
#[derive(Debug)]
pub(crate) struct Ticket(Option<Open>);

#[derive(Debug)]
struct Open {
    prepared: Prepared,
    resolver: Resolver,
}

impl Ticket {
    pub(crate) fn new(prepared: Prepared, slots: &Slots) -> (Self, Delivery) {
        let (resolver, waiter) = slots.take();
        (Self(Some(Open { prepared, resolver })), Delivery { waiter: Some(waiter) })
    }

    pub(crate) fn resolve(mut self, outcome: Result<Receipt, Box<Failure>>) {
        self.close(outcome);
    }

    /// What the record takes up in the buffer.
    pub(crate) fn space_bytes(&self) -> usize {
        self.open().prepared.space_bytes()
    }

    fn open(&self) -> &Open {
        self.0.as_ref().expect("a ticket holds its record until it is resolved")
    }

    fn close(&mut self, outcome: Result<Receipt, Box<Failure>>) {
        let Some(Open { prepared, resolver }) = self.0.take() else { return };
        resolver.resolve(outcome.map_err(|failure| DeliveryError::new(*failure, prepared.into_record())));
    }
}

impl AsRef<UserRecord> for Ticket {
    fn as_ref(&self) -> &UserRecord {
        &self.open().prepared.record
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.close(Err(Failure::unattempted(DeliveryErrorKind::Abandoned).into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_that_is_dropped_resolves_its_delivery_with_the_record() {
        let (ticket, delivery) = Ticket::new(Prepared::new(UserRecord::new("k", "v")), &Slots::new());

        drop(ticket);

        let error = delivery.await.expect_err("abandoned");
        assert_eq!(error.kind(), &DeliveryErrorKind::Abandoned);
        assert_eq!(error.into_record(), UserRecord::new("k", "v"));
    }
}
