//! The streams of a producer: one pipeline each, which appears with the first record and goes when it was idle.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::{runtime::Handle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Aggregation, BoxError, Event, UserRecord,
    config::{Config, MAX_RECORD_BYTES},
    kinesis::{Kinesis, Stream},
    locked::locked,
    pipeline,
    queue::{Queue, Receiver},
    space::{Share, Space},
};

/// Told of every event.
pub(crate) type OnEvent = Arc<dyn Fn(&Stream, &Event) + Send + Sync>;

/// Makes the data that are sent out of a record.
pub(crate) type Encode = Arc<dyn Fn(&UserRecord) -> Result<Bytes, BoxError> + Send + Sync>;

/// Streams that are kept in mind before those without a handle and without a pipeline are forgotten.
const FORGET_BEYOND: usize = 64;

/// What the pipelines of a producer share. Holds nothing that could keep a pipeline from ending.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) kinesis: Arc<dyn Kinesis>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) encode: Option<Encode>,
    pub(crate) space: Space,
    /// No more records will come: pipelines end when they have resolved what they have.
    pub(crate) closing: CancellationToken,
    /// Pipelines end now.
    pub(crate) abandoning: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// What a pipeline panicked with. Locked to put it in and to take it out.
    panicked: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Context {
    pub(crate) fn new(
        config: Config,
        kinesis: Arc<dyn Kinesis>,
        on_event: Option<OnEvent>,
        encode: Option<Encode>,
    ) -> Self {
        let space = Space::new(config.max_outstanding_records, config.max_outstanding_bytes, config.stream_shares);
        let (closing, abandoning) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, panicked) = (TaskTracker::new(), Mutex::new(None));
        Self { config, kinesis, on_event, encode, space, closing, abandoning, tasks, panicked }
    }

    pub(crate) fn close(&self) {
        self.space.close();
        self.closing.cancel();
        self.tasks.close();
    }

    /// Logs what happened to `stream` and tells the application.
    pub(crate) fn notify(&self, stream: &Stream, event: &Event) {
        match event {
            Event::ShardMapUpdated { open_shards } => tracing::info!(%stream, open_shards, "shard map updated"),
            Event::ShardMapUnavailable { code, message, retry_in } => {
                tracing::warn!(%stream, %code, %message, ?retry_in, "shards cannot be listed, records may go unaggregated");
            }
            Event::StreamNotDescribed { code, message } => {
                tracing::warn!(%stream, %code, %message, "stream cannot be described, taken for one of default settings");
            }
            Event::PartitionKeysIgnored { aggregation } => match aggregation {
                Aggregation::Off => tracing::info!(%stream, "stream ignores partition keys"),
                _ => tracing::warn!(%stream, "stream ignores partition keys, aggregation is off"),
            },
            Event::SettingDefeated { setting, reason } => tracing::warn!(%stream, setting, reason, "setting defeated"),
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
            on_event(stream, event);
        }
    }

    /// What a pipeline panicked with, once.
    pub(crate) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        locked(&self.panicked).take()
    }
}

/// Settles what a pipeline leaves behind, however it ends: by itself, by a panic, or with its runtime.
struct Guard {
    stream: Stream,
    queue: Arc<Queue>,
    status: Arc<Status>,
    context: Arc<Context>,
    ended: Ended,
}

/// How a pipeline has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was idle; the next record starts another one.
    Idle,
    /// The producer is closed, or has no more handles.
    Closed,
    /// By a panic or with its runtime.
    Broken,
}

impl Guard {
    fn new(intake: &Intake, context: &Arc<Context>) -> Self {
        context.space.enter();
        let (queue, status) = (intake.queue.clone(), intake.status.clone());
        Self { stream: intake.stream.clone(), queue, status, context: context.clone(), ended: Ended::Broken }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.ended != Ended::Idle {
            self.queue.close();
            let left = self.context.space.vacate(&self.status.share);
            self.status.set_oldest(None);
            pipeline::count_abandoned(&self.stream, self.context.config.metrics_granularity, left.records);
        }
        self.context.space.leave();
        if self.ended == Ended::Broken {
            self.context.close();
        }
    }
}

/// What a stream's pipeline and its handles share.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) share: Share,
    /// Most bytes of a record; the most that any stream takes before it is known.
    pub(crate) max_record_bytes: AtomicUsize,
    /// When the oldest record arrived that is not resolved. Locked to copy it.
    oldest: Mutex<Option<Instant>>,
}

impl Status {
    pub(crate) fn oldest(&self) -> Option<Instant> {
        *locked(&self.oldest)
    }

    pub(crate) fn set_oldest(&self, oldest: Option<Instant>) {
        *locked(&self.oldest) = oldest;
    }
}

/// The way into one stream's pipeline, whether that is running or not.
pub(crate) struct Intake {
    pub(crate) stream: Stream,
    pub(crate) queue: Arc<Queue>,
    pub(crate) status: Arc<Status>,
}

impl Intake {
    fn new(stream: Stream) -> Self {
        let (max_record_bytes, oldest) = (AtomicUsize::new(MAX_RECORD_BYTES), Mutex::new(None));
        let status = Arc::new(Status { share: Share::new(), max_record_bytes, oldest });
        Self { stream, queue: Queue::new(), status }
    }
}

/// All handles are gone: no more records will come.
impl Drop for Intake {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// All streams of a producer.
pub(crate) struct Streams {
    pub(crate) context: Arc<Context>,
    pub(crate) runtime: Handle,
    /// Locked to look a stream up, to list them, or to hurry each.
    known: Mutex<Known>,
}

struct Known {
    intakes: HashMap<Stream, Arc<Intake>>,
    forget_beyond: usize,
}

impl Streams {
    pub(crate) fn new(context: Context, runtime: Handle) -> Self {
        let known = Known { intakes: HashMap::new(), forget_beyond: FORGET_BEYOND };
        Self { context: Arc::new(context), runtime, known: Mutex::new(known) }
    }

    /// The intake of `stream`.
    pub(crate) fn get(&self, stream: Stream) -> Arc<Intake> {
        let mut known = locked(&self.known);
        if let Some(intake) = known.intakes.get(&stream) {
            return intake.clone();
        }
        if known.intakes.len() >= known.forget_beyond {
            known.intakes.retain(|_, intake| Arc::strong_count(intake) > 1 || intake.queue.is_running());
            known.forget_beyond = FORGET_BEYOND.max(2 * known.intakes.len());
        }
        let intake = Arc::new(Intake::new(stream.clone()));
        known.intakes.insert(stream, intake.clone());
        intake
    }

    /// The intakes of all streams that have one.
    pub(crate) fn all(&self) -> Vec<Arc<Intake>> {
        locked(&self.known).intakes.values().cloned().collect()
    }

    /// Accepts no more records. Everything that was accepted is resolved when all tasks have ended.
    pub(crate) fn close(&self) {
        self.context.close();
        for intake in self.all() {
            intake.queue.close();
            // A record may be accepted whose pipeline is not started yet.
            self.start(&intake);
        }
    }

    /// Starts the pipeline of a stream, if one is wanted.
    pub(crate) fn start(&self, intake: &Intake) {
        // Who shuts down meanwhile waits also for a pipeline that is claimed and not spawned yet.
        let _starting = self.context.tasks.token();
        let Some(commands) = Receiver::claim(&intake.queue) else { return };
        let guard = Guard::new(intake, &self.context);
        self.context.tasks.spawn_on(run(commands, guard), &self.runtime);
    }

    /// A put waits for space: nothing that takes it up shall wait for company.
    pub(crate) fn hurry(&self) {
        locked(&self.known).intakes.values().for_each(|intake| intake.queue.hurry());
    }
}

/// A pipeline, whose panic is kept for who shuts the producer down.
async fn run(commands: Receiver, mut guard: Guard) {
    let (stream, status, context) = (guard.stream.clone(), guard.status.clone(), guard.context.clone());
    let pipeline = pipeline::run(stream, commands, status, context);
    match AssertUnwindSafe(pipeline).catch_unwind().await {
        Ok(ended) => guard.ended = ended,
        Err(panic) => *locked(&guard.context.panicked) = Some(panic),
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("config", &self.context.config).finish_non_exhaustive()
    }
}
