//! The functions as processes, by the real runtime crate, against a local Runtime API.

use std::{
    process::{Command as Program, Stdio},
    time::Duration,
};

use aws_sdk_kinesis::{primitives::Blob, types::Record};
use kinesis_local::{LocalAws, ServeOptions, Server};
use kpl::{
    UserRecord,
    aggregated::Aggregate,
    compressed::{Compression, FrameWriter},
};
use samples::{
    lambda::{
        consumer::ProgressTable,
        local::{FunctionError, RuntimeApi, event_of},
    },
    letters::ObjectLetters,
    objects::Objects,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/StockTradeStream";
const SHARD: &str = "shardId-000000000000";
const GRANTED: Duration = Duration::from_secs(30);

struct Function {
    api: RuntimeApi,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Function {
    async fn start(server: &Server, handler: &str, settings: &[(&str, &str)]) -> Self {
        let api = RuntimeApi::serve().await.expect("a port is free");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambda"));
        command.env_clear().envs(api.environment(handler, handler)).envs(settings.iter().copied());
        command.env("AWS_ENDPOINT_URL_KINESIS", server.kinesis_url());
        command.env("AWS_ENDPOINT_URL_DYNAMODB", server.dynamodb_url());
        command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("it is built");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { api, process, lines }
    }

    async fn invoke(&self, event: Value) -> Result<Value, FunctionError> {
        self.api.invoke(event, GRANTED).await
    }

    /// The next line of its output, without the sequence number.
    async fn line(&mut self) -> String {
        let line = timeout(GRANTED, self.lines.next_line()).await.expect("in time").expect("it is text");
        line.expect("the function runs").replace(SHARD, "shard")
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().expect("it runs").to_string();
        let status = Program::new("kill").args([signal, &id]).status().expect("there is kill");
        assert!(status.success());
    }
}

fn trade(symbol: &str, quantity: i64) -> UserRecord {
    let trade = json!({ "tickerSymbol": symbol, "tradeType": "BUY", "price": 9.5, "quantity": quantity, "id": 1 });
    UserRecord::new(symbol, trade.to_string())
}

fn aggregate(records: Vec<UserRecord>) -> Vec<u8> {
    let mut aggregate = Aggregate::new();
    records.into_iter().for_each(|record| aggregate.push(record));
    aggregate.encode().to_vec()
}

/// An event with Kinesis records of these data, numbered from 1.
fn event(data: Vec<Vec<u8>>) -> Value {
    let record = |(number, data): (usize, Vec<u8>)| {
        let record =
            Record::builder().sequence_number((number + 1).to_string()).partition_key("a").data(Blob::new(data));
        record.build().expect("all is set")
    };
    event_of(ARN, SHARD, &data.into_iter().enumerate().map(record).collect::<Vec<_>>())
}

fn failed(sequence_number: &str) -> Value {
    json!({ "batchItemFailures": [{ "itemIdentifier": sequence_number }] })
}

/// Checks the letters of the poison record and of the frame that was cut off.
async fn assert_kept(place: &str, frame_bytes: usize) {
    let letters = ObjectLetters::new(Objects::open(place).expect("a folder")).all().await.expect("letters");
    let kept =
        letters.iter().map(|letter| (letter.sequence_number.as_str(), letter.text.as_deref(), letter.data_bytes));
    assert_eq!(kept.collect::<Vec<_>>(), [("1", None, frame_bytes), ("2", Some("no trade"), 8)]);
    let poison = &letters[1];
    assert_eq!((poison.stream.as_str(), poison.shard_id.as_str(), poison.attempts), ("StockTradeStream", SHARD, 2));
    assert_eq!((poison.application.as_str(), poison.sub_sequence_number), ("consumer", Some(1)));
}

#[tokio::test]
async fn consumer_answers_lambda_with_the_record_to_retry_from() {
    let local = LocalAws::start().await;
    let table = ProgressTable::new(aws_sdk_dynamodb::Client::new(&local.sdk_config()), "FunctionProgress", "consumer");
    table.create().await.expect("it is new");
    let server = local.serve(ServeOptions::default()).await.expect("ports are free");
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("it is UTF-8");
    let settings = [("PROGRESS_TABLE", "FunctionProgress"), ("MAX_ATTEMPTS", "2"), ("LETTERS", place)];
    let mut function = Function::start(&server, "consumer", &settings).await;
    let all_done = json!({ "batchItemFailures": [] });

    // An empty batch, and plain, aggregated and compressed records.
    assert_eq!(function.invoke(json!({ "Records": [] })).await, Ok(all_done.clone()));
    let many = aggregate((0..100).map(|quantity| trade("GOOG", quantity)).collect());
    let frame = FrameWriter::new(Compression::Zstd(1), None).frame(&many).expect("shorter");
    let plain = trade("AMZN", 1).into_data().to_vec();
    let good = event(vec![plain, aggregate(vec![trade("AAPL", 2), trade("MSFT", 3)]), frame.to_vec()]);
    assert_eq!(function.invoke(good).await, Ok(all_done.clone()));
    assert_eq!(function.line().await, "processed shard 1 AMZN 1");
    assert_eq!(function.line().await, "processed shard 2/0 AAPL 2");
    assert_eq!(function.line().await, "processed shard 2/1 MSFT 3");
    for quantity in 0..100 {
        assert_eq!(function.line().await, format!("processed shard 3/{quantity} GOOG {quantity}"));
    }

    // A poison record in the middle of an aggregate: retried by another instance, given up there, and nothing is repeated.
    let poison = || {
        let poisoned = aggregate(vec![trade("AAPL", 5), UserRecord::new("k", "no trade"), trade("AAPL", 6)]);
        event(vec![trade("AMZN", 4).into_data().to_vec(), poisoned, trade("AMZN", 7).into_data().to_vec()])
    };
    assert_eq!(function.invoke(poison()).await, Ok(failed("2")));
    assert_eq!(function.line().await, "processed shard 1 AMZN 4");
    assert_eq!(function.line().await, "processed shard 2/0 AAPL 5");
    drop(function);
    let mut function = Function::start(&server, "consumer", &settings).await;
    let mut retried = poison();
    retried["Records"].as_array_mut().expect("records").remove(0);
    assert_eq!(function.invoke(retried).await, Ok(all_done.clone()));
    assert_eq!(function.line().await, "given up shard 2/1 expected ident at line 1 column 2");
    assert_eq!(function.line().await, "processed shard 2/2 AAPL 6");
    assert_eq!(function.line().await, "processed shard 3 AMZN 7");

    // A frame that is cut off.
    let mut cut = frame.to_vec();
    cut.pop();
    let cut = event(vec![cut]);
    assert_eq!(function.invoke(cut.clone()).await, Ok(failed("1")));
    assert_eq!(function.invoke(cut).await, Ok(all_done));
    let length = frame.len() - 1;
    let given_up = format!("given up shard 1 frame of {length} bytes has another length than its header says");
    assert_eq!(function.line().await, given_up);
    assert_kept(place, length).await;

    // Function errors: what is no event, and a table that is gone. The function lives on.
    let error = function.invoke(json!({ "Records": [{ "kinesis": 1 }] })).await.expect_err("it is no event");
    assert!(error.to_string().contains("errorMessage"), "{error}");
    local.deny("dynamodb:Query");
    let Err(FunctionError::Returned(error)) = function.invoke(event(vec![b"x".to_vec()])).await else {
        panic!("the table cannot be read");
    };
    assert_eq!(error["errorType"], "ConsumerError");
    let text = error["errorMessage"].as_str().unwrap_or_default();
    assert!(text.starts_with("progress cannot be read from table FunctionProgress: "), "{text}");
    local.allow("dynamodb:Query");
    assert_eq!(function.invoke(json!({ "Records": [] })).await, Ok(json!({ "batchItemFailures": [] })));
}

#[tokio::test]
async fn a_record_is_not_given_up_without_a_place_for_letters() {
    let local = LocalAws::start().await;
    let table = ProgressTable::new(aws_sdk_dynamodb::Client::new(&local.sdk_config()), "FunctionProgress", "consumer");
    table.create().await.expect("it is new");
    let server = local.serve(ServeOptions::default()).await.expect("ports are free");
    let settings = [("PROGRESS_TABLE", "FunctionProgress"), ("MAX_ATTEMPTS", "1")];
    let function = Function::start(&server, "consumer", &settings).await;

    for _ in 0..3 {
        assert_eq!(function.invoke(event(vec![b"no trade".to_vec()])).await, Ok(failed("1")));
    }
}

#[tokio::test]
async fn producer_survives_a_freeze_in_which_its_connections_end() {
    let local = LocalAws::start().await;
    local.create_stream("StockTradeStream", 2).expect("it is new");
    let mut server = local.serve(ServeOptions::default()).await.expect("ports are free");
    let function = Function::start(&server, "producer", &[("STREAM", "StockTradeStream")]).await;
    let put = async || {
        let entry = |n: usize| json!({ "PartitionKey": n.to_string(), "Data": "dHJhZGU=" });
        let event = json!({ "Records": (0..20).map(entry).collect::<Vec<_>>() });
        function.invoke(event).await.expect("the function answers")
    };

    assert_eq!(put().await["FailedRecordCount"], 0);
    for _ in 0..2 {
        function.signal("-STOP");
        let port = server.kinesis_address().port();
        server.stop().await;
        server = local.serve(ServeOptions::default().kinesis_port(port)).await.expect("the port is free again");
        function.signal("-CONT");

        let answer = put().await;
        assert_eq!(answer["FailedRecordCount"], 0, "{answer}");
        assert!(answer["Records"][19]["SequenceNumber"].is_string(), "{answer}");
    }
    let bad = json!({ "Records": [{ "PartitionKey": "k", "Data": "%" }] });
    let error = function.invoke(bad).await.expect_err("it is not base64");
    assert!(error.to_string().contains("Records[0]: Data is not base64"), "{error}");
}

#[tokio::test]
async fn both_run_on_the_embedded_aws_by_one_command() {
    let run = Command::new(env!("CARGO_BIN_EXE_lambda")).env_remove("_HANDLER").kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(60), run).await.expect("in time").expect("it is built");

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("producer: 200 records stored by 4 invocations"), "{text}");
    assert_eq!(text.matches("\nprocessed ").count(), 199, "{text}");
    assert_eq!(text.matches("\ngiven up ").count(), 1, "{text}");
}
