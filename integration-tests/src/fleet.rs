//! Workers that run beside a test.

use kcl::{ProcessorFactory, RecordProcessor, ShardContext, Worker, WorkerBuilder, WorkerError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Journal;

/// A worker running on its own task. Dropping it kills the worker without a last word, as a crash does.
#[derive(Debug)]
pub struct Running {
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), WorkerError>>>,
}

impl Running {
    /// Starts a worker with processors that log their calls in `journal`.
    pub fn noting(worker: WorkerBuilder, journal: &Journal) -> Self {
        Self::start(worker, journal, Journal::processor)
    }

    /// Starts a worker with processors made by `make`.
    pub fn start<P: RecordProcessor>(
        worker: WorkerBuilder,
        journal: &Journal,
        make: impl Fn(&Journal, &ShardContext) -> P + Send + Sync + 'static,
    ) -> Self {
        let journal = journal.clone();
        Self::start_factory(worker, move |shard: &ShardContext| make(&journal, shard))
    }

    /// Starts a worker with this factory.
    pub fn start_factory<F: ProcessorFactory>(worker: WorkerBuilder, factory: F) -> Self {
        Self::start_worker(worker.build(factory).expect("configuration is right"))
    }

    /// Starts this worker.
    pub fn start_worker<F: ProcessorFactory>(worker: Worker<F>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        Self { stop, task: Some(tokio::spawn(worker.run_until(stopped))) }
    }

    /// Stops the worker in good order.
    pub async fn stop(mut self) -> Result<(), WorkerError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until the worker ends by itself.
    pub async fn ended(&mut self) -> Result<(), WorkerError> {
        let task = self.task.take().expect("a worker ends once");
        task.await.expect("worker does not panic")
    }

    /// Kills the worker as a crash does.
    pub fn kill(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
