//! The consuming half: one processor per shard, which counts trades and reports the tutorial's statistics.

use std::{mem, sync::Arc, time::Duration};

use kcl::{CheckpointError, Checkpointer, RecordBatch, RecordProcessor, ShardContext, ShardId};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    console::Console,
    run_id::{self, RunId},
    tally::Tally,
};
use crate::stats::Stats;

/// Interval between two reports of a shard. The tutorial's is a minute, longer than most runs of this sample.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Interval between two checkpoints of a shard: each is a write to DynamoDB.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Processes one shard.
#[derive(Debug)]
pub(super) struct TradeProcessor {
    shard_id: ShardId,
    run_id: RunId,
    tally: Arc<Tally>,
    console: Console,
    stats: Stats,
    reported: Instant,
    checkpointed: Instant,
}

impl TradeProcessor {
    pub(super) fn new(shard: &ShardContext, run_id: RunId, tally: Arc<Tally>, console: Console) -> Self {
        let now = Instant::now();
        let shard_id = shard.shard_id.clone();
        Self { shard_id, run_id, tally, console, stats: Stats::default(), reported: now, checkpointed: now }
    }

    fn report(&mut self) {
        let (stats, since) = (mem::take(&mut self.stats), mem::replace(&mut self.reported, Instant::now()));
        if !stats.is_empty() {
            let period = format!("{:.3} seconds", since.elapsed().as_secs_f64());
            self.console.report(&stats.report(self.shard_id.as_str(), &period));
        }
    }
}

impl RecordProcessor for TradeProcessor {
    type Error = CheckpointError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), CheckpointError> {
        self.tally.reads(&shard.shard_id);
        Ok(())
    }

    async fn process_records(
        &mut self,
        batch: RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), CheckpointError> {
        for record in &batch.records {
            match run_id::read(&record.data, self.run_id) {
                Ok(None) => debug!(partition_key = %record.partition_key, "trade of another run"),
                Ok(Some(trade)) => {
                    self.stats.add(&trade);
                    self.tally.processed(&trade);
                }
                Err(error) => warn!(partition_key = %record.partition_key, %error, "record is no trade, skipped"),
            }
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.report();
        }
        if self.checkpointed.elapsed() >= CHECKPOINT_EVERY {
            checkpointer.checkpoint().await?;
            self.checkpointed = Instant::now();
        }
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), CheckpointError> {
        self.report();
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), CheckpointError> {
        self.report();
        checkpointer.checkpoint().await
    }
}
