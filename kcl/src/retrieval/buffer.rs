//! A buffer between reader and processor, bounded in records and bytes.
//!
//! (A) What waits is within both bounds, except that one answer alone may exceed them: it waits by itself.
//! (B) The reader waits for room before it reads, so beyond the bounds it holds at most one answer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Done, Fetched};
use crate::model::Prefetch;

const MAX_ANSWERS: usize = 16;

/// Room that is occupied until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) fetched: Fetched,
    _records: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

pub(super) fn buffer(bounds: Prefetch) -> (Sender, mpsc::Receiver<Waiting>) {
    let (items, receiver) = mpsc::channel(MAX_ANSWERS);
    let semaphore = |permits: u32| Arc::new(Semaphore::new(permits as usize));
    let sender = Sender { items, bounds, records: semaphore(bounds.records), bytes: semaphore(bounds.bytes) };
    (sender, receiver)
}

#[derive(Debug)]
pub(super) struct Sender {
    items: mpsc::Sender<Waiting>,
    bounds: Prefetch,
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Sender {
    /// Waits until there is room for something more, so that reading makes sense. Cancellation: safe.
    pub(super) async fn room(&self) -> Result<(), Done> {
        for semaphore in [&self.records, &self.bytes] {
            tokio::select! {
                biased;
                () = self.items.closed() => return Err(Done),
                permit = semaphore.acquire() => drop(permit.map_err(|_| Done)?),
            }
        }
        Ok(())
    }

    /// Resolves when nobody takes anything any more.
    pub(super) async fn closed(&self) {
        self.items.closed().await;
    }

    /// Hands something over; waits while it does not fit.
    pub(super) async fn send(&self, fetched: Fetched) -> Result<(), Done> {
        let (records, bytes) = cost(&fetched);
        let slot = self.items.reserve().await.map_err(|_| Done)?;
        let records = self.acquire(&self.records, records.min(self.bounds.records)).await?;
        let bytes = self.acquire(&self.bytes, bytes.min(self.bounds.bytes)).await?;
        slot.send(Waiting { fetched, _records: records, _bytes: bytes });
        Ok(())
    }

    async fn acquire(&self, semaphore: &Arc<Semaphore>, permits: u32) -> Result<OwnedSemaphorePermit, Done> {
        tokio::select! {
            biased;
            () = self.items.closed() => Err(Done),
            permit = Arc::clone(semaphore).acquire_many_owned(permits) => permit.map_err(|_| Done),
        }
    }
}

fn cost(fetched: &Fetched) -> (u32, u32) {
    let Fetched::Records { records, .. } = fetched else { return (0, 0) };
    let bytes: usize = records.iter().map(|record| record.data.len() + record.partition_key.len()).sum();
    let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (clamp(records.len()), clamp(bytes))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::{
        context::memory::{Memory, MemoryAccount},
        logic::read::answer_size::AnswerSize,
        model::KinesisRecord,
    };

    fn records(count: usize, bytes_each: usize) -> Fetched {
        let account = MemoryAccount::open(&Arc::new(Memory::new(1 << 30)));
        let record = |index: usize| KinesisRecord {
            sequence_number: (index + 1).to_string().parse().unwrap(),
            partition_key: "".into(),
            data: vec![0; bytes_each].into(),
            approximate_arrival: None,
        };
        let held = account.try_reserve(AnswerSize::ask).unwrap();
        Fetched::Records { records: (0..count).map(record).collect(), behind_latest: None, held }
    }

    #[tokio::test]
    async fn waits_with_a_page_that_does_not_fit_until_something_is_taken() {
        for (bounds, fits) in
            [(Prefetch { records: 10, bytes: 1 << 20 }, 3), (Prefetch { records: 1000, bytes: 1000 }, 3)]
        {
            let (sender, mut receiver) = buffer(bounds);
            for _ in 0..fits {
                assert!(sender.send(records(3, 100)).now_or_never().is_some());
            }
            assert!(sender.send(records(3, 100)).now_or_never().is_none());

            receiver.recv().await.unwrap();

            assert!(sender.send(records(3, 100)).now_or_never().is_some());
        }
    }

    #[tokio::test]
    async fn an_answer_beyond_the_bounds_waits_alone() {
        let (sender, mut receiver) = buffer(Prefetch { records: 10, bytes: 1000 });

        assert!(sender.send(records(50, 1000)).now_or_never().is_some());
        assert!(sender.room().now_or_never().is_none());
        assert!(sender.send(records(1, 1)).now_or_never().is_none());

        receiver.recv().await.unwrap();
        assert!(sender.room().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_reader_whose_processor_is_gone_stops_waiting() {
        let (sender, receiver) = buffer(Prefetch { records: 1, bytes: 1 });
        sender.send(records(1, 1)).await.unwrap();
        let waiting =
            tokio::spawn(async move { sender.send(records(1, 1)).await.is_err() && sender.room().await.is_err() });
        tokio::task::yield_now().await;

        drop(receiver);

        assert!(waiting.await.unwrap());
    }
}
