//! SHELL: reads a shard by GetRecords, paced by [`logic::pacing`](crate::logic::pacing).

use std::{sync::Arc, time::SystemTime};

use kpl::ShardId;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::Fetched;
use crate::{
    coordination::Context,
    event::{Event, chain},
    kinesis::{ChildShard, KinesisError, KinesisErrorKind, Records, StartAt},
    logic::pacing::{Last, interval},
};

/// Answers that wait for the processor. With one being read and one being processed, a shard holds at most three
/// answers of up to 10 MiB.
const READ_AHEAD: usize = 1;

/// Reads one shard on its own task; dropping it ends the reading.
#[derive(Debug)]
pub(crate) struct Polling {
    fetched: mpsc::Receiver<Fetched>,
    _task: AbortOnDropHandle<()>,
}

impl Polling {
    /// Starts reading. `latest_as_of` is the time that [`StartAt::Latest`] stands for should it be needed again: asking
    /// for the latest record twice would leave out what came between.
    pub(crate) fn start(context: Arc<Context>, shard_id: ShardId, start: StartAt, latest_as_of: SystemTime) -> Self {
        let (sender, fetched) = mpsc::channel(READ_AHEAD);
        let reader = Reader { context, shard_id, position: start, latest_as_of, iterator: None, sender, failures: 0 };
        Self { fetched, _task: AbortOnDropHandle::new(tokio::spawn(reader.run())) }
    }

    /// What comes next. After [`Fetched::End`] nothing does.
    ///
    /// Cancellation: safe, nothing is lost.
    pub(crate) async fn next(&mut self) -> Option<Fetched> {
        self.fetched.recv().await
    }
}

struct Reader {
    context: Arc<Context>,
    shard_id: ShardId,
    /// Where to get a new iterator if need be.
    position: StartAt,
    latest_as_of: SystemTime,
    iterator: Option<String>,
    sender: mpsc::Sender<Fetched>,
    failures: u32,
}

/// What one turn leads to.
enum Turn {
    Again(Last),
    Done,
}

impl Reader {
    /// Reads until the shard's end, or until nobody listens.
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let last = match self.turn().await {
                Turn::Again(last) => last,
                Turn::Done => return,
            };
            let pause = interval(last, self.context.settings.idle_between_reads, fastrand::f64());
            sleep_until(begun + pause).await;
        }
    }

    async fn turn(&mut self) -> Turn {
        match self.read().await {
            Ok(records) => {
                self.failures = 0;
                self.take(records).await
            }
            Err(error) => self.failed(error).await,
        }
    }

    async fn read(&mut self) -> Result<Records, KinesisError> {
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => {
                let iterator = self.context.kinesis.shard_iterator(&self.shard_id, &self.position).await?;
                if self.position == StartAt::Latest {
                    self.position = StartAt::Timestamp(self.latest_as_of);
                }
                self.iterator.insert(iterator).clone()
            }
        };
        let records = self.context.kinesis.get_records(&iterator).await?;
        // Either there is more to read, or the shard has ended and has children.
        if records.next_iterator.is_some() == records.children.is_empty() {
            return Ok(records);
        }
        let source = "answer with neither or both of a next iterator and child shards".into();
        Err(KinesisError { kind: KinesisErrorKind::Other, action: "kinesis:GetRecords", source })
    }

    async fn take(&mut self, answer: Records) -> Turn {
        let Records { records, next_iterator, children, behind_latest } = answer;
        let bytes = records.iter().map(|record| record.data.len()).sum();
        if let Some(last) = records.last() {
            self.position = StartAt::After(last.sequence_number.clone());
            if self.sender.send(Fetched::Records { records, behind_latest }).await.is_err() {
                return Turn::Done;
            }
        }
        self.iterator = next_iterator;
        if self.iterator.is_none() {
            return self.end(children).await;
        }
        Turn::Again(Last::Read { bytes, behind: behind_latest.is_some_and(|behind| !behind.is_zero()) })
    }

    async fn end(&self, children: Vec<ChildShard>) -> Turn {
        let _ = self.sender.send(Fetched::End { children }).await; // nobody listens any more
        Turn::Done
    }

    async fn failed(&mut self, error: KinesisError) -> Turn {
        self.failures += 1;
        if error.kind == KinesisErrorKind::IteratorInvalid {
            self.iterator = None;
        }
        if error.kind == KinesisErrorKind::NotFound
            && let Some(children) = self.children_of_trimmed_shard().await
        {
            return self.end(children).await;
        }
        self.context.events.emit(Event::ReadFailed {
            shard_id: self.shard_id.clone(),
            error: chain(&error),
            throttled: error.kind == KinesisErrorKind::Throttled,
        });
        Turn::Again(Last::Failed { in_a_row: self.failures })
    }

    /// If the stream exists without this shard, the shard is past its retention: it has ended, and these follow it.
    async fn children_of_trimmed_shard(&self) -> Option<Vec<ChildShard>> {
        let shards = self.context.kinesis.list_shards(None).await.ok()?;
        if shards.is_empty() || shards.iter().any(|shard| shard.id == self.shard_id) {
            return None;
        }
        let follows = shards.into_iter().filter(|shard| shard.parents.contains(&self.shard_id));
        let child = |shard: crate::kinesis::Shard| ChildShard {
            id: shard.id,
            parents: shard.parents,
            hash_key_range: shard.hash_key_range,
        };
        Some(follows.map(child).collect())
    }
}
