//! What is on its way to a stream's pipeline, and whether there is one.
//!
//! - (A) A stream has at most one pipeline at a time: the command that finds none wants one, and who claims its receiver
//!   starts it: the sender of that command, or who closes the producer meanwhile.
//! - (B) No command is left without a pipeline: one ends only while there is no command, under the lock that commands
//!   are put in under.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;

use crate::{
    Delivery,
    delivery::{Prepared, Slots, Ticket},
    line::Line,
    locked::locked,
};

/// Commands that may be on their way. Filled by puts that come faster than the pipeline takes them; then puts wait.
const COMMANDS: usize = 4096;

/// What a producer asks of its pipeline.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Ticket),
    Flush(oneshot::Sender<()>),
}

/// The way into one stream's pipeline.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Locked to put a command in, and to take all of them.
    state: Mutex<State>,
    line: Line,
}

#[derive(Debug)]
struct State {
    commands: Vec<Command>,
    slots: Slots,
    pipeline: Pipeline,
    closed: bool,
    /// Of the pipeline, if it waits.
    waker: Option<Waker>,
}

/// Whether there is a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pipeline {
    None,
    /// There is a command, and the pipeline is about to be started.
    Wanted,
    Running,
}

/// A command is in the queue.
#[derive(Debug)]
pub(crate) struct Sent<R> {
    pub(crate) value: R,
    /// There is no pipeline: the caller has to start one.
    pub(crate) starts: bool,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        let state =
            State { commands: Vec::new(), slots: Slots::new(), pipeline: Pipeline::None, closed: false, waker: None };
        Arc::new(Self { state: Mutex::new(state), line: Line::new() })
    }

    /// Puts a record in, or hands it back if the queue is full, somebody waits, or it is closed.
    pub(crate) fn try_put(&self, record: Prepared) -> Result<Sent<Delivery>, Box<Prepared>> {
        if self.line.is_empty() { self.put_now(record) } else { Err(record.into()) }
    }

    /// Waits until the queue is not full, and puts a record in. Hands it back if the queue is closed.
    pub(crate) async fn put(&self, record: Prepared) -> Result<Sent<Delivery>, Box<Prepared>> {
        let mut record = Some(record);
        let attempt = || match self.put_now(record.take()?) {
            Err(back) if !self.is_closed() => {
                record = Some(*back);
                None
            }
            put => Some(put),
        };
        self.line.wait(attempt).await
    }

    fn put_now(&self, record: Prepared) -> Result<Sent<Delivery>, Box<Prepared>> {
        let mut state = locked(&self.state);
        if state.closed || state.commands.len() >= COMMANDS {
            return Err(record.into());
        }
        let (ticket, delivery) = Ticket::new(record, &mut state.slots);
        state.commands.push(Command::Put(ticket));
        let starts = state.pipeline == Pipeline::None;
        if starts {
            state.pipeline = Pipeline::Wanted;
        }
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(Sent { value: delivery, starts })
    }

    /// Puts a flush in, if there is a pipeline: else there is nothing to be flushed.
    pub(crate) async fn flush(&self) -> Option<oneshot::Receiver<()>> {
        self.line.wait(|| self.flush_now()).await
    }

    /// `None` while the queue is full.
    fn flush_now(&self) -> Option<Option<oneshot::Receiver<()>>> {
        let mut state = locked(&self.state);
        if state.closed || state.pipeline == Pipeline::None {
            return Some(None);
        }
        if state.commands.len() >= COMMANDS {
            return None;
        }
        let (done, flushed) = oneshot::channel();
        state.commands.push(Command::Flush(done));
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Some(Some(flushed))
    }

    /// Whether there is a pipeline, or about to be.
    pub(crate) fn is_running(&self) -> bool {
        locked(&self.state).pipeline != Pipeline::None
    }

    fn is_closed(&self) -> bool {
        locked(&self.state).closed
    }

    /// No more commands. Those that are in the queue are still taken.
    pub(crate) fn close(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        self.line.freed();
    }
}

/// The pipeline's end of the queue. Dropped without [`park`](Self::park) it closes the queue, and nothing is left in it.
#[derive(Debug)]
pub(crate) struct Receiver {
    queue: Option<Arc<Queue>>,
}

impl Receiver {
    /// For the pipeline that is to be started, if one is.
    pub(crate) fn claim(queue: &Arc<Queue>) -> Option<Self> {
        let mut state = locked(&queue.state);
        let wanted = state.pipeline == Pipeline::Wanted;
        if wanted {
            state.pipeline = Pipeline::Running;
        }
        wanted.then(|| Self { queue: Some(queue.clone()) })
    }

    /// Waits for commands, and takes all there are into `commands`, which is empty. None means that no more will come.
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
        std::mem::swap(&mut state.commands, commands);
        drop(state);
        queue.line.freed();
        Poll::Ready(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.is_closed())
    }

    /// No more commands. Those that are in the queue are still taken.
    pub(crate) fn close(&self) {
        self.queue.iter().for_each(|queue| queue.close());
    }

    /// The pipeline ends, unless there are commands; says whether it does. The next command has another one started.
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
        let left = std::mem::take(&mut locked(&queue.state).commands);
        drop(left); // outside of the lock: deliveries resolve
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use futures::FutureExt as _;

    use super::*;
    use crate::{DeliveryErrorKind, UserRecord};

    const RECORDS_OF_EACH: usize = 20_000;

    fn record() -> Prepared {
        Prepared::new(UserRecord::new("k", "v"))
    }

    /// A pipeline that ends as soon as there is nothing to do. Returns what it has received.
    fn run_briefly(queue: &Arc<Queue>, running: &AtomicUsize) -> usize {
        let mut receiver = Receiver::claim(queue).expect("who finds none starts it");
        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
        let (mut received, mut commands) = (0, Vec::new());
        loop {
            while receiver.take(&mut commands).now_or_never().is_some() {
                received += commands.drain(..).count();
            }
            running.fetch_sub(1, Ordering::SeqCst);
            if receiver.park() {
                return received;
            }
            running.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn no_command_is_left_without_a_pipeline_however_often_that_ends() {
        let queue = Queue::new();
        let (running, received, ended) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));

        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..RECORDS_OF_EACH {
                        let sent = loop {
                            match queue.try_put(record()) {
                                Ok(sent) => break sent,
                                Err(_) => thread::yield_now(),
                            }
                        };
                        if sent.starts {
                            received.fetch_add(run_briefly(&queue, &running), Ordering::SeqCst);
                            ended.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });

        assert_eq!(received.into_inner(), 4 * RECORDS_OF_EACH);
        assert!(ended.into_inner() > 10 && !queue.is_running());
    }

    #[test]
    fn a_full_queue_hands_records_back_and_lets_who_waits_go_first() {
        let queue = Queue::new();
        for _ in 0..COMMANDS {
            drop(queue.try_put(record()).expect("there is room"));
        }
        let receiver = Receiver::claim(&queue).expect("it is wanted");
        assert!(queue.try_put(record()).is_err());

        let mut waiting = Box::pin(queue.put(record()));
        assert!(waiting.as_mut().now_or_never().is_none());
        let mut commands = Vec::new();
        receiver.take(&mut commands).now_or_never().expect("it is full");
        assert!(queue.try_put(record()).is_err(), "somebody waits");

        assert!(waiting.now_or_never().expect("there is room").is_ok());
        assert_eq!(commands.len(), COMMANDS);
    }

    #[tokio::test]
    async fn what_is_in_the_queue_of_a_pipeline_that_fails_resolves_and_nothing_more_is_taken() {
        let queue = Queue::new();
        let sent = queue.try_put(record()).expect("there is room");
        let receiver = Receiver::claim(&queue).expect("it is wanted");

        drop(receiver);

        assert_eq!(sent.value.await.expect_err("dropped").kind(), &DeliveryErrorKind::Abandoned);
        assert!(queue.put(record()).await.is_err() && queue.flush().await.is_none());
    }

    #[test]
    fn what_is_in_a_queue_when_it_closes_is_still_taken() {
        let queue = Queue::new();
        let sent = queue.try_put(record()).expect("there is room");
        let mut commands = Vec::new();

        queue.close();
        let receiver = Receiver::claim(&queue).expect("it is wanted, by who closes too");
        assert!(Receiver::claim(&queue).is_none(), "one at a time");

        receiver.take(&mut commands).now_or_never().expect("a command");
        assert_eq!((commands.drain(..).count(), sent.starts), (1, true));
        receiver.take(&mut commands).now_or_never().expect("the end");
        assert!(commands.is_empty());
    }
}
