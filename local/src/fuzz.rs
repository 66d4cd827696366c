//! Entry points for fuzzing: a request in, its answer out. Not part of the API.

use std::sync::{Arc, LazyLock};

use futures::StreamExt;
use serde_json::json;

use crate::clock::Clock;
use crate::services::{Body, Request, Service, Services, Settings};

/// All operations that are answered, and some that are not, as targets.
pub static TARGETS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let prefixes = ["Kinesis_20131202", "DynamoDB_20120810", "GraniteServiceVersion20100801"];
    let of_service = |(service, prefix): (Service, &str)| {
        let operations = service.operations().iter().chain(&["Nothing"]);
        operations.map(|operation| format!("{prefix}.{operation}")).collect::<Vec<_>>()
    };
    let mut targets: Vec<_> = Service::ALL.into_iter().zip(prefixes).flat_map(of_service).collect();
    targets.push("Nothing_20131202.PutRecord".to_owned());
    targets
});

const CONTENT_TYPES: [&str; 5] = [
    "application/x-amz-json-1.1",
    "application/x-amz-cbor-1.1",
    "application/cbor",
    "application/json; charset=utf-8",
    "application/x-www-form-urlencoded",
];

/// Answers one request of new services with a stream `s`, a consumer `c` and a table `leases`, and returns the status. The
/// first byte chooses the operation and the second the format and the compression; the others are the body.
///
/// # Panics
/// Answering panics; nothing else may.
pub fn answer(input: &[u8]) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be built");
    runtime.block_on(async {
        let services = Arc::new(Services::new(Clock::start(), Settings::default()));
        for (target, body) in setup() {
            let (status, _) = exchange(&services, target, body.to_string().as_bytes(), 0).await;
            assert_eq!(status, 200, "{target}");
        }
        let (&operation, rest) = input.split_first().unwrap_or((&0, &[]));
        let (&format, body) = rest.split_first().unwrap_or((&0, &[]));
        let target = &TARGETS[usize::from(operation) % TARGETS.len()];
        let (status, answer) = exchange(&services, target, body, format).await;
        // Events are read until the first is there; the next would be five seconds away.
        if let Body::Events(mut events) = answer {
            for _ in 0..2 {
                events.next().await;
            }
        }
        status
    })
}

fn setup() -> [(&'static str, serde_json::Value); 4] {
    let key = json!([{ "AttributeName": "k", "KeyType": "HASH" }]);
    let attributes = json!([{ "AttributeName": "k", "AttributeType": "S" }]);
    let arn = crate::kinesis::arn("s");
    [
        ("Kinesis_20131202.CreateStream", json!({ "StreamName": "s", "ShardCount": 2 })),
        ("Kinesis_20131202.PutRecord", json!({ "StreamName": "s", "PartitionKey": "k", "Data": "aGk=" })),
        ("Kinesis_20131202.RegisterStreamConsumer", json!({ "StreamARN": arn, "ConsumerName": "c" })),
        (
            "DynamoDB_20120810.CreateTable",
            json!({
                "TableName": "leases", "BillingMode": "PAY_PER_REQUEST", "KeySchema": key,
                "AttributeDefinitions": attributes,
            }),
        ),
    ]
}

async fn exchange(services: &Arc<Services>, target: &str, body: &[u8], format: u8) -> (u16, Body) {
    let request = Request {
        path: "/",
        target,
        content_type: CONTENT_TYPES[usize::from(format) % CONTENT_TYPES.len()],
        content_encoding: if format >= 128 { "gzip" } else { "" },
        signed_at: "",
        body,
    };
    let answer = services.answer(request).await.expect("no fault drops the connection");
    (answer.status, answer.body)
}
