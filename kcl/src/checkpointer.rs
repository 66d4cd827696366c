//! The checkpointer: stores a processor's progress.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    error::CheckpointError,
    keeper::{LeaseHandle, LeaseState},
    locked::locked,
    logic::shard::Progress,
    metrics::shard::ShardRecorder,
    model::{Checkpoint, CheckpointWrite, PendingCheckpoint, Position, Record},
};

mod transactions;

/// Stores the progress of one shard in its lease. Cheap to clone, usable from other tasks. Fails with
/// [`CheckpointError::LeaseLost`] once the lease is gone, with [`CheckpointError::ProcessorFailed`] once the processor
/// has failed.
///
/// Every checkpoint is one DynamoDB write, but those that several tasks ask for while one is being written take one
/// together, of the furthest. Checkpoint every few seconds, not for each record, or let
/// [`WorkerBuilder::build_checkpointing`](crate::WorkerBuilder::build_checkpointing) do it.
///
/// ```no_run
/// use std::time::{Duration, Instant};
///
/// use kcl::{CheckpointError, Checkpointer, RecordBatch};
///
/// /// In `process_records`, after the batch is processed.
/// async fn every_ten_seconds(last: &mut Instant, checkpointer: &Checkpointer) -> Result<(), CheckpointError> {
///     if last.elapsed() >= Duration::from_secs(10) {
///         checkpointer.checkpoint().await?; // all that was delivered, this batch included
///         *last = Instant::now();
///     }
///     Ok(())
/// }
///
/// /// The same in the middle of a batch: the records up to this one.
/// async fn up_to(batch: &RecordBatch, n: usize, checkpointer: &Checkpointer) -> Result<(), CheckpointError> {
///     checkpointer.checkpoint_at(&batch.records[n]).await
/// }
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "RecordProcessorCheckpointer")]
pub struct Checkpointer {
    shared: Arc<Shared>,
    /// None: everything delivered may be checkpointed.
    view: Option<View>,
}

#[derive(Debug)]
struct Shared {
    lease: LeaseHandle,
    stop: CancellationToken,
    fencing_token: u64,
    metrics: Arc<ShardRecorder>,
    /// Guards the shard's progress; locked for a few lines, never across an await.
    progress: Mutex<Progress>,
    /// Wakes tasks that wait for a checkpoint.
    stored: Notify,
    /// Wakes the worker's own checkpoints when more is processed.
    processed: Notify,
    /// Checkpoints without an answer yet.
    under_way: AtomicUsize,
    /// A checkpoint was not stored, or its caller stopped waiting, since [`take_failed`](Checkpointer::take_failed).
    failed: AtomicBool,
}

/// A checkpoint that is being written. Dropped before it is stored, it has failed.
struct Attempt<'a> {
    shared: &'a Shared,
    stored: bool,
}

impl<'a> Attempt<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.under_way.fetch_add(1, Ordering::Relaxed);
        Self { shared, stored: false }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.stored {
            self.shared.failed.store(true, Ordering::Relaxed);
        }
        self.shared.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn stored_at(&self, checkpoint: Checkpoint) {
        locked(&self.progress).stored_at(checkpoint);
        self.stored.notify_waiters();
    }

    fn everything_seen(&self, seen: &Mutex<Option<Position>>) -> Option<Position> {
        let seen = locked(seen).clone()?;
        locked(&self.progress).everything(Some(&seen))
    }
}

#[derive(Debug, Clone)]
struct View {
    /// The last record that the application was given; locked for a line.
    seen: Arc<Mutex<Option<Position>>>,
    /// Dropped with the last clone of the view.
    _alive: mpsc::Sender<()>,
}

#[derive(Debug)]
pub(crate) struct Seen {
    shared: Arc<Shared>,
    seen: Arc<Mutex<Option<Position>>>,
    dropped: mpsc::Receiver<()>,
}

impl Seen {
    pub(crate) fn is_settled(&self) -> bool {
        self.shared.everything_seen(&self.seen).is_none()
    }

    /// Waits until everything that the application was given is checkpointed. False: it dropped its checkpointers before.
    pub(crate) async fn settled(&mut self) -> bool {
        loop {
            let mut stored = std::pin::pin!(self.shared.stored.notified());
            // From here on no checkpoint is missed.
            stored.as_mut().enable();
            if self.is_settled() {
                return true;
            }
            tokio::select! {
                biased;
                () = stored => {}
                _ = self.dropped.recv() => return self.is_settled(),
            }
        }
    }
}

impl Checkpointer {
    pub(crate) fn new(
        lease: LeaseHandle,
        stop: CancellationToken,
        fencing_token: u64,
        progress: Progress,
        metrics: Arc<ShardRecorder>,
    ) -> Self {
        let shared = Shared {
            lease: lease.for_processor(),
            stop,
            fencing_token,
            metrics,
            progress: Mutex::new(progress),
            stored: Notify::new(),
            processed: Notify::new(),
            under_way: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), view: None }
    }

    /// One for an application that is given records one by one, which [`saw`](Self::saw) notes; and what became of them.
    pub(crate) fn record_by_record(&self) -> (Self, Seen) {
        let (alive, dropped) = mpsc::channel(1);
        let view = View { seen: Arc::default(), _alive: alive };
        let seen = Seen { shared: Arc::clone(&self.shared), seen: Arc::clone(&view.seen), dropped };
        (Self { shared: Arc::clone(&self.shared), view: Some(view) }, seen)
    }

    /// Resolves when the processor's work has to stop. True: the lease is lost.
    pub(crate) async fn interrupted(&self) -> bool {
        tokio::select! {
            state = self.shared.lease.no_longer_held() => state == LeaseState::Lost,
            () = self.shared.stop.cancelled() => false,
        }
    }

    /// Everything that the processor was given up to this position is processed: `records` more than before.
    pub(crate) fn processed(&self, position: &Position, records: usize) {
        self.with_progress(|progress| progress.processed(position, records));
        self.shared.processed.notify_one();
    }

    /// Waits until more is processed; returns the number of records. Cancellation: safe.
    pub(crate) async fn processed_more(&self) -> usize {
        self.shared.processed.notified().await;
        self.with_progress(Progress::take_fresh)
    }

    /// Stores the worker's own checkpoint of what is processed, by a handle that outlives the processor.
    pub(crate) async fn checkpoint_processed(&self, lease: &LeaseHandle) -> Result<(), CheckpointError> {
        let Some(position) = self.with_progress(|progress| progress.own()) else { return Ok(()) };
        let checkpoint = Checkpoint::At(position);
        let write = self.with_progress(|progress| progress.commit(checkpoint.clone()));
        self.shared.metrics.checkpoints.counted(lease.checkpoint(write)).await?;
        self.shared.stored_at(checkpoint);
        Ok(())
    }

    pub(crate) fn saw(&self, position: Position) {
        if let Some(view) = &self.view {
            *locked(&view.seen) = Some(position);
        }
    }

    /// Stores that all records delivered so far are processed. Does nothing if that is stored already.
    ///
    /// # Errors
    /// See [`CheckpointError`]. The records stay unconfirmed and are delivered again after a restart.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether the checkpoint is stored, and counts as a failed checkpoint.
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        self.commit(self.everything()).await
    }

    /// Stores that all records up to and including `record` are processed.
    ///
    /// # Errors
    /// See [`CheckpointError`]: among others, a record before the last checkpoint or not delivered yet is refused.
    ///
    /// # Cancellation
    /// As for [`checkpoint`](Self::checkpoint).
    pub async fn checkpoint_at(&self, record: &Record) -> Result<(), CheckpointError> {
        self.checkpoint_position(record.position()).await
    }

    /// As [`checkpoint_at`](Self::checkpoint_at), where the record itself is not at hand.
    ///
    /// # Errors
    /// As for [`checkpoint_at`](Self::checkpoint_at). A position between two records is stored as it is.
    ///
    /// # Cancellation
    /// As for [`checkpoint`](Self::checkpoint).
    pub async fn checkpoint_position(&self, position: Position) -> Result<(), CheckpointError> {
        self.commit(self.in_range(&position)?).await
    }

    /// Announces a checkpoint of all records delivered so far, with bytes of the application's own, for instance the
    /// transaction that will be committed. [`PreparedCheckpoint::commit`] makes it.
    ///
    /// Without the commit, the shard's next processor starts from the checkpoint before, and finds this one in
    /// [`ShardContext::pending`](crate::ShardContext::pending). A later `prepare` replaces it, any checkpoint ends it.
    /// Stores nothing where the checkpoint is already. DynamoDB limits a lease, state included, to 400 KB.
    ///
    /// # Errors
    /// See [`CheckpointError`]. Nothing is prepared, unless only the answer was lost.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether it is stored. If it is, the next processor finds it.
    #[doc(alias = "prepareCheckpoint")]
    pub async fn prepare(&self, state: Option<Bytes>) -> Result<PreparedCheckpoint, CheckpointError> {
        self.store_pending(self.everything(), state).await
    }

    /// As [`prepare`](Self::prepare), for all records up to and including `record`.
    ///
    /// # Errors
    /// As for [`checkpoint_at`](Self::checkpoint_at).
    ///
    /// # Cancellation
    /// As for [`prepare`](Self::prepare).
    pub async fn prepare_at(
        &self,
        record: &Record,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        self.store_pending(self.in_range(&record.position())?, state).await
    }

    /// The checkpoint in the lease table, as far as this processor knows.
    pub fn last(&self) -> Checkpoint {
        self.with_progress(|progress| progress.stored().clone())
    }

    /// A number that grows each time the shard changes hands, for writes to other systems: one that has seen a greater
    /// token must refuse a smaller one, which comes from a worker that lost the shard and does not know yet.
    ///
    /// It is the lease's counter when this worker took the lease: comparable within the shard while the lease exists.
    pub fn fencing_token(&self) -> u64 {
        self.shared.fencing_token
    }

    /// Resolves when this checkpointer can store nothing any more: the lease is lost or given up, or the processor failed.
    ///
    /// # Cancellation
    /// Safe at any time.
    pub async fn lease_lost(&self) {
        self.shared.lease.lost().await;
    }

    pub(crate) fn with_progress<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        look(&mut locked(&self.shared.progress))
    }

    /// True: a checkpoint is without an answer, or failed since the last call.
    pub(crate) fn take_failed(&self) -> bool {
        let failed = self.shared.failed.swap(false, Ordering::Relaxed);
        failed || self.shared.under_way.load(Ordering::Relaxed) > 0
    }

    /// The processor failed: whoever kept a clone cannot cover what is delivered again.
    pub(crate) fn retire(&self) {
        self.shared.lease.retire();
    }

    fn everything(&self) -> Option<Position> {
        match &self.view {
            None => self.with_progress(|progress| progress.everything(None)),
            Some(view) => self.shared.everything_seen(&view.seen),
        }
    }

    fn in_range(&self, attempted: &Position) -> Result<Option<Position>, CheckpointError> {
        self.with_progress(|progress| progress.at(attempted)).map_err(|range| CheckpointError::OutOfRange {
            attempted: attempted.clone(),
            stored: range.stored,
            delivered: range.delivered,
        })
    }

    async fn commit(&self, position: Option<Position>) -> Result<(), CheckpointError> {
        let Some(position) = position else { return self.shared.lease.check() };
        let checkpoint = Checkpoint::At(position);
        self.write(self.with_progress(|progress| progress.commit(checkpoint.clone()))).await?;
        self.shared.stored_at(checkpoint);
        Ok(())
    }

    async fn store_pending(
        &self,
        position: Option<Position>,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        match &position {
            None => self.shared.lease.check()?,
            Some(position) => {
                let pending = PendingCheckpoint { checkpoint: Checkpoint::At(position.clone()), state };
                // Before the write, so that no checkpoint of the worker's own follows it and ends what is prepared.
                self.with_progress(|progress| progress.prepare(position.clone()));
                self.write(CheckpointWrite::Prepare(pending)).await?;
            }
        }
        Ok(PreparedCheckpoint { checkpointer: self.clone(), position })
    }

    async fn write(&self, write: CheckpointWrite) -> Result<(), CheckpointError> {
        let mut attempt = Attempt::begin(&self.shared);
        let written = self.shared.metrics.checkpoints.counted(self.shared.lease.checkpoint(write)).await;
        attempt.stored = written.is_ok();
        written
    }
}

/// A checkpoint prepared by [`Checkpointer::prepare`]. Dropped, its state stays in the lease until the next checkpoint.
#[derive(Debug, Clone)]
#[must_use = "a prepared checkpoint does not count before it is committed"]
#[doc(alias = "PreparedCheckpointer")]
pub struct PreparedCheckpoint {
    checkpointer: Checkpointer,
    position: Option<Position>,
}

impl PreparedCheckpoint {
    /// The prepared position; None if it was checkpointed already.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Stores that all records up to the prepared position are processed, and ends the prepared state.
    ///
    /// # Errors
    /// See [`CheckpointError`]: among others, a later checkpoint was made meanwhile.
    ///
    /// # Cancellation
    /// As for [`Checkpointer::checkpoint`].
    pub async fn commit(&self) -> Result<(), CheckpointError> {
        match &self.position {
            Some(position) => self.checkpointer.checkpoint_position(position.clone()).await,
            None => self.checkpointer.shared.lease.check(),
        }
    }
}
