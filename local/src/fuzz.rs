//! The way from a request to its answer, for fuzzing. Not part of the API.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::json;

use crate::clock::Clock;
use crate::services::{Body, Request, Services, Settings};

/// All operations that are answered, as targets.
pub const TARGETS: [&str; 60] = [
    "Kinesis_20131202.AddTagsToStream",
    "Kinesis_20131202.CreateStream",
    "Kinesis_20131202.DecreaseStreamRetentionPeriod",
    "Kinesis_20131202.DeleteStream",
    "Kinesis_20131202.DeregisterStreamConsumer",
    "Kinesis_20131202.DescribeLimits",
    "Kinesis_20131202.DescribeStream",
    "Kinesis_20131202.DescribeStreamConsumer",
    "Kinesis_20131202.DescribeStreamSummary",
    "Kinesis_20131202.DisableEnhancedMonitoring",
    "Kinesis_20131202.EnableEnhancedMonitoring",
    "Kinesis_20131202.GetRecords",
    "Kinesis_20131202.GetShardIterator",
    "Kinesis_20131202.IncreaseStreamRetentionPeriod",
    "Kinesis_20131202.ListShards",
    "Kinesis_20131202.ListStreamConsumers",
    "Kinesis_20131202.ListStreams",
    "Kinesis_20131202.ListTagsForResource",
    "Kinesis_20131202.ListTagsForStream",
    "Kinesis_20131202.MergeShards",
    "Kinesis_20131202.PutRecord",
    "Kinesis_20131202.PutRecords",
    "Kinesis_20131202.RegisterStreamConsumer",
    "Kinesis_20131202.RemoveTagsFromStream",
    "Kinesis_20131202.SplitShard",
    "Kinesis_20131202.StartStreamEncryption",
    "Kinesis_20131202.StopStreamEncryption",
    "Kinesis_20131202.SubscribeToShard",
    "Kinesis_20131202.TagResource",
    "Kinesis_20131202.UntagResource",
    "Kinesis_20131202.UpdateMaxRecordSize",
    "Kinesis_20131202.UpdateShardCount",
    "Kinesis_20131202.UpdateStreamMode",
    "Kinesis_20131202.UpdateStreamRecordDistributionStrategy",
    "Kinesis_20131202.Nothing",
    "Nothing_20131202.PutRecord",
    "DynamoDB_20120810.BatchGetItem",
    "DynamoDB_20120810.BatchWriteItem",
    "DynamoDB_20120810.CreateTable",
    "DynamoDB_20120810.DeleteItem",
    "DynamoDB_20120810.DeleteTable",
    "DynamoDB_20120810.DescribeContinuousBackups",
    "DynamoDB_20120810.DescribeTable",
    "DynamoDB_20120810.DescribeTimeToLive",
    "DynamoDB_20120810.ExecuteStatement",
    "DynamoDB_20120810.GetItem",
    "DynamoDB_20120810.ListTables",
    "DynamoDB_20120810.ListTagsOfResource",
    "DynamoDB_20120810.PutItem",
    "DynamoDB_20120810.Query",
    "DynamoDB_20120810.Scan",
    "DynamoDB_20120810.TagResource",
    "DynamoDB_20120810.TransactGetItems",
    "DynamoDB_20120810.TransactWriteItems",
    "DynamoDB_20120810.UpdateContinuousBackups",
    "DynamoDB_20120810.UpdateItem",
    "DynamoDB_20120810.UpdateTable",
    "DynamoDB_20120810.UpdateTimeToLive",
    "GraniteServiceVersion20100801.PutMetricData",
    "GraniteServiceVersion20100801.Nothing",
];

const CONTENT_TYPES: [&str; 4] =
    ["application/x-amz-json-1.1", "application/x-amz-cbor-1.1", "application/cbor", "application/json; charset=utf-8"];

/// Answers one request of new services with a stream `s`, a consumer `c` and a table `leases`, and returns the status. The
/// first byte chooses the operation and the second the format and the compression; the others are the body.
///
/// # Panics
/// When answering does; nothing else must make it.
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
        let target = TARGETS[usize::from(operation) % TARGETS.len()];
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
