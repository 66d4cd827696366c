//! Commands queued for a stream's pipeline, which may not be running: a channel of tokio's, and the state of its receiver.
//!
//! - (A) At most one pipeline runs per stream. The first command queued while none runs requests one; whoever claims the
//!   receiver starts it: the sender of that command, or whoever closes the producer meanwhile.
//! - (B) No command is left without a pipeline: one ends only while no command is queued, under the lock of the queue.
//! - (C) A record takes space and is queued under one lock, so that a full buffer finds all its records in the queues.

use std::sync::{Arc, Mutex};

use futures::{FutureExt as _, future::Shared};
use tokio::sync::{mpsc, oneshot};

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
}

/// The commands of one stream. Bounded by the space for records, each followed by at most one command of each other kind.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Locked to queue a command, and to start or end a pipeline.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while no pipeline runs or is requested, and once closed.
    sender: Option<mpsc::UnboundedSender<Command>>,
    /// Of a requested pipeline, until it is claimed.
    receiver: Option<mpsc::UnboundedReceiver<Command>>,
    closed: bool,
    /// The latest record is hurried, and so are earlier ones.
    hurried: bool,
    /// The flush queued behind the latest record.
    flush: Option<Flushed>,
}

/// The end of a flush. An error means that the pipeline is gone, and nothing is left unresolved.
pub(crate) type Flushed = Shared<oneshot::Receiver<()>>;

impl State {
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
        let starts = state.sender.is_none();
        if starts {
            let (sender, receiver) = mpsc::unbounded_channel();
            (state.sender, state.receiver) = (Some(sender), Some(receiver));
        }
        (state.hurried, state.flush) = (false, None);
        let (ticket, delivery) = Ticket::new(record);
        state.send(Command::Put(ticket));
        Ok((delivery, starts))
    }

    /// Queues a flush, unless no pipeline runs: then nothing is outstanding.
    pub(crate) fn flush(&self) -> Option<Flushed> {
        let mut state = locked(&self.state);
        state.sender.as_ref()?;
        if state.flush.is_none() {
            let (done, flushed) = oneshot::channel();
            state.send(Command::Flush(done));
            (state.hurried, state.flush) = (true, Some(flushed.shared()));
        }
        state.flush.clone()
    }

    /// Hurries the queued records, unless they are.
    pub(crate) fn hurry(&self) {
        let mut state = locked(&self.state);
        if !std::mem::replace(&mut state.hurried, true) {
            state.send(Command::Hurry);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        locked(&self.state).sender.is_some()
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
    queue: Arc<Queue>,
    commands: mpsc::UnboundedReceiver<Command>,
    parked: bool,
}

impl Receiver {
    /// Receiver of the requested pipeline, if one is requested.
    pub(crate) fn claim(queue: &Arc<Queue>) -> Option<Self> {
        let commands = locked(&queue.state).receiver.take()?;
        Some(Self { queue: queue.clone(), commands, parked: false })
    }

    /// Waits for commands, and moves up to [`COMMANDS`] into `commands`, which is empty. None: the queue is closed.
    ///
    /// # Cancellation
    /// Dropping the future leaves the commands in the queue.
    pub(crate) async fn take(&mut self, commands: &mut Vec<Command>) {
        self.commands.recv_many(commands, COMMANDS).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    pub(crate) fn close(&self) {
        self.queue.close();
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
