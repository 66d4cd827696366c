//! SHELL: reads a shard by GetRecords, paced by [`logic::pacing`](crate::logic::read::pacing).

use std::{
    future::Future,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::time::sleep_until;

use super::{Answer, Done, Reader};
use crate::{
    context::{memory::Held, tip::AtTip},
    error::{KinesisError, KinesisErrorKind},
    kinesis::Records,
    logic::read::{
        answer_size::AnswerSize,
        pacing::{LastRead, idle_time, interval, is_full},
    },
    time::now,
};

/// Reads until the shard's end, until nobody listens, or until `enough` resolves: Ok.
pub(super) async fn read(reader: &mut Reader, enough: impl Future<Output = ()>) -> Result<(), Done> {
    let mut enough = std::pin::pin!(enough);
    let tip = AtTip::new(&reader.context.tip);
    let mut polling = Polling { reader, iterator: None, failures: 0, empty: 0, tip };
    loop {
        polling.reader.sender.room().await?;
        let begun = now();
        let last = polling.turn().await?;
        let next = polling.next(begun, last);
        // Only here, where nothing is under way.
        tokio::select! {
            () = sleep_until(next.into()) => {}
            () = &mut enough => return Ok(()),
        }
    }
}

struct Polling<'a> {
    reader: &'a mut Reader,
    iterator: Option<String>,
    failures: u32,
    /// Reads in a row without records.
    empty: u32,
    tip: AtTip,
}

impl Polling<'_> {
    /// Time of the next read, after one that began at `begun`.
    fn next(&mut self, begun: Instant, last: LastRead) -> Instant {
        let retrieval = &self.reader.context.settings.retrieval;
        let idle = retrieval.idle_between_reads();
        let idle = idle_time(idle, retrieval.polling().max_idle().unwrap_or(idle), self.empty);
        let pause = interval(last, idle, fastrand::f64());
        if let LastRead::Read { behind: false, .. } = last {
            return self.tip.next(begun, pause);
        }
        self.empty = 0;
        self.tip.leave();
        begun + pause
    }

    async fn turn(&mut self) -> Result<LastRead, Done> {
        let iterator = match self.iterator().await {
            Ok(iterator) => iterator,
            Err(error) => return self.failed(error).await,
        };
        // Last, so that nothing waits with it.
        let held = self.reader.reserve(AnswerSize::ask).await?;
        let (limit, asked_at) = (held.limit(), self.reader.context.clock.now());
        let kinesis = Arc::clone(&self.reader.stream.kinesis);
        let call = kinesis.get_records(&iterator, limit);
        match self.reader.metrics.get_records.counted(call).await {
            Ok(records) => self.take(records, limit, asked_at, held).await,
            Err(error) => {
                drop(held);
                self.failed(error).await
            }
        }
    }

    async fn iterator(&mut self) -> Result<String, KinesisError> {
        if let Some(iterator) = self.iterator.clone() {
            return Ok(iterator);
        }
        let kinesis = Arc::clone(&self.reader.stream.kinesis);
        let call = kinesis.shard_iterator(&self.reader.shard_id, self.reader.cursor.position());
        let iterator = self.reader.metrics.get_iterator.counted(call).await?;
        self.reader.opened().await?;
        Ok(self.iterator.insert(iterator).clone())
    }

    async fn take(&mut self, answer: Records, limit: i32, asked_at: SystemTime, held: Held) -> Result<LastRead, Done> {
        let Records { records, next_iterator, children, behind_latest } = answer;
        let bytes = records.iter().map(|record| record.data.len()).sum();
        let is_full = is_full(records.len(), limit);
        self.empty = if records.is_empty() { self.empty.saturating_add(1) } else { 0 };
        if let Some(last) = records.last() {
            self.reader.cursor.read_to(&last.sequence_number);
        }
        if self.reader.deliver_records(Answer { records, behind_latest, asked_at, held }).await? {
            return Err(self.reader.end(Vec::new()).await);
        }
        self.iterator = next_iterator;
        if self.iterator.is_none() {
            return match self.reader.children(children).await {
                Ok(children) => Err(self.reader.end(children).await),
                Err(error) => self.failed(error).await,
            };
        }
        self.failures = 0;
        Ok(LastRead::Read { bytes, behind: is_full || behind_latest.is_some_and(|behind| !behind.is_zero()) })
    }

    async fn failed(&mut self, error: KinesisError) -> Result<LastRead, Done> {
        self.failures += 1;
        if error.kind == KinesisErrorKind::IteratorInvalid {
            self.iterator = None;
            self.reader.metrics.expired_iterators.increment(1);
        }
        // One iterator may expire; a position that is refused then is not of this stream.
        if error.kind == KinesisErrorKind::NotFound
            || error.kind == KinesisErrorKind::IteratorInvalid && self.failures > 1
        {
            self.reader.raise_doubt().await;
        }
        if error.kind == KinesisErrorKind::NotFound
            && let Some(children) = self.reader.children_of_trimmed_shard().await
        {
            return Err(self.reader.end(children).await);
        }
        self.reader.report(&error);
        Ok(LastRead::Failed { in_a_row: self.failures })
    }
}
