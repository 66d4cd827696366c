//! Feeds a processor with records, and starts another one from the checkpoint when it fails.

use std::{mem, time::SystemTime};

use super::{
    Interrupt, ShardTask, backoff,
    contained::{Outcome, contained, contained_now},
};
use crate::{
    BoxError,
    checkpoint::Checkpoint,
    checkpointer::Checkpointer,
    config::InitialPosition,
    event::Event,
    kinesis::{ChildShard, KinesisRecord, StartAt},
    logic::{
        deaggregate::{Finding, deaggregate},
        progress::Progress,
    },
    processor::{ProcessorFactory, RecordProcessor, ShardContext},
    record::{Record, RecordBatch},
    retrieval::{Fetched, Reading},
};

/// How one processor's run ended.
pub(super) enum Run<P> {
    /// All records are processed and the shard is closed.
    AtEnd {
        processor: P,
        checkpointer: Checkpointer,
        children: Vec<ChildShard>,
    },
    Failed(BoxError),
    Interrupted(Interrupt),
}

impl<F: ProcessorFactory> ShardTask<F> {
    /// Ok: the shard is processed to its end.
    pub(super) async fn run_processors(&mut self) -> Result<(), Interrupt> {
        // What LATEST means for this lease, should it be needed more than once.
        let latest_as_of = self.context.clock.now();
        let mut first = true;
        let mut failures = 0;
        loop {
            let start = self.start_at(mem::take(&mut first), latest_as_of);
            let before = self.lease.checkpoint.clone();
            match self.run_processor(start, latest_as_of).await {
                Run::AtEnd { processor, checkpointer, children } => {
                    return self.end(processor, &checkpointer, &children).await;
                }
                Run::Interrupted(interrupt) => return Err(interrupt),
                Run::Failed(error) => {
                    failures = if self.lease.checkpoint > before { 1 } else { failures + 1 };
                    let pause = backoff(failures);
                    self.report_failure(&error, Some(pause));
                    self.pause(pause).await?;
                }
            }
        }
    }

    fn start_at(&self, first: bool, latest_as_of: SystemTime) -> StartAt {
        match &self.lease.checkpoint {
            // Reads the checkpointed record again: user records of its aggregate may be left.
            Checkpoint::At(position) => StartAt::At(position.sequence_number.clone()),
            Checkpoint::Latest if first => StartAt::Latest,
            Checkpoint::Latest => StartAt::Timestamp(latest_as_of),
            Checkpoint::AtTimestamp => match self.context.settings.initial_position {
                InitialPosition::AtTimestamp(time) => StartAt::Timestamp(time),
                // The application was configured otherwise when the lease was made; do not skip anything.
                _ => StartAt::TrimHorizon,
            },
            Checkpoint::TrimHorizon | Checkpoint::ShardEnd => StartAt::TrimHorizon,
        }
    }

    async fn run_processor(&mut self, start: StartAt, latest_as_of: SystemTime) -> Run<F::Processor> {
        let reading = Reading::start(self.context.clone(), self.shard_id().clone(), start, latest_as_of);
        let progress = Progress::starting_at(self.lease.checkpoint.clone());
        let checkpointer = Checkpointer::new(self.handle.clone(), progress);
        let shard = ShardContext {
            shard_id: self.shard_id().clone(),
            worker_id: self.context.settings.worker_id.clone(),
            checkpoint: self.lease.checkpoint.clone(),
        };
        let run = match contained_now(|| self.factory.create(&shard)) {
            Ok(processor) => self.feed(processor, &shard, reading, &checkpointer).await,
            Err(error) => Run::Failed(error),
        };
        self.lease.checkpoint = checkpointer.last();
        run
    }

    async fn feed(
        &self,
        mut processor: F::Processor,
        shard: &ShardContext,
        mut reading: Reading,
        checkpointer: &Checkpointer,
    ) -> Run<F::Processor> {
        let grace = self.context.settings.shutdown_grace;
        match contained(processor.initialize(shard), self.interrupted(), grace).await {
            Outcome::Returned(()) => {}
            Outcome::Failed(error) => return Run::Failed(error),
            Outcome::Abandoned => return Run::Interrupted(self.interrupted().await),
        }
        loop {
            let fetched = tokio::select! {
                // biased: a lost lease must win over a ready batch, or we deliver after fencing.
                biased;
                interrupt = self.interrupted() => {
                    return Run::Interrupted(self.say_goodbye(interrupt, processor, checkpointer).await);
                }
                fetched = reading.next() => fetched,
            };
            match fetched {
                Some(Fetched::Records { records, behind_latest }) => {
                    let batch = RecordBatch { records: self.user_records(records, checkpointer), behind_latest };
                    if batch.records.is_empty() {
                        continue;
                    }
                    let call = processor.process_records(batch, checkpointer);
                    match contained(call, self.interrupted(), grace).await {
                        Outcome::Returned(()) => {}
                        Outcome::Failed(error) => return Run::Failed(error),
                        Outcome::Abandoned => return Run::Interrupted(self.interrupted().await),
                    }
                }
                Some(Fetched::End { children }) => {
                    return Run::AtEnd { processor, checkpointer: checkpointer.clone(), children };
                }
                None => return Run::Failed("reading the shard ended unexpectedly".into()),
            }
        }
    }

    /// Takes user records out of their aggregates, and leaves out those at or before the checkpoint.
    fn user_records(&self, source: Vec<KinesisRecord>, checkpointer: &Checkpointer) -> Vec<Record> {
        let mut records = Vec::with_capacity(source.len());
        for record in source {
            if let Some(finding) = deaggregate(record, self.lease.hash_key_range.as_ref(), &mut records) {
                self.report_finding(finding);
            }
        }
        checkpointer.with_progress(|progress| {
            let old = records.iter().take_while(|record| !progress.is_new(&record.position())).count();
            records.drain(..old);
            if let Some(last) = records.last() {
                progress.deliver(last.position());
            }
        });
        self.handle.count_delivered(records.iter().map(|record| record.data.len() as u64).sum());
        records
    }

    fn report_finding(&self, finding: Finding) {
        let shard_id = self.shard_id().clone();
        self.context.events.emit(match finding {
            Finding::OtherShard { sequence_number, records } => {
                Event::AggregateOfOtherShard { shard_id, sequence_number, records }
            }
            Finding::Malformed { sequence_number, records, reason } => {
                Event::AggregateMalformed { shard_id, sequence_number, records, reason }
            }
        });
    }

    /// The last call on a processor whose shard goes on elsewhere.
    pub(super) async fn say_goodbye(
        &self,
        interrupt: Interrupt,
        mut processor: F::Processor,
        checkpointer: &Checkpointer,
    ) -> Interrupt {
        let grace = self.context.settings.shutdown_grace;
        let outcome = match interrupt {
            Interrupt::GiveUp => {
                let call = processor.shutdown_requested(checkpointer);
                contained(call, std::future::ready(()), grace).await
            }
            Interrupt::Lost => {
                let call = async {
                    processor.lease_lost().await;
                    Ok::<(), BoxError>(())
                };
                contained(call, std::future::ready(()), grace).await
            }
        };
        if let Outcome::Failed(error) = outcome {
            self.report_failure(&error, None);
        }
        interrupt
    }
}
