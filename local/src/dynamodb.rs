//! DynamoDB: a core of our own for tables and items (`core.rs`), and around it what configuration and faults change.
//!
//! `replica.rs` makes reads eventually consistent and `indexes.rs` lets indexes take time, if configured. Throttling
//! comes from the limits of partitions (`core/throughput.rs`), if they are enforced, and from injected faults; transaction
//! conflicts from those only. `batches.rs` lets parts of batches fail. `backups.rs` keeps whether tables can be restored,
//! `statements.rs` distinguishes PartiQL statements for policies. Not here: expiry of items by their time to live, streams,
//! local secondary indexes.
//!
//! With the feature `dynoxide`, that other DynamoDB can stand in for the core, as a peer for tests.

mod backups;
mod batches;
mod consumed;
mod core;
#[cfg(feature = "dynoxide")]
pub(crate) mod dynoxide;
pub(crate) mod engine;
mod indexes;
mod replica;
pub(crate) mod statements;

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};

use self::backups::Backups;
pub use self::consumed::ConsumedCapacity;
use self::engine::{Engine, EngineKind, Limited};
use self::indexes::Indexes;
use self::replica::Replica;
use crate::REGION;
use crate::clock::ServiceClock;
use crate::faults::RecordFaults;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// The operations that are answered.
pub(crate) const OPERATIONS: [&str; 27] = [
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeContinuousBackups",
    "DescribeEndpoints",
    "DescribeLimits",
    "DescribeTable",
    "DescribeTimeToLive",
    "ExecuteStatement",
    "ExecuteTransaction",
    "GetItem",
    "ListTables",
    "ListTagsOfResource",
    "PutItem",
    "Query",
    "Scan",
    "TagResource",
    "TransactGetItems",
    "TransactWriteItems",
    "UntagResource",
    "UpdateContinuousBackups",
    "UpdateItem",
    "UpdateTable",
    "UpdateTimeToLive",
];

/// The operations that only read items.
const READS: [&str; 5] = ["BatchGetItem", "GetItem", "Query", "Scan", "TransactGetItems"];

/// Operations on items.
const ITEMS: [&str; 13] = [
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "DeleteItem",
    "ExecuteStatement",
    "ExecuteTransaction",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
];

/// The outcome of an operation on items.
type Answered = Result<Vec<u8>, Refusal>;

/// Configured delays. Default: all zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lags {
    /// Lag of eventually consistent reads.
    pub(crate) reads: Duration,
    /// Time that a new index of an existing table is CREATING.
    pub(crate) indexes: Duration,
    /// Time after that during which it cannot be read.
    pub(crate) active_indexes: Duration,
}

/// All tables.
#[derive(Debug)]
pub(crate) struct DynamoDb {
    engine: Box<dyn Engine>,
    replica: Option<Replica>,
    indexes: Indexes,
    backups: Backups,
}

impl DynamoDb {
    pub(crate) fn new(clock: &ServiceClock, lags: Lags, (kind, limited): (EngineKind, Limited)) -> Self {
        // What the first engine took is repeated on the replica without limits, and reads of the past have none.
        let replica = (!lags.reads.is_zero()).then(|| Replica::new(lags.reads, (kind.0)(clock, Limited(false))));
        Self { engine: (kind.0)(clock, limited), replica, indexes: Indexes::new(lags), backups: Backups::default() }
    }

    /// Units that were consumed up to now. Writes that a replica repeats are no requests.
    pub(crate) fn consumed(&self) -> ConsumedCapacity {
        let mut consumed = self.engine.consumed();
        consumed.read_units += self.replica.as_ref().map_or(0.0, Replica::read_units);
        consumed
    }

    /// Performs one operation; faults may let a part of it fail.
    pub(crate) fn perform(
        &self,
        (operation, body): (&str, &[u8]),
        faults: Option<RecordFaults>,
        now: Millis,
    ) -> Result<Vec<u8>, Refusal> {
        if self.indexes.take_time() && matches!(operation, "Query" | "Scan") {
            self.indexes.require_readable(body, now)?;
        }
        if ITEMS.contains(&operation) {
            return batches::perform((operation, body), faults, |body| self.items((operation, body), now));
        }
        self.tables(operation, body, now)
    }

    /// Operations on items, on the engine or its replica.
    fn items(&self, (operation, body): (&str, &[u8]), now: Millis) -> Answered {
        let perform = || self.engine.perform(operation, body, now);
        let Some(replica) = &self.replica else { return perform() };
        match replica.read(operation, body, now) {
            Some(answer) => answer,
            None => replica.write(operation, body, now, perform),
        }
    }

    /// Operations on tables.
    fn tables(&self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        let engine = self.engine.as_ref();
        match operation {
            "CreateTable" => {
                let answer = engine.perform(operation, body, now)?;
                self.repeat(operation, body, now);
                info!(table = table_name(body), "table created");
                Ok(answer)
            }
            "DeleteTable" => {
                let answer = engine.perform(operation, body, now)?;
                self.repeat(operation, body, now);
                self.backups.forget(&table_name(body));
                self.indexes.forget(&table_name(body), now);
                info!(table = table_name(body), "table deleted");
                Ok(answer)
            }
            "DescribeTable" => Ok(self.indexes.show(engine.perform(operation, body, now)?, now)),
            "UpdateTable" => {
                let answer = engine.perform(operation, body, now)?;
                self.repeat(operation, body, now);
                self.indexes.begin(body, now);
                Ok(self.indexes.show(answer, now))
            }
            "DescribeEndpoints" => Ok(endpoints()),
            "DescribeLimits" => Ok(limits()),
            "UpdateContinuousBackups" => self.backups.update(engine, body, now),
            "DescribeContinuousBackups" => self.backups.describe(engine, body, now),
            _ => engine.perform(operation, body, now),
        }
    }

    /// Changes the tables of the replica as well, if there is one.
    fn repeat(&self, operation: &str, body: &[u8], now: Millis) {
        if let Some(replica) = &self.replica
            && let Err(refusal) = replica.catch_up().perform(operation, body, now)
        {
            warn!(body = %String::from_utf8_lossy(&refusal.body), "a table could not be changed on the lagging replica");
        }
    }
}

/// The endpoint that clients discover, for a day.
fn endpoints() -> Vec<u8> {
    let address = format!("dynamodb.{REGION}.amazonaws.com");
    json!({ "Endpoints": [{ "Address": address, "CachePeriodInMinutes": 1440 }] }).to_string().into_bytes()
}

/// The quotas of a new account, in capacity units; none of them is enforced.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
fn limits() -> Vec<u8> {
    let (account, table) = (80_000, 40_000);
    let limits = json!({
        "AccountMaxReadCapacityUnits": account, "AccountMaxWriteCapacityUnits": account,
        "TableMaxReadCapacityUnits": table, "TableMaxWriteCapacityUnits": table,
    });
    limits.to_string().into_bytes()
}

/// The table of a request that was found to be valid.
fn table_name(body: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase")]
    struct Named {
        table_name: String,
    }
    serde_json::from_slice::<Named>(body).unwrap_or_default().table_name
}

/// A request that the types here do not read.
fn unreadable(error: &serde_json::Error) -> Refusal {
    const SERIALIZATION: &str = "com.amazon.coral.service#SerializationException";
    const VALIDATION: &str = "com.amazon.coral.validate#ValidationException";
    if !error.is_data() {
        return Refusal::new(400, SERIALIZATION, "");
    }
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    // The service calls a field of the wrong type a serialization error, and anything else a validation error.
    let wrong_type = text.starts_with("invalid type") && !text.starts_with("invalid type: null");
    Refusal::new(400, if wrong_type { SERIALIZATION } else { VALIDATION }, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn refused(operation: &str, body: &str) -> String {
        let dynamodb = DynamoDb::new(
            &ServiceClock::start(Clock::start()),
            Lags::default(),
            (EngineKind::default(), Limited(false)),
        );
        let refusal = dynamodb.perform((operation, body.as_bytes()), None, Millis::default()).unwrap_err();
        assert_eq!(refusal.status, 400);
        let answer: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
        answer["__type"].as_str().unwrap().to_owned()
    }

    #[test]
    fn unreadable_requests_are_refused_in_kind() {
        const SERIALIZATION: &str = "com.amazon.coral.service#SerializationException";
        const VALIDATION: &str = "com.amazon.coral.validate#ValidationException";
        assert_eq!(refused("PutItem", "{"), SERIALIZATION);
        assert_eq!(refused("PutItem", ""), SERIALIZATION);
        assert_eq!(refused("PutItem", r#"{"TableName":5}"#), SERIALIZATION);
        assert_eq!(refused("PutItem", "{}"), VALIDATION);
        assert_eq!(refused("PutItem", r#"{"TableName":"leases","Item":{"k":{}}}"#), VALIDATION);
        assert_eq!(refused("UpdateContinuousBackups", r#"{"TableName":"leases"}"#), VALIDATION);
        assert_eq!(refused("Nothing", "{}"), "com.amazon.coral.service#UnknownOperationException");
    }

    #[test]
    fn every_operation_of_the_list_is_known() {
        for operation in OPERATIONS {
            let dynamodb = DynamoDb::new(
                &ServiceClock::start(Clock::start()),
                Lags::default(),
                (EngineKind::default(), Limited(false)),
            );
            if let Err(refusal) = dynamodb.perform((operation, b"{}"), None, Millis::default()) {
                assert!(!String::from_utf8_lossy(&refusal.body).contains("UnknownOperation"), "{operation}");
            }
        }
    }

    #[test]
    fn no_garbage_makes_an_operation_panic() {
        let dynamodb = DynamoDb::new(
            &ServiceClock::start(Clock::start()),
            Lags::default(),
            (EngineKind::default(), Limited(false)),
        );
        let operations =
            ["CreateTable", "UpdateTable", "PutItem", "UpdateItem", "Query", "TransactWriteItems", "TagResource"];
        let bodies = [
            "null",
            "[]",
            "{}",
            "\"\"",
            "5",
            "\u{0}",
            r#"{"TableName":""}"#,
            r#"{"TableName":"t","Item":[]}"#,
            r#"{"TableName":"t","Item":{"k":{"N":"x"}}}"#,
            r#"{"TableName":"t","KeyConditionExpression":"((("}"#,
            r#"{"TransactItems":[{}]}"#,
            r#"{"ResourceArn":"arn"}"#,
        ];
        for (operation, body) in operations.iter().flat_map(|operation| bodies.map(|body| (operation, body))) {
            let answer = dynamodb.perform((operation, body.as_bytes()), None, Millis::default());
            assert!(answer.is_err_and(|refusal| refusal.status == 400), "{operation} {body}");
        }
    }
}
