//! Requests as others send them to CloudWatch, byte by byte.
//!
//! The files of `golden/` are bodies of PutMetricData of the KPL 1.0.7, and of the KCL for Java 3.5.1 and 2.7.2 with their
//! CloudWatch clients 2.41.21 and 2.33.0, as `PublishingProducer.java` and `PublishingConsumer.java` of
//! `integration-tests/side-by-side` publish them; the heads are theirs, too.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::{Duration, SystemTime};

use kinesis_local::{LocalAws, Metric, MetricForm, ServeOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CBOR: &str = "accept: application/cbor\r\ncontent-type: application/cbor\r\nsmithy-protocol: rpc-v2-cbor\r\n\
                    x-amzn-query-mode: true";
const FORM: &str = "content-type: application/x-www-form-urlencoded; charset=utf-8";
const PUT: &str = "/service/GraniteServiceVersion20100801/operation/PutMetricData";

/// Metrics that CloudWatch has after a request, and the answer.
async fn put(path: &str, head: &str, body: &[u8]) -> (Vec<Metric>, String) {
    let aws = LocalAws::start().await;
    let server = aws.serve(ServeOptions::default()).await.unwrap();
    let mut stream = TcpStream::connect(server.cloudwatch_address()).await.unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    (aws.metrics(), String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn metrics_of_the_kpl_are_kept() {
    let (metrics, answer) = put(PUT, CBOR, include_bytes!("golden/kpl-1.0.7.cbor")).await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("smithy-protocol: rpc-v2-cbor"), "{answer}");
    assert_eq!(metrics.len(), 14);
    let of_shard = [("StreamName", "StockTradeStream"), ("ShardId", "shardId-000000000000")];
    let metric = &metrics[0];
    assert_eq!((&*metric.namespace, &*metric.name), ("KinesisProducerLibrary", "BufferingTime"));
    assert_eq!(metric.dimensions, of_shard.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((metric.form, metric.unit.as_deref()), (MetricForm::Statistics, Some("Milliseconds")));
    assert_eq!([metric.sample_count, metric.sum, metric.minimum, metric.maximum], [602.0, 52_547.0, 20.0, 126.0]);
    assert_eq!(metric.timestamp, SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_016_363));
}

#[tokio::test]
async fn metrics_of_the_kcl_are_kept() {
    let (metrics, answer) = put(PUT, CBOR, include_bytes!("golden/kcl-3.5.1.cbor")).await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(metrics.len(), 20);
    let metric = &metrics[0];
    assert_eq!((&*metric.namespace, &*metric.name), ("App", "StatusOrdinal"));
    assert_eq!(metric.dimension("Operation"), Some("TableMigration"));
    assert_eq!((metric.form, metric.unit.as_deref()), (MetricForm::Statistics, Some("None")));
    assert_eq!([metric.sample_count, metric.sum, metric.minimum, metric.maximum], [11.0, 44.0, 4.0, 4.0]);
}

#[tokio::test]
async fn metrics_in_the_query_protocol_are_kept() {
    let (metrics, answer) = put("/", FORM, include_bytes!("golden/kcl-2.7.2.form")).await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("<PutMetricDataResponse"), "{answer}");
    assert!(answer.contains("content-type: text/xml\r\n"), "{answer}");
    assert_eq!(metrics.len(), 20);
    let metric = &metrics[0];
    assert_eq!((&*metric.namespace, &*metric.name), ("App", "CreateLease.Success"));
    assert_eq!((metric.dimension("Operation"), metric.unit.as_deref()), (Some("ShardSyncTask"), Some("Count")));
    assert_eq!([metric.sample_count, metric.sum, metric.minimum, metric.maximum], [2.0, 2.0, 1.0, 1.0]);
    assert_eq!(metric.form, MetricForm::Statistics);
}

#[tokio::test]
async fn the_query_protocol_has_refusals_of_its_own() {
    let (metrics, answer) = put("/", FORM, b"Action=PutMetricData&Version=2010-08-01&Namespace=AWS%2FKinesis").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("<Code>InvalidParameterValue</Code>"), "{answer}");
    assert!(metrics.is_empty());

    let (_, answer) = put("/", FORM, b"Action=ListMetrics&Version=2010-08-01").await;
    assert!(answer.contains("<Code>InvalidAction</Code>"), "{answer}");
    let (_, answer) = put("/", FORM, b"Version=2010-08-01").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
