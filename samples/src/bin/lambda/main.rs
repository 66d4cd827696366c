//! Lambda functions for Kinesis: the handler `producer` puts records, the handler `consumer` processes them. Without a handler, both
//! run on a local Lambda, with the AWS embedded in the process: `cargo run -p samples --bin lambda`.
//!
//! Environment of the producer: `STREAM`. Of the consumer: `LETTERS`, a folder or `s3://bucket/path` for records that are given up
//! (default: none is), `MAX_ATTEMPTS` for a record (default 3), `PROGRESS_TABLE` (default: no progress is kept, and without it no
//! attempts are counted), `CHECK_RANGES=true` to leave out aggregates of other shards.

mod local;

use std::env;

use anyhow::{Context as _, bail};
use aws_lambda_events::kinesis::KinesisEvent;
use lambda_runtime::{LambdaEvent, service_fn};
use samples::{
    ambient,
    lambda::{
        TimeLeft,
        consumer::{Consumer, FunctionRecord, ProgressTable, Ranges},
        producer::Recorder,
        trades::Trades,
    },
    letters::ObjectLetters,
    objects::Objects,
    put_records::PutRecords,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    ambient::log();
    match env::var("_HANDLER").ok().as_deref() {
        Some("consumer") => consumer().await,
        Some("producer") => producer().await,
        Some(other) => bail!("handler {other:?} is unknown: there are consumer and producer"),
        None => local::run().await,
    }
}

async fn consumer() -> anyhow::Result<()> {
    let trades = &trades()?;
    let aws = ambient::aws().await;
    let dynamodb = &aws_sdk_dynamodb::Client::new(&aws);
    let progress_table = &env::var("PROGRESS_TABLE").ok();
    let mut consumer = Consumer::new();
    if env::var("CHECK_RANGES").is_ok_and(|check| check == "true") {
        consumer = consumer.with_ranges(Ranges::listed(aws_sdk_kinesis::Client::new(&aws)));
    }
    let consumer = &consumer;
    let handler = service_fn(|event: LambdaEvent<KinesisEvent>| async move {
        let (event, context) = event.into_parts();
        let mut consumer = consumer.clone();
        if let Some(table) = progress_table {
            // By the alias or version, not by the function's name: aliases of one version may share this process.
            let progress = ProgressTable::new(dynamodb.clone(), table, &context.invoked_function_arn);
            consumer = consumer.with_progress(progress);
        }
        let process = async |record: &FunctionRecord| trades.process(record).await;
        consumer.process(event, TimeLeft::of(&context), process).await
    });
    lambda_runtime::run(handler).await.map_err(anyhow::Error::from_boxed)
}

/// The application of the environment.
fn trades() -> anyhow::Result<Trades> {
    let max_attempts = match env::var("MAX_ATTEMPTS") {
        Ok(text) => text.parse().with_context(|| format!("MAX_ATTEMPTS is {text:?}, expected a number"))?,
        Err(_) => 3,
    };
    let Ok(place) = env::var("LETTERS") else { return Ok(Trades::new()) };
    let function = env::var("AWS_LAMBDA_FUNCTION_NAME").context("AWS_LAMBDA_FUNCTION_NAME is not set")?;
    let letters = ObjectLetters::new(Objects::open(&place).map_err(anyhow::Error::from_boxed)?);
    Ok(Trades::new().giving_up_after(max_attempts, function, letters))
}

async fn producer() -> anyhow::Result<()> {
    let stream = env::var("STREAM").context("STREAM is not set")?;
    let recorder = &Recorder::new(ambient::aws().await, stream);
    let handler = service_fn(|event: LambdaEvent<PutRecords>| {
        let (request, context) = event.into_parts();
        async move { recorder.put(request, TimeLeft::of(&context)).await }
    });
    lambda_runtime::run(handler).await.map_err(anyhow::Error::from_boxed)
}
