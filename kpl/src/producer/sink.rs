//! A producer as a [`futures::Sink`].

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt as _, Sink, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use crate::{
    delivery::Delivery,
    error::{PutError, RecordError},
    producer::Producer,
    record::UserRecord,
};

/// A sink that stores user records: [`Producer::sink`].
///
/// It is ready while the producer's buffer has space. Flushing and closing wait until every record is stored. A failed record
/// is reported by the next operation, with the record in the error; the sink stays usable.
pub struct RecordSink {
    producer: Producer,
    /// A record that waits for space.
    putting: Option<BoxFuture<'static, Result<Delivery, PutError>>>,
    deliveries: FuturesUnordered<Delivery>,
    flushing: Option<BoxFuture<'static, ()>>,
}

impl RecordSink {
    pub(crate) fn new(producer: Producer) -> Self {
        Self { producer, putting: None, deliveries: FuturesUnordered::new(), flushing: None }
    }

    /// Ready when no record waits for space; with the error of a record that is not stored, if there is one.
    fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecordError>> {
        if let Some(putting) = &mut self.putting {
            let put = ready!(putting.poll_unpin(cx));
            self.putting = None;
            self.deliveries.push(put?);
        }
        while let Poll::Ready(Some(outcome)) = self.deliveries.poll_next_unpin(cx) {
            outcome?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Sink<UserRecord> for RecordSink {
    type Error = RecordError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), RecordError>> {
        self.poll_accepted(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, record: UserRecord) -> Result<(), RecordError> {
        let prepared = self.producer.prepare(record)?;
        match self.producer.try_accept(prepared) {
            Ok(delivery) => self.deliveries.push(delivery),
            Err(prepared) => {
                let producer = self.producer.clone();
                self.putting = Some(async move { producer.accept(*prepared).await }.boxed());
            }
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), RecordError>> {
        ready!(self.poll_accepted(cx))?;
        if self.deliveries.is_empty() {
            self.flushing = None;
            return Poll::Ready(Ok(()));
        }
        let producer = self.producer.clone();
        let flush = || async move { producer.flush_stream().await }.boxed();
        let mut flushing = self.flushing.take().unwrap_or_else(flush);
        if flushing.poll_unpin(cx).is_pending() {
            self.flushing = Some(flushing);
        }
        // The deliveries wake this task, too.
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), RecordError>> {
        self.poll_flush(cx)
    }
}

impl fmt::Debug for RecordSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RecordSink");
        shown.field("producer", &self.producer).field("unresolved", &self.deliveries.len()).finish_non_exhaustive()
    }
}
