//! The task that feeds the engine and performs what it decides. It decides nothing itself.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    Event, HashKey, UserRecord,
    delivery::Ticket,
    kinesis::{Entry, Kinesis, KinesisError, KinesisErrorKind, PutRecordsRequest, Stream},
    logic::{Action, BatchId, Input, engine::Engine},
};

/// Commands that may be on their way to the task. Filled by puts that come faster than the task takes them; then puts
/// wait here.
pub(crate) const COMMANDS: usize = 4096;
/// Commands that the task takes at a time.
const COMMANDS_AT_A_TIME: usize = 256;

/// What a producer asks of its task.
#[derive(Debug)]
pub(crate) enum Command {
    Put { ticket: Ticket, hash_key: HashKey },
    Flush { done: oneshot::Sender<()> },
}

/// Told of every event.
pub(crate) type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// What the records that are not yet resolved may take up.
#[derive(Debug)]
pub(crate) struct Space {
    records: Semaphore,
    bytes: Semaphore,
    closing: CancellationToken,
    /// The task has ended: nothing is going to be resolved any more.
    pub(crate) ended: CancellationToken,
}

/// Space for one record. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    record: SemaphorePermit<'a>,
    bytes: SemaphorePermit<'a>,
}

impl Space {
    pub(crate) fn new(records: usize, bytes: usize) -> Self {
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        Self { records: Semaphore::new(records), bytes: Semaphore::new(bytes), closing, ended }
    }

    /// Waits for space for `record`. `None` once closed.
    pub(crate) async fn reserve(&self, record: &UserRecord) -> Option<Reserved<'_>> {
        let bytes = permits(record);
        let record = self.records.acquire().await.ok()?;
        Some(Reserved { record, bytes: self.bytes.acquire_many(bytes).await.ok()? })
    }

    /// Space for `record`, if there is enough.
    pub(crate) fn try_reserve(&self, record: &UserRecord) -> Option<Reserved<'_>> {
        let bytes = permits(record);
        let record = self.records.try_acquire().ok()?;
        Some(Reserved { record, bytes: self.bytes.try_acquire_many(bytes).ok()? })
    }

    /// Number of records for which there is space now.
    pub(crate) fn free_records(&self) -> usize {
        self.records.available_permits()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.records.is_closed()
    }

    /// No more records: who waits for space waits in vain, and the task ends when it has resolved what it has.
    pub(crate) fn close(&self) {
        self.closing.cancel();
        self.records.close();
        self.bytes.close();
    }
}

impl Reserved<'_> {
    /// The record takes up its space until the task resolves it.
    pub(crate) fn keep(self) {
        self.record.forget();
        self.bytes.forget();
    }
}

fn permits(record: &UserRecord) -> u32 {
    u32::try_from(record.size_bytes()).expect("a record was checked to be 10 MiB at most")
}

/// See [`Pipeline::run`].
pub(crate) struct Pipeline {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) engine: Engine<Ticket>,
    pub(crate) kinesis: Arc<dyn Kinesis>,
    pub(crate) stream: Stream,
    pub(crate) request_timeout: Duration,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) space: Arc<Space>,
    pub(crate) calls: JoinSet<Input<Ticket>>,
    /// Flushes that are not complete, in order.
    pub(crate) flushes: VecDeque<oneshot::Sender<()>>,
    /// More commands may come.
    pub(crate) open: bool,
}

impl Pipeline {
    /// Handles:
    /// 1. commands of the producer's handles,
    /// 2. answers of calls to Kinesis,
    /// 3. the engine's deadline; none while there is nothing to wait for,
    /// 4. the producer's shutdown.
    ///
    /// Ends when the producer was shut down or all its handles are gone, and every record is resolved. If it ends earlier
    /// with the runtime or by a panic, records resolve as they are dropped.
    pub(crate) async fn run(mut self) {
        let mut commands = Vec::with_capacity(COMMANDS_AT_A_TIME);
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut closing = pin!(self.space.closing.clone().cancelled_owned());
        loop {
            self.perform();
            if !self.open && self.engine.unresolved() == 0 {
                return;
            }
            let deadline = self.engine.deadline().map(Instant::from_std);
            if let Some(at) = deadline.filter(|at| *at != timer.deadline()) {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                _ = self.commands.recv_many(&mut commands, COMMANDS_AT_A_TIME), if self.open => {
                    self.commanded(&mut commands);
                }
                Some(answer) = self.calls.join_next() => self.answered(answer),
                () = timer.as_mut(), if deadline.is_some() => self.engine.handle(Input::Tick, now()),
                // What is in the channel already still comes.
                () = closing.as_mut(), if !self.commands.is_closed() => self.commands.close(),
            }
        }
    }

    /// Takes commands; none means that no more will come.
    fn commanded(&mut self, commands: &mut Vec<Command>) {
        let now = now();
        if commands.is_empty() {
            self.open = false;
            self.engine.handle(Input::Drain, now);
        }
        for command in commands.drain(..) {
            match command {
                Command::Put { ticket, hash_key } => self.engine.handle(Input::Put { ticket, hash_key }, now),
                Command::Flush { done } => {
                    self.flushes.push_back(done);
                    self.engine.handle(Input::Flush, now);
                }
            }
        }
    }

    fn answered(&mut self, answer: Result<Input<Ticket>, JoinError>) {
        match answer {
            Ok(input) => self.engine.handle(input, now()),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => {} // the runtime shuts down, this task is next
        }
    }

    fn perform(&mut self) {
        let (mut records, mut bytes) = (0, 0);
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Resolve { ticket, outcome } => {
                    records += 1;
                    bytes += ticket.as_ref().size_bytes();
                    ticket.resolve(outcome);
                }
                Action::Send { id, entries, user_records } => self.put_records(id, entries, user_records),
                Action::ListShards => self.list_shards(),
                Action::Flushed => {
                    let done = self.flushes.pop_front().expect("flushes complete once, in order");
                    let _ = done.send(()); // the caller stopped waiting
                }
                Action::Notify(event) => self.notify(&event),
            }
        }
        if records > 0 {
            self.space.records.add_permits(records);
            self.space.bytes.add_permits(bytes);
        }
    }

    fn put_records(&mut self, id: BatchId, entries: Vec<Entry>, user_records: usize) {
        let kinesis = self.kinesis.clone();
        let request = PutRecordsRequest { stream: self.stream.clone(), entries };
        let kinesis_records = request.entries.len();
        let span = tracing::debug_span!("kpl.send", stream = %self.stream, kinesis_records, user_records);
        let call = async move { kinesis.put_records(request).await };
        let call = guarded(call, self.request_timeout);
        self.calls.spawn(async move { Input::Responded { id, result: call.await } }.instrument(span));
    }

    fn list_shards(&mut self) {
        let (kinesis, stream) = (self.kinesis.clone(), self.stream.clone());
        let span = tracing::debug_span!("kpl.list_shards", stream = %stream);
        let call = async move { kinesis.list_shards(stream).await };
        let call = guarded(call, self.request_timeout);
        self.calls.spawn(async move { Input::ShardsListed(call.await) }.instrument(span));
    }

    fn notify(&self, event: &Event) {
        let stream = &self.stream;
        match event {
            Event::ShardMapUpdated { open_shards } => tracing::info!(%stream, open_shards, "shard map updated"),
            Event::ShardMapUnavailable { code, message, retry_in } => {
                tracing::warn!(%stream, %code, %message, ?retry_in, "shards cannot be listed, records may go unaggregated");
            }
            Event::CallFailed { kinesis_records, code, message } => {
                tracing::warn!(%stream, kinesis_records, %code, %message, "put records failed");
            }
            Event::EntryFailed { shard_id, user_records, code, message } => {
                let shard_id = shard_id.as_ref().map(tracing::field::display);
                tracing::debug!(%stream, shard_id, user_records, %code, %message, "kinesis record failed");
            }
            Event::WrongShard { predicted, actual, user_records } => {
                tracing::debug!(%stream, %predicted, %actual, user_records, "aggregate stored in another shard");
            }
            Event::RecordsExpired { user_records } => tracing::error!(%stream, user_records, "records expired"),
        }
        if let Some(on_event) = &self.on_event {
            on_event(event);
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// However the task ends, nobody waits for it.
impl Drop for Pipeline {
    fn drop(&mut self) {
        self.space.close();
        self.space.ended.cancel();
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A call that ends, and in an error if it panics: the records that it carries are not to be lost.
async fn guarded<T>(call: impl Future<Output = Result<T, KinesisError>>, limit: Duration) -> Result<T, KinesisError> {
    match AssertUnwindSafe(timeout(limit, call)).catch_unwind().await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            let message = format!("no answer within {limit:?}");
            Err(KinesisError::new(KinesisErrorKind::Transient, "Timeout", message))
        }
        Err(panic) => Err(KinesisError::new(KinesisErrorKind::Permanent, "CallPanicked", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests;
