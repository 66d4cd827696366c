//! A record on its way, with the duty to resolve its [`Delivery`].

use bytes::Bytes;

use super::{
    Delivery,
    slots::{Resolver, Slots},
};
use crate::{
    delivered::Delivered,
    error::{DeliveryError, DeliveryErrorKind, Failure},
    logic::pending::Detach,
    record::UserRecord,
    trace_context::TraceContext,
};

/// A checked record, about to be accepted.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// As it is sent.
    pub(crate) record: UserRecord,
    /// Data as put, if sent encoded. Boxed, because most are not.
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

    /// Space that the record takes up: at most 4 GiB, above any record that is sent.
    pub(crate) fn space_bytes(&self) -> usize {
        let context = self.record.trace_context().map_or(0, TraceContext::len);
        let original = self.original.as_ref().map_or(0, |original| original.len());
        counted(self.record.size_bytes() + context, original) as usize
    }

    pub(crate) fn into_record(mut self) -> UserRecord {
        if let Some(original) = self.original {
            self.record.replace_data(*original);
        }
        self.record
    }
}

/// Bytes of both forms of a record, in the bits of a [`Stub`].
fn counted(sent_bytes: usize, original_bytes: usize) -> u32 {
    u32::try_from(sent_bytes.saturating_add(original_bytes)).unwrap_or(u32::MAX)
}

/// A record and the duty to resolve its [`Delivery`]. A dropped ticket resolves it as abandoned, so that no record is lost
/// silently.
#[derive(Debug)]
pub(crate) struct Ticket(Option<Open>);

#[derive(Debug)]
struct Open {
    prepared: Prepared,
    resolver: Resolver,
}

/// A [`Ticket`] without its record.
#[derive(Debug)]
pub(crate) struct Stub {
    resolver: Resolver,
    original: Option<Box<Bytes>>,
    pub(crate) space_bytes: u32,
    pub(crate) data_bytes: u32,
}

impl Ticket {
    pub(crate) fn new(prepared: Prepared, slots: &mut Slots) -> (Self, Delivery) {
        let (resolver, waiter) = slots.take();
        (Self(Some(Open { prepared, resolver })), Delivery(waiter))
    }

    /// Space that the record takes up in the buffer.
    pub(crate) fn space_bytes(&self) -> usize {
        self.open().prepared.space_bytes()
    }

    fn open(&self) -> &Open {
        self.0.as_ref().expect("a ticket holds its record until it is resolved")
    }

    /// Resolves the delivery, unless it is resolved.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let Some(Open { prepared, resolver }) = self.0.take() else { return };
        resolver.resolve(Err(DeliveryError::new(failure, prepared.into_record())));
    }
}

impl Stub {
    pub(crate) fn deliver(self, delivered: Delivered) {
        self.resolver.resolve(Ok(delivered));
    }
}

impl AsRef<UserRecord> for Ticket {
    fn as_ref(&self) -> &UserRecord {
        &self.open().prepared.record
    }
}

impl Detach for Ticket {
    type Stub = Stub;

    fn detach(mut self) -> Stub {
        let Open { prepared, resolver } = self.0.take().expect("a ticket holds its record until it is resolved");
        let (space_bytes, data_bytes) = (prepared.space_bytes() as u32, prepared.record.data().len() as u32);
        Stub { resolver, original: prepared.original, space_bytes, data_bytes }
    }

    fn attach(stub: Stub, record: UserRecord) -> Self {
        let Stub { resolver, original, .. } = stub;
        Self(Some(Open { prepared: Prepared { record, original }, resolver }))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fail(Failure::unattempted(DeliveryErrorKind::Abandoned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_that_is_dropped_resolves_its_delivery_with_the_record() {
        let (ticket, delivery) = Ticket::new(Prepared::new(UserRecord::new("k", "v")), &mut Slots::default());

        drop(ticket);

        let error = delivery.await.expect_err("abandoned");
        assert_eq!(error.kind(), &DeliveryErrorKind::Abandoned);
        assert_eq!(error.into_record(), UserRecord::new("k", "v"));
    }

    #[tokio::test]
    async fn returns_a_record_sent_encoded_as_it_was_put() {
        let prepared = Prepared::encoded(UserRecord::new("k", "v"), "encoded".into());
        let (ticket, delivery) = Ticket::new(prepared, &mut Slots::default());

        let content = ticket.as_ref().clone();
        let stub = ticket.detach();
        assert_eq!((stub.space_bytes, stub.data_bytes), (9, 7));
        drop(Ticket::attach(stub, content));

        assert_eq!(delivery.await.expect_err("abandoned").into_record(), UserRecord::new("k", "v"));
    }

    #[test]
    fn data_of_any_size_take_up_as_much_when_put_as_when_resolved() {
        let sizes = [(1, 0), (1, u32::MAX as usize - 1), (1, u32::MAX as usize), (1, (4 << 30) + 10), (1, usize::MAX)];

        let found = sizes.map(|(sent, original)| counted(sent, original));

        assert_eq!(found, [1, u32::MAX, u32::MAX, u32::MAX, u32::MAX]);
    }

    #[tokio::test]
    async fn a_stub_that_is_dropped_resolves_its_delivery_all_the_same() {
        let (ticket, delivery) = Ticket::new(Prepared::new(UserRecord::new("k", "v")), &mut Slots::default());

        drop(ticket.detach());

        assert_eq!(delivery.await.expect_err("abandoned").kind(), &DeliveryErrorKind::Abandoned);
    }

    #[tokio::test]
    async fn gives_each_delivery_its_own_outcome_from_another_thread() {
        let record = |n: usize| UserRecord::new("k", n.to_string());
        let mut slots = Slots::default();
        let put = |n| Ticket::new(Prepared::new(record(n)), &mut slots);
        let (tickets, deliveries): (Vec<_>, Vec<_>) = (0..1000).map(put).unzip();

        let resolving = std::thread::spawn(move || drop(tickets));

        for (n, delivery) in deliveries.into_iter().enumerate() {
            assert_eq!(delivery.await.expect_err("abandoned").into_record(), record(n));
        }
        resolving.join().unwrap();
    }

    #[test]
    fn drops_at_once_outcomes_that_nobody_waits_for() {
        let mut slots = Slots::default();
        for resolved_first in [false, true] {
            let data = Bytes::from(vec![1; 100]);
            let (ticket, delivery) = Ticket::new(Prepared::new(UserRecord::new("k", data.clone())), &mut slots);
            if resolved_first {
                drop(ticket);
                drop(delivery);
            } else {
                drop(delivery);
                drop(ticket);
            }
            assert!(data.is_unique(), "no other handle to the data is left");
        }
    }
}
