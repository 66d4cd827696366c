//! Injected refusals in the words of each service.

use serde::Deserialize;

use super::plan::Kind;
use crate::refusal::Refusal;
use crate::services::Service;

/// The data plane of Kinesis; all else answers throttling with LimitExceededException.
const KINESIS_DATA: [&str; 4] = ["PutRecord", "PutRecords", "GetRecords", "GetShardIterator"];

const TRANSACTION: &str = "Transaction is ongoing for the item";

pub(super) fn refusal(kind: &Kind, service: Service, operation: &str, body: &[u8]) -> Refusal {
    match (kind, service) {
        (Kind::Throttle, _) => throttled(service, operation),
        (Kind::Unavailable, Service::CloudWatch) => Refusal::new(503, "ServiceUnavailableException", ""),
        (Kind::Unavailable, _) => Refusal::new(503, "ServiceUnavailable", "Service is unavailable."),
        (Kind::ExpireCredentials, Service::CloudWatch) => {
            Refusal::new(403, "ExpiredToken", "The security token included in the request is expired")
        }
        (Kind::ExpireCredentials, Service::DynamoDb) => Refusal::new(
            400,
            "com.amazon.coral.service#ExpiredTokenException",
            "The security token included in the request is expired",
        ),
        (Kind::ExpireCredentials, Service::Kinesis) => {
            Refusal::new(400, "ExpiredTokenException", "The security token included in the request is expired")
        }
        (Kind::Conflict, _) => conflict(operation, body),
        (Kind::Refuse { status, code, message }, _) => Refusal::new(*status, code, message),
        (Kind::AnswerBare { status, body }, _) => {
            Refusal { status: *status, body: body.clone().into_bytes(), is_bare: true }
        }
        // Only Fail is left; the others are no refusals.
        (_, Service::DynamoDb) => {
            Refusal::new(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", "Internal server error")
        }
        (_, Service::CloudWatch) => Refusal::new(500, "InternalServiceFault", "Internal failure"),
        (_, Service::Kinesis) => Refusal::new(500, "InternalFailure", ""),
    }
}

fn throttled(service: Service, operation: &str) -> Refusal {
    const ITEMS: &str = "The level of configured provisioned throughput for the table was exceeded. Consider increasing \
                         your provisioning level with the UpdateTable API.";
    match service {
        Service::Kinesis if KINESIS_DATA.contains(&operation) => {
            Refusal::new(400, "ProvisionedThroughputExceededException", "Rate exceeded for shard.")
        }
        Service::Kinesis => Refusal::new(400, "LimitExceededException", "Rate exceeded."),
        Service::DynamoDb if operation.contains("Table") || operation.contains("Backups") => Refusal::new(
            400,
            "com.amazon.coral.availability#ThrottlingException",
            "Rate of requests exceeds the allowed throughput.",
        ),
        Service::DynamoDb if operation == "BatchExecuteStatement" => Refusal::new(
            400,
            "com.amazonaws.dynamodb.v20120810#RequestLimitExceeded",
            "Throughput exceeds the current throughput limit for your account.",
        ),
        Service::DynamoDb => {
            Refusal::new(400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", ITEMS)
        }
        Service::CloudWatch => Refusal::new(400, "ThrottlingException", "Rate exceeded"),
    }
}

fn conflict(operation: &str, body: &[u8]) -> Refusal {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Transaction {
        transact_items: Vec<serde::de::IgnoredAny>,
        transact_statements: Vec<serde::de::IgnoredAny>,
    }
    if !matches!(operation, "TransactWriteItems" | "TransactGetItems" | "ExecuteTransaction") {
        return Refusal::new(400, "com.amazonaws.dynamodb.v20120810#TransactionConflictException", TRANSACTION);
    }
    let Transaction { transact_items, transact_statements } = serde_json::from_slice(body).unwrap_or_default();
    // The first item is the one in conflict.
    Refusal::transaction_canceled(
        transact_items.len() + transact_statements.len(),
        0,
        ("TransactionConflict", TRANSACTION),
    )
}
