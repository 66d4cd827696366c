//! Handles of a worker that runs on a task of its own.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, Mutex, atomic::Ordering},
};

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::{
    contained::panic_text,
    context::Context,
    error::WorkerError,
    event::chain,
    locked::locked,
    logic::health::{Stage, problems},
    model::{Health, HealthProblem, ShardStatus, TableUsage, WorkerId},
    processor::ProcessorFactory,
    time::now,
};

type Outcome = Result<(), Arc<WorkerError>>;
/// Payload of a panic, until somebody waits for the worker. Locked for a move.
type Payload = Arc<Mutex<Option<Box<dyn Any + Send>>>>;

/// Handle of a running worker: stops it, waits for it, and shows what it does. Made by [`Worker::start`].
///
/// Clones are equal. Dropping the last one asks the worker to stop in good order, and does not wait for that.
#[derive(Debug, Clone)]
#[must_use = "dropping the last handle stops the worker"]
pub struct WorkerHandle(Arc<Running>);

struct Running {
    context: Arc<Context>,
    stop: CancellationToken,
    ended: watch::Receiver<Option<Outcome>>,
    panic: Payload,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("settings", &self.context.settings).finish_non_exhaustive()
    }
}

impl<F: ProcessorFactory> Worker<F> {
    /// Runs the worker on a task of its own.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # async fn example<F: kcl::ProcessorFactory>(worker: kcl::Worker<F>) -> Result<(), Arc<kcl::WorkerError>> {
    /// let worker = worker.start();
    /// for status in worker.shards() {
    ///     println!("{} {:?} {}", status.shard, status.phase, status.checkpoint);
    /// }
    /// worker.stop().await
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> WorkerHandle {
        let (context, stop) = (Arc::clone(&self.context), CancellationToken::new());
        WorkerHandle::spawn(context, stop.clone(), self.run_until(stop.cancelled_owned()))
    }
}

impl WorkerHandle {
    fn spawn(
        context: Arc<Context>,
        stop: CancellationToken,
        run: impl Future<Output = Result<(), WorkerError>> + Send + 'static,
    ) -> Self {
        let ((sender, ended), panic) = (watch::channel(None), Payload::default());
        let (kept, worker_id) = (Arc::clone(&panic), context.settings.worker_id.clone());
        tokio::spawn(async move {
            let outcome = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|payload| {
                let text = panic_text(&*payload);
                tracing::error!(%worker_id, text, "worker panicked");
                *locked(&kept) = Some(payload);
                Err(WorkerError::Panicked { text })
            });
            sender.send_replace(Some(outcome.map_err(Arc::new)));
        });
        Self(Arc::new(Running { context, stop, ended, panic }))
    }

    /// Id of the worker.
    pub fn worker_id(&self) -> &WorkerId {
        &self.0.context.settings.worker_id
    }

    /// Shards whose leases the worker holds, by stream and id.
    pub fn shards(&self) -> Vec<ShardStatus> {
        self.0.context.board.all(now(), self.0.context.settings.warn_after)
    }

    /// The worker's health: live, ready, and why not, with each of its shards. For probes, and for a page to look at.
    /// Asks no service: it is what the worker's tasks found last.
    pub fn health(&self) -> Health {
        let Context { settings, vitals, board, .. } = &*self.0.context;
        let leader = settings.purpose.has_leader().then(|| vitals.notes().leader).flatten();
        let problems = self.problems();
        Health {
            worker_id: settings.worker_id.to_string(),
            live: !problems.iter().any(HealthProblem::ends_life),
            ready: problems.is_empty(),
            problems,
            leader: leader.map(|leader| leader.to_string()),
            shards: board.health(now(), settings.warn_after),
        }
    }

    fn problems(&self) -> Vec<HealthProblem> {
        let Context { settings, vitals, .. } = &*self.0.context;
        let (stage, notes) = (self.stage(), settings.purpose.has_leader().then(|| vitals.notes()));
        let is_at_work = matches!(stage, Stage::Starting | Stage::Joined);
        let mut problems = problems(stage, notes.as_ref(), settings.lease_duration, now());
        if is_at_work {
            problems.extend(settings.calls.problems());
        }
        problems
    }

    fn stage(&self) -> Stage {
        if !self.is_running() {
            let outcome = self.0.ended.borrow();
            let error = outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
            return Stage::Ended { error: error.map(|error| chain(&**error)) };
        }
        match (self.0.stop.is_cancelled(), self.0.context.ready.load(Ordering::Relaxed)) {
            (true, _) => Stage::Stopping,
            (false, true) => Stage::Joined,
            (false, false) => Stage::Starting,
        }
    }

    /// Requests and capacity units of the lease table, since the worker was built. The difference of two calls is the
    /// usage between them; none while the table answers nothing, and none of a replay.
    pub fn table_usage(&self) -> TableUsage {
        self.0.context.table.usage()
    }

    /// [`Health::ready`] of [`health`](Self::health): for readiness probes.
    pub fn is_ready(&self) -> bool {
        self.problems().is_empty()
    }

    /// True if the worker still runs, ready or not.
    pub fn is_running(&self) -> bool {
        self.0.ended.has_changed().is_ok() && self.0.ended.borrow().is_none()
    }

    /// Asks the worker to leave in good order; see [`Worker::run_until`]. Returns at once.
    pub fn request_stop(&self) {
        self.0.stop.cancel();
    }

    /// Waits until the worker ends, by itself or on request. Every holder may wait, at any time.
    ///
    /// # Errors
    /// See [`WorkerError`].
    ///
    /// # Panics
    /// With the worker's own panic, in the first call that learns of it. Later calls return [`WorkerError::Panicked`].
    ///
    /// # Cancellation
    /// Safe: the worker runs on.
    pub async fn wait(&self) -> Result<(), Arc<WorkerError>> {
        let mut ended = self.0.ended.clone();
        // The sender is gone without an outcome: the runtime shuts down.
        let outcome = ended.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        if let Some(payload) = locked(&self.0.panic).take() {
            resume_unwind(payload);
        }
        outcome.unwrap_or(Ok(()))
    }

    /// Stops the worker in good order and waits for that.
    ///
    /// # Errors
    /// See [`WorkerError`].
    ///
    /// # Panics
    /// As for [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// Safe: the worker goes on stopping.
    pub async fn stop(&self) -> Result<(), Arc<WorkerError>> {
        self.request_stop();
        self.wait().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::memory::MemoryLeaseTable;

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_raised_in_the_first_who_waits_and_named_to_others() {
        let aws = kinesis_local::LocalAws::start().await.sdk_config();
        let builder = Worker::builder(&aws, "application", "stream");
        let (table, stop) = (MemoryLeaseTable::default().into(), CancellationToken::new());
        let context = Context::new(builder.settings.clone(), crate::event::Events::default(), builder.catalog(), table);
        let worker = WorkerHandle::spawn(Arc::new(context), stop, async { panic!("on purpose") });
        let holder = worker.clone();

        let first = AssertUnwindSafe(worker.wait()).catch_unwind().await;
        let second = holder.wait().await;

        assert_eq!(panic_text(&*first.unwrap_err()), "on purpose");
        assert_eq!(second.unwrap_err().to_string(), "worker panicked: on purpose");
        assert!(!worker.is_running() && !holder.is_ready());
    }
}
