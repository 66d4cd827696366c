//! The streams of a producer: one pipeline each, from the first record until it is idle.
//!
//! The end of an idle pipeline frees 18 KiB a stream (`cargo test -p kinesis-kpl --test memory -- --nocapture`).

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures::FutureExt as _;
use tokio::runtime::Handle;

use crate::{
    context::Context,
    intake::{
        Intake, Status,
        queue::{Queue, Receiver},
    },
    locked::locked,
    pipeline::{Ended, Pipeline, count_abandoned},
    stream::Stream,
};

/// Number of streams at which those without handle and pipeline are forgotten.
const FORGET_BEYOND: usize = 64;

/// Cleans up after a pipeline, however it ends: by itself, by a panic, or with its runtime.
struct Guard {
    stream: Stream,
    queue: Arc<Queue>,
    status: Arc<Status>,
    context: Arc<Context>,
    ended: Ended,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.ended != Ended::Idle {
            self.queue.close();
            let left = self.context.space.vacate(&self.status.share);
            *locked(&self.status.oldest) = None;
            count_abandoned(&self.stream, self.context.config.metrics_granularity, left.records);
        }
        self.context.space.leave();
        if self.ended == Ended::Broken {
            self.context.close();
        }
    }
}

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

    pub(crate) fn all(&self) -> Vec<Arc<Intake>> {
        locked(&self.known).intakes.values().cloned().collect()
    }

    /// Refuses further records. Every accepted one is resolved when all tasks have ended.
    pub(crate) fn close(&self) {
        self.context.close();
        for intake in self.all() {
            intake.queue.close();
            // A record may be accepted whose pipeline is not started yet.
            self.start(&intake);
        }
    }

    /// Starts the requested pipeline of a stream, if any.
    pub(crate) fn start(&self, intake: &Intake) {
        // A shutdown meanwhile waits also for a pipeline that is claimed and not spawned yet.
        let _starting = self.context.tasks.token();
        let Some(commands) = Receiver::claim(&intake.queue) else { return };
        self.context.space.enter();
        let (stream, queue, status) = (intake.stream.clone(), intake.queue.clone(), intake.status.clone());
        let guard = Guard { stream, queue, status, context: self.context.clone(), ended: Ended::Broken };
        self.context.tasks.spawn_on(run(commands, guard), &self.runtime);
    }

    pub(crate) fn hurry(&self) {
        locked(&self.known).intakes.values().for_each(|intake| intake.queue.hurry());
    }
}

/// Runs a pipeline, and keeps its panic for the shutdown.
async fn run(commands: Receiver, mut guard: Guard) {
    let (stream, status, context) = (guard.stream.clone(), guard.status.clone(), guard.context.clone());
    let pipeline = Pipeline::new(stream, commands, status, context).run();
    match AssertUnwindSafe(pipeline).catch_unwind().await {
        Ok(ended) => guard.ended = ended,
        Err(panic) => *locked(&guard.context.panicked) = Some(panic),
    }
}
