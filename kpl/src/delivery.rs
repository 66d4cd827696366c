//! The answer to a put.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{Attempt, DeliveryError, DeliveryErrorKind, SequenceNumber, ShardId, UserRecord, error::Failure};

/// Resolves when a record is stored, or is not going to be.
///
/// # Cancellation
/// Dropping it does not take the record back.
#[must_use = "dropping a Delivery hides whether the record was stored"]
#[derive(Debug)]
pub struct Delivery {
    outcome: oneshot::Receiver<Result<Delivered, DeliveryError>>,
}

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

impl Delivery {
    /// Blocks until the record is stored or is not going to be.
    ///
    /// # Errors
    /// If it is not stored.
    ///
    /// # Panics
    /// Where blocking would stop an async runtime, in its tasks.
    pub fn wait(self) -> Result<Delivered, DeliveryError> {
        self.outcome.blocking_recv().expect(ALWAYS_RESOLVED)
    }
}

/// Why an outcome is always there.
const ALWAYS_RESOLVED: &str = "a ticket resolves its delivery at the latest when it is dropped";

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut self.outcome).poll(cx);
        outcome.map(|sent| sent.expect(ALWAYS_RESOLVED))
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
    reply: oneshot::Sender<Result<Delivered, DeliveryError>>,
}

impl Ticket {
    pub(crate) fn new(prepared: Prepared) -> (Self, Delivery) {
        let (reply, outcome) = oneshot::channel();
        (Self(Some(Open { prepared, reply })), Delivery { outcome })
    }

    pub(crate) fn resolve(mut self, outcome: Result<Delivered, Failure>) {
        self.close(outcome);
    }

    /// What the record takes up in the buffer.
    pub(crate) fn space_bytes(&self) -> usize {
        self.open().prepared.space_bytes()
    }

    fn open(&self) -> &Open {
        self.0.as_ref().expect("a ticket holds its record until it is resolved")
    }

    fn close(&mut self, outcome: Result<Delivered, Failure>) {
        let Some(Open { prepared, reply }) = self.0.take() else { return };
        // An error means that the caller dropped the Delivery.
        let _ = reply.send(outcome.map_err(|failure| DeliveryError::new(failure, prepared.into_record())));
    }
}

impl AsRef<UserRecord> for Ticket {
    fn as_ref(&self) -> &UserRecord {
        &self.open().prepared.record
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.close(Err(Failure::unattempted(DeliveryErrorKind::Abandoned)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_that_is_dropped_resolves_its_delivery_with_the_record() {
        let (ticket, delivery) = Ticket::new(Prepared::new(UserRecord::new("k", "v")));

        drop(ticket);

        let error = delivery.await.expect_err("abandoned");
        assert_eq!(error.kind(), &DeliveryErrorKind::Abandoned);
        assert_eq!(error.into_record(), UserRecord::new("k", "v"));
    }
}
