//! SHELL: the task that publishes, and its handle.

use std::{collections::HashMap, future::pending, time::Duration};

use aws_sdk_cloudwatch::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    datum::Datum,
    outbox::{Failed, Outbox},
    recorder::Recorder,
    request::{Failure, send, with_timeouts},
    series::Source,
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
    /// The last request of a namespace failed.
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
    /// Safe: the data are published nevertheless.
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
    outbox: Outbox,
    /// Bounds of the recorder that were reported as reached.
    reported: Vec<&'static str>,
    status: watch::Sender<Status>,
    /// Requests under way, at most one of each namespace.
    sending: JoinSet<Sent>,
    /// Namespaces of these requests.
    under_way: HashMap<Id, String>,
}

/// A batch, and the answer to its request.
type Sent = (Vec<Datum>, Result<(), Failure>);

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
            outbox: Outbox::new(max_queue),
            reported: Vec::new(),
            status,
            sending: JoinSet::new(),
            under_way: HashMap::new(),
        };
        tokio::spawn(task.run(received));
        Publisher { commands, status: observer }
    }

    /// Handles: the end of a window, an answer, the end of a pause, commands. Ends with a shutdown.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut has_handle = true;
        loop {
            self.send_next();
            let window_ends = self.schedules.iter().map(|schedule| schedule.next).min();
            let pause_ends = self.outbox.pause_ends().map(Instant::from_std);
            tokio::select! {
                () = until(window_ends) => self.take(false),
                Some(answered) = self.sending.join_next_with_id() => self.answered(answered),
                () = until(pause_ends) => {}
                command = commands.recv(), if has_handle => match command {
                    Some(Command::Flush(done)) => {
                        self.flush().await;
                        let _ = done.send(()); // it may have gone
                    }
                    Some(Command::Shutdown(done)) => {
                        self.flush().await;
                        let left = self.outbox.clear();
                        self.count_lost(left);
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
        self.report_bounds();
        let lost = self.outbox.add(taken);
        self.count_lost(lost);
    }

    fn report_bounds(&mut self) {
        for (bound, is_reached) in self.recorder.bounds() {
            if is_reached && !self.reported.contains(&bound) {
                self.reported.push(bound);
                warn!(
                    bound,
                    "metrics reached a bound of what is kept; what is beyond is not recorded, or without its values"
                );
            }
        }
    }

    fn count_lost(&self, data: usize) {
        if data > 0 {
            self.status.send_modify(|status| status.lost += data as u64);
        }
    }

    /// Sends the next batch of each namespace, unless one is under way or it is too early.
    fn send_next(&mut self) {
        for batch in self.outbox.take_batches(Instant::now().into_std()) {
            let Some(namespace) = batch.first().map(|datum| datum.namespace.clone()) else { continue };
            let client = self.client.clone();
            let request = self.sending.spawn(async move {
                let sent = send(client, &batch).await;
                (batch, sent)
            });
            self.under_way.insert(request.id(), namespace);
        }
    }

    fn answered(&mut self, answered: Result<(Id, Sent), JoinError>) {
        let id = answered.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(namespace) = self.under_way.remove(&id) else { return };
        match answered {
            Ok((_, (batch, Ok(())))) => self.accepted(&namespace, batch.len()),
            Ok((_, (batch, Err(failure)))) => self.failed(&namespace, batch, failure),
            // A panic within the SDK loses a batch; the runtime's end needs nothing.
            Err(_) => self.outbox.unanswered(&namespace),
        }
        let is_failing = self.outbox.is_failing();
        self.status.send_modify(|status| status.is_failing = is_failing);
    }

    fn accepted(&mut self, namespace: &str, count: usize) {
        if let Some(lost) = self.outbox.accepted(namespace, count) {
            info!(namespace, lost, "metrics are published to cloudwatch again");
        }
        self.status.send_modify(|status| status.published += count as u64);
    }

    fn failed(&mut self, namespace: &str, batch: Vec<Datum>, Failure { error, is_of_data }: Failure) {
        let Failed { lost, is_news } = if is_of_data {
            self.outbox.refused(namespace, batch)
        } else {
            self.outbox.failed(namespace, batch, Instant::now().into_std(), fastrand::f64())
        };
        self.count_lost(lost);
        match (is_news, is_of_data) {
            (true, true) => warn!(namespace, error, lost, "cloudwatch refuses a metric; others are counted as lost"),
            (true, false) => {
                warn!(
                    namespace,
                    error, "metrics cannot be published to cloudwatch; the newest are kept and tried again"
                );
            }
            (false, _) => {}
        }
    }

    /// Sends all that there is, until it is sent, its namespace fails, or time is up.
    async fn flush(&mut self) {
        self.take(true);
        self.outbox.hurry();
        let sent = async {
            loop {
                self.send_next();
                let Some(answered) = self.sending.join_next_with_id().await else { return };
                self.answered(answered);
            }
        };
        let _ = timeout(LAST_FLUSH, sent).await; // what is left stays in the outbox
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
