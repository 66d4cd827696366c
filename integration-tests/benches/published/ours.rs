//! Our side: a producer and a worker, and `kinesis-cloudwatch`, in this process.

use std::time::Duration;

use kcl::{BoxError, Checkpointer, InitialPosition, RecordBatch, RecordProcessor, ShardContext, Worker};
use kinesis_local::LocalAws;
use kpl::{Metrics, MetricsGranularity, Producer, UserRecord};
use tokio::time::{Instant, sleep_until};

use crate::{APPLICATION, RECORDS_PER_SECOND, STREAM, WORKER};

const KEYS: usize = 10_000;

struct Processor;

impl RecordProcessor for Processor {
    type Error = BoxError;

    async fn process_records(&mut self, _: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        Ok(checkpointer.checkpoint().await?)
    }
}

pub(crate) async fn work(aws: &LocalAws, work: Duration) -> anyhow::Result<()> {
    let aws = aws.sdk_config();
    let publisher = kinesis_cloudwatch::install(&aws)?;
    let worker = Worker::builder(&aws, APPLICATION, STREAM)
        .worker_id(WORKER)
        .initial_position(InitialPosition::TrimHorizon)
        .build(|_: &ShardContext| Processor)?
        .start();
    // The default of the KPL.
    let metrics = Metrics::new().granularity(MetricsGranularity::Shard);
    let producer = Producer::builder(&aws, STREAM).metrics(metrics).build()?;
    let begun = Instant::now();
    for n in 0..RECORDS_PER_SECOND * work.as_secs() as usize {
        sleep_until(begun + Duration::from_secs(1) * n as u32 / RECORDS_PER_SECOND as u32).await;
        drop(producer.put(UserRecord::new(format!("key-{}", n % KEYS), vec![b'x'; 100])).await?);
    }
    producer.shutdown().await;
    worker.stop().await?;
    publisher.shutdown().await;
    Ok(())
}
