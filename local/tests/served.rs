//! The services on real sockets: by the library and by the binary. Time is real here, and nothing waits for it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use kinesis_local::{LocalAws, ServeError, ServeOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Clients for an endpoint, over sockets.
async fn clients(kinesis_url: &str, dynamodb_url: &str) -> (aws_sdk_kinesis::Client, aws_sdk_dynamodb::Client) {
    let http_client = aws_smithy_http_client::Builder::new().build_http();
    let config = LocalAws::start().await.sdk_config().into_builder().http_client(http_client).build();
    let at = |url: &str| config.clone().into_builder().endpoint_url(url).build();
    (aws_sdk_kinesis::Client::new(&at(kinesis_url)), aws_sdk_dynamodb::Client::new(&at(dynamodb_url)))
}

async fn use_both(kinesis: &aws_sdk_kinesis::Client, dynamodb: &aws_sdk_dynamodb::Client) {
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let large = Blob::new(vec![7; (1 << 20) - 1]);
    let entry = PutRecordsRequestEntry::builder().partition_key("k").data(large.clone()).build().unwrap();
    kinesis.put_records().stream_name("s").set_records(Some(vec![entry; 3])).send().await.unwrap();
    let iterator = kinesis.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    let records = kinesis.get_records().set_shard_iterator(iterator.shard_iterator).send().await.unwrap();
    assert_eq!(records.records().len(), 3);
    assert_eq!(records.records()[2].data(), &large);

    let missing = dynamodb.describe_table().table_name("none").send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
}

#[tokio::test]
async fn serves_both_services_with_the_state_of_the_process() {
    let aws = LocalAws::start().await;
    let server = aws.serve(ServeOptions::default()).await.unwrap();
    let (kinesis, dynamodb) = clients(&server.kinesis_url(), &server.dynamodb_url()).await;

    use_both(&kinesis, &dynamodb).await;

    let in_process = aws_sdk_kinesis::Client::new(&aws.sdk_config());
    assert_eq!(in_process.list_streams().send().await.unwrap().stream_names(), ["s"]);
    server.stop().await;
    assert!(kinesis.list_streams().send().await.is_err());
}

#[tokio::test]
async fn names_a_port_that_is_taken() {
    let aws = LocalAws::start().await;
    let server = aws.serve(ServeOptions::default()).await.unwrap();
    let taken = server.kinesis_address();

    let again = aws.serve(ServeOptions::default().dynamodb_port(taken.port())).await;

    let error = again.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot serve DynamoDB on {taken}"));
    let ServeError::Bind { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn answers_anything_else_over_http() {
    let server = LocalAws::start().await.serve(ServeOptions::default()).await.unwrap();
    let mut stream = TcpStream::connect(server.kinesis_address()).await.unwrap();

    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();

    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with(r#"{"__type":"UnknownOperationException"}"#), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_says_if_a_server_answers() {
    let options = ServeOptions::default().address(Ipv4Addr::UNSPECIFIED.into());
    let server = LocalAws::start().await.serve(options).await.unwrap();
    assert!(server.kinesis_address().ip().is_unspecified());
    let url = format!("{}/livez", server.dynamodb_url());
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let health = |url: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_kinesis-local")).args(["health", url]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };

    assert_eq!(health(&url), (Some(0), String::new()));
    let (code, said) = health(&server.dynamodb_url());
    assert!(code == Some(1) && said.contains("answers 400"), "{said}");
    server.stop().await;
    let (code, said) = health(&url);
    assert!(code == Some(1) && said.contains("does not answer"), "{said}");
}

#[tokio::test]
async fn understands_http2_from_the_first_byte() {
    const SETTINGS: u8 = 4;
    let server = LocalAws::start().await.serve(ServeOptions::default()).await.unwrap();
    let mut stream = TcpStream::connect(server.kinesis_address()).await.unwrap();

    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();

    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], SETTINGS);
}

// Paused, so that the time which the server grants passes at once.
#[tokio::test(start_paused = true)]
async fn stops_although_a_request_is_half_sent() {
    let server = LocalAws::start().await.serve(ServeOptions::default()).await.unwrap();
    let mut stream = TcpStream::connect(server.kinesis_address()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();

    server.stop().await;

    let mut rest = Vec::new();
    let closed = stream.read_to_end(&mut rest).await;
    assert!(closed.is_err() || rest.is_empty(), "{rest:?}");
}

/// The binary, which is killed when a test fails.
struct Binary(Child);

impl Binary {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinesis-local"));
        let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.0.kill();
    }
}

#[tokio::test]
async fn prints_its_environment_serves_and_stops_at_a_signal() {
    let mut binary = Binary::start(&["--kinesis-port", "0", "--dynamodb-port", "0"]);
    let out = BufReader::new(binary.0.stdout.take().unwrap());
    let lines: Vec<_> = out.lines().map(Result::unwrap).take_while(|line| line != "ready").collect();
    let value = |name: &str| {
        let prefix = format!("export {name}=");
        lines.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name} in {lines:?}"))
    };
    assert_eq!((value("AWS_REGION"), value("AWS_DEFAULT_REGION")), ("us-east-1", "us-east-1"));
    assert!(value("AWS_ENDPOINT_URL_CLOUDWATCH").starts_with("http://127.0.0.1:"));
    assert!(!value("AWS_ACCESS_KEY_ID").is_empty() && !value("AWS_SECRET_ACCESS_KEY").is_empty());

    let (kinesis, dynamodb) = clients(value("AWS_ENDPOINT_URL_KINESIS"), value("AWS_ENDPOINT_URL_DYNAMODB")).await;
    use_both(&kinesis, &dynamodb).await;

    if cfg!(unix) {
        Command::new("kill").arg(binary.0.id().to_string()).status().unwrap();
        assert!(binary.0.wait().unwrap().success());
    }
}

#[test]
fn writes_the_certificate_to_the_file_and_exports_its_path() {
    let directory = std::env::temp_dir().join(format!("kinesis-local-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("the certificate.pem");

    let mut binary =
        Binary::start(&["--kinesis-port", "0", "--dynamodb-port", "0", "--tls-certificate", file.to_str().unwrap()]);

    let out = BufReader::new(binary.0.stdout.take().unwrap());
    let lines: Vec<_> = out.lines().map(Result::unwrap).take_while(|line| line != "ready").collect();
    assert!(lines.contains(&format!("export AWS_CA_BUNDLE='{}'", file.display())), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("export AWS_ENDPOINT_URL_KINESIS=https://")), "{lines:?}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn prints_which_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    let output = Command::new(env!("CARGO_BIN_EXE_kinesis-local"))
        .args(["--kinesis-port", &port, "--dynamodb-port", "0"])
        .output()
        .unwrap();

    assert!(!output.status.success() && output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = format!("kinesis-local: cannot serve Kinesis on 127.0.0.1:{port}: ");
    assert!(error.starts_with(&expected), "{error}");
}

#[cfg(unix)]
#[test]
fn is_taken_over_by_a_shell_as_the_help_describes() {
    let script = r#"
        while read -r line && [ "$line" != ready ]; do eval "$line"; done < <("$0" --kinesis-port 0 --dynamodb-port 0)
        echo "$AWS_ENDPOINT_URL_KINESIS $AWS_ENDPOINT_URL_DYNAMODB"
        kill $!
    "#;

    let output = Command::new("bash").args(["-euc", script, env!("CARGO_BIN_EXE_kinesis-local")]).output().unwrap();

    assert!(output.status.success(), "{output:?}");
    let urls = String::from_utf8(output.stdout).unwrap();
    assert!(urls.split_whitespace().all(|url| url.starts_with("http://127.0.0.1:")), "{urls}");
    assert_eq!(urls.split_whitespace().count(), 2);
}
