//! The task that runs a stream's engine and performs its actions. It decides nothing itself.

mod metering;

use std::{
    any::Any,
    future::Future,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::{FutureExt as _, future::OptionFuture};
use tokio::{
    task::{JoinError, JoinSet, yield_now},
    time::{Instant, sleep_until},
};
use tracing::Instrument as _;

pub use self::metering::METRICS;
use self::metering::Metering;
pub(crate) use self::metering::count_abandoned;
use crate::{
    context::Context,
    delivered::Stored,
    delivery::Ticket,
    digest::LANES,
    event::Event,
    hash_key::HashKey,
    intake::{
        Status,
        queue::{Command, Receiver},
        space::Load,
    },
    kinesis::{Entry, EntryResult, KinesisError, KinesisErrorKind, PutRecordsRequest},
    locked::locked,
    logic::{Action, BatchId, Input, Shape, engine::Engine, kinesis_record::KinesisRecord},
    record::UserRecord,
    stream::Stream,
};

/// End of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Idle; the next record starts another one.
    Idle,
    /// The producer is closed, or has no more handles.
    Closed,
    /// By a panic or with its runtime.
    Broken,
}

/// Time without a record after which a pipeline ends; the next record starts a new one.
const IDLE: Duration = Duration::from_secs(300);

/// Number of commands after which other tasks of the thread have their turn.
const TURN: usize = 4096;

/// Delay from which a timer counts as late, and the extra time for an answer then.
const LATE: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Pipeline {
    /// Commands taken since other tasks had their turn.
    taken: usize,
    engine: Engine<Ticket>,
    stream: Stream,
    context: Arc<Context>,
    calls: JoinSet<Input<Ticket>>,
    open: bool,
    /// Time of the last command or answer.
    active: Instant,
    metering: Option<Metering>,
    status: Arc<Status>,
    /// Dropped last: flushes end after the records before them are resolved, also when the runtime stops.
    commands: Receiver,
}

impl Pipeline {
    pub(crate) fn new(stream: Stream, commands: Receiver, status: Arc<Status>, context: Arc<Context>) -> Self {
        let active = Instant::now();
        let metering = Metering::new(&stream, &context.config.metrics);
        let (seed, first_series) = (fastrand::u64(..), first_series());
        Self {
            commands,
            taken: 0,
            engine: Engine::new(stream.clone(), &context.config, seed, first_series, active.into_std()),
            stream,
            context,
            calls: JoinSet::new(),
            open: true,
            active,
            metering,
            status,
        }
    }

    /// Handles commands of the producer's handles, answers of calls to Kinesis, the engine's deadline, idleness, the producer's
    /// shutdown, and the end of the time for that.
    ///
    /// Ends when it was idle, or when the producer is closed and every record resolved. If it ends earlier, with the runtime or
    /// by a panic, records resolve as they are dropped.
    pub(crate) async fn run(mut self) -> Ended {
        let mut commands = Vec::new();
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut closing = pin!(self.context.closing.clone().cancelled_owned());
        let mut abandoning = pin!(self.context.abandoning.clone().cancelled_owned());
        loop {
            self.perform();
            if !self.open && self.engine.unresolved.records == 0 {
                return Ended::Closed;
            }
            // Other tasks of the thread have their turn: the requests, for instance.
            if self.taken >= TURN {
                self.taken = 0;
                yield_now().await;
            }
            let deadline = self.engine.wake.map(Instant::from_std).or_else(|| self.idle_until());
            if let Some(at) = deadline.filter(|at| *at != timer.deadline()) {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                () = self.commands.take(&mut commands), if self.open => self.commanded(&mut commands),
                Some(answer) = self.calls.join_next() => self.answered(answer),
                () = timer.as_mut(), if deadline.is_some() => {
                    if self.idle_until().is_none() {
                        self.engine.handle(Input::Tick, Instant::now().into_std());
                    } else if self.commands.park() {
                        return Ended::Idle;
                    }
                }
                // Records resolve as they are dropped.
                () = abandoning.as_mut() => return Ended::Closed,
                // Queued commands are still taken.
                () = closing.as_mut(), if !self.commands.queue.is_closed() => self.commands.queue.close(),
            }
        }
    }

    /// Time at which the pipeline ends if nothing happens before. `None` while something is outstanding.
    fn idle_until(&self) -> Option<Instant> {
        let idle = self.open && self.engine.unresolved.records == 0 && self.calls.is_empty();
        idle.then(|| self.active + IDLE)
    }

    /// Handles commands; none means that the queue is closed.
    fn commanded(&mut self, commands: &mut Vec<Command>) {
        self.active = Instant::now();
        let now = self.active.into_std();
        let puts: usize = commands.iter().map(puts).sum();
        self.taken += commands.len().max(puts);
        if let Some(metering) = &self.metering {
            metering.received.increment(puts as u64);
        }
        if commands.is_empty() {
            self.open = false;
            self.engine.handle(Input::Drain, now);
        }
        let mut left = commands.drain(..);
        while !left.as_slice().is_empty() {
            let hash_keys = hash_keys(left.as_slice().iter().map(record));
            for (hash_key, command) in hash_keys.into_iter().zip(left.by_ref()) {
                match command {
                    Command::Put(ticket) => self.engine.handle(Input::Put { ticket, hash_key }, now),
                    Command::PutChunk(tickets) => self.put_chunk(tickets, now),
                    Command::Flush => self.engine.handle(Input::Flush, now),
                    Command::Hurry => self.engine.handle(Input::Hurry, now),
                }
            }
        }
    }

    fn put_chunk(&mut self, tickets: Vec<Ticket>, now: std::time::Instant) {
        let mut left = tickets.into_iter();
        while !left.as_slice().is_empty() {
            let hash_keys = hash_keys(left.as_slice().iter().map(|ticket| Some(ticket.as_ref())));
            for (hash_key, ticket) in hash_keys.into_iter().zip(left.by_ref()) {
                self.engine.handle(Input::Put { ticket, hash_key }, now);
            }
        }
    }

    fn answered(&mut self, answer: Result<Input<Ticket>, JoinError>) {
        self.active = Instant::now();
        if let (Ok(Input::Responded { id, result }), Some(metering)) = (&answer, &mut self.metering) {
            metering.answered(*id, result);
        }
        if let Ok(Input::Responded { result, .. }) = &answer {
            self.note(result);
        }
        match answer {
            Ok(input) => self.engine.handle(input, self.active.into_std()),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => {} // the runtime shuts down, this task is next
        }
    }

    /// Notes for the producer's health whether a call stored anything.
    fn note(&self, result: &Result<Vec<EntryResult>, KinesisError>) {
        let (mut calls, now) = (locked(&self.status.calls), self.active.into_std());
        let refusal = match result {
            Ok(entries) if entries.iter().any(Result::is_ok) => return calls.stored(now),
            Ok(entries) => entries.iter().find_map(|entry| entry.as_ref().err()),
            Err(error) => Some(error),
        };
        if let Some(error) = refusal {
            calls.failed(error.words(), now);
        }
    }

    fn perform(&mut self) {
        let mut resolved = Load::default();
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Deliver { record, stored } => resolved = resolved.with(self.deliver(record, stored)),
                Action::Fail { mut ticket, failure } => {
                    if let Some(metering) = &mut self.metering {
                        metering.failed_for_good(&failure);
                    }
                    resolved = resolved.with(self.context.space.load_of(ticket.space_bytes()));
                    ticket.fail(*failure);
                }
                Action::Send { id, entries, shapes } => self.put_records(id, entries, shapes),
                Action::ListShards { describe } => self.list_shards(describe),
                Action::LimitRecords { max_bytes } => self.status.max_record_bytes.store(max_bytes, Relaxed),
                Action::Emit(event) => {
                    if let (Event::ShardMapUpdated { .. }, Some(metering)) = (&event, &mut self.metering) {
                        metering.shards.clear();
                    }
                    self.context.events.emit(&event);
                }
            }
        }
        if let Some(metering) = &mut self.metering {
            metering.settle(self.engine.unresolved.records);
        }
        *locked(&self.status.oldest) = self.engine.unresolved.oldest().map(Instant::from_std);
        self.context.space.give_back(&self.status.share, resolved);
        self.commands.resolved(self.engine.unresolved.lowest());
    }

    /// Resolves the user records of a stored Kinesis record. Returns the space they took up.
    fn deliver(&mut self, record: KinesisRecord<Ticket>, stored: Stored) -> Load {
        let stored = Arc::new(stored);
        let mut resolved = Load::default();
        if let Some(metering) = &mut self.metering {
            metering.begin_kinesis_record();
        }
        for (stub, delivered) in record.deliver(&stored) {
            if let Some(metering) = &mut self.metering {
                metering.stored(&stored.shard_id, delivered.attempts() - 1, stub.data_bytes.into());
            }
            resolved = resolved.with(self.context.space.load_of(stub.space_bytes as usize));
            stub.deliver(delivered);
        }
        resolved
    }

    fn put_records(&mut self, id: BatchId, entries: Vec<Entry>, shapes: Vec<Shape>) {
        let kinesis = self.context.kinesis.clone();
        let request = PutRecordsRequest { stream: self.stream.clone(), entries };
        let kinesis_records = request.entries.len();
        let user_records: usize = shapes.iter().map(|shape| shape.user_records).sum();
        let bytes: usize = shapes.iter().map(|shape| shape.bytes).sum();
        let span = tracing::debug_span!("kpl.send", stream = %self.stream, kinesis_records, user_records, bytes);
        if let Some(metering) = &mut self.metering {
            metering.sent(id, shapes);
        }
        let call = guarded(async move { kinesis.put_records(request).await }, self.context.config.request_timeout);
        self.calls.spawn(async move { Input::Responded { id, result: call.await } }.instrument(span));
    }

    fn list_shards(&mut self, describe: bool) {
        let (kinesis, stream) = (self.context.kinesis.clone(), self.stream.clone());
        let limit = self.context.config.request_timeout;
        let span = tracing::debug_span!("kpl.list_shards", stream = %stream, describe);
        let call = async move {
            let shards = guarded(kinesis.list_shards(stream.clone()), limit);
            let summary = describe.then(|| guarded(kinesis.describe_stream(stream.clone()), limit));
            let (shards, summary) = tokio::join!(shards, OptionFuture::from(summary));
            Input::ShardsListed { shards, summary }
        };
        self.calls.spawn(call.instrument(span));
    }
}

/// Number of records of a command.
fn puts(command: &Command) -> usize {
    match command {
        Command::Put(_) => 1,
        Command::PutChunk(tickets) => tickets.len(),
        Command::Flush | Command::Hurry => 0,
    }
}

/// The record of a single put.
fn record(command: &Command) -> Option<&UserRecord> {
    if let Command::Put(ticket) = command { Some(ticket.as_ref()) } else { None }
}

/// Hash keys of the first records; of any kind where there is none.
fn hash_keys<'a>(records: impl Iterator<Item = Option<&'a UserRecord>> + Clone) -> [HashKey; LANES] {
    let partition_keys = records.clone().map(|record| record.map_or("", UserRecord::partition_key));
    let hashed = HashKey::of_each_partition_key(partition_keys);
    let mut hash_keys = [HashKey::MIN; LANES];
    for ((hash_key, hashed), record) in hash_keys.iter_mut().zip(hashed).zip(records) {
        *hash_key = record.and_then(UserRecord::explicit_hash_key).unwrap_or(hashed);
    }
    hash_keys
}

/// First series of record numbers, which no other producer has drawn: of the operating system's randomness, from which std draws
/// the keys of its maps.
fn first_series() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Bounds a call in time and contains its panic, so that its records are not lost.
async fn guarded<T>(call: impl Future<Output = Result<T, KinesisError>>, limit: Duration) -> Result<T, KinesisError> {
    let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
    let mut end = Instant::now() + limit;
    for _ in 0..2 {
        tokio::select! {
            // The call first: an answer that is there wins over a time-out.
            biased;
            answer = &mut call => return answer.unwrap_or_else(|panic| {
                Err(KinesisError::new(KinesisErrorKind::Permanent, "CallPanicked", panic_text(&*panic)))
            }),
            () = sleep_until(end) => {}
        }
        // A timer that is late says that the process was frozen: the answer may be in the socket, not read yet.
        if end.elapsed() < LATE {
            break;
        }
        end = Instant::now() + GRACE;
    }
    Err(KinesisError::new(KinesisErrorKind::Transient, "Timeout", format!("no answer within {limit:?}")))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests;
