//! The feed of one processor: initialize it, deliver records, take leave of it.

use std::{future::Future, mem, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::time::sleep_until;
use tracing::{Instrument as _, Span, debug_span};

use super::{Failure, Interrupt, NoEnd, ShardTask, own_checkpoints::OwnCheckpoints};
use crate::{
    checkpointer::Checkpointer,
    contained::{Contained, Outcome, contained, contained_now},
    context::{board::Entry, memory::Held},
    error::BoxError,
    event::Event,
    logic::{
        read::{
            deaggregate::{Finding, undivided, user_records},
            pieces::pieces,
        },
        shard::{BatchSpan, Failures, Piece, resume},
    },
    metrics::calls::timed,
    model::{Checkpoint, ChildShard, Deaggregation, KinesisRecord, Position, Record, RecordBatch, ShardPhase},
    processor::{ProcessorFactory, RecordProcessor, Redeliver, ShardContext, Unfinished},
    retrieval::{Fetched, RecordSource},
    time::now,
};

pub(super) struct Feed<'a, F: ProcessorFactory> {
    task: &'a ShardTask<F>,
    processor: Contained<F::Processor>,
    checkpointer: Checkpointer,
    reading: RecordSource,
    failures: &'a mut Failures,
    own: OwnCheckpoints,
}

impl<'a, F: ProcessorFactory> Feed<'a, F> {
    pub(super) fn new(
        task: &'a ShardTask<F>,
        processor: Contained<F::Processor>,
        checkpointer: Checkpointer,
        reading: RecordSource,
        failures: &'a mut Failures,
    ) -> Self {
        let own = OwnCheckpoints::new(Arc::clone(&task.context), task.handle.clone(), checkpointer.clone());
        Self { task, processor, checkpointer, reading, failures, own }
    }

    /// Feeds the processor to the shard's end, to a failure, or to an interrupt. Returns it and the shards that follow.
    pub(super) async fn run(
        mut self,
        shard: &ShardContext,
    ) -> Result<(Contained<F::Processor>, Vec<ChildShard>), NoEnd> {
        match self.feed(shard).await {
            Ok(children) => Ok((self.processor, children)),
            Err(NoEnd::Interrupted(interrupt)) => {
                Err(self.task.say_goodbye(interrupt, self.processor, &self.checkpointer).await)
            }
            Err(no_end) => {
                self.checkpointer.retire();
                Err(no_end)
            }
        }
    }

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), NoEnd> {
        let task = self.task;
        // Called within its future, for the processor may panic before it returns one.
        let call = async { self.processor.initialize(shard).await };
        match task.contained(task.metrics.initialize.counted(call)).await {
            Ok(Ok(())) => {
                self.resume(shard)?;
                self.task.phase(ShardPhase::Processing);
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(interrupt) => Err(NoEnd::Abandoned(interrupt)),
        }
    }

    /// Goes on after what the processor's sink has, if that is further than the checkpoint.
    fn resume(&self, shard: &ShardContext) -> Result<(), BoxError> {
        let Some(mark) = contained_now(|| self.processor.sink_mark())? else { return Ok(()) };
        if let Some(position) = resume(mark, &shard.checkpoint, (shard.epoch, shard.fencing_token))? {
            self.checkpointer.with_progress(|progress| progress.resume_after(position));
        }
        Ok(())
    }

    /// Handles: interrupts, what was read. Ends with the shard's children.
    async fn feed(&mut self, shard: &ShardContext) -> Result<Vec<ChildShard>, NoEnd> {
        self.initialize(shard).await?;
        loop {
            let next = async {
                tokio::select! {
                    // biased: a lost lease must win over a ready batch, or we deliver after fencing.
                    biased;
                    interrupt = self.task.interrupted() => Err(NoEnd::Interrupted(interrupt)),
                    fetched = self.reading.next() => Ok(fetched),
                }
            };
            match self.own.beside(next).await? {
                // Held until all are processed, or the processor has failed.
                Some(Fetched::Records { records, behind_latest, mut held }) => {
                    let begun = now();
                    let processed = self.process_read(records, behind_latest, &mut held).await;
                    self.task.metrics.task.record(processed.is_ok(), now() - begun);
                    processed?;
                    // The batch that follows is about as late; without one between, its lag would show as none.
                    let waits = self.reading.has_next();
                    let checkpoint = self.checkpointer.last();
                    self.failures.checkpointed(&checkpoint);
                    self.task.context.board.change(&self.task.lease.key, |Entry { status, activity, .. }| {
                        (activity.failing_since, activity.in_hand) = (None, activity.in_hand.filter(|_| waits));
                        (status.behind_latest, status.failures, status.checkpoint) = (behind_latest, 0, checkpoint);
                    });
                    self.task.context.board.record_lag(&self.task.lease.key);
                }
                Some(Fetched::End { children }) => {
                    self.task.context.board.change(&self.task.lease.key, |entry| entry.activity.in_hand = None);
                    return Ok(children);
                }
                None => return Err(BoxError::from("reading the shard ended unexpectedly").into()),
            }
        }
    }

    /// Processes what was read piece by piece, so that no more than one is unfolded at a time.
    async fn process_read(
        &mut self,
        records: Vec<KinesisRecord>,
        behind_latest: Option<Duration>,
        held: &mut Held,
    ) -> Result<(), NoEnd> {
        for piece in pieces(records, &self.task.context.settings.frames) {
            let mut records = self.user_records(piece.records);
            let copies_end = self.drop_copies(&mut records);
            held.taken_out(&records, piece.unfolded);
            self.process(records, behind_latest).await?;
            if let Some(end) = copies_end {
                self.pass_over(end);
            }
        }
        Ok(())
    }

    async fn process(&mut self, records: Vec<Record>, behind_latest: Option<Duration>) -> Result<(), NoEnd> {
        let mut records = records.into_iter();
        while !records.as_slice().is_empty() {
            match self.failures.next(records.as_slice()) {
                Piece::LeaveOut(count) => {
                    if let Some(last) = records.by_ref().take(count).last() {
                        self.delivered(&last);
                        self.checkpointer.processed(&last.position(), count);
                    }
                }
                Piece::Deliver(count) => {
                    // Between pieces, too, a lost lease must win, or we deliver after fencing.
                    if let Some(interrupt) = self.task.interrupted().now_or_never() {
                        return Err(NoEnd::Interrupted(interrupt));
                    }
                    let count = count.min(self.task.context.settings.max_batch_records as usize);
                    // The whole stays where it is.
                    let is_all = count == records.len();
                    let batch =
                        if is_all { mem::take(&mut records).collect() } else { records.by_ref().take(count).collect() };
                    self.deliver(batch, behind_latest).await?;
                }
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, records: Vec<Record>, behind_latest: Option<Duration>) -> Result<(), NoEnd> {
        let (Some(batch), Some(last)) = (BatchSpan::of(&records), records.last()) else { return Ok(()) };
        self.delivered(last);
        let kept = self.failures.is_last_attempt(&records).then(|| records.clone());
        let bytes = records.iter().map(|record| record.data.len() as u64).sum();
        self.task.handle.count_delivered(bytes);
        let metrics = Arc::clone(&self.task.metrics);
        metrics.batch(records.len(), bytes);
        self.note_in_hand(&records, behind_latest);
        self.checkpointer.take_failed();
        let span = self.batch_span(records.len(), bytes);
        let (processor, checkpointer) = (&mut self.processor, &self.checkpointer);
        let call = async { processor.process_records(RecordBatch { records, behind_latest }, checkpointer).await };
        let call = timed(&metrics.process_records, call.instrument(span));
        match self.own.beside(self.task.contained(call)).await {
            Ok(Ok(())) => {
                self.failures.processed(batch.last());
                self.checkpointer.processed(batch.last(), batch.records);
                Ok(())
            }
            Ok(Err(error)) => Err(self.failed(error, batch, kept.unwrap_or_default()).await),
            Err(interrupt) => Err(NoEnd::Abandoned(interrupt)),
        }
    }

    /// Span of a processor's call.
    fn batch_span(&self, records: usize, bytes: u64) -> Span {
        let ShardTask { stream, lease, .. } = self.task;
        debug_span!("kcl.batch", stream = %stream.id, shard_id = %lease.shard_id, records, bytes)
    }

    /// Notes a batch that is delivered now, and its lag. A slow processor lags although the reading does not.
    fn note_in_hand(&self, records: &[Record], behind_latest: Option<Duration>) {
        let context = &self.task.context;
        let arrival = records.first().and_then(|record| record.approximate_arrival);
        let age = arrival.and_then(|arrival| context.clock.now().duration_since(arrival).ok());
        let behind = behind_latest.max(age);
        let in_hand = behind.map(|behind| (behind, now()));
        context.board.change(&self.task.lease.key, |entry| entry.activity.in_hand = in_hand);
        context.board.record_lag(&self.task.lease.key);
    }

    /// Judges an error of `process_records`: which records failed, if it was they that did.
    async fn failed(&mut self, error: BoxError, batch: BatchSpan, mut kept: Vec<Record>) -> NoEnd {
        // Not the records' fault if a checkpoint failed.
        let checkpoint_failed = self.checkpointer.take_failed();
        let is_stored = Checkpoint::At(batch.last().clone()) <= self.checkpointer.last();
        let (error, batch) = match error.downcast().map(|unfinished| *unfinished) {
            Ok(Unfinished::Interrupted) => return NoEnd::Interrupted(self.task.interrupted().await),
            Ok(Unfinished::Record { position, error }) => (error, BatchSpan::single(position)),
            Ok(dropped) => return BoxError::from(dropped).into(),
            Err(error) if checkpoint_failed || is_stored || error.is::<Redeliver>() => return error.into(),
            Err(error) => (error, batch),
        };
        kept.retain(|record| batch.contains(&record.position()));
        NoEnd::Failed(Failure { error, records: Some((kept, self.failures.failed(&batch))) })
    }

    fn delivered(&self, last: &Record) {
        self.checkpointer.with_progress(|progress| progress.deliver(last.position()));
    }

    /// Takes user records out of their aggregates, and leaves out those at or before the checkpoint.
    fn user_records(&self, source: Vec<KinesisRecord>) -> Vec<Record> {
        let settings = &self.task.context.settings;
        let range = match settings.deaggregation {
            Deaggregation::DropForeign => self.task.lease.hash_key_range.as_ref(),
            Deaggregation::KeepForeign => None,
            Deaggregation::Off => return self.new_records(undivided(source, &settings.frames)),
        };
        self.new_records(user_records(source, range, &settings.frames, |finding| self.report_finding(finding)))
    }

    fn new_records(&self, mut records: Vec<Record>) -> Vec<Record> {
        let is_old =
            |record: &&Record| self.checkpointer.with_progress(|progress| !progress.is_new(&record.position()));
        let old = records.iter().take_while(is_old).count();
        let old = records.drain(..old);
        self.checkpointer.with_progress(|progress| old.for_each(|record| progress.was_processed(&record)));
        records
    }

    /// Removes copies of what was delivered before. Returns the position of the last record, if it is one.
    fn drop_copies(&self, records: &mut Vec<Record>) -> Option<Position> {
        let (sifted, copies_end) = self.checkpointer.with_progress(|progress| progress.sift(records));
        for (counter, count) in
            [(&self.task.metrics.copies, sifted.copies), (&self.task.metrics.undecided, sifted.undecided)]
        {
            if count > 0 {
                counter.increment(count);
            }
        }
        copies_end
    }

    /// Goes on behind copies that follow everything processed, so that no checkpoint waits for another record.
    fn pass_over(&self, end: Position) {
        let is_new = self.checkpointer.with_progress(|progress| {
            let is_new = progress.is_new(&end);
            if is_new {
                progress.deliver(end.clone());
            }
            is_new
        });
        if is_new {
            self.checkpointer.processed(&end, 0);
        }
    }

    fn report_finding(&self, finding: Finding) {
        let shard = self.task.shard();
        self.task.context.events.emit(match finding {
            Finding::OtherShard { sequence_number, records } => {
                Event::AggregateOfOtherShard { shard, sequence_number, records }
            }
            Finding::Malformed { sequence_number, records, reason } => {
                Event::AggregateMalformed { shard, sequence_number, records, reason }
            }
            Finding::Unopened { sequence_number, error } => {
                self.task.metrics.unopened.increment(1);
                Event::FrameUnopened { shard, sequence_number, error }
            }
        });
    }
}

impl<F: ProcessorFactory> ShardTask<F> {
    /// Runs a call into user code, unless it does not return in time once the work has to stop.
    pub(super) async fn contained<T, E: Into<BoxError>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, BoxError>, Interrupt> {
        let noticed = self.noticed(call);
        match contained(noticed, self.interrupted(), self.context.settings.shutdown_grace).await {
            Outcome::Returned(value) => Ok(Ok(value)),
            Outcome::Failed(error) => Ok(Err(error)),
            Outcome::Abandoned => Err(self.interrupted().await),
        }
    }

    /// Emits events of a call that does not return for long.
    pub(super) async fn noticed<T>(&self, call: impl Future<Output = T>) -> T {
        let (begun, patience) = (now(), self.context.settings.warn_after);
        let (mut warn_at, board, key) = (begun + patience, &self.context.board, &self.lease.key);
        board.change(key, |entry| entry.activity.busy_since = Some(begun));
        let mut call = std::pin::pin!(call);
        let value = loop {
            tokio::select! {
                biased;
                value = &mut call => break value,
                () = sleep_until(warn_at.into()) => {
                    let (shard, running_for) = (self.shard(), (now() - begun));
                    self.context.events.emit(Event::ProcessorSlow { shard, running_for });
                    warn_at += running_for;
                }
            }
        };
        board.change(key, |entry| (entry.activity.busy_since, entry.activity.moved) = (None, now()));
        value
    }

    /// The last call on a processor whose shard goes on elsewhere.
    pub(super) async fn say_goodbye(
        &self,
        interrupt: Interrupt,
        mut processor: Contained<F::Processor>,
        checkpointer: &Checkpointer,
    ) -> NoEnd {
        self.phase(ShardPhase::Leaving);
        let call = timed(&self.metrics.shutdown, async {
            match interrupt {
                Interrupt::GiveUp => processor.shutdown_requested(checkpointer).await.map_err(Into::into),
                Interrupt::Lost => {
                    processor.lease_lost().await;
                    Ok::<(), BoxError>(())
                }
            }
        });
        let grace = self.context.settings.shutdown_grace;
        if let Outcome::Failed(error) = contained(call, std::future::ready(()), grace).await {
            self.report_failure(&error, None);
        }
        interrupt.into()
    }
}
