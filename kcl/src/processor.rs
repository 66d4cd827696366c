//! The traits that an application implements.

use std::future::Future;

use kpl::ShardId;

use crate::{
    checkpointer::Checkpointer,
    error::BoxError,
    model::{Checkpoint, PendingCheckpoint, Position, RecordBatch, SinkKey, SinkMark, StreamId, WorkerId},
};

/// Reason why a processor of the library's own returns before its batch is processed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfinished {
    /// It noticed that the work has to stop.
    #[error("the shard goes on elsewhere")]
    Interrupted,
    /// One record failed; all before it are processed.
    #[error("{error}")]
    Record { position: Position, error: BoxError },
    /// The application dropped its stream, with everything checkpointed that it was given.
    #[error("shard stream was dropped before its end")]
    Dropped,
    /// The application dropped its stream, or its checkpointers, although records it was given are not checkpointed.
    #[error("shard stream was dropped before everything it gave was checkpointed")]
    Unconfirmed,
}

/// Error by which a processor says that it can do nothing more with the records it was given: what is not checkpointed is
/// delivered again, to a new processor. For one whose work is done elsewhere, in a process or on a host that was lost.
///
/// Returned by `process_records`, it is held against no record: the [`ErrorPolicy`](crate::ErrorPolicy) does not count it.
/// Returned by `shard_ended`, which is called again after any other error, it has the shard's last records delivered again.
#[derive(Debug, thiserror::Error)]
#[error("records are delivered again: {0}")]
pub struct Redeliver(pub BoxError);

/// The shard that a processor is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardContext {
    /// The stream of the shard.
    pub stream_id: StreamId,
    /// The shard.
    pub shard_id: ShardId,
    /// The worker that runs the processor.
    pub worker_id: WorkerId,
    /// Processing starts after this checkpoint.
    pub checkpoint: Checkpoint,
    /// A checkpoint that was prepared and not committed. The application must find out whether its work took effect;
    /// processing starts after `checkpoint` either way.
    pub pending: Option<PendingCheckpoint>,
    /// See [`Checkpointer::fencing_token`].
    pub fencing_token: u64,
    /// Number of the last [reset](crate::WorkerBuilder::reset) that set this shard's checkpoint, which grows with each: its
    /// time in milliseconds since 1970. 0 if there was none; of a replay the time of its start.
    pub epoch: u64,
    /// Key under which a sink keeps the shard's mark.
    pub sink_key: SinkKey,
}

impl ShardContext {
    /// The mark that a sink stores together with the effects of all records up to and including `position`.
    pub fn mark(&self, position: Position) -> SinkMark {
        SinkMark::new(self.epoch, self.fencing_token, position)
    }
}

/// Processes the records of one shard. The worker makes one processor for each shard it holds.
///
/// The calls on one processor never overlap and come in this order: `initialize`, then `process_records` any number of
/// times, then one of `shard_ended`, `lease_lost` and `shutdown_requested`. A processor whose call failed is dropped.
///
/// A panic in a call, in the text of its error or in its conversion fails that call. One in `Drop` is logged.
///
/// At least once: after a crash, a lost lease or an error, a new processor starts after the last stored checkpoint.
///
/// Calls run in the shard's own task: a slow processor delays only its shard. Blocking work needs `spawn_blocking`.
///
/// ```
/// use kcl::{BoxError, Checkpointer, RecordBatch, RecordProcessor, ShardContext};
///
/// struct Counter {
///     records: usize,
/// }
///
/// impl RecordProcessor for Counter {
///     type Error = BoxError;
///
///     async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
///         println!("{} goes on after {}", shard.shard_id, shard.checkpoint);
///         Ok(())
///     }
///
///     async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
///         self.records += batch.records.len();
///         Ok(checkpointer.checkpoint().await?)
///     }
///
///     async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
///         println!("{} records", self.records);
///         Ok(checkpointer.checkpoint().await?)
///     }
/// }
/// ```
#[doc(alias = "ShardRecordProcessor")]
pub trait RecordProcessor: Send + 'static {
    /// Error of its calls.
    type Error: Into<BoxError> + Send;

    /// Called once before the first records.
    ///
    /// # Errors
    /// The worker waits, makes a new processor and tries again.
    fn initialize(&mut self, shard: &ShardContext) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = shard;
        async { Ok(()) }
    }

    /// Mark that the processor's sink stored with its last transaction, asked for once after `initialize`. Processing starts
    /// after its position if that is further than the [checkpoint](ShardContext::checkpoint), and not of an epoch before.
    /// One with a greater token, or of a later epoch, fails the processor: another worker has the shard, or the lease was
    /// made anew. By default None. See [`TransactionalSink`](crate::TransactionalSink), which does the rest.
    fn sink_mark(&self) -> Option<SinkMark> {
        None
    }

    /// Processes records. `batch` is never empty.
    ///
    /// # Errors
    /// Nothing is skipped, unless the [`ErrorPolicy`](crate::ErrorPolicy) says so: after a pause a new processor starts
    /// after the last checkpoint. A panic counts as an error.
    fn process_records(
        &mut self,
        batch: RecordBatch,
        checkpointer: &Checkpointer,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The shard is closed and processed, or in a [replay](crate::WorkerBuilder::replay) its part of the window. After
    /// `Ok` the lease table marks the shard as ended, which lets its child shards start.
    ///
    /// # Errors
    /// The worker waits and calls it again, except after [`Redeliver`]; the child shards wait too.
    fn shard_ended(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }

    /// The worker is about to give the lease up: it stops, or hands it over. The last chance to checkpoint.
    ///
    /// # Errors
    /// Reported; the lease is given up in any case.
    #[doc(alias = "shutdownRequested")]
    fn shutdown_requested(
        &mut self,
        checkpointer: &Checkpointer,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = checkpointer;
        async { Ok(()) }
    }

    /// Another worker has the lease, or may have it. Checkpoints fail from now on.
    #[doc(alias = "leaseLost")]
    fn lease_lost(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Makes a processor for each shard that a worker takes. Any `Fn(&ShardContext) -> P` is one.
#[doc(alias = "ShardRecordProcessorFactory")]
pub trait ProcessorFactory: Send + Sync + 'static {
    /// The processors that it makes.
    type Processor: RecordProcessor;

    /// Makes a processor. Called again after each failure.
    fn create(&self, shard: &ShardContext) -> Self::Processor;
}

impl<F, P> ProcessorFactory for F
where
    F: Fn(&ShardContext) -> P + Send + Sync + 'static,
    P: RecordProcessor,
{
    type Processor = P;

    fn create(&self, shard: &ShardContext) -> P {
        self(shard)
    }
}
