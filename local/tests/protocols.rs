//! Event streams, TLS, HTTP/2, CBOR and CloudWatch on real sockets. Time is real here, and nothing waits for it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use ciborium::Value;
use kinesis_local::{LocalAws, ServeOptions, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SHARD: &str = "shardId-000000000000";

/// The configuration for clients over sockets, trusting the server's certificate if it has one.
async fn config(server: &Server) -> aws_types::SdkConfig {
    let http_client = match server.certificate_pem() {
        None => aws_smithy_http_client::Builder::new().build_http(),
        Some(pem) => {
            let trust_store = TrustStore::empty().with_pem_certificate(pem.as_bytes());
            let context = TlsContext::builder().with_trust_store(trust_store).build().unwrap();
            let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
            builder.tls_context(context).build_https()
        }
    };
    LocalAws::start().await.sdk_config().into_builder().http_client(http_client).build()
}

async fn kinesis(server: &Server) -> aws_sdk_kinesis::Client {
    let config = config(server).await.into_builder().endpoint_url(server.kinesis_url()).build();
    aws_sdk_kinesis::Client::new(&config)
}

/// Puts a record while subscribed, and reads it from the subscription.
async fn subscribe_and_put(kinesis: &aws_sdk_kinesis::Client) {
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("app").send().await.unwrap();
    let from = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().unwrap();
    let call = kinesis.subscribe_to_shard().consumer_arn(consumer.consumer().unwrap().consumer_arn()).shard_id(SHARD);
    let mut events = call.starting_position(from).send().await.unwrap().event_stream;
    let mut next = async || match events.recv().await.unwrap().unwrap() {
        SubscribeToShardEventStream::SubscribeToShardEvent(event) => event,
        other => panic!("{other:?}"),
    };

    assert!(next().await.records().is_empty());
    let put = kinesis.put_record().stream_name("s").partition_key("k").data(Blob::new("x")).send().await.unwrap();

    let event = next().await;
    assert_eq!(event.records()[0].sequence_number(), put.sequence_number());
}

#[tokio::test]
async fn a_subscription_comes_over_http1() {
    let server = LocalAws::start().await.serve(ServeOptions::default()).await.unwrap();

    subscribe_and_put(&kinesis(&server).await).await;

    server.stop().await;
}

#[tokio::test]
async fn a_subscription_comes_over_http2_and_tls() {
    let server = LocalAws::start().await.serve(ServeOptions::default().tls(true)).await.unwrap();
    assert!(server.kinesis_url().starts_with("https://127.0.0.1:"));

    subscribe_and_put(&kinesis(&server).await).await;

    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_stays_out() {
    let server = LocalAws::start().await.serve(ServeOptions::default().tls(true)).await.unwrap();
    let other = LocalAws::start().await.serve(ServeOptions::default().tls(true)).await.unwrap();
    let config = config(&other).await.into_builder().endpoint_url(server.kinesis_url());
    let kinesis = aws_sdk_kinesis::Client::new(&config.build());

    let refused = kinesis.list_streams().send().await.unwrap_err();

    assert!(matches!(refused, aws_sdk_kinesis::error::SdkError::DispatchFailure(_)), "{refused:?}");
}

#[tokio::test]
async fn tls_settles_on_http2() {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};

    let server = LocalAws::start().await.serve(ServeOptions::default().tls(true)).await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.certificate_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let stream = TcpStream::connect(server.kinesis_address()).await.unwrap();

    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();

    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn metrics_are_put_over_sockets() {
    let aws = LocalAws::start().await;
    let server = aws.serve(ServeOptions::default()).await.unwrap();
    let config = config(&server).await.into_builder().endpoint_url(server.cloudwatch_url()).build();
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);

    let metric = aws_sdk_cloudwatch::types::MetricDatum::builder().metric_name("m").value(1.0).build();
    cloudwatch.put_metric_data().namespace("App").metric_data(metric).send().await.unwrap();

    assert_eq!(aws.metrics().len(), 1);
}

/// Sends one request and returns the head and the body of the answer.
async fn post(server: &Server, target: &str, content_type: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.kinesis_address()).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-amz-target: {target}\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
}

/// As the Java SDK does: in CBOR, with a map of unknown length.
async fn post_cbor(server: &Server, operation: &str, fields: &[(&str, Value)]) -> (String, Value) {
    let mut body = vec![0xbf];
    for (name, value) in fields {
        ciborium::into_writer(name, &mut body).unwrap();
        ciborium::into_writer(value, &mut body).unwrap();
    }
    body.push(0xff);
    let target = format!("Kinesis_20131202.{operation}");
    let (head, answer) = post(server, &target, "application/x-amz-cbor-1.1", &body).await;
    assert!(head.contains("content-type: application/x-amz-cbor-1.1"), "{head}");
    (head, ciborium::from_reader(&answer[..]).unwrap())
}

fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    let map = value.as_map().unwrap();
    &map.iter().find(|(key, _)| key.as_text() == Some(name)).unwrap_or_else(|| panic!("no {name} in {value:?}")).1
}

#[tokio::test]
async fn cbor_is_answered_in_kind() {
    let server = LocalAws::start().await.serve(ServeOptions::default()).await.unwrap();
    let name = ("StreamName", Value::from("s"));
    post_cbor(&server, "CreateStream", &[name.clone(), ("ShardCount", Value::from(1))]).await;

    let data = Value::Bytes(vec![0, 159, 255]);
    let put = [name.clone(), ("PartitionKey", Value::from("k")), ("Data", data.clone())];
    let (head, put) = post_cbor(&server, "PutRecord", &put).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let start = Value::Tag(1, Box::new(Value::from(1_000_000_000_000_i64)));
    let iterator = [
        name.clone(),
        ("ShardId", Value::from(SHARD)),
        ("ShardIteratorType", Value::from("AT_TIMESTAMP")),
        ("Timestamp", start),
    ];
    let (_, iterator) = post_cbor(&server, "GetShardIterator", &iterator).await;
    let iterator = ("ShardIterator", field(&iterator, "ShardIterator").clone());
    let (_, answer) = post_cbor(&server, "GetRecords", &[iterator]).await;

    let record = &field(&answer, "Records").as_array().unwrap()[0];
    assert_eq!(field(record, "Data"), &data);
    assert_eq!(field(record, "SequenceNumber"), field(&put, "SequenceNumber"));
    let arrival = i128::from(field(record, "ApproximateArrivalTimestamp").as_integer().unwrap());
    assert!((1_700_000_000_000..4_000_000_000_000).contains(&arrival), "{arrival} is not in milliseconds");
}

#[tokio::test]
async fn refusals_and_garbage_are_answered_in_cbor_too() {
    let server = LocalAws::start().await.serve(ServeOptions::default()).await.unwrap();

    let (head, answer) = post_cbor(&server, "DescribeStream", &[("StreamName", Value::from("s"))]).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(field(&answer, "__type").as_text(), Some("ResourceNotFoundException"));
    assert_eq!(field(&answer, "message").as_text(), Some("Stream s under account 000000000000 not found."));

    for garbage in [&b"\xff"[..], b"\xbf", b"\x01", b"{}"] {
        let content_type = "application/x-amz-cbor-1.1";
        let (head, answer) = post(&server, "Kinesis_20131202.PutRecord", content_type, garbage).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        let answer: Value = ciborium::from_reader(&answer[..]).unwrap();
        assert_eq!(field(&answer, "__type").as_text(), Some("SerializationException"), "{garbage:?}");
    }
}

#[tokio::test]
async fn events_come_in_cbor_when_asked_in_cbor() {
    let aws = LocalAws::start().await;
    let server = aws.serve(ServeOptions::default()).await.unwrap();
    let kinesis = aws_sdk_kinesis::Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("app").send().await.unwrap();
    let consumer = Value::from(consumer.consumer().unwrap().consumer_arn());
    // So that the answer ends after the first event.
    aws.faults().on("kinesis:SubscribeToShard").cut_event_stream(1);
    let position = Value::Map(vec![(Value::from("Type"), Value::from("LATEST"))]);
    let request = Value::Map(vec![
        (Value::from("ConsumerARN"), consumer),
        (Value::from("ShardId"), Value::from(SHARD)),
        (Value::from("StartingPosition"), position),
    ]);
    let mut body = Vec::new();
    ciborium::into_writer(&request, &mut body).unwrap();

    let (head, answer) = post(&server, "Kinesis_20131202.SubscribeToShard", "application/x-amz-cbor-1.1", &body).await;

    assert!(head.contains("content-type: application/vnd.amazon.eventstream"), "{head}");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("initial-response") && text.contains("application/x-amz-cbor-1.1"), "{text}");
    // A text of 26 bytes, the name of a field, as CBOR writes it.
    let name = [&[0x78, 26][..], b"ContinuationSequenceNumber"].concat();
    assert!(answer.windows(name.len()).any(|window| window == name), "{text}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = LocalAws::start().await.serve(ServeOptions::default()).await.unwrap();
    let mut stream = TcpStream::connect(server.kinesis_address()).await.unwrap();
    let head =
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.PutRecords\r\ncontent-length: 100000000\r\n\r\n";

    stream.write_all(head.as_bytes()).await.unwrap();

    // The server does not wait for it, by the length alone.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}
