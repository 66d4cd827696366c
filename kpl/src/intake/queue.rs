//! Commands queued for a stream's pipeline, which may not be running.
//!
//! - (A) At most one pipeline runs per stream. The first command queued while none runs requests one; whoever claims the
//!   receiver starts it: the sender of that command, or whoever closes the producer meanwhile.
//! - (B) No command is left without a pipeline: one ends only while no command is queued, under the lock of the queue.
//! - (C) A record takes space and is queued under one lock, so that a full buffer finds all its records in the queues.
//!
//! A channel of tokio's would be a second lock: (B) and (C) need one around it. Compared by the rows `queue_*` of
//! `cargo bench -p kinesis-kpl --bench micro`.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;

use crate::{
    delivery::{Delivery, Prepared, Ticket},
    locked::locked,
};

/// Maximum number of commands that a pipeline takes at a time.
pub(crate) const COMMANDS: usize = 4096;

/// A request to a pipeline.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Ticket),
    Flush(oneshot::Sender<()>),
    /// A put waits for space: queued records are sent at once.
    Hurry,
    /// A flush without an answer.
    SendNow,
}

/// Urgency of queued records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Haste {
    #[default]
    None,
    /// By a [`Command::Hurry`].
    Hurry,
    /// By a [`Command::SendNow`] or a flush.
    SendNow,
}

/// The commands of one stream. Bounded by the space for records, each followed by at most one [`Command::Hurry`], one
/// [`Command::SendNow`], and a flush for each waiting caller.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Locked to queue a command, and to take some.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest ones, up to [`COMMANDS`]; empty only if the queue is.
    commands: Vec<Command>,
    /// Those before, [`COMMANDS`] each.
    earlier: VecDeque<Vec<Command>>,
    pipeline: Pipeline,
    closed: bool,
    /// Haste of the latest record; earlier ones have no less.
    haste: Haste,
    waker: Option<Waker>,
}

/// State of the stream's pipeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pipeline {
    #[default]
    None,
    /// A command is queued, and the pipeline is about to be started.
    Wanted,
    Running,
}

/// A queued command.
#[derive(Debug)]
pub(crate) struct Sent<R> {
    pub(crate) value: R,
    /// No pipeline runs: the caller starts one.
    pub(crate) starts: bool,
}

impl State {
    fn is_open(&self) -> bool {
        !self.closed && self.pipeline != Pipeline::None
    }
}

fn push(mut state: MutexGuard<'_, State>, command: Command) {
    if state.commands.len() == COMMANDS {
        let full = std::mem::take(&mut state.commands);
        state.earlier.push_back(full);
    }
    state.commands.push(command);
    wake(state);
}

/// Wakes the pipeline, outside of the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default() })
    }

    /// Queues a record if `take` has space for it; else, or if closed, returns it.
    pub(crate) fn put(
        &self,
        record: Prepared,
        take: impl FnOnce(usize) -> bool,
    ) -> Result<Sent<Delivery>, Box<Prepared>> {
        let mut state = locked(&self.state);
        if state.closed || !take(record.space_bytes()) {
            return Err(record.into());
        }
        let (ticket, delivery) = Ticket::new(record);
        let starts = state.pipeline == Pipeline::None;
        if starts {
            state.pipeline = Pipeline::Wanted;
        }
        state.haste = Haste::None;
        push(state, Command::Put(ticket));
        Ok(Sent { value: delivery, starts })
    }

    /// Queues a flush, unless no pipeline runs: then nothing is outstanding.
    pub(crate) fn flush(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = locked(&self.state);
        if !state.is_open() {
            return None;
        }
        state.haste = Haste::SendNow;
        let (done, flushed) = oneshot::channel();
        match state.commands.last_mut() {
            // Takes the place of one that nobody waits for.
            Some(Command::Flush(last)) if last.is_closed() => *last = done,
            _ => push(state, Command::Flush(done)),
        }
        Some(flushed)
    }

    pub(crate) fn hurry(&self) {
        self.hasten(Haste::Hurry, Command::Hurry);
    }

    /// Queues a flush without an answer.
    pub(crate) fn send_now(&self) {
        self.hasten(Haste::SendNow, Command::SendNow);
    }

    /// Queues `command` unless the queued records have that haste already.
    fn hasten(&self, haste: Haste, command: Command) {
        let mut state = locked(&self.state);
        if state.is_open() && state.haste < haste {
            state.haste = haste;
            push(state, command);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        locked(&self.state).pipeline != Pipeline::None
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.state).closed
    }

    /// Refuses further commands. Queued ones are still taken.
    pub(crate) fn close(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        wake(state);
    }
}

/// The pipeline's end of the queue. Dropped without [`park`](Self::park) it closes and empties the queue.
pub(crate) struct Receiver {
    queue: Option<Arc<Queue>>,
}

impl Receiver {
    /// Receiver of the requested pipeline, if one is requested.
    pub(crate) fn claim(queue: &Arc<Queue>) -> Option<Self> {
        let mut state = locked(&queue.state);
        let wanted = state.pipeline == Pipeline::Wanted;
        if wanted {
            state.pipeline = Pipeline::Running;
        }
        wanted.then(|| Self { queue: Some(queue.clone()) })
    }

    /// Waits for commands, and moves up to [`COMMANDS`] into `commands`, which is empty. None: the queue is closed.
    ///
    /// # Cancellation
    /// Dropping the future leaves the commands in the queue.
    pub(crate) async fn take(&self, commands: &mut Vec<Command>) {
        poll_fn(|cx| self.poll_take(commands, cx)).await;
    }

    fn poll_take(&self, commands: &mut Vec<Command>, cx: &Context<'_>) -> Poll<()> {
        let Some(queue) = &self.queue else { return Poll::Ready(()) };
        let mut state = locked(&queue.state);
        if state.commands.is_empty() && !state.closed {
            if !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match state.earlier.pop_front() {
            Some(first) => *commands = first,
            None => std::mem::swap(&mut state.commands, commands),
        }
        Poll::Ready(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.is_closed())
    }

    pub(crate) fn close(&self) {
        self.queue.iter().for_each(|queue| queue.close());
    }

    /// Ends the pipeline, unless commands are queued; says whether it does.
    pub(crate) fn park(&mut self) -> bool {
        let Some(queue) = &self.queue else { return true };
        let mut state = locked(&queue.state);
        let parks = state.commands.is_empty() && !state.closed;
        if parks {
            state.pipeline = Pipeline::None;
            state.commands = Vec::new();
            drop(state);
            self.queue = None;
        }
        parks
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let Some(queue) = &self.queue else { return };
        queue.close();
        let mut state = locked(&queue.state);
        let left = (std::mem::take(&mut state.earlier), std::mem::take(&mut state.commands));
        drop(state);
        drop(left); // outside of the lock: deliveries resolve
    }
}

#[cfg(test)]
mod tests;
