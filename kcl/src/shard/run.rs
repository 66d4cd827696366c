//! Runs one processor after the other from the checkpoint on, until the shard's end or an interrupt.

use std::{
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Interrupt, ShardTask, backoff,
    contained::contained_now,
    end::NoEnd,
    feed::{Feed, Run},
};
use crate::{
    BoxError, FailedRecords,
    checkpoint::Checkpoint,
    checkpointer::Checkpointer,
    config::{GiveUp, InitialPosition},
    error::CheckpointError,
    event::{Event, chain},
    kinesis::StartAt,
    lease::store::CheckpointWrite,
    logic::{
        cursor::Cursor,
        failures::{Failures, Verdict, range},
        progress::Progress,
    },
    processor::{ProcessorFactory, ShardContext},
    record::Record,
    retrieval::Reading,
    shard_status::ShardPhase,
};

/// How far the clocks of this worker and of Kinesis may differ without records being lost at LATEST.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// Why a processor was dropped.
pub(super) struct Failure {
    pub(super) error: BoxError,
    /// The records it failed at, if it was at them that it failed; their data only if they may be given up now.
    pub(super) records: Option<(Vec<Record>, Verdict)>,
}

impl From<BoxError> for Failure {
    fn from(error: BoxError) -> Self {
        Self { error, records: None }
    }
}

impl<F: ProcessorFactory> ShardTask<F> {
    /// Ok: the shard is processed to its end. `latest_is_new`: LATEST may be asked for; once in the life of a lease, since
    /// asking again would leave out what came between.
    pub(super) async fn run_processors(&mut self, mut latest_is_new: bool) -> Result<(), Interrupt> {
        let policy = self.context.settings.error_policy.clone();
        let mut failures = Failures::new(policy.limit.as_ref().map(|(attempts, _)| *attempts), policy.isolate);
        let mut in_a_row = 0;
        loop {
            let start = self.start_at(mem::take(&mut latest_is_new));
            let before = self.lease.checkpoint.clone();
            let failure = match self.run_processor(start, &mut failures).await {
                Run::AtEnd { processor, checkpointer, children } => {
                    self.phase(ShardPhase::Ending);
                    match self.end(processor, &checkpointer, &children).await {
                        Ok(()) => return Ok(()),
                        Err(NoEnd::Interrupted(interrupt)) => return Err(interrupt),
                        Err(NoEnd::Unconfirmed(error)) => {
                            checkpointer.retire();
                            error.into()
                        }
                    }
                }
                Run::Interrupted(interrupt) => return Err(interrupt),
                Run::Failed(failure) => failure,
            };
            if let Err(interrupt) = self.look().await {
                self.report_failure(&failure.error, None);
                return Err(interrupt);
            }
            failures.checkpointed(&self.lease.checkpoint);
            in_a_row = if self.lease.checkpoint > before { 1 } else { in_a_row + 1 };
            if let Some(given_up) = self.judge(failure, in_a_row, &mut failures).await? {
                in_a_row = given_up;
            }
        }
    }

    /// Takes a failure in, and waits. Some: failures in a row from now on.
    async fn judge(
        &mut self,
        failure: Failure,
        in_a_row: u32,
        failures: &mut Failures,
    ) -> Result<Option<u32>, Interrupt> {
        let pause = backoff(in_a_row);
        self.report_failure(&failure.error, Some(pause));
        self.context.board.change(&self.lease.key, |status| status.phase = ShardPhase::BackingOff);
        self.note_failures(in_a_row);
        let limit = self.context.settings.error_policy.limit.clone();
        if let (Some((records, Verdict::GiveUp { attempts })), Some((_, give_up))) = (failure.records, limit) {
            let (stream_id, shard_id) = self.ids();
            let failed = FailedRecords { stream_id, shard_id, records, error: failure.error, attempts };
            if self.give_records_up(failed, give_up, failures).await? {
                return Ok(Some(0));
            }
        }
        self.pause(pause).await?;
        Ok(None)
    }

    /// Carries out what the error policy says of records whose attempts are used up. False: they are to be tried again.
    async fn give_records_up(
        &mut self,
        failed: FailedRecords,
        give_up: GiveUp,
        failures: &mut Failures,
    ) -> Result<bool, Interrupt> {
        let Some((first, last)) = range(&failed.records) else { return Ok(false) };
        let ((stream_id, shard_id), records) = (self.ids(), failed.records.len());
        let error = chain(failed.error.as_ref());
        let dead_lettered = match give_up {
            GiveUp::StopShard => {
                self.phase(ShardPhase::Stopped);
                self.context.events.emit(Event::ShardStopped { stream_id, shard_id, at: first, error });
                if self.context.settings.replay.is_some() {
                    return Err(Interrupt::GiveUp);
                }
                return Err(self.interrupted().await);
            }
            GiveUp::Skip => false,
            GiveUp::DeadLetter(keep) => match self.contained(async move { keep(failed).await }).await? {
                Ok(()) => true,
                Err(error) => {
                    self.report_failure(&error, None);
                    return Ok(false);
                }
            },
        };
        failures.leave_out((first.clone(), last.clone()));
        let skipped = Event::RecordsSkipped { stream_id, shard_id, records, first, last, dead_lettered, error };
        self.context.events.emit(skipped);
        Ok(true)
    }

    /// For a lease at LATEST, makes sure that the lease says when that was. True: nobody has asked for LATEST yet.
    pub(super) async fn resolve_latest(&mut self) -> Result<bool, Interrupt> {
        if self.lease.checkpoint != Checkpoint::Latest || self.lease.latest_as_of_millis.is_some() {
            return Ok(false);
        }
        let differ = u64::try_from(CLOCKS_DIFFER.as_millis()).unwrap_or_default();
        let write = CheckpointWrite::ResolveLatest { as_of_millis: self.context.clock.millis().saturating_sub(differ) };
        let mut failures = 0;
        loop {
            match self.handle.checkpoint(write.clone()).await {
                Ok(()) => {
                    write.apply(&mut self.lease);
                    return Ok(true);
                }
                Err(CheckpointError::Table(error)) => {
                    failures += 1;
                    self.context.table_failed(&error);
                    self.pause(backoff(failures)).await?;
                }
                Err(_) => return Err(Interrupt::Lost),
            }
        }
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

    async fn run_processor(&mut self, start: StartAt, failures: &mut Failures) -> Run<F::Processor> {
        let (context, stream) = (self.context.clone(), self.stream.clone());
        let cursor = Cursor::new(start, self.latest_as_of());
        let (shard_id, metrics) = (self.shard_id().clone(), Arc::clone(&self.metrics));
        let reading = Reading::start(context, stream, shard_id, cursor, Arc::clone(&metrics));
        let progress = Progress::starting_at(self.lease.checkpoint.clone());
        let checkpointer = Checkpointer::new(self.handle.clone(), self.fencing_token, progress, metrics);
        let shard = ShardContext {
            stream_id: self.stream.id.clone(),
            shard_id: self.shard_id().clone(),
            worker_id: self.context.settings.worker_id.clone(),
            checkpoint: self.lease.checkpoint.clone(),
            pending: self.lease.pending.clone(),
            fencing_token: self.fencing_token,
        };
        self.phase(ShardPhase::Initializing);
        match contained_now(|| self.factory.create(&shard)) {
            Ok(processor) => Feed::new(self, processor, checkpointer, reading, failures).run(&shard).await,
            Err(error) => Run::Failed(error.into()),
        }
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
