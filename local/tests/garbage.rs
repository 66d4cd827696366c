//! Damaged requests are refused as the client's mistake: random bodies, and real ones with damage.
//!
//! `local/fuzz` does the same for as long as one likes.

#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use ciborium::Value as Cbor;
use kinesis_local::fuzz::{TARGETS, answer};
use proptest::prelude::*;
use serde_json::{Value, json};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const CBOR: u8 = 1;

/// A request with nearly all fields of all operations, so that damage reaches deep code.
fn request() -> Value {
    json!({
        "StreamName": "s",
        "StreamARN": ARN,
        "ResourceARN": ARN,
        "ConsumerName": "c",
        "ConsumerARN": format!("{ARN}/consumer/c:1763616000"),
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON",
        "ShardIterator": "AAAAAAAAAAE=",
        "NextToken": null,
        "StartingPosition": { "Type": "AT_TIMESTAMP", "Timestamp": 1.5 },
        "ShardFilter": { "Type": "AT_TIMESTAMP", "Timestamp": 1.5 },
        "Records": [{ "Data": "aGk=", "PartitionKey": "k", "ExplicitHashKey": "0" }, { "Data": "", "PartitionKey": "k" }],
        "Data": "aGk=",
        "PartitionKey": "k",
        "ShardCount": 2,
        "TargetShardCount": 3,
        "ScalingType": "UNIFORM_SCALING",
        "ShardToSplit": "shardId-000000000000",
        "NewStartingHashKey": "10",
        "ShardToMerge": "shardId-000000000000",
        "AdjacentShardToMerge": "shardId-000000000001",
        "RetentionPeriodHours": 48,
        "MaxRecordSizeInKiB": 2048,
        "Limit": 10,
        "Tags": { "a": "b" },
        "TagKeys": ["a"],
        "EncryptionType": "KMS",
        "KeyId": "alias/aws/kinesis",
        "StreamModeDetails": { "StreamMode": "ON_DEMAND" },
        "RecordDistributionStrategy": "AUTO",
        "ShardLevelMetrics": ["ALL"],
        "TableName": "leases",
        "Item": { "k": { "S": "x" } },
        "Key": { "k": { "S": "x" } },
        "Namespace": "App",
        "MetricData": [{ "MetricName": "m", "Value": 1.0, "Dimensions": [{ "Name": "a", "Value": "b" }] }],
    })
}

/// Values that do not belong where they are put.
fn stranger() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,300}".prop_map(Value::from),
        prop::collection::vec(any::<i64>().prop_map(Value::from), 0..600).prop_map(Value::from),
        Just(json!({})),
        Just(json!({ "S": 1, "Type": "AFTER_SHARD_ID" })),
        Just(json!("340282366920938463463374607431768211456")),
        Just(json!("shardId-999999999999")),
        Just(json!(i64::MIN)),
    ]
}

/// The request with some of its fields gone and some replaced.
fn damaged() -> impl Strategy<Value = Value> {
    let fields = request().as_object().unwrap().len();
    let removed = prop::collection::vec(any::<bool>(), fields);
    let replaced = prop::collection::vec((0..fields, stranger()), 0..4);
    (removed, replaced).prop_map(|(removed, replaced)| {
        let whole = request();
        let fields: Vec<_> = whole.as_object().unwrap().iter().collect();
        let kept = fields.iter().zip(&removed).filter(|(_, removed)| !**removed);
        let mut request: serde_json::Map<_, _> =
            kept.map(|((key, value), _)| ((*key).clone(), (*value).clone())).collect();
        for (n, value) in replaced {
            request.insert(fields[n].0.clone(), value);
        }
        Value::Object(request)
    })
}

fn send(operation: u8, format: u8, body: &[u8]) -> u16 {
    answer(&[&[operation, format], body].concat())
}

fn to_cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&Cbor::serialized(value).unwrap(), &mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_requests_are_answered(operation in 0..TARGETS.len() as u8, request in damaged()) {
        for (format, body) in [(0, request.to_string().into_bytes()), (CBOR, to_cbor(&request))] {
            let status = send(operation, format, &body);
            prop_assert!(matches!(status, 200 | 400), "{} in {}", status, TARGETS[usize::from(operation)]);
        }
    }

    #[test]
    fn random_bodies_are_answered(operation: u8, format: u8, body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(matches!(send(operation, format, &body), 200 | 400));
    }

    #[test]
    fn broken_encodings_are_answered(
        operation in 0..TARGETS.len() as u8,
        format in 0..2_u8,
        request in damaged(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut body = if format == CBOR { to_cbor(&request) } else { request.to_string().into_bytes() };
        let at = at.index(body.len());
        body[at] = byte;
        prop_assert!(matches!(send(operation, format, &body), 200 | 400));
        body.truncate(at);
        prop_assert!(matches!(send(operation, format, &body), 200 | 400));
    }
}

#[test]
fn every_operation_is_known() {
    for (n, target) in (0..).zip(TARGETS.iter()) {
        let body = answer(&[&[n, 0][..], b"{\"Unknown\":1}"].concat());
        assert!(matches!(body, 200 | 400), "{target}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    for (format, body) in [(0, vec![b'['; 100_000]), (CBOR, vec![0x81; 100_000]), (CBOR, vec![0xc1; 100_000])] {
        assert_eq!(send(20, format, &body), 400);
    }
}
