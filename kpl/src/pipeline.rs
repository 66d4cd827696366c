//! The task that feeds a stream's engine and performs what it decides. It decides nothing itself.

mod metering;

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tracing::Instrument as _;

use self::metering::Metering;
use crate::{
    Event, HashKey,
    delivery::Ticket,
    kinesis::{Entry, KinesisError, KinesisErrorKind, PutRecordsRequest, Stream},
    logic::{Action, BatchId, Input, Shape, engine::Engine},
    streams::{Context, Intake, Status},
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

/// How long a stream's pipeline waits for another record before it ends; the next record starts a new one.
const IDLE: Duration = Duration::from_secs(300);

/// Takes what is sent to a stream, until [`Pipeline::run`] ends.
pub(crate) async fn run(
    intake: Weak<Intake>,
    stream: Stream,
    mut receiver: mpsc::Receiver<Command>,
    context: Arc<Context>,
) {
    if context.closing.is_cancelled() {
        receiver.close();
    }
    let mut commands = Vec::with_capacity(COMMANDS_AT_A_TIME);
    if receiver.recv_many(&mut commands, COMMANDS_AT_A_TIME).await > 0 {
        let mut pipeline = Pipeline::new(intake, stream, receiver, context);
        pipeline.commanded(&mut commands);
        pipeline.run().await;
    }
}

/// See [`Pipeline::run`].
struct Pipeline {
    /// Gone when all handles of the producer are.
    intake: Weak<Intake>,
    commands: mpsc::Receiver<Command>,
    /// Commands received so far.
    received: u64,
    engine: Engine<Ticket>,
    stream: Stream,
    context: Arc<Context>,
    calls: JoinSet<Input<Ticket>>,
    /// Flushes that are not complete, in order.
    flushes: VecDeque<oneshot::Sender<()>>,
    /// More commands may come.
    open: bool,
    /// When something happened last.
    active: Instant,
    metering: Option<Metering>,
    status: Option<Arc<Status>>,
}

impl Pipeline {
    fn new(intake: Weak<Intake>, stream: Stream, commands: mpsc::Receiver<Command>, context: Arc<Context>) -> Self {
        let active = Instant::now();
        let metering = Metering::new(&stream, context.config.metrics_granularity);
        let status = intake.upgrade().map(|intake| intake.status.clone());
        Self {
            intake,
            commands,
            received: 0,
            engine: Engine::new(&context.config, fastrand::u64(..), active.into_std()),
            stream,
            context,
            calls: JoinSet::new(),
            flushes: VecDeque::new(),
            open: true,
            active,
            metering,
            status,
        }
    }

    /// Handles:
    /// 1. commands of the producer's handles,
    /// 2. answers of calls to Kinesis,
    /// 3. the engine's deadline; none while there is nothing to wait for,
    /// 4. the producer's shutdown,
    /// 5. idleness,
    /// 6. the end of the time for a shutdown.
    ///
    /// Ends when it was idle, or when the producer was shut down or all its handles are gone and every record is
    /// resolved. If it ends earlier with the runtime or by a panic, records resolve as they are dropped.
    async fn run(mut self) {
        let mut commands = Vec::with_capacity(COMMANDS_AT_A_TIME);
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut closing = pin!(self.context.closing.clone().cancelled_owned());
        let mut abandoning = pin!(self.context.abandoning.clone().cancelled_owned());
        loop {
            self.perform();
            if !self.open && self.engine.unresolved() == 0 {
                return;
            }
            let deadline = self.engine.deadline().map(Instant::from_std).or_else(|| self.idle_until());
            if let Some(at) = deadline.filter(|at| *at != timer.deadline()) {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                _ = self.commands.recv_many(&mut commands, COMMANDS_AT_A_TIME), if self.open => {
                    self.commanded(&mut commands);
                }
                Some(answer) = self.calls.join_next() => self.answered(answer),
                () = timer.as_mut(), if deadline.is_some() => {
                    if self.idle_until().is_none() {
                        self.engine.handle(Input::Tick, now());
                    } else if self.park() {
                        return;
                    }
                }
                // Records resolve as they are dropped.
                () = abandoning.as_mut() => return,
                // What is in the channel already still comes.
                () = closing.as_mut(), if !self.commands.is_closed() => self.commands.close(),
            }
        }
    }

    /// When the pipeline ends, if nothing happens before. `None` while there is something to be done.
    fn idle_until(&self) -> Option<Instant> {
        let idle = self.open && self.engine.unresolved() == 0 && self.calls.is_empty();
        idle.then(|| self.active + IDLE)
    }

    /// Hands the receiver back; says whether that is the end.
    fn park(&mut self) -> bool {
        let Some(intake) = self.intake.upgrade() else { return false };
        let (_, none) = mpsc::channel(1);
        self.active = Instant::now();
        match intake.park(std::mem::replace(&mut self.commands, none), self.received) {
            Ok(()) | Err(None) => true,
            Err(Some(commands)) => {
                self.commands = commands;
                false
            }
        }
    }

    /// Takes commands; none means that no more will come.
    fn commanded(&mut self, commands: &mut Vec<Command>) {
        self.active = Instant::now();
        let now = self.active.into_std();
        self.received += commands.len() as u64;
        if let Some(metering) = &self.metering {
            let puts = commands.iter().filter(|command| matches!(command, Command::Put { .. }));
            metering.received(puts.count() as u64);
        }
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
        self.active = Instant::now();
        if let (Ok(Input::Responded { id, result }), Some(metering)) = (&answer, &mut self.metering) {
            metering.answered(*id, result);
        }
        match answer {
            Ok(input) => self.engine.handle(input, self.active.into_std()),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => {} // the runtime shuts down, this task is next
        }
    }

    fn perform(&mut self) {
        let mut resolved = Vec::new();
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Resolve { ticket, outcome } => {
                    if let Some(metering) = &mut self.metering {
                        metering.resolved(&outcome, ticket.as_ref().data().len());
                    }
                    resolved.push(ticket.space_bytes());
                    ticket.resolve(outcome);
                }
                Action::Send { id, entries, shapes } => self.put_records(id, entries, shapes),
                Action::ListShards { describe } => self.list_shards(describe),
                Action::LimitRecords { max_bytes } => {
                    if let Some(status) = &self.status {
                        status.max_record_bytes.store(max_bytes, Relaxed);
                    }
                }
                Action::Flushed => {
                    let done = self.flushes.pop_front().expect("flushes complete once, in order");
                    let _ = done.send(()); // the caller stopped waiting
                }
                Action::Notify(event) => {
                    if let (Event::ShardMapUpdated { .. }, Some(metering)) = (&event, &mut self.metering) {
                        metering.forget_shards();
                    }
                    self.context.notify(&self.stream, &event);
                }
            }
        }
        if let Some(metering) = &mut self.metering {
            metering.settle(self.engine.unresolved());
        }
        if let Some(status) = &self.status {
            status.set_oldest(self.engine.oldest().map(Instant::from_std));
        }
        self.context.space.give_back(resolved.into_iter());
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
        let call = async move { kinesis.put_records(request).await };
        let call = guarded(call, self.context.config.request_timeout);
        self.calls.spawn(async move { Input::Responded { id, result: call.await } }.instrument(span));
    }

    fn list_shards(&mut self, describe: bool) {
        let (kinesis, stream) = (self.context.kinesis.clone(), self.stream.clone());
        let limit = self.context.config.request_timeout;
        let span = tracing::debug_span!("kpl.list_shards", stream = %stream, describe);
        let call = async move {
            let shards = guarded(kinesis.list_shards(stream.clone()), limit);
            let summary = async {
                match describe {
                    true => Some(guarded(kinesis.describe_stream(stream.clone()), limit).await),
                    false => None,
                }
            };
            let (shards, summary) = tokio::join!(shards, summary);
            Input::ShardsListed { shards, summary }
        };
        self.calls.spawn(call.instrument(span));
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("stream", &self.stream).finish_non_exhaustive()
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
