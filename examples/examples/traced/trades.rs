//! Trades that are put in a span each, and a processor whose spans link to them.

use kcl::{BoxError, Checkpointer, InitialPosition, RecordBatch, RecordProcessor, ShardContext, Worker};
use kinesis_local::LocalAws;
use kpl::{Producer, UserRecord};
use tokio::sync::mpsc;
use tracing::{Instrument as _, info_span};

use crate::context;

const STREAM: &str = "StockTradeStream";

/// Puts three trades and processes them.
pub(crate) async fn put_and_process(local: &LocalAws) -> anyhow::Result<()> {
    local.create_stream(STREAM, 1)?;
    let aws = local.sdk_config();
    let (settled, mut settlements) = mpsc::channel(1);
    let worker = Worker::builder(&aws, "StockTradesProcessor", STREAM)
        .initial_position(InitialPosition::TrimHorizon)
        .build(move |_: &ShardContext| Settler { settled: settled.clone() })?
        .start();

    let producer = Producer::builder(&aws, STREAM).build()?;
    for symbol in ["AMZN", "AAPL", "AMZN"] {
        sell(&producer, symbol).instrument(info_span!("sell", symbol)).await?;
    }
    producer.shutdown().await;
    for _ in 0..3 {
        settlements.recv().await;
    }
    Ok(worker.stop().await?)
}

async fn sell(producer: &Producer, symbol: &str) -> anyhow::Result<()> {
    let record = UserRecord::new(symbol, "sold");
    let record = context::current().into_iter().fold(record, UserRecord::with_trace_context);
    drop(producer.put(record).await?); // the shutdown waits for the outcome
    Ok(())
}

struct Settler {
    settled: mpsc::Sender<()>,
}

impl RecordProcessor for Settler {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        for record in &batch.records {
            let span = info_span!("settle", symbol = %record.partition_key);
            if let Some(context) = record.trace_context() {
                context::link(&span, context);
            }
            let settlement = self.settled.send(());
            settlement.instrument(span).await?;
        }
        Ok(checkpointer.checkpoint().await?)
    }
}
