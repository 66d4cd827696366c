//! Counts of requests to DynamoDB by operation, at the service.

use std::{collections::BTreeMap, time::Duration};

use kinesis_local::{Fault, LocalAws};

/// Operations that read or write items or tables.
const OPERATIONS: [&str; 15] = [
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DescribeTable",
    "ExecuteStatement",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTable",
];

/// Requests since the count began.
#[derive(Debug)]
pub struct TableRequests(Vec<(&'static str, Fault)>);

impl TableRequests {
    /// Begins to count.
    pub fn of(aws: &LocalAws) -> Self {
        // A rule counts the calls that it applies to; a delay of nothing changes nothing.
        let rule = |operation: &str| aws.faults().on(&format!("dynamodb:{operation}")).delay(Duration::ZERO);
        Self(OPERATIONS.map(|operation| (operation, rule(operation))).into())
    }

    /// Requests by operation, those without any left out.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.0.iter().map(|(operation, rule)| (*operation, rule.count()));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}
