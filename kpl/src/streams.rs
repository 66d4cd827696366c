//! The streams of a producer: one pipeline each, from the first record until it is idle.
//!
//! The end of an idle pipeline frees 19 KiB a stream (`cargo test -p kinesis-kpl --test memory -- --nocapture`).

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
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
            count_abandoned(&self.stream, &self.context.config.metrics, left.records);
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
    known: Mutex<HashMap<Stream, Arc<Intake>>>,
}

impl Streams {
    pub(crate) fn new(context: Context, runtime: Handle) -> Self {
        Self { context: Arc::new(context), runtime, known: Mutex::default() }
    }

    pub(crate) fn get(&self, stream: Stream) -> Arc<Intake> {
        let mut known = locked(&self.known);
        if let Some(intake) = known.get(&stream) {
            return intake.clone();
        }
        // A full map forgets the streams without handle and pipeline, and gets room for as many as are left.
        if known.len() == known.capacity() {
            known.retain(|_, intake| Arc::strong_count(intake) > 1 || intake.queue.is_running());
            let left = known.len();
            known.reserve(left);
        }
        let intake = Arc::new(Intake::new(stream.clone()));
        known.insert(stream, intake.clone());
        intake
    }

    pub(crate) fn all(&self) -> Vec<Arc<Intake>> {
        locked(&self.known).values().cloned().collect()
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
        locked(&self.known).values().for_each(|intake| intake.queue.hurry());
    }
}

/// Runs a pipeline, and keeps its panic for the shutdown.
async fn run(commands: Receiver, mut guard: Guard) {
    let (stream, status, context) = (guard.stream.clone(), guard.status.clone(), guard.context.clone());
    let pipeline = Pipeline::new(stream, commands, status, context).run();
    match AssertUnwindSafe(pipeline).catch_unwind().await {
        Ok(ended) => guard.ended = ended,
        Err(panic) => {
            guard.context.has_panicked.store(true, Relaxed);
            *locked(&guard.context.panicked) = Some(panic);
        }
    }
}
