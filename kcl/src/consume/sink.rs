//! Sinks that store a shard's progress in the transaction that has the effects of its records; the worker checkpoints.
//!
//! (A) A transaction writes only if the mark that it finds is the one that the processor read or stored last. (B) What it has
//! written counts from its commit on, whatever becomes of the answer: the next processor reads the mark.

use std::{fmt, future::Future};

use crate::{
    checkpointer::Checkpointer,
    error::{BoxError, ConfigError},
    logic::shard::{Turn, turn},
    model::{CheckpointEvery, RecordBatch, SinkKey, SinkMark},
    processor::{ProcessorFactory, RecordProcessor, Redeliver, ShardContext},
    worker::{Worker, builder::WorkerBuilder},
};

/// A store with transactions, in which each record of a shard has its effect exactly once.
///
/// For each batch the worker begins a transaction, reads the shard's mark, writes the records, stores the new mark, and
/// commits. If the mark is not the expected one, it drops the transaction: somebody else has the shard, or an earlier
/// transaction took effect whose answer was lost. Then the processing starts again, after the mark.
///
/// The guide is docs/exactly-once.md.
pub trait TransactionalSink: Send + 'static {
    /// Error of its calls.
    type Error: Into<BoxError> + Send;

    /// Transaction that is under way, with a connection of its own. Dropped before its commit, it is rolled back.
    type Transaction: SinkTransaction<Error = Self::Error>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// The batch is delivered again, as the [`ErrorPolicy`](crate::ErrorPolicy) says.
    fn begin(&mut self) -> impl Future<Output = Result<Self::Transaction, Self::Error>> + Send;
}

/// Transaction of a [`TransactionalSink`], of the isolation level serializable, or with a lock on the mark from
/// [`mark`](Self::mark) on: between reading and commit nobody else may change it, nor insert it. Each call that fails has
/// the batch delivered again.
pub trait SinkTransaction: Send {
    /// Error of its calls.
    type Error: Into<BoxError> + Send;

    /// Reads the mark that is stored under this key.
    ///
    /// # Errors
    /// The store cannot say.
    fn mark(&mut self, key: &SinkKey) -> impl Future<Output = Result<Option<SinkMark>, Self::Error>> + Send;

    /// Writes the effects of the records, in this transaction alone.
    ///
    /// # Errors
    /// A record cannot be written. Attempts count as for [`process_records`](RecordProcessor::process_records).
    fn write(&mut self, batch: &RecordBatch) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Stores the mark in place of the one before.
    ///
    /// # Errors
    /// The store refused it.
    fn set_mark(&mut self, key: &SinkKey, mark: &SinkMark) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Makes everything take effect, or nothing.
    ///
    /// # Errors
    /// It failed, or its answer was lost: the next transaction finds out.
    fn commit(self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl WorkerBuilder {
    /// Builds a worker that writes each record to a [`TransactionalSink`] exactly once; `make` is called for each shard, and
    /// again after each failure. Lease checkpoints follow the sink, as `every` says: they only tell where reading starts.
    ///
    /// # Errors
    /// A setting is out of its bounds. Nothing is called over the network yet.
    pub fn build_sink<M, S>(self, every: CheckpointEvery, make: M) -> Result<Worker<Sinks<M>>, ConfigError>
    where
        M: Fn(&ShardContext) -> S + Send + Sync + 'static,
        S: TransactionalSink,
    {
        self.build_checkpointing(every, Sinks { make })
    }
}

/// Factory of a worker that [`WorkerBuilder::build_sink`] built.
pub struct Sinks<M> {
    make: M,
}

impl<M> fmt::Debug for Sinks<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinks").finish_non_exhaustive()
    }
}

impl<M, S> ProcessorFactory for Sinks<M>
where
    M: Fn(&ShardContext) -> S + Send + Sync + 'static,
    S: TransactionalSink,
{
    type Processor = SinkProcessor<S>;

    fn create(&self, shard: &ShardContext) -> SinkProcessor<S> {
        SinkProcessor::new((self.make)(shard), shard)
    }
}

/// Record processor that writes to a [`TransactionalSink`].
pub struct SinkProcessor<S> {
    sink: S,
    shard: ShardContext,
    key: SinkKey,
    /// The mark as it was read or stored last.
    known: Option<SinkMark>,
}

impl<S> fmt::Debug for SinkProcessor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkProcessor").field("key", &self.key).field("known", &self.known).finish_non_exhaustive()
    }
}

/// Reason why a transaction was dropped.
#[derive(Debug, thiserror::Error)]
enum Dropped {
    #[error("another worker has written the shard's mark with a greater fencing token")]
    Fenced,
    #[error("an earlier transaction has changed the shard's mark")]
    Moved,
}

impl<S: TransactionalSink> SinkProcessor<S> {
    /// Processor for one shard, for factories of an application's own and for tests.
    pub fn new(sink: S, shard: &ShardContext) -> Self {
        Self { sink, shard: shard.clone(), key: shard.sink_key.clone(), known: None }
    }

    /// The sink.
    pub fn sink(&self) -> &S {
        &self.sink
    }
}

fn boxed(error: impl Into<BoxError>) -> BoxError {
    error.into()
}

impl<S: TransactionalSink> RecordProcessor for SinkProcessor<S> {
    type Error = BoxError;

    async fn initialize(&mut self, _shard: &ShardContext) -> Result<(), BoxError> {
        let mut transaction = self.sink.begin().await.map_err(boxed)?;
        self.known = transaction.mark(&self.key).await.map_err(boxed)?;
        Ok(())
    }

    fn sink_mark(&self) -> Option<SinkMark> {
        self.known.clone()
    }

    async fn process_records(&mut self, batch: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
        let Some(end) = batch.end_position() else { return Ok(()) };
        let next = self.shard.mark(end);
        let mut transaction = self.sink.begin().await.map_err(boxed)?;
        let found = transaction.mark(&self.key).await.map_err(boxed)?;
        match turn(self.known.as_ref(), found.as_ref(), &next) {
            Turn::Write => {}
            Turn::Fenced => return Err(Redeliver(Dropped::Fenced.into()).into()),
            Turn::Moved => return Err(Redeliver(Dropped::Moved.into()).into()),
        }
        transaction.write(&batch).await.map_err(boxed)?;
        transaction.set_mark(&self.key, &next).await.map_err(boxed)?;
        transaction.commit().await.map_err(boxed)?;
        self.known = Some(next);
        Ok(())
    }
}
