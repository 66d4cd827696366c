//! A worker of `kcl` under measurement, with default settings: looks at each byte and checkpoints each batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use clap::Args;
use integration_tests::bench::read_floor::touch;
use kcl::{BoxError, Checkpointer, InitialPosition, RecordBatch, RecordProcessor, ShardContext, Worker};

use super::dismissed;
use crate::clients::Services;
use crate::work::STREAM;

/// Arguments of a worker.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    #[command(flatten)]
    services: Services,
    #[arg(long)]
    application: String,
    #[arg(long)]
    worker: String,
    /// Records to process; 0 if there are none.
    #[arg(long)]
    records: u64,
}

pub(super) async fn run(consume: Consume) -> anyhow::Result<()> {
    let (kinesis, dynamodb) = consume.services.configs()?;
    let seen = Arc::new(Seen { wanted: consume.records, ..Seen::default() });
    let worker = Worker::builder(&kinesis, consume.application, STREAM)
        .lease_table_config(&dynamodb)
        .worker_id(consume.worker)
        .initial_position(InitialPosition::TrimHorizon)
        .build(move |_: &ShardContext| Processor { seen: Arc::clone(&seen) })?;
    let worker = worker.start();
    tokio::select! {
        ended = worker.wait() => Ok(ended?),
        dismissed = dismissed() => dismissed,
    }
}

/// Sums over all processors.
#[derive(Debug, Default)]
struct Seen {
    wanted: u64,
    shards: AtomicI64,
    has_begun: AtomicBool,
    records: AtomicU64,
    sum: AtomicU64,
}

impl Seen {
    fn change_shards(&self, by: i64) {
        println!("shards {}", self.shards.fetch_add(by, Ordering::SeqCst) + by);
    }

    fn begin(&self) {
        if !self.has_begun.swap(true, Ordering::SeqCst) {
            println!("first");
        }
    }

    /// The sum is added before the records, so that it is complete when these are.
    fn count(&self, records: u64, sum: u64) {
        self.sum.fetch_add(sum, Ordering::SeqCst);
        let before = self.records.fetch_add(records, Ordering::SeqCst);
        if before < self.wanted && before + records >= self.wanted {
            println!("done {} {}", before + records, self.sum.load(Ordering::SeqCst));
        }
    }
}

struct Processor {
    seen: Arc<Seen>,
}

impl RecordProcessor for Processor {
    type Error = BoxError;

    async fn initialize(&mut self, _shard: &ShardContext) -> Result<(), BoxError> {
        self.seen.change_shards(1);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.seen.begin();
        let sum = batch.records.iter().map(|record| touch(&record.data)).sum();
        checkpointer.checkpoint().await?;
        self.seen.count(batch.records.len() as u64, sum);
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.seen.change_shards(-1);
    }
}
