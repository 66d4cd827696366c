//! SHELL: reads a shard's records, ahead of its processor by a bounded amount. [`polling`] or [`fan_out`], as configured.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use kpl::ShardId;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    context::{
        Context,
        memory::{Held, MemoryAccount},
    },
    error::{KinesisError, KinesisErrorKind},
    event::{Event, chain},
    logic::{
        backoff::Backoff,
        purpose::Reach,
        read::{Confirmation, Cursor, Doubt, answer_size::AnswerSize, budget::Ask},
    },
    metrics::shard::ShardRecorder,
    model::{ChildShard, KinesisRecord, LeaseKey, Retrieval, Shard, StreamShard},
    stream::{CONFIRMED, Presence, Stream},
    time::now,
};

/// Maximum wait for that answer where the service refused something: less than a hanging call takes.
const DOUBT_WAIT: Duration = Duration::from_secs(10);
/// Maximum wait of the first read for that answer, if nothing is doubtful.
const CONFIRM_WAIT: Duration = Duration::from_secs(1);
const CONFIRM_BACKOFF: Backoff = Backoff::of_millis(1_000, 30_000);

pub(crate) mod buffer;
pub(crate) mod fan_out;
pub(crate) mod polling;
#[cfg(test)]
mod tests;

#[derive(Debug)]
pub(crate) enum Fetched {
    /// Records in order, never none.
    Records { records: Vec<KinesisRecord>, behind_latest: Option<Duration>, held: Held },
    /// The shard's end, and the shards that follow it.
    End { children: Vec<ChildShard> },
}

/// Reads one shard on its own task; dropping it ends the reading.
#[derive(Debug)]
pub(crate) struct RecordSource {
    fetched: mpsc::Receiver<buffer::Waiting>,
    _task: AbortOnDropHandle<()>,
}

impl RecordSource {
    pub(crate) fn start(
        context: Arc<Context>,
        stream: Arc<Stream>,
        shard_id: ShardId,
        cursor: Cursor,
        metrics: Arc<ShardRecorder>,
    ) -> Self {
        let (sender, fetched) = buffer::buffer(context.settings.prefetch);
        let (lease_key, memory) = (stream.lease_key(&shard_id), MemoryAccount::open(&context.memory));
        let (doubt, confirming) = (Doubt::default(), None);
        let reader =
            Reader { context, stream, shard_id, lease_key, cursor, sender, memory, metrics, doubt, confirming };
        Self { fetched, _task: AbortOnDropHandle::new(tokio::spawn(reader.run())) }
    }

    /// Returns whether a piece waits to be taken.
    pub(crate) fn has_next(&self) -> bool {
        !self.fetched.is_empty()
    }

    /// The next piece. Nothing follows [`Fetched::End`]. Cancellation: safe, nothing is lost.
    pub(crate) async fn next(&mut self) -> Option<Fetched> {
        Some(self.fetched.recv().await?.fetched)
    }
}

struct Reader {
    context: Arc<Context>,
    stream: Arc<Stream>,
    shard_id: ShardId,
    lease_key: LeaseKey,
    cursor: Cursor,
    sender: buffer::Sender,
    memory: Arc<MemoryAccount>,
    metrics: Arc<ShardRecorder>,
    doubt: Doubt,
    /// Asks whether the stream is still the one that it was.
    confirming: Option<AbortOnDropHandle<()>>,
}

/// Records read at once, in answer to a call at `asked_at`.
struct Answer {
    records: Vec<KinesisRecord>,
    behind_latest: Option<Duration>,
    asked_at: SystemTime,
    held: Held,
}

/// Nothing is left to read, or nobody listens.
#[derive(Debug)]
struct Done;

impl Reader {
    async fn run(mut self) {
        let Retrieval::FanOut(settings) = self.context.settings.retrieval.clone() else {
            let _ = polling::read(&mut self, pending()).await; // nothing else ends it
            return;
        };
        let mut is_reported = false;
        while let Ok(error) = fan_out::read(&mut self, &settings).await {
            if !std::mem::replace(&mut is_reported, true) {
                self.context.events.emit(Event::FanOutRefused { shard: self.shard(), error: chain(&error) });
            }
            let (context, stream) = (Arc::clone(&self.context), Arc::clone(&self.stream));
            let again = fan_out::wait_until_possible(&context, &stream, &settings);
            if polling::read(&mut self, again).await.is_err() {
                return;
            }
        }
    }

    /// The service accepted the cursor's position. Confirms the stream before anything is read: a position that is no
    /// sequence number fits another stream just as well. Fails if the stream is doubtful and cannot be confirmed.
    async fn opened(&mut self) -> Result<(), KinesisError> {
        self.cursor.opened();
        match self.doubt.opened(&self.cursor) {
            Confirmation::Needless => return Ok(()),
            Confirmation::First => {
                let presence = self.stream.confirm(Duration::ZERO).await?;
                self.doubt.confirmed(presence == Presence::Present);
            }
            Confirmation::Beside => self.confirm_beside().await,
        }
        self.stop_if_replaced().await;
        Ok(())
    }

    async fn confirm_beside(&mut self) {
        let stream = Arc::clone(&self.stream);
        let mut confirming = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut failures = 0;
            while stream.confirm(CONFIRMED).await.is_err() {
                failures += 1;
                sleep(CONFIRM_BACKOFF.pause(failures, fastrand::f64())).await;
            }
        }));
        // Without a reason to doubt, a service that does not answer must not hold up a takeover for long.
        let _ = timeout(CONFIRM_WAIT, &mut confirming).await; // it goes on beside the reading
        self.confirming = Some(confirming);
    }

    /// The service answered as for a stream that was deleted or created again.
    async fn raise_doubt(&mut self) {
        self.doubt.raise();
        // Without an answer now, the next failure asks again.
        let _ = timeout(DOUBT_WAIT, self.stream.confirm(CONFIRMED)).await;
        self.stop_if_replaced().await;
    }

    /// Reads nothing more of another stream of the same name; the shard's task notices too, and ends the reading.
    async fn stop_if_replaced(&self) {
        if let Presence::Replaced(_) = self.stream.identity.presence() {
            pending::<()>().await;
        }
    }

    /// Waits for memory for the next answer.
    async fn reserve(&self, ask: fn(&AnswerSize) -> Ask) -> Result<Held, Done> {
        if let Some(held) = self.memory.try_reserve(ask) {
            return Ok(held);
        }
        let waits = |waits| self.context.board.change(&self.lease_key, |entry| entry.activity.waits_for_memory = waits);
        waits(true);
        let reserved = tokio::select! {
            biased;
            () = self.sender.closed() => Err(Done),
            held = self.memory.reserve(ask) => Ok(held),
        };
        waits(false);
        reserved
    }

    /// Delivers the records of an answer that are to be processed. True: what follows is not.
    async fn deliver_records(&mut self, answer: Answer) -> Result<bool, Done> {
        let Answer { mut records, behind_latest, asked_at, mut held } = answer;
        held.read(&records);
        let mut is_at_rest = true;
        self.context.board.change(&self.lease_key, |entry| {
            (entry.activity.moved, entry.activity.read_failure) = (now(), None);
            entry.activity.waits_for_memory = false;
            entry.activity.read = behind_latest.map(|behind| (behind, now())).or(entry.activity.read);
            is_at_rest = entry.activity.is_at_rest();
        });
        self.context.board.record_lag(&self.lease_key);
        if records.is_empty() && is_at_rest {
            self.metrics.idle();
        }
        let is_beyond = match self.context.settings.purpose.limit(&mut records, behind_latest, asked_at) {
            Reach::Within => false,
            Reach::Beyond => true,
            Reach::BeyondIfOpen => self.is_open().await,
        };
        if !records.is_empty() {
            self.deliver(Fetched::Records { records, behind_latest, held }).await?;
        }
        Ok(is_beyond)
    }

    async fn deliver(&mut self, fetched: Fetched) -> Result<(), Done> {
        self.sender.send(fetched).await
    }

    async fn end(&mut self, children: Vec<ChildShard>) -> Done {
        let _ = self.deliver(Fetched::End { children }).await; // nobody listens any more
        Done
    }

    fn shard(&self) -> StreamShard {
        StreamShard::new(self.stream.id.clone(), self.shard_id.clone())
    }

    fn note_failure(&self, error: &KinesisError) {
        let failure = (chain(error), error.kind == KinesisErrorKind::Throttled);
        self.context.board.change(&self.lease_key, |entry| entry.activity.read_failure = Some(failure));
    }

    fn report(&self, error: &KinesisError) {
        self.note_failure(error);
        let (shard, throttled) = (self.shard(), error.kind == KinesisErrorKind::Throttled);
        self.context.events.emit(Event::ReadFailed { shard, error: chain(error), throttled });
    }

    /// True if the shard takes records, as far as that is known.
    async fn is_open(&self) -> bool {
        let listed = self.stream.kinesis.list_shards(None).await.unwrap_or_default();
        listed.iter().any(|shard| shard.id == self.shard_id && shard.is_open())
    }

    /// The shards that follow this one, if the stream exists without it: then it is past its retention.
    async fn children_of_trimmed_shard(&self) -> Option<Vec<ChildShard>> {
        let shards = self.stream.kinesis.list_shards(None).await.ok()?;
        if shards.is_empty() || shards.iter().any(|shard| shard.id == self.shard_id) {
            return None;
        }
        let presence = self.stream.confirm(Duration::ZERO).await.ok()?;
        self.stop_if_replaced().await;
        if presence != Presence::Present {
            return None;
        }
        self.context.events.emit(Event::ShardTrimmed { shard: self.shard() });
        Some(self.followers(shards))
    }

    /// The shards that follow this one, which has ended: those that came with its end or, if none did, as listed.
    async fn children(&self, known: Vec<ChildShard>) -> Result<Vec<ChildShard>, KinesisError> {
        if !known.is_empty() {
            return Ok(known);
        }
        if self.stream.omitted_children() {
            self.context.events.emit(Event::ChildShardsOmitted { stream_id: self.stream.id.clone() });
        }
        let listed = self.followers(self.stream.kinesis.list_shards(None).await?);
        if listed.is_empty() {
            let source = "the shard has ended, and no shards that follow it are listed";
            return Err(KinesisError::other("kinesis:ListShards", source));
        }
        Ok(listed)
    }

    fn followers(&self, listed: Vec<Shard>) -> Vec<ChildShard> {
        let follows = listed.into_iter().filter(|shard| shard.parents.contains(&self.shard_id));
        let child = |Shard { id, parents, hash_key_range, .. }| ChildShard { id, parents, hash_key_range };
        follows.map(child).collect()
    }
}
