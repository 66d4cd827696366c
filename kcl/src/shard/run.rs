//! Runs one processor after the other from the checkpoint on, until the shard's end or an interrupt.

use std::{
    future::Future,
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use kpl::RecordNumber;

use super::{Failure, Interrupt, NoEnd, ShardTask, backoff, feed::Feed};
use crate::{
    checkpointer::Checkpointer,
    contained::{Contained, contained_now},
    error::CheckpointError,
    event::{Event, chain},
    logic::{
        read::Cursor,
        shard::{Failures, Verdict, range},
    },
    model::{Checkpoint, CheckpointWrite, InitialPosition, Position, Record, ShardPhase, SinkKey, StartAt},
    processor::{ProcessorFactory, ShardContext, Unfinished},
    retrieval::RecordSource,
    settings::error_policy::{FailedRecords, GiveUp},
};

/// Maximum difference of the services' clocks without loss of records at LATEST.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

impl<F: ProcessorFactory> ShardTask<F> {
    /// Ok: the shard is processed to its end. `latest_is_new`: LATEST may be asked for, once in a lease's life.
    pub(super) async fn run_processors(&mut self, mut latest_is_new: bool) -> Result<(), Interrupt> {
        let policy = self.context.settings.error_policy.clone();
        let mut failures = Failures::new(policy.limit.as_ref().map(|(attempts, _)| *attempts), policy.isolate);
        loop {
            let start = self.start_at(mem::take(&mut latest_is_new));
            let (ended, reached) = self.run_processor(start, &mut failures).await;
            let failure = match ended {
                Ok(()) => return Ok(()),
                Err(NoEnd::Interrupted(interrupt) | NoEnd::Abandoned(interrupt)) => return Err(interrupt),
                Err(NoEnd::Failed(failure)) => failure,
            };
            if let Err(interrupt) = self.look().await {
                self.report_failure(&failure.error, None);
                return Err(interrupt);
            }
            self.judge(failure, reached, &mut failures).await?;
        }
    }

    async fn judge(&mut self, failure: Failure, reached: Checkpoint, failures: &mut Failures) -> Result<(), Interrupt> {
        failures.checkpointed(&self.lease.checkpoint);
        let in_a_row = failures.processor_failed(&reached);
        let pause = backoff(in_a_row);
        self.context.board.change(&self.lease.key, |entry| entry.status.phase = ShardPhase::BackingOff);
        if !matches!(failure.error.downcast_ref(), Some(Unfinished::Dropped)) {
            self.report_failure(&failure.error, Some(pause));
            self.note_failures(in_a_row);
        }
        let limit = self.context.settings.error_policy.limit.clone();
        if let (Some((mut records, Verdict::GiveUp { attempts })), Some((_, give_up))) = (failure.records, limit) {
            // What was checkpointed before the failure did not fail.
            records.retain(|record| Checkpoint::At(record.position()) > self.lease.checkpoint);
            let numbers: Vec<_> = records.iter().filter_map(Record::number).collect();
            let (application, shard) = (self.context.settings.application.clone(), self.shard());
            let failed_at = self.context.clock.now();
            let failed = FailedRecords { application, shard, records, error: failure.error, attempts, failed_at };
            if let Some(last) = self.give_records_up(failed, give_up, failures, pause).await? {
                if reached <= self.lease.checkpoint {
                    self.cover(last, &numbers).await;
                }
                return self.pause(Duration::ZERO).await;
            }
        }
        self.pause(pause).await
    }

    /// Stores a checkpoint behind records that were given up, so that no other worker comes to them again, nor to their copies.
    async fn cover(&mut self, last: Position, given_up: &[RecordNumber]) {
        let checkpoint = Checkpoint::At(last);
        let numbers = self.delivered_numbers().map(|mut numbers| {
            given_up.iter().for_each(|of| numbers.add(of.series(), of.number(), of.number()));
            numbers.write(&checkpoint).into()
        });
        let write = CheckpointWrite::Commit { checkpoint, children: Vec::new(), numbers };
        // A prepared checkpoint is the application's to end.
        if self.lease.pending.is_none()
            && self.metrics.checkpoints.counted(self.handle.checkpoint(write.clone())).await.is_ok()
        {
            write.apply(&mut self.lease);
        }
    }

    /// Applies the error policy to records whose attempts are used up. Returns the last; None: they are tried again.
    async fn give_records_up(
        &mut self,
        failed: FailedRecords,
        give_up: GiveUp,
        failures: &mut Failures,
        retry_in: Duration,
    ) -> Result<Option<Position>, Interrupt> {
        let Some((first, last)) = range(&failed.records) else { return Ok(None) };
        let (shard, records) = (self.shard(), failed.records.len());
        let error = chain(failed.error.as_ref());
        let dead_lettered = match give_up {
            GiveUp::StopShard => {
                self.phase(ShardPhase::Stopped);
                self.context.events.emit(Event::ShardStopped { shard, at: first, error });
                // Without a leader, nobody takes the lease over.
                let is_kept = self.context.settings.purpose.has_leader();
                return Err(if is_kept { self.interrupted().await } else { Interrupt::GiveUp });
            }
            GiveUp::Skip => false,
            GiveUp::DeadLetter(keep) => match self.contained(async move { keep(failed).await }).await? {
                Ok(()) => true,
                Err(error) => {
                    self.report_failure(&error, Some(retry_in));
                    return Ok(None);
                }
            },
        };
        failures.leave_out((first.clone(), last.clone()));
        let skipped = Event::RecordsSkipped { shard, records, first, last: last.clone(), dead_lettered, error };
        self.context.events.emit(skipped);
        Ok(Some(last))
    }

    /// Stores in a lease at LATEST when that was. True: nobody has read at LATEST yet.
    pub(super) async fn resolve_latest(&mut self) -> Result<bool, Interrupt> {
        if self.lease.checkpoint != Checkpoint::Latest || self.lease.latest_as_of_millis.is_some() {
            return Ok(false);
        }
        let differ = u64::try_from(CLOCKS_DIFFER.as_millis()).unwrap_or_default();
        let write = CheckpointWrite::ResolveLatest { as_of_millis: self.context.clock.millis().saturating_sub(differ) };
        self.stored(|| self.handle.checkpoint(write.clone())).await?;
        write.apply(&mut self.lease);
        Ok(true)
    }

    /// Repeats a checkpoint until it is stored.
    pub(super) async fn stored<W>(&self, checkpoint: impl Fn() -> W) -> Result<(), Interrupt>
    where
        W: Future<Output = Result<(), CheckpointError>>,
    {
        let mut failures = 0;
        while let Err(error) = checkpoint().await {
            let CheckpointError::Table(error) = error else { return Err(Interrupt::Lost) };
            failures += 1;
            self.context.table_failed(&error);
            self.pause(backoff(failures)).await?;
        }
        Ok(())
    }

    fn latest_as_of(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.lease.latest_as_of_millis.unwrap_or_default())
    }

    fn start_at(&self, latest_is_new: bool) -> StartAt {
        match &self.lease.checkpoint {
            // Reads the checkpointed record again: user records of its aggregate may be left.
            Checkpoint::At(position) => StartAt::At(position.sequence_number.clone()),
            Checkpoint::Latest if latest_is_new => StartAt::Latest,
            Checkpoint::Latest => StartAt::Timestamp(self.latest_as_of()),
            Checkpoint::AtTimestamp => match self.stream.initial_position {
                InitialPosition::AtTimestamp(time) => StartAt::Timestamp(time),
                // The application was configured otherwise when the lease was made; do not skip anything.
                _ => StartAt::TrimHorizon,
            },
            Checkpoint::TrimHorizon | Checkpoint::ShardEnd => StartAt::TrimHorizon,
        }
    }

    async fn run_processor(&mut self, start: StartAt, failures: &mut Failures) -> (Result<(), NoEnd>, Checkpoint) {
        let (context, stream) = (self.context.clone(), self.stream.clone());
        let cursor = Cursor::new(start, self.latest_as_of());
        let (shard_id, metrics) = (self.lease.shard_id.clone(), Arc::clone(&self.metrics));
        let reading = RecordSource::start(context, stream, shard_id, cursor, Arc::clone(&metrics));
        let progress = self.progress();
        let (handle, stop) = (self.handle.clone(), self.stop.clone());
        let checkpointer = Checkpointer::new(handle, stop, self.fencing_token, progress, metrics);
        let shard = ShardContext {
            stream_id: self.stream.id.clone(),
            shard_id: self.lease.shard_id.clone(),
            worker_id: self.context.settings.worker_id.clone(),
            checkpoint: self.lease.checkpoint.clone(),
            pending: self.lease.pending.clone(),
            fencing_token: self.fencing_token,
            epoch: self.lease.epoch,
            sink_key: SinkKey {
                application: self.context.settings.application.clone(),
                stream_id: self.stream.id.clone(),
                stream_created_seconds: self.stream.identity.first().map_or(0, |first| first.created_seconds),
                shard_id: self.lease.shard_id.clone(),
            },
        };
        self.phase(ShardPhase::Initializing);
        let run = match contained_now(|| Contained::new(self.factory.create(&shard))) {
            Ok(processor) => Feed::new(self, processor, checkpointer.clone(), reading, failures).run(&shard).await,
            Err(error) => Err(error.into()),
        };
        let ended = match run {
            Ok((processor, children)) => {
                self.phase(ShardPhase::Ending);
                self.end(processor, &checkpointer, &children).await
            }
            Err(no_end) => Err(no_end),
        };
        if matches!(ended, Err(NoEnd::Failed(_))) {
            checkpointer.retire();
        }
        if ended.is_err() && self.context.settings.checkpoint_every.is_some() {
            // What is processed is not delivered again.
            if let Err(CheckpointError::Table(error)) = checkpointer.checkpoint_processed(&self.handle).await {
                self.context.table_failed(&error);
            }
        }
        (ended, checkpointer.with_progress(|progress| progress.reached()))
    }

    /// Takes in what the lease holds now, which the next processor starts from.
    async fn look(&mut self) -> Result<(), Interrupt> {
        let lease = tokio::select! {
            biased;
            interrupt = self.interrupted() => return Err(interrupt),
            lease = self.handle.lease() => lease,
        };
        self.lease = lease.ok_or(Interrupt::Lost)?;
        Ok(())
    }
}
