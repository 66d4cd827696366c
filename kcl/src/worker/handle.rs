//! A worker that runs on a task of its own, and the handle to it.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::{
    context::Context,
    error::WorkerError,
    model::{ShardStatus, WorkerId},
    processor::ProcessorFactory,
    task::propagate,
    time::now,
};

/// A running worker: stops it, waits for it, and shows what it does. Made by [`Worker::start`].
///
/// Dropping it asks the worker to stop in good order, and does not wait for that.
#[derive(Debug)]
#[must_use = "dropping it stops the worker"]
pub struct WorkerHandle {
    context: Arc<Context>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl<F: ProcessorFactory> Worker<F> {
    /// Runs the worker on a task of its own.
    ///
    /// ```no_run
    /// # async fn example<F: kcl::ProcessorFactory>(worker: kcl::Worker<F>) -> Result<(), kcl::WorkerError> {
    /// let mut worker = worker.start();
    /// for shard in worker.shards() {
    ///     println!("{} {:?} {}", shard.shard, shard.phase, shard.checkpoint);
    /// }
    /// worker.request_stop();
    /// worker.wait().await
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> WorkerHandle {
        let (context, stop) = (Arc::clone(self.context()), CancellationToken::new());
        let task = tokio::spawn(self.run_until(stop.clone().cancelled_owned()));
        WorkerHandle { context, stop, task }
    }
}

impl WorkerHandle {
    /// The worker's id.
    pub fn worker_id(&self) -> &WorkerId {
        &self.context.settings.worker_id
    }

    /// The shards whose lease the worker holds, by id.
    pub fn shards(&self) -> Vec<ShardStatus> {
        self.context.board.all(now(), self.context.settings.warn_after)
    }

    /// Whether the worker still runs.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Asks the worker to leave in good order; see [`Worker::run_until`]. Does not wait for that.
    pub fn request_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the worker ends, by itself or because it was asked to.
    ///
    /// # Errors
    /// See [`WorkerError`].
    ///
    /// # Panics
    /// When called again after it completed, and with the worker's own panic should there be one.
    ///
    /// # Cancellation
    /// Safe: the worker runs on.
    pub async fn wait(&mut self) -> Result<(), WorkerError> {
        (&mut self.task).await.unwrap_or_else(|failure| {
            propagate(failure);
            Ok(()) // the runtime shuts down
        })
    }

    /// Stops the worker in good order and waits for that.
    ///
    /// # Errors
    /// See [`WorkerError`].
    ///
    /// # Cancellation
    /// Dropping the future does not stop the stopping.
    pub async fn stop(mut self) -> Result<(), WorkerError> {
        self.request_stop();
        self.wait().await
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
