//! The error policy: the reaction to a processor that fails.

use std::{fmt, future::Future, sync::Arc, time::SystemTime};

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    contained::Contained,
    error::BoxError,
    model::{Record, StreamShard},
};

/// Records that a processor failed to process, for [`ErrorPolicy::dead_letter_after`].
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedRecords {
    /// The application.
    pub application: String,
    /// Shard of the records.
    pub shard: StreamShard,
    /// The batch that failed, or with [`ErrorPolicy::isolate`] the one record.
    pub records: Vec<Record>,
    /// Last error of the processor.
    pub error: BoxError,
    /// Failures in a row.
    pub attempts: u32,
    /// Time of the last failure, by the services' clock.
    pub failed_at: SystemTime,
}

pub(crate) type DeadLetters = Arc<dyn Fn(FailedRecords) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum GiveUp {
    Skip,
    StopShard,
    DeadLetter(DeadLetters),
}

impl fmt::Debug for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "Skip",
            Self::StopShard => "StopShard",
            Self::DeadLetter(_) => "DeadLetter",
        })
    }
}

/// Reaction to a `process_records` that fails or panics.
///
/// After a failure a new processor starts after the last checkpoint, after a pause that grows from 1 s to 30 s, half of
/// it at random, while no processor gets further than those before. A failed batch is tried again as it was, with the
/// records before it in a batch of their own; policies differ in what follows repeated failures. An attempt counts only
/// if the batch itself failed: not if a checkpoint could not be stored during it, and not for records checkpointed
/// before the failure. Shard streams have no attempts.
///
/// ```
/// use kcl::{BoxError, ErrorPolicy, FailedRecords};
///
/// async fn keep(failed: FailedRecords) -> Result<(), BoxError> {
///     for record in failed.records {
///         eprintln!("{} {}: {}", failed.shard, record.sequence_number, failed.error);
///     }
///     Ok(())
/// }
///
/// let policy = ErrorPolicy::dead_letter_after(3, keep).isolate();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "give it to WorkerBuilder::on_processor_error"]
pub struct ErrorPolicy {
    /// Attempts, and what follows them. None: for ever.
    pub(crate) limit: Option<(u32, GiveUp)>,
    pub(crate) isolate: bool,
}

impl ErrorPolicy {
    /// Tries for ever; the shard waits. The default.
    pub fn restart() -> Self {
        Self::default()
    }

    /// Leaves a batch out after this many failures in a row, at least 1, with [`Event::RecordsSkipped`]: it is lost.
    ///
    /// [`Event::RecordsSkipped`]: crate::Event::RecordsSkipped
    pub fn skip_after(attempts: u32) -> Self {
        Self { limit: Some((attempts, GiveUp::Skip)), isolate: false }
    }

    /// Stops the shard after this many failures in a row, at least 1, with [`Event::ShardStopped`]. The worker keeps
    /// the lease, so that the shard does not go round the fleet; its next owner tries again, or this worker after a
    /// restart.
    ///
    /// [`Event::ShardStopped`]: crate::Event::ShardStopped
    pub fn stop_shard_after(attempts: u32) -> Self {
        Self { limit: Some((attempts, GiveUp::StopShard)), isolate: false }
    }

    /// Passes a batch to `keep` after this many failures in a row, at least 1, and goes on behind it once `keep`
    /// returns `Ok`, with [`Event::RecordsSkipped`]. While `keep` fails, the batch is tried again.
    ///
    /// If all before the batch is checkpointed, the worker then checkpoints behind it. Else, or if that is not stored, the
    /// batch may be handed over again, by another worker, until the next checkpoint covers it.
    ///
    /// [`Event::RecordsSkipped`]: crate::Event::RecordsSkipped
    pub fn dead_letter_after<K, Fut, E>(attempts: u32, keep: K) -> Self
    where
        K: Fn(FailedRecords) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let keep = Contained::new(keep);
        let keep: DeadLetters = Arc::new(move |failed| keep(failed).map(|kept| kept.map_err(Into::into)).boxed());
        Self { limit: Some((attempts, GiveUp::DeadLetter(keep))), isolate: false }
    }

    /// Isolates the failing record: a failed batch is delivered in halves, and halves of these, until one record fails
    /// alone. Attempts count for it, and only it is given up. Closures isolate always.
    pub fn isolate(mut self) -> Self {
        self.isolate = true;
        self
    }
}
