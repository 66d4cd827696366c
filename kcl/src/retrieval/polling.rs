//! SHELL: reads a shard by GetRecords, paced by [`logic::pacing`](crate::logic::read::pacing).

use std::{future::Future, sync::Arc, time::SystemTime};

use tokio::time::sleep_until;

use super::{Done, Reader};
use crate::{
    error::{KinesisError, KinesisErrorKind},
    kinesis::{GET_RECORDS_LIMIT, Records},
    logic::read::pacing::{LastRead, interval},
    time::now,
};

/// Reads until the shard's end, until nobody listens, or until `enough` resolves: Ok.
pub(super) async fn read(reader: &mut Reader, enough: impl Future<Output = ()>) -> Result<(), Done> {
    let mut enough = std::pin::pin!(enough);
    let mut polling = Polling { reader, iterator: None, failures: 0 };
    loop {
        polling.reader.sender.room().await?;
        let begun = now();
        let last = polling.turn().await?;
        let pause = interval(last, polling.reader.context.settings.retrieval.idle_between_reads(), fastrand::f64());
        // Only here, where nothing is under way.
        tokio::select! {
            () = sleep_until((begun + pause).into()) => {}
            () = &mut enough => return Ok(()),
        }
    }
}

struct Polling<'a> {
    reader: &'a mut Reader,
    iterator: Option<String>,
    failures: u32,
}

impl Polling<'_> {
    async fn turn(&mut self) -> Result<LastRead, Done> {
        let asked_at = self.reader.context.clock.now();
        match self.get().await {
            Ok(records) => self.take(records, asked_at).await,
            Err(error) => self.failed(error).await,
        }
    }

    async fn get(&mut self) -> Result<Records, KinesisError> {
        let kinesis = Arc::clone(&self.reader.stream.kinesis);
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => {
                let call = kinesis.shard_iterator(&self.reader.shard_id, self.reader.cursor.position());
                let iterator = self.reader.metrics.get_iterator.counted(call).await?;
                self.reader.opened().await?;
                self.iterator.insert(iterator).clone()
            }
        };
        let call = kinesis.get_records(&iterator, GET_RECORDS_LIMIT);
        self.reader.metrics.get_records.counted(call).await
    }

    async fn take(&mut self, answer: Records, asked_at: SystemTime) -> Result<LastRead, Done> {
        let Records { records, next_iterator, children, behind_latest } = answer;
        let bytes = records.iter().map(|record| record.data.len()).sum();
        if let Some(last) = records.last() {
            self.reader.cursor.read_to(&last.sequence_number);
        }
        if self.reader.deliver_records(records, behind_latest, asked_at).await? {
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
        Ok(LastRead::Read { bytes, behind: behind_latest.is_some_and(|behind| !behind.is_zero()) })
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
