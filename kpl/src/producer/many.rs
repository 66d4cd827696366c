//! Puts of many records: space, a place in the queue, and the pipeline's wake-up are taken once for a chunk of them.

use std::{collections::VecDeque, iter::from_fn};

use super::{Producer, shut_down};
use crate::{
    delivered::Delivered,
    delivery::{Delivery, Prepared},
    error::{PutError, RecordError},
    intake::queue::CHUNK,
    record::UserRecord,
};

/// The producer is shut down.
struct Closed;

impl Producer {
    /// Accepts records as [`put`](Self::put) does, in their order, and appends a [`Delivery`] for each to `deliveries`. Up to 32 are
    /// accepted together: that costs less for each than a put of its own.
    ///
    /// # Errors
    /// Error of the first record that is not acceptable, or of the next one when the producer is shut down; it returns the record.
    /// Those before it are accepted, those behind it are left in `records`.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait: accepted records have their deliveries, all others are in `records`, as they were put.
    pub async fn put_many(
        &self,
        records: &mut VecDeque<UserRecord>,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), PutError> {
        let mut chunk = Chunk { records, prepared: VecDeque::new(), refused: None };
        deliveries.reserve(chunk.records.len());
        while !chunk.records.is_empty() {
            chunk.refused = self.prepare_chunk(from_fn(|| chunk.records.pop_front()), &mut chunk.prepared).err();
            if self.accept_all(&mut chunk.prepared, |delivery| deliveries.push(delivery)).await.is_err()
                && let Some(record) = chunk.prepared.pop_front()
            {
                return Err(shut_down(record));
            }
            if let Some(refused) = chunk.refused.take() {
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Puts records in their order, [many](Self::put_many) at a time, has them sent at once, and waits for the outcomes, in the
    /// order of the records.
    ///
    /// ```no_run
    /// # async fn example(producer: kpl::Producer) {
    /// let records = (0..100).map(|n| kpl::UserRecord::new(format!("customer-{n}"), "tea"));
    /// for outcome in producer.put_all(records).await {
    ///     if let Err(error) = outcome {
    ///         eprintln!("{error}: {:?}", error.record());
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the future ends the wait: accepted records are still sent, the others are dropped.
    pub async fn put_all(&self, records: impl IntoIterator<Item = UserRecord>) -> Vec<Result<Delivered, RecordError>> {
        let mut records = records.into_iter().peekable();
        let (mut puts, mut prepared) = (Vec::new(), VecDeque::new());
        while records.peek().is_some() {
            let refused = self.prepare_chunk(&mut records, &mut prepared).err();
            if self.accept_all(&mut prepared, |delivery| puts.push(Ok(delivery))).await.is_err() {
                puts.extend(prepared.drain(..).map(|record| Err(shut_down(record))));
            }
            puts.extend(refused.map(Err));
        }
        // Nobody waits for this flush, nor thus for what others have put.
        drop(self.intake.queue.flush());
        let mut outcomes = Vec::with_capacity(puts.len());
        for put in puts {
            outcomes.push(async { Ok(put?.await?) }.await);
        }
        outcomes
    }

    /// Prepares the records of a chunk, up to the first one that is refused.
    fn prepare_chunk(
        &self,
        records: impl Iterator<Item = UserRecord>,
        prepared: &mut VecDeque<Prepared>,
    ) -> Result<(), PutError> {
        for record in records.take(CHUNK) {
            prepared.push_back(self.prepare(record)?);
        }
        Ok(())
    }

    /// Moves prepared records into the queue as there is space for them. Those left when the producer is shut down stay.
    async fn accept_all(
        &self,
        records: &mut VecDeque<Prepared>,
        mut accepted: impl FnMut(Delivery),
    ) -> Result<(), Closed> {
        // As for a single put.
        tokio::task::coop::consume_budget().await;
        let (space, share) = (&self.streams.context.space, &self.intake.status.share);
        loop {
            self.queue_first(records, &mut accepted, false);
            let Some(bytes) = records.front().map(Prepared::space_bytes) else { return Ok(()) };
            let attempt = || match self.queue_first(records, &mut accepted, true) {
                0 if self.is_closed() => Some(Err(Closed)),
                0 => None,
                _ => Some(Ok(())),
            };
            space.wait(share, bytes, attempt, || self.hurry(bytes)).await?;
        }
    }

    /// Queues the first records, as many as there is space for, and starts the pipeline if none runs. Returns how many.
    fn queue_first(&self, records: &mut VecDeque<Prepared>, accepted: impl FnMut(Delivery), has_waited: bool) -> usize {
        let (space, share, before) = (&self.streams.context.space, &self.intake.status.share, records.len());
        let take = |records: &VecDeque<Prepared>| {
            let sizes = records.iter().map(Prepared::space_bytes);
            if has_waited { space.take_first(share, sizes) } else { space.try_take_first(share, sizes) }
        };
        if self.intake.queue.put_chunk(records, take, accepted) {
            self.streams.start(&self.intake);
        }
        before - records.len()
    }
}

/// Records that are being put: those that are not accepted return to the others when it is dropped.
struct Chunk<'a> {
    records: &'a mut VecDeque<UserRecord>,
    prepared: VecDeque<Prepared>,
    /// The one behind the prepared ones, if it is not acceptable.
    refused: Option<PutError>,
}

impl Drop for Chunk<'_> {
    fn drop(&mut self) {
        let prepared = self.prepared.drain(..).map(Prepared::into_record);
        let left = prepared.chain(self.refused.take().map(PutError::into_record));
        left.rev().for_each(|record| self.records.push_front(record));
    }
}
