//! Both functions on a local Lambda: the producer puts trades, and one record that is none, into a stream of the embedded AWS, and the
//! consumer processes the shards.

use std::{env, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use aws_sdk_kinesis::Client;
use kinesis_local::{LocalAws, ServeOptions, Server};
use samples::lambda::{
    consumer::ProgressTable,
    local::{EventSource, RuntimeApi},
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const STREAM: &str = "StockTradeStream";
const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/StockTradeStream";
const TABLE: &str = "FunctionProgress";
/// Invocations of the producer, and records of each.
const INVOCATIONS: usize = 4;
const RECORDS: usize = 50;
/// The record that is no trade, in the middle of an aggregate.
const POISON: usize = 75;
/// Time of an invocation.
const GRANTED: Duration = Duration::from_secs(10);
/// Kinesis records of an event, and maximum invocations for a shard.
const BATCH: usize = 10;
const MAX_INVOCATIONS: usize = 100;

pub(crate) async fn run() -> anyhow::Result<()> {
    let local = LocalAws::start().await;
    local.create_stream(STREAM, 2)?;
    let aws = local.sdk_config();
    ProgressTable::new(aws_sdk_dynamodb::Client::new(&aws), TABLE, "consumer").create().await?;
    let server = local.serve(ServeOptions::default()).await?;
    let letters = tempfile::tempdir()?;

    let api = RuntimeApi::serve().await?;
    let function = function(&api, &server, "producer", letters.path())?;
    let mut stored = 0;
    for invocation in 0..INVOCATIONS {
        let answer = api.invoke(request(invocation), GRANTED).await?;
        stored += RECORDS;
        ensure!(answer["FailedRecordCount"] == json!(0), "{answer}");
    }
    println!("producer: {stored} records stored by {INVOCATIONS} invocations");
    drop(function);

    let api = RuntimeApi::serve().await?;
    let _function = self::function(&api, &server, "consumer", letters.path())?;
    let kinesis = Client::new(&aws);
    for shard in kinesis.list_shards().stream_name(STREAM).send().await?.shards() {
        let mut source = EventSource::read(&kinesis, STREAM_ARN, shard.shard_id()).await?;
        let records = source.left();
        let invocations = source.drive(&api, BATCH, GRANTED, MAX_INVOCATIONS).await?;
        println!("consumer: {records} Kinesis records of {} by {invocations} invocations", shard.shard_id());
    }
    Ok(())
}

/// The program as a function, ended when it is dropped. It keeps records that it gives up in a folder.
fn function(api: &RuntimeApi, server: &Server, handler: &str, letters: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(env::current_exe().context("this program's path is unknown")?);
    command.env_clear().envs(api.environment(handler, handler)).kill_on_drop(true).stdin(Stdio::null());
    command.env("AWS_ENDPOINT_URL_KINESIS", server.kinesis_url());
    command.env("AWS_ENDPOINT_URL_DYNAMODB", server.dynamodb_url());
    command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command.env("STREAM", STREAM).env("PROGRESS_TABLE", TABLE).env("CHECK_RANGES", "true");
    command.env("LETTERS", letters);
    command.spawn().context("the function cannot be started")
}

/// The trades of an invocation.
fn request(invocation: usize) -> Value {
    let entry = |number: usize| {
        let symbol = ["AMZN", "AAPL", "GOOG", "MSFT"][number % 4];
        let trade =
            json!({ "tickerSymbol": symbol, "tradeType": "BUY", "price": 12.5, "quantity": number, "id": number });
        let data = if number == POISON { "no trade".to_owned() } else { trade.to_string() };
        json!({ "PartitionKey": symbol, "Data": base64_simd::STANDARD.encode_to_string(data) })
    };
    let first = invocation * RECORDS;
    json!({ "Records": (first..first + RECORDS).map(entry).collect::<Vec<_>>() })
}
