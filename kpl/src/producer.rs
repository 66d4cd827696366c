//! The application's handle: takes records and hands out deliveries.

use std::{
    fmt,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
};

use aws_types::SdkConfig;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Delivery, HashKey, ProducerBuilder, PutError, UserRecord,
    config::PARTITION_KEY_MAX_CHARS,
    delivery::Ticket,
    kinesis::Stream,
    pipeline::{Command, Space},
};

/// Puts user records into a stream: aggregated, batched, rate limited, retried.
///
/// A handle to a task that does the work; clones share it. When the last handle is dropped, records that were accepted
/// are still sent as long as the runtime lives. To know what became of them, keep each [`Delivery`], or call
/// [`flush`](Self::flush) or [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Producer {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) stream: Stream,
    pub(crate) max_record_bytes: usize,
    pub(crate) max_outstanding_records: usize,
    pub(crate) space: Arc<Space>,
    /// The task, until someone waits for it. Locked to take it out only.
    pub(crate) task: Mutex<Option<JoinHandle<()>>>,
}

impl Producer {
    /// A producer for `stream`, a stream name or ARN, with the credentials, region and endpoint of `aws`.
    pub fn builder(aws: &SdkConfig, stream: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(aws, stream.into())
    }

    pub(crate) fn new(commands: mpsc::Sender<Command>, shared: Shared) -> Self {
        Self { commands, shared: Arc::new(shared) }
    }

    /// The stream that records go to.
    pub fn stream(&self) -> &Stream {
        &self.shared.stream
    }

    /// Accepts a record to be sent; waits while the buffer is full, see
    /// [`max_outstanding_records`](ProducerBuilder::max_outstanding_records) and
    /// [`max_outstanding_bytes`](ProducerBuilder::max_outstanding_bytes).
    ///
    /// Records that are put one after the other go out in that order, see [`RecordOrder`](crate::RecordOrder).
    ///
    /// # Errors
    /// If the record is not acceptable or the producer is shut down. The error hands the record back.
    ///
    /// # Cancellation
    /// Dropping the future before it is ready means that the record is not accepted. It is lost with the future: keep a
    /// clone, or use [`try_put`](Self::try_put), where that matters.
    #[doc(alias = "addUserRecord")]
    pub async fn put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        let (record, hash_key) = self.check(record)?;
        let Some(space) = self.shared.space.reserve(&record).await else { return Err(shut_down(record)) };
        let Ok(slot) = self.commands.reserve().await else { return Err(shut_down(record)) };
        let (ticket, delivery) = Ticket::new(record);
        space.keep();
        slot.send(Command::Put { ticket, hash_key });
        Ok(delivery)
    }

    /// Accepts a record to be sent, if there is space for it now.
    ///
    /// # Errors
    /// [`PutError::BufferFull`] if there is no space; also if the record is not acceptable or the producer is shut
    /// down. The error hands the record back.
    pub fn try_put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        let (record, hash_key) = self.check(record)?;
        let full = |record| match self.shared.space.is_closed() {
            true => shut_down(record),
            false => PutError::BufferFull { record: Box::new(record) },
        };
        let Some(space) = self.shared.space.try_reserve(&record) else { return Err(full(record)) };
        let Ok(slot) = self.commands.try_reserve() else { return Err(full(record)) };
        let (ticket, delivery) = Ticket::new(record);
        space.keep();
        slot.send(Command::Put { ticket, hash_key });
        Ok(delivery)
    }

    /// Sends what was put before without waiting for company, and waits until all of it is resolved: stored or failed.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; the records are sent all the same.
    #[doc(alias = "flushSync")]
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.commands.send(Command::Flush { done }).await.is_err() {
            // Shut down: the task ends when everything is resolved.
            return self.shared.space.ended.cancelled().await;
        }
        let _ = flushed.await; // an error means that the task is gone, and nothing is left unresolved
    }

    /// Accepts no more records, sends all that were accepted, and waits until every [`Delivery`] is resolved. That takes
    /// as long as [`record_ttl`](ProducerBuilder::record_ttl) and a request at the most, if there is a `record_ttl`.
    ///
    /// Works for all clones of the producer: a later put is refused with [`PutError::ShutDown`].
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; the producer shuts down all the same, once the future was polled.
    ///
    /// # Panics
    /// If the producer's task has panicked, as it does when a callback for events panics.
    #[doc(alias = "destroy")]
    pub async fn shutdown(&self) {
        self.shared.space.close();
        self.shared.space.ended.cancelled().await;
        let task = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
            && error.is_panic()
        {
            resume_unwind(error.into_panic());
        }
    }

    /// Number of records that were accepted and are not resolved.
    #[doc(alias = "getOutstandingRecordsCount")]
    pub fn outstanding_records(&self) -> usize {
        self.shared.max_outstanding_records.saturating_sub(self.shared.space.free_records())
    }

    fn check(&self, record: UserRecord) -> Result<(UserRecord, HashKey), PutError> {
        let (size_bytes, limit_bytes) = (record.size_bytes(), self.shared.max_record_bytes);
        if size_bytes > limit_bytes {
            return Err(PutError::TooLarge { size_bytes, limit_bytes, record: Box::new(record) });
        }
        let key = record.partition_key();
        // There are at most as many characters as bytes.
        if key.is_empty() || key.len() > PARTITION_KEY_MAX_CHARS && key.chars().count() > PARTITION_KEY_MAX_CHARS {
            return Err(PutError::InvalidPartitionKey { chars: key.chars().count(), record: Box::new(record) });
        }
        // Hashed here rather than in the task, to spread that work over the callers.
        let hash_key = record.hash_key();
        Ok((record, hash_key))
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("stream", &self.shared.stream).finish_non_exhaustive()
    }
}

fn shut_down(record: UserRecord) -> PutError {
    PutError::ShutDown { record: Box::new(record) }
}
