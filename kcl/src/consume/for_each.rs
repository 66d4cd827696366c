//! Processors that call a closure for each record; the worker checkpoints.
//!
//! (A) A call that was begun is waited for, unless it outlasts the grace time of a stop. (B) Once one fails, only records
//! before it are begun. (C) Once the work has to stop, only records before those begun already are, and not for long.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    checkpointer::Checkpointer,
    error::{BoxError, ConfigError},
    logic::shard::key_order::KeyOrder,
    model::{CheckpointEvery, Position, Record, RecordBatch},
    processor::{ProcessorFactory, RecordProcessor, ShardContext, Unfinished},
    time::now,
    worker::{Worker, builder::WorkerBuilder, validate::at_least_1},
};

/// Time in which overtaken records are still begun once the work has to stop, so that what overtook them is not repeated.
const FILL_GAPS: Duration = Duration::from_secs(1);

impl WorkerBuilder {
    /// Builds a worker that calls `handler` for each record and checkpoints by itself, as `every` says.
    ///
    /// Up to `concurrency` records of one shard, at least 1, are handled at the same time. Records of one partition key
    /// keep their order, and a checkpoint covers only records that are handled without a gap.
    ///
    /// After a call that fails or panics, calls under way and the records before it are waited for and checkpointed. Then the
    /// record is retried by itself, as [`on_processor_error`](Self::on_processor_error) says: attempts count for it
    /// alone, and only it is given up. Records behind it that were handled meanwhile are handled once more.
    ///
    /// Once the worker stops or hands the shard over, no more calls are begun, those under way are waited for and
    /// checkpointed: nothing is handled twice. With a concurrency above 1, overtaken records are begun for 1 s more,
    /// and what overtook the rest is repeated.
    ///
    /// ```no_run
    /// use kcl::{BoxError, CheckpointEvery, Worker};
    ///
    /// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
    /// Worker::builder(&aws, "printer", "StockTradeStream")
    ///     .build_for_each(CheckpointEvery::default(), 1, |record| async move {
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
    /// A setting or an argument is out of its bounds. Nothing is called over the network yet.
    pub fn build_for_each<H, Fut, E>(
        self,
        every: CheckpointEvery,
        concurrency: usize,
        handler: H,
    ) -> Result<Worker<ForEach<impl Fn(&ShardContext) -> H + Send + Sync + 'static>>, ConfigError>
    where
        H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.build_for_each_shard(every, concurrency, move |_: &ShardContext| handler.clone())
    }

    /// [`build_for_each`](Self::build_for_each) with a closure for each shard, for handlers that use the shard or keep
    /// state for it. `make` is called again after each failure.
    ///
    /// ```no_run
    /// use kcl::{BoxError, CheckpointEvery, Record, ShardContext, Streams, Worker};
    ///
    /// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
    /// Worker::builder(&aws, "auditor", Streams::new(["orders", "payments"]))
    ///     .build_for_each_shard(CheckpointEvery::default(), 8, |shard: &ShardContext| {
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
    /// As for [`build_for_each`](Self::build_for_each).
    pub fn build_for_each_shard<M, H, Fut, E>(
        mut self,
        every: CheckpointEvery,
        concurrency: usize,
        make: M,
    ) -> Result<Worker<ForEach<M>>, ConfigError>
    where
        M: Fn(&ShardContext) -> H + Send + Sync + 'static,
        H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        at_least_1("concurrency", concurrency)?;
        self.settings.error_policy.isolate = true;
        self.build_checkpointing(every, ForEach { make, concurrency })
    }
}

/// Factory of a worker that [`WorkerBuilder::build_for_each`] or [`WorkerBuilder::build_for_each_shard`] built.
pub struct ForEach<M> {
    make: M,
    concurrency: usize,
}

impl<M> fmt::Debug for ForEach<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEach").field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}

impl<M, H, Fut, E> ProcessorFactory for ForEach<M>
where
    M: Fn(&ShardContext) -> H + Send + Sync + 'static,
    H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Processor = ForEachProcessor<H>;

    fn create(&self, shard: &ShardContext) -> ForEachProcessor<H> {
        ForEachProcessor { handler: Arc::new((self.make)(shard)), concurrency: self.concurrency }
    }
}

/// Calls a closure for each record of a shard.
#[derive(Debug)]
pub struct ForEachProcessor<H> {
    handler: Arc<H>,
    concurrency: usize,
}

impl<H, Fut, E> RecordProcessor for ForEachProcessor<H>
where
    H: Fn(Record) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Error = BoxError;

    /// Handles: calls that end, the wish to stop. Ends when no call is under way and none may be begun.
    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let mut batch = InOrder::new(batch.records);
        let mut running = FuturesUnordered::new();
        let mut interrupted = pin!(checkpointer.interrupted().fuse());
        loop {
            while running.len() < self.concurrency
                && let Some((at, record)) = batch.start()
            {
                // A task of its own: its panic is this record's failure, and the others are waited for.
                let handler = Arc::clone(&self.handler);
                let call = AbortOnDropHandle::new(tokio::spawn(async move { handler(record).await }));
                running.push(async move { (at, call.await) });
            }
            tokio::select! {
                // biased: after the wish to stop nothing more is begun.
                biased;
                lost = &mut interrupted => batch.stop(if lost { Duration::ZERO } else { FILL_GAPS }),
                ended = running.next() => match ended {
                    None => break,
                    Some((at, Ok(Ok(())))) => batch.done(at, checkpointer),
                    Some((at, Ok(Err(error)))) => batch.failed(at, error.into()),
                    Some((at, Err(panic))) => batch.failed(at, panic.into()),
                },
            }
        }
        Ok(batch.end()?)
    }
}

struct InOrder {
    order: KeyOrder,
    records: Vec<Option<Record>>,
    positions: Vec<Position>,
    /// Only records before this one are begun.
    limit: usize,
    /// End of the time in which any are begun.
    until: Option<Instant>,
    /// Error of the record at the limit.
    failure: Option<BoxError>,
}

impl InOrder {
    fn new(records: Vec<Record>) -> Self {
        let order = KeyOrder::new(records.iter().map(|record| &*record.partition_key));
        let positions = records.iter().map(Record::position).collect();
        let limit = records.len();
        Self { order, records: records.into_iter().map(Some).collect(), positions, limit, until: None, failure: None }
    }

    fn start(&mut self) -> Option<(usize, Record)> {
        if self.until.is_some_and(|until| until <= now()) {
            return None;
        }
        let at = self.order.start(self.limit)?;
        Some((at, self.records[at].take()?))
    }

    fn done(&mut self, at: usize, checkpointer: &Checkpointer) {
        let before = self.order.watermark();
        self.order.done(at);
        let handled = self.order.watermark();
        if handled > before {
            checkpointer.processed(&self.positions[handled - 1], handled - before);
        }
    }

    /// Of several failures the first record's counts, as no other record is tried again before it.
    fn failed(&mut self, at: usize, error: BoxError) {
        if self.failure.is_none() || at < self.limit {
            self.failure = Some(error);
            self.limit = at;
        }
    }

    /// Begins no more than what was overtaken, and that only for so long.
    fn stop(&mut self, fill_gaps: Duration) {
        self.until = Some(now() + fill_gaps);
        self.limit = self.limit.min(self.order.furthest());
    }

    fn end(self) -> Result<(), Unfinished> {
        let handled = self.order.watermark();
        match self.failure {
            Some(error) if handled == self.limit => {
                Err(Unfinished::Record { position: self.positions[handled].clone(), error })
            }
            None if handled == self.positions.len() => Ok(()),
            _ => Err(Unfinished::Interrupted),
        }
    }
}
