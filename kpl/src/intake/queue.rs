//! What is on its way to a stream's pipeline, and whether there is one.
//!
//! - (A) A stream has at most one pipeline at a time: the command that finds none wants one, and who claims its receiver
//!   starts it: the sender of that command, or who closes the producer meanwhile.
//! - (B) No command is left without a pipeline: one ends only while there is no command, under the lock that commands
//!   are put in under.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;

use crate::{
    delivery::{Delivery, Prepared, Slots, Ticket},
    locked::locked,
};

/// Commands that a pipeline takes at once, at the most.
pub(crate) const COMMANDS: usize = 4096;

/// What a producer asks of its pipeline.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Ticket),
    Flush(oneshot::Sender<()>),
    /// A put waits for space: what was put before shall not wait for company.
    Hurry,
    /// As a flush, without an answer.
    SendNow,
}

/// Urgency of records that were put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Haste {
    None,
    /// By a [`Command::Hurry`].
    Hurry,
    /// By a [`Command::SendNow`] or a flush.
    SendNow,
}

/// The way into one stream's pipeline. Bounded by the space for records, each of which is followed by one [`Command::Hurry`],
/// one [`Command::SendNow`], and a flush for each caller that waits for it.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Locked to put a command in, and to take some.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The latest ones, up to [`COMMANDS`]; there are none only if there are none at all.
    commands: Vec<Command>,
    /// Those before, [`COMMANDS`] each.
    earlier: VecDeque<Vec<Command>>,
    slots: Slots,
    pipeline: Pipeline,
    closed: bool,
    /// Haste of the record that was put last; those before have no less.
    haste: Haste,
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

impl State {
    /// Returns whom to wake.
    #[must_use]
    fn push(&mut self, command: Command) -> Option<Waker> {
        if self.commands.len() == COMMANDS {
            self.earlier.push_back(std::mem::take(&mut self.commands));
        }
        self.commands.push(command);
        self.waker.take()
    }

    fn is_open(&self) -> bool {
        !self.closed && self.pipeline != Pipeline::None
    }
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            commands: Vec::new(),
            earlier: VecDeque::new(),
            slots: Slots::new(),
            pipeline: Pipeline::None,
            closed: false,
            haste: Haste::None,
            waker: None,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Puts a record in if `take` has space for it, else hands it back; also if the queue is closed. Nothing is taken from
    /// a space on behalf of a queue that is closed.
    pub(crate) fn put(
        &self,
        record: Prepared,
        take: impl FnOnce(usize) -> bool,
    ) -> Result<Sent<Delivery>, Box<Prepared>> {
        let mut state = locked(&self.state);
        if state.closed || !take(record.space_bytes()) {
            return Err(record.into());
        }
        let (ticket, delivery) = Ticket::new(record, &mut state.slots);
        let starts = state.pipeline == Pipeline::None;
        if starts {
            state.pipeline = Pipeline::Wanted;
        }
        state.haste = Haste::None;
        let waker = state.push(Command::Put(ticket));
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(Sent { value: delivery, starts })
    }

    /// Puts a flush in, if there is a pipeline: else there is nothing to be flushed.
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
            _ => {
                let waker = state.push(Command::Flush(done));
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
        }
        Some(flushed)
    }

    /// What was put before shall not wait for company.
    pub(crate) fn hurry(&self) {
        self.hasten(Haste::Hurry, Command::Hurry);
    }

    /// Sends all that was put before as a flush does, which nobody waits for.
    pub(crate) fn send_now(&self) {
        self.hasten(Haste::SendNow, Command::SendNow);
    }

    /// Puts `command` in, which sends what was put before with `haste`, if it was not sent with as much already.
    fn hasten(&self, haste: Haste, command: Command) {
        let mut state = locked(&self.state);
        if state.is_open() && state.haste < haste {
            state.haste = haste;
            let waker = state.push(command);
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether there is a pipeline, or about to be.
    pub(crate) fn is_running(&self) -> bool {
        locked(&self.state).pipeline != Pipeline::None
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.state).closed
    }

    /// No more commands. Those that are in the queue are still taken.
    pub(crate) fn close(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
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

    /// Waits for commands, and takes up to [`COMMANDS`] into `commands`, which is empty. None means that no more will come.
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
        let mut state = locked(&queue.state);
        let left = (std::mem::take(&mut state.earlier), std::mem::take(&mut state.commands));
        drop(state);
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
    use crate::{error::DeliveryErrorKind, record::UserRecord};

    const RECORDS_OF_EACH: usize = 20_000;

    fn put(queue: &Queue) -> Result<Sent<Delivery>, Box<Prepared>> {
        queue.put(Prepared::new(UserRecord::new("k", "v")), |_| true)
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
                        let sent = put(&queue).expect("it is open");
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
    fn holds_what_space_allows_and_is_taken_in_parts_and_in_order() {
        let queue = Queue::new();
        let mut deliveries: VecDeque<_> =
            (0..2 * COMMANDS + 5).map(|_| put(&queue).expect("there is space").value).collect();
        assert!(queue.put(Prepared::new(UserRecord::new("k", "v")), |_| false).is_err());
        let receiver = Receiver::claim(&queue).expect("it is wanted");
        let flushed = queue.flush().expect("there is a pipeline");

        let (mut commands, mut taken) = (Vec::new(), Vec::new());
        while receiver.take(&mut commands).now_or_never().is_some() {
            taken.push(commands.len());
            for command in commands.drain(..).filter(|command| matches!(command, Command::Put(_))) {
                drop(command);
                let first = deliveries.pop_front().expect("as many as were put");
                assert!(first.now_or_never().is_some(), "what was put first is taken first");
            }
        }

        assert_eq!(taken, [COMMANDS, COMMANDS, 6]);
        drop(flushed);
    }

    #[test]
    fn hurries_queued_records_once() {
        let queue = Queue::new();
        queue.hurry();
        assert!(!queue.is_running(), "there is nothing to be hurried");
        let sent = put(&queue).expect("there is space");
        let receiver = Receiver::claim(&queue).expect("it is wanted");

        (0..10).for_each(|_| queue.hurry());
        drop(put(&queue).expect("there is space"));
        (0..10).for_each(|_| queue.hurry());

        let mut commands = Vec::new();
        receiver.take(&mut commands).now_or_never().expect("commands");
        let hurries = commands.iter().map(|command| matches!(command, Command::Hurry)).collect::<Vec<_>>();
        assert_eq!((hurries, sent.starts), (vec![false, true, false, true], true));
    }

    #[test]
    fn sends_queued_records_at_once_by_one_command() {
        let queue = Queue::new();
        let _first = put(&queue).expect("there is space");
        let receiver = Receiver::claim(&queue).expect("it is wanted");

        queue.hurry();
        (0..10).for_each(|_| queue.send_now());
        queue.hurry();
        let _second = put(&queue).expect("there is space");
        let _flushed = queue.flush();
        queue.send_now();

        let mut commands = Vec::new();
        receiver.take(&mut commands).now_or_never().expect("commands");
        let [Command::Put(_), Command::Hurry, Command::SendNow, Command::Put(_), Command::Flush(_)] = &commands[..]
        else {
            panic!("{commands:?}");
        };
    }

    #[test]
    fn flushes_that_nobody_waits_for_do_not_pile_up() {
        let queue = Queue::new();
        let _sent = put(&queue).expect("there is space");
        let receiver = Receiver::claim(&queue).expect("it is wanted");

        (0..1000).for_each(|_| drop(queue.flush()));
        let waited_for = [queue.flush(), queue.flush()];

        let mut commands = Vec::new();
        receiver.take(&mut commands).now_or_never().expect("commands");
        assert_eq!((commands.len(), waited_for.iter().flatten().count()), (3, 2));
    }

    #[tokio::test]
    async fn resolves_the_queue_of_a_failed_pipeline_and_takes_nothing_more() {
        let queue = Queue::new();
        let sent = put(&queue).expect("there is space");
        let receiver = Receiver::claim(&queue).expect("it is wanted");

        drop(receiver);

        assert_eq!(sent.value.await.expect_err("dropped").kind(), &DeliveryErrorKind::Abandoned);
        assert!(put(&queue).is_err() && queue.flush().is_none());
    }

    #[test]
    fn takes_queued_records_after_the_queue_closes() {
        let queue = Queue::new();
        let sent = put(&queue).expect("there is space");
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
