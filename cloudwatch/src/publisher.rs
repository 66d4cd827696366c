//! SHELL: the task that publishes, and its handle.

use std::{future::pending, time::Duration};

use aws_sdk_cloudwatch::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    datum::Datum,
    health::Health,
    queue::Queue,
    recorder::{Recorder, Source},
    request::{Failure, send, with_timeouts},
};

/// Commands that wait. A handle waits while it is full.
const COMMANDS: usize = 8;

/// Maximum time for the last requests of a shutdown.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// Counts of the metrics so far, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Status {
    /// Metrics, each with its dimensions and of one window, that CloudWatch accepted.
    pub published: u64,
    /// Metrics that were dropped: refused, or too many while CloudWatch did not answer.
    pub lost: u64,
    /// The last request failed.
    pub is_failing: bool,
}

/// The handle of the task that publishes. Dropped without [`shutdown`](Self::shutdown), the task goes on until its runtime
/// ends, and what was recorded last is lost.
#[derive(Debug)]
#[must_use = "what was recorded last is only published by its shutdown"]
pub struct Publisher {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
}

#[derive(Debug)]
enum Command {
    Flush(oneshot::Sender<()>),
    Shutdown(oneshot::Sender<()>),
}

impl Publisher {
    /// Counts of the metrics so far, by what became of them.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Publishes what was recorded so far, without waiting for the next interval. Waits until CloudWatch has answered, up
    /// to 10 s; what could not be sent by then is tried again later.
    ///
    /// # Cancellation
    /// Safe: the data are published all the same.
    pub async fn flush(&self) {
        self.ask(Command::Flush).await;
    }

    /// Publishes what was recorded so far, waits up to 10 s for it, and ends publishing.
    ///
    /// # Cancellation
    /// Safe: it goes on beside the caller.
    pub async fn shutdown(self) {
        self.ask(Command::Shutdown).await;
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, answer) = oneshot::channel();
        // The task ends only with its runtime.
        if self.commands.send(command(done)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// A source of metrics and the interval of its windows.
struct Schedule {
    source: Source,
    every: Duration,
    next: Instant,
}

pub(crate) struct Task {
    recorder: Recorder,
    client: Client,
    schedules: Vec<Schedule>,
    queue: Queue,
    health: Health,
    status: watch::Sender<Status>,
    /// The request under way, if any.
    sending: JoinSet<(Vec<Datum>, Result<(), Failure>)>,
    /// No request is sent before.
    paused_until: Instant,
}

impl Task {
    /// Starts the task on the runtime that is running here.
    pub(crate) fn start(
        recorder: Recorder,
        client: &Client,
        [producer, consumer, application]: [Duration; 3],
        max_queue: usize,
    ) -> Publisher {
        let (commands, received) = mpsc::channel(COMMANDS);
        let (status, observer) = watch::channel(Status::default());
        let now = Instant::now();
        let schedule = |(source, every)| Schedule { source, every, next: now + every };
        let sources = [(Source::Producer, producer), (Source::Consumer, consumer), (Source::Application, application)];
        let task = Self {
            recorder,
            client: with_timeouts(client),
            schedules: sources.map(schedule).into(),
            queue: Queue::new(max_queue),
            health: Health::default(),
            status,
            sending: JoinSet::new(),
            paused_until: now,
        };
        tokio::spawn(task.run(received));
        Publisher { commands, status: observer }
    }

    /// Handles: the end of a window, an answer, the end of a pause, commands. Ends with a shutdown.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut has_handle = true;
        loop {
            self.send_next();
            let next = self.schedules.iter().map(|schedule| schedule.next).min();
            let window_ends = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let waits = self.sending.is_empty() && !self.queue.is_empty();
            tokio::select! {
                () = window_ends => self.take(false),
                Some(answered) = self.sending.join_next() => self.answered(answered),
                () = sleep_until(self.paused_until), if waits => {}
                command = commands.recv(), if has_handle => match command {
                    Some(Command::Flush(done)) => {
                        self.flush().await;
                        let _ = done.send(()); // it may have gone
                    }
                    Some(Command::Shutdown(done)) => {
                        self.flush().await;
                        let left = self.queue.clear();
                        self.lost(left);
                        let _ = done.send(()); // it may have gone
                        return;
                    }
                    None => has_handle = false,
                },
            }
        }
    }

    /// Takes the windows that are over, or all.
    fn take(&mut self, all: bool) {
        // By the clock that signs the requests.
        let (now, at) = (Instant::now(), self.client.config().time_source().map(|clock| clock.now()));
        let mut taken = Vec::new();
        for schedule in &mut self.schedules {
            if all || schedule.next <= now {
                schedule.next = now + schedule.every;
                taken.extend(self.recorder.take(schedule.source, at));
            }
        }
        let lost = self.queue.add(taken);
        self.lost(lost);
    }

    fn lost(&mut self, data: usize) {
        if data > 0 {
            self.health.lost(data);
            self.status.send_modify(|status| status.lost += data as u64);
        }
    }

    /// Sends the next batch, unless one is under way or it is too early.
    fn send_next(&mut self) {
        if !self.sending.is_empty() || self.queue.is_empty() || Instant::now() < self.paused_until {
            return;
        }
        let (batch, client) = (self.queue.take_batch(), self.client.clone());
        self.sending.spawn(async move {
            let sent = send(client, &batch).await;
            (batch, sent)
        });
    }

    fn answered(&mut self, answered: Result<(Vec<Datum>, Result<(), Failure>), JoinError>) {
        // A panic within the SDK loses a batch; the runtime's end needs nothing.
        let Ok((batch, sent)) = answered else { return };
        match sent {
            Ok(()) => {
                let published = batch.len() as u64;
                if let Some(lost) = self.health.succeeded() {
                    info!(lost, "metrics are published to cloudwatch again");
                }
                self.status.send_modify(|status| status.published += published);
            }
            Err(Failure { error, is_of_data }) => {
                let (is_news, pause) = self.health.failed(fastrand::f64());
                if is_news {
                    warn!(error, "metrics cannot be published to cloudwatch; the newest are kept and tried again");
                }
                self.paused_until = Instant::now() + if is_of_data { Duration::ZERO } else { pause };
                let lost = if is_of_data { batch.len() } else { self.queue.put_back(batch) };
                self.lost(lost);
            }
        }
        let is_failing = self.health.is_failing();
        self.status.send_modify(|status| status.is_failing = is_failing);
    }

    /// Sends all that there is, until it is sent, a request fails, or time is up.
    async fn flush(&mut self) {
        self.take(true);
        self.paused_until = Instant::now();
        let sent = async {
            loop {
                self.send_next();
                let Some(answered) = self.sending.join_next().await else { return };
                self.answered(answered);
            }
        };
        let _ = timeout(LAST_FLUSH, sent).await; // what is left stays in the queue
    }
}
