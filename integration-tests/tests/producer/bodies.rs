//! Bodies of requests: those of the SDK, to the byte.

use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
    primitives::Blob,
    types::PutRecordsRequestEntry,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture},
    orchestrator::HttpRequest,
};
use aws_smithy_types::base64;
use integration_tests::bench::canned::{Canned, answered_by};
use kpl::{Aggregation, HashKey, Producer, UserRecord};
use serde_json::Value;

/// Answers as `canned` does, and keeps the bodies of PutRecords.
#[derive(Debug, Clone)]
struct Kept {
    canned: Canned,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Kept {
    fn new() -> Self {
        Self { canned: Canned::new(4), bodies: Arc::default() }
    }

    fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.bodies.lock().expect("nobody panics"))
    }
}

impl HttpConnector for Kept {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers();
        if headers.get("x-amz-target").is_some_and(|target| target.ends_with("PutRecords")) {
            let body = request.body().bytes().expect("it is in memory").to_vec();
            assert_eq!(headers.get("content-length"), Some(body.len().to_string().as_str()));
            self.bodies.lock().expect("nobody panics").push(body);
        }
        self.canned.call(request)
    }
}

/// Body of the SDK for the same entries.
async fn by_the_sdk(client: &Client, kept: &Kept, body: &[u8]) -> Vec<u8> {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let text = |value: &Value, member: &str| value[member].as_str().map(str::to_owned);
    let entries = body["Records"].as_array().expect("entries").iter().map(|entry| {
        let data = base64::decode(text(entry, "Data").expect("data")).expect("base64");
        PutRecordsRequestEntry::builder()
            .data(Blob::new(data))
            .set_partition_key(text(entry, "PartitionKey"))
            .set_explicit_hash_key(text(entry, "ExplicitHashKey"))
            .build()
            .expect("key and data are set")
    });
    let call = client.put_records().set_records(Some(entries.collect()));
    let call = call.set_stream_name(text(&body, "StreamName")).set_stream_arn(text(&body, "StreamARN"));
    call.send().await.expect("Kinesis answers");
    kept.take().pop().expect("a request")
}

fn records() -> impl Iterator<Item = UserRecord> {
    let mut random = fastrand::Rng::with_seed(7);
    let odd = [
        "a",
        "\"quoted\"",
        "back\\slash",
        "line\nfeed\r\t",
        "\u{8}\u{c}\u{1}\u{1f}\u{7f}",
        "é漢🦀",
        "</script>",
        "\u{2028}",
    ];
    (0..400).map(move |n| {
        let data: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
        let record = UserRecord::new(format!("{}{n}", odd[n % odd.len()]), data);
        if n % 7 == 0 { record.with_explicit_hash_key(HashKey(random.u128(..))) } else { record }
    })
}

#[tokio::test]
async fn the_body_of_a_request_is_the_sdks_own() {
    let kept = Kept::new();
    let config = answered_by(kept.clone());
    let client = Client::new(&config);
    for stream in ["StockTradeStream", "arn:aws:kinesis:us-east-1:123456789012:stream/StockTradeStream"] {
        for aggregation in [Aggregation::default(), Aggregation::Off] {
            let producer = Producer::builder(&config, stream).aggregation(aggregation).build().expect("valid settings");
            producer.put_all(records()).await.into_iter().for_each(|outcome| drop(outcome.expect("stored")));
            let bodies = kept.take();
            assert!(!bodies.is_empty());
            for body in bodies {
                let by_the_sdk = by_the_sdk(&client, &kept, &body).await;
                assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&by_the_sdk));
            }
        }
    }
}

/// Stand-in for an SDK that speaks another protocol by default.
#[derive(Debug)]
struct OtherProtocol;

impl Intercept for OtherProtocol {
    fn name(&self) -> &'static str {
        "OtherProtocol"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("content-type", "application/another");
        Ok(())
    }
}

#[tokio::test]
async fn a_client_of_another_protocol_writes_the_bodies_itself() {
    let kept = Kept::new();
    let config = answered_by(kept.clone());
    let client = aws_sdk_kinesis::config::Builder::from(&config).interceptor(OtherProtocol).build();
    let builder = Producer::builder(&config, "StockTradeStream").kinesis_client(Client::from_conf(client));
    let producer = builder.aggregation(Aggregation::Off).build().expect("valid settings");

    let outcomes = producer.put_all(records()).await;

    assert_eq!(outcomes.len(), 400);
    for outcome in outcomes {
        assert_eq!(outcome.expect("stored").attempts(), 1, "the protocol is found out before anything is sent");
    }
    let entries: usize = kept.take().iter().map(|body| entries_of(body)).sum();
    assert_eq!(entries, 400);
}

fn entries_of(body: &[u8]) -> usize {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    body["Records"].as_array().expect("entries").len()
}
