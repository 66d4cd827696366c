//! Commands queued for a stream's pipeline, which may not be running: a channel of tokio's, and the state of its receiver.
//!
//! - (A) At most one pipeline runs per stream. The first command queued while none runs requests one; whoever claims the
//!   receiver starts it: the sender of that command, or whoever closes the producer meanwhile.
//! - (B) No command is left without a pipeline: one ends only while no command is queued, under the lock of the queue.
//! - (C) A record takes space and is queued under one lock, so that a full buffer finds all its records in the queues.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::sync::{mpsc, watch};

use crate::{
    delivery::{Delivery, Prepared, Slots, Ticket},
    locked::locked,
};

/// Maximum number of commands that a pipeline takes at a time: some 15 KB, which stay in the processor's nearest cache.
pub(crate) const COMMANDS: usize = 128;

/// Maximum records of a chunk: its locks, its place in the queue and its wake-up cost each of so many hardly anything.
pub(crate) const CHUNK: usize = 32;

/// A request to a pipeline.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Ticket),
    /// The records of a chunk, in order.
    PutChunk(Vec<Ticket>),
    /// Queued records are sent at once, in any case.
    Flush,
    /// A put waits for space: queued records are sent at once.
    Hurry,
}

/// The commands of one stream. Bounded by the space for records, each followed by at most one command of each other kind.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Locked to queue a command, and to start or end a pipeline.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// To the pipeline. `None` while none runs or is requested, and once closed.
    sender: Option<mpsc::UnboundedSender<Command>>,
    /// Number of the pipeline's first records that are resolved.
    resolved: Option<watch::Receiver<u64>>,
    /// Ends of a requested pipeline, until it is claimed.
    ends: Option<(mpsc::UnboundedReceiver<Command>, watch::Sender<u64>)>,
    /// Number of the pipeline's records.
    puts: u64,
    slots: Slots,
    closed: bool,
    /// The latest record is hurried or flushed, and so are earlier ones.
    hurried: bool,
    flushed: bool,
}

impl State {
    /// Counts records that are about to be queued, and requests a pipeline if none runs; says whether it does.
    fn count(&mut self, records: usize) -> bool {
        let starts = self.sender.is_none();
        if starts {
            let (resolving, resolved) = watch::channel(0);
            // Bounded by what is put into it, under this lock: puts by the buffer's space, of which `take` gives each its
            // share; flushes and hurries by the flags, which let one of each follow a put. A channel with a bound of its own
            // could be full while there is space, and neither a put nor a flush may wait or fail here.
            let (sender, receiver) = mpsc::unbounded_channel();
            (self.sender, self.resolved, self.ends) = (Some(sender), Some(resolved), Some((receiver, resolving)));
        }
        self.puts += records as u64;
        (self.hurried, self.flushed) = (false, false);
        starts
    }

    fn send(&self, command: Command) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(command); // the pipeline is gone: the command's record resolves as it is dropped
        }
    }
}

impl Queue {
    /// Queues a record if `take` has space for it; else, or if closed, returns it. Says whether the caller starts a pipeline.
    pub(crate) fn put(
        &self,
        record: Prepared,
        take: impl FnOnce(usize) -> bool,
    ) -> Result<(Delivery, bool), Box<Prepared>> {
        let mut state = locked(&self.state);
        if state.closed || !take(record.space_bytes()) {
            return Err(record.into());
        }
        let starts = state.count(1);
        let (ticket, delivery) = Ticket::new(record, &mut state.slots);
        state.send(Command::Put(ticket));
        Ok((delivery, starts))
    }

    /// Queues the first of `records`, as many as `take` has space for, by one command, and hands their deliveries to `accepted`;
    /// none if closed. Says whether the caller starts a pipeline.
    pub(crate) fn put_chunk(
        &self,
        records: &mut VecDeque<Prepared>,
        take: impl FnOnce(&VecDeque<Prepared>) -> usize,
        mut accepted: impl FnMut(Delivery),
    ) -> bool {
        let mut state = locked(&self.state);
        let count = if state.closed { 0 } else { take(records) };
        if count == 0 {
            return false;
        }
        let starts = state.count(count);
        let ticket = |record| {
            let (ticket, delivery) = Ticket::new(record, &mut state.slots);
            accepted(delivery);
            ticket
        };
        let tickets = records.drain(..count).map(ticket).collect();
        state.send(Command::PutChunk(tickets));
        starts
    }

    /// Queues a flush, and returns its end. `None`: nothing is outstanding.
    pub(crate) fn flush(&self) -> Option<impl Future<Output = ()> + use<>> {
        let mut state = locked(&self.state);
        let (puts, mut resolved) = (state.puts, state.resolved.clone()?);
        if !std::mem::replace(&mut state.flushed, true) {
            state.hurried = true;
            state.send(Command::Flush);
        }
        // An error means that the pipeline is gone, and nothing is left unresolved.
        Some(async move { drop(resolved.wait_for(|resolved| *resolved >= puts).await) })
    }

    /// Hurries the queued records, unless they are.
    pub(crate) fn hurry(&self) {
        let mut state = locked(&self.state);
        if !std::mem::replace(&mut state.hurried, true) {
            state.send(Command::Hurry);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        locked(&self.state).resolved.as_ref().is_some_and(|resolved| resolved.has_changed().is_ok())
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.state).closed
    }

    /// Refuses further commands. Queued ones are still taken.
    pub(crate) fn close(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        let sender = state.sender.take();
        drop(state);
        drop(sender); // outside of the lock: the pipeline wakes
    }
}

/// The pipeline's end of the queue. Dropped without [`park`](Self::park) it closes and empties the queue.
pub(crate) struct Receiver {
    pub(crate) queue: Arc<Queue>,
    commands: mpsc::UnboundedReceiver<Command>,
    resolved: watch::Sender<u64>,
    parked: bool,
}

impl Receiver {
    /// Receiver of the requested pipeline, if one is requested.
    pub(crate) fn claim(queue: &Arc<Queue>) -> Option<Self> {
        let (commands, resolved) = locked(&queue.state).ends.take()?;
        Some(Self { queue: queue.clone(), commands, resolved, parked: false })
    }

    /// Waits for commands, and moves up to [`COMMANDS`] into `commands`, which is empty. None: the queue is closed.
    ///
    /// # Cancellation
    /// Dropping the future leaves the commands in the queue.
    pub(crate) async fn take(&mut self, commands: &mut Vec<Command>) {
        self.commands.recv_many(commands, COMMANDS).await;
    }

    /// Completes the flushes of the first `records`, which are resolved.
    pub(crate) fn resolved(&self, records: u64) {
        self.resolved.send_if_modified(|known| std::mem::replace(known, records) != records);
    }

    /// Ends the pipeline, unless commands are queued; says whether it does.
    pub(crate) fn park(&mut self) -> bool {
        let mut state = locked(&self.queue.state);
        self.parked = self.commands.is_empty() && !state.closed;
        if self.parked {
            *state = State::default();
        }
        self.parked
    }
}

/// Commands left in the channel are dropped, which resolves their records.
impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.parked {
            self.queue.close();
        }
    }
}

#[cfg(test)]
mod tests;
