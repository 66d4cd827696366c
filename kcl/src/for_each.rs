//! Consumers that are a closure: called for each record, checkpointed by the worker.

use std::{fmt, future::Future};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    BoxError,
    checkpoint::Position,
    checkpointer::Checkpointer,
    config::{CheckpointEvery, WorkerBuilder},
    error::{CheckpointError, ConfigError},
    logic::{due::Due, window::Window},
    processor::{ProcessorFactory, RecordProcessor, ShardContext},
    record::{Record, RecordBatch},
    worker::Worker,
};

impl WorkerBuilder {
    /// Builds a worker that calls `handler` for each record and checkpoints by itself, `every` so often.
    ///
    /// Records of one shard are handled one after the other, or up to [`concurrency`](Self::concurrency) at a time: then
    /// those of one partition key still keep their order, and a checkpoint covers only what is handled without a gap.
    /// When a call fails or panics, those under way are waited for, everything before the first gap is checkpointed, and
    /// the shard goes on behind that as [`on_processor_error`](Self::on_processor_error) says, always with
    /// [`isolate`](crate::ErrorPolicy::isolate): what is given up is the one record.
    ///
    /// ```no_run
    /// use kcl::{BoxError, CheckpointEvery, Worker};
    ///
    /// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
    /// Worker::builder(&aws, "printer", "StockTradeStream")
    ///     .build_for_each(CheckpointEvery::default(), |record| async move {
    ///         println!("{}", String::from_utf8_lossy(&record.data));
    ///         Ok::<(), BoxError>(())
    ///     })?
    ///     .run()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A setting is out of its bounds. Nothing is called over the network yet.
    pub fn build_for_each<H, Fut, E>(
        mut self,
        every: CheckpointEvery,
        handler: H,
    ) -> Result<Worker<ForEach<H>>, ConfigError>
    where
        H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.settings.error_policy.isolate = true;
        let concurrency = self.settings.concurrency;
        self.checkpoint_every(every).build(ForEach { handler, every, concurrency })
    }
}

impl WorkerBuilder {
    /// Like [`build_for_each`](Self::build_for_each), with a closure of its own for each shard: for handlers that must know
    /// the stream or the shard, or that keep something for it. `make` is called again after each failure.
    ///
    /// ```no_run
    /// use kcl::{BoxError, CheckpointEvery, Record, ShardContext, Streams, Worker};
    ///
    /// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
    /// Worker::builder(&aws, "auditor", Streams::new(["orders", "payments"]))
    ///     .build_for_each_shard(CheckpointEvery::default(), |shard: &ShardContext| {
    ///         let stream = shard.stream_id.clone();
    ///         move |record: Record| {
    ///             println!("{}: {}", stream.name(), String::from_utf8_lossy(&record.data));
    ///             async { Ok::<(), BoxError>(()) }
    ///         }
    ///     })?
    ///     .run()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A setting is out of its bounds. Nothing is called over the network yet.
    pub fn build_for_each_shard<M, H, Fut, E>(
        mut self,
        every: CheckpointEvery,
        make: M,
    ) -> Result<Worker<ForEachShard<M>>, ConfigError>
    where
        M: Fn(&ShardContext) -> H + Send + Sync + 'static,
        H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.settings.error_policy.isolate = true;
        let concurrency = self.settings.concurrency;
        self.checkpoint_every(every).build(ForEachShard { make, every, concurrency })
    }
}

/// Makes the processors of a worker that [`WorkerBuilder::build_for_each_shard`] built.
pub struct ForEachShard<M> {
    make: M,
    every: CheckpointEvery,
    concurrency: usize,
}

impl<M> fmt::Debug for ForEachShard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEachShard").field("every", &self.every).finish_non_exhaustive()
    }
}

impl<M, H, Fut, E> ProcessorFactory for ForEachShard<M>
where
    M: Fn(&ShardContext) -> H + Send + Sync + 'static,
    H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Processor = ForEachProcessor<H>;

    fn create(&self, shard: &ShardContext) -> ForEachProcessor<H> {
        let Self { every, concurrency, .. } = *self;
        ForEachProcessor(ForEach { handler: (self.make)(shard), every, concurrency })
    }
}

/// Makes the processors of a worker that [`WorkerBuilder::build_for_each`] built.
#[derive(Clone)]
pub struct ForEach<H> {
    handler: H,
    every: CheckpointEvery,
    concurrency: usize,
}

impl<H> fmt::Debug for ForEach<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEach").field("every", &self.every).finish_non_exhaustive()
    }
}

impl<H, Fut, E> ProcessorFactory for ForEach<H>
where
    H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Processor = ForEachProcessor<H>;

    fn create(&self, _shard: &ShardContext) -> ForEachProcessor<H> {
        ForEachProcessor(self.clone())
    }
}

/// Calls a closure for each record of a shard.
#[derive(Debug)]
pub struct ForEachProcessor<H>(ForEach<H>);

impl<H, Fut, E> RecordProcessor for ForEachProcessor<H>
where
    H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Error = BoxError;

    /// Handles: calls that end, checkpoints that are due. Ends when all records are handled, or after a failure when
    /// those under way are. What is handled at the end of the batch is the worker's to checkpoint.
    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let mut batch = InOrder::new(batch.records, self.0.every);
        let mut running = FuturesUnordered::new();
        let mut failure = None;
        loop {
            while failure.is_none()
                && running.len() < self.0.concurrency
                && let Some((at, record)) = batch.start()
            {
                // A task of its own: its panic is this record's failure, and the others are waited for.
                let call = AbortOnDropHandle::new(tokio::spawn((self.0.handler)(record)));
                running.push(async move { (at, call.await) });
            }
            let due = batch.due.at();
            tokio::select! {
                ended = running.next() => match ended {
                    None => break,
                    Some((at, Ok(Ok(())))) => batch.done(at),
                    Some((_, Ok(Err(error)))) => failure = failure.or(Some(error.into())),
                    Some((_, Err(panic))) => failure = failure.or(Some(panic.into())),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    batch.checkpoint(checkpointer).await?;
                }
            }
        }
        let Some(failure) = failure else { return Ok(()) };
        // If it is not stored, more than need be is delivered again.
        let _ = batch.checkpoint(checkpointer).await;
        Err(failure)
    }
}

/// A batch of which records are handled.
struct InOrder {
    window: Window,
    records: Vec<Option<Record>>,
    positions: Vec<Position>,
    /// How many are checkpointed.
    stored: usize,
    due: Due,
}

impl InOrder {
    fn new(records: Vec<Record>, every: CheckpointEvery) -> Self {
        let window = Window::new(records.iter().map(|record| &*record.partition_key));
        let positions = records.iter().map(Record::position).collect();
        Self { window, records: records.into_iter().map(Some).collect(), positions, stored: 0, due: Due::new(every) }
    }

    fn start(&mut self) -> Option<(usize, Record)> {
        let at = self.window.start()?;
        Some((at, self.records[at].take()?))
    }

    fn done(&mut self, at: usize) {
        let before = self.window.watermark();
        self.window.done(at);
        self.due.processed(self.window.watermark() - before, Instant::now());
    }

    async fn checkpoint(&mut self, checkpointer: &Checkpointer) -> Result<(), CheckpointError> {
        let handled = self.window.watermark();
        self.due.covered();
        if handled > self.stored {
            match checkpointer.checkpoint_position(self.positions[handled - 1].clone()).await {
                Ok(()) => self.stored = handled,
                // Tried again when the next is due.
                Err(CheckpointError::Table(_)) => {}
                Err(lost) => return Err(lost),
            }
        }
        Ok(())
    }
}
