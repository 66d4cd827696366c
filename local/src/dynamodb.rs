//! DynamoDB: `dynoxide` for tables and items, and our own answers where it has none (`dynamodb/backups.rs`).
//!
//! `replica.rs` makes reads eventually consistent and `indexes.rs` lets indexes take time, if configured. Throttling
//! and transaction conflicts come from injected faults only; `batches.rs` lets parts of batches fail. `transactions.rs`
//! adds what dynoxide's transactions lack, `statements.rs` distinguishes PartiQL statements. Not here: expiry of items
//! by their time to live, streams. Creation times of tables are real, not virtual. Items are in SQLite in memory; an
//! ordinary call takes 0.1 to 0.2 ms of the calling thread.

mod backups;
mod batches;
mod indexes;
mod replica;
pub(crate) mod statements;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{info, warn};

use self::backups::Backups;
use self::indexes::Indexes;
use self::replica::Replica;
use self::transactions::Transactions;
use crate::clock::ServiceClock;
use crate::faults::RecordFaults;
use crate::refusal::Refusal;
use crate::timestamp::Millis;
use crate::{ACCOUNT_ID, REGION};

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

/// The outcome of an operation on items.
type Answered = Result<Vec<u8>, Refusal>;

/// The region that dynoxide writes into ARNs.
const DYNOXIDE_ARN: &str = "arn:aws:dynamodb:dynoxide:000000000000:";

impl From<DynoxideError> for Refusal {
    fn from(error: DynoxideError) -> Self {
        Self::json(error.status_code(), error.to_json().into_bytes())
    }
}

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
pub(crate) struct DynamoDb {
    database: Database,
    replica: Option<Replica>,
    transactions: Transactions,
    indexes: Indexes,
    backups: Backups,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDb").finish_non_exhaustive()
    }
}

impl DynamoDb {
    pub(crate) fn new(clock: ServiceClock, lags: Lags) -> Self {
        let memory = Database::memory_with_clock(Arc::new(clock.clone()));
        let database = memory.expect("SQLite opens a database in memory");
        let replica = (!lags.reads.is_zero()).then(|| Replica::new(lags.reads, clock));
        let (transactions, indexes, backups) = (Transactions::default(), Indexes::new(lags), Backups::default());
        Self { database, replica, transactions, indexes, backups }
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
        let answer = batches::perform((operation, body), faults, |body| {
            let on_items = |body: &[u8]| self.items((operation, body), now);
            if READS.contains(&operation) {
                return on_items(body);
            }
            self.transactions.perform(&self.database, (operation, body), now, on_items)
        });
        if let Some(answer) = answer {
            return answer;
        }
        let body = in_region(body, &our_arn(), DYNOXIDE_ARN);
        match self.tables(operation, &body, now) {
            Ok(answer) => Ok(in_region(&answer, DYNOXIDE_ARN, &our_arn())),
            Err(refusal) => Err(Refusal::json(refusal.status, in_region(&refusal.body, DYNOXIDE_ARN, &our_arn()))),
        }
    }

    /// Operations on items, on the database or its replica; `None` for any other.
    fn items(&self, (operation, body): (&str, &[u8]), now: Millis) -> Option<Answered> {
        let perform = || items(&self.database, operation, body);
        match &self.replica {
            None => perform(),
            Some(replica) => {
                replica.read(operation, body, now).or_else(|| replica.write(operation, body, now, perform))
            }
        }
    }

    /// Operations on tables.
    fn tables(&self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        let db = &self.database;
        match operation {
            "CreateTable" => {
                let answer = run(body, |request| db.create_table(request))?;
                self.repeat(body, Database::create_table);
                info!(table = table_name(body), "table created");
                Ok(answer)
            }
            "DeleteTable" => {
                let answer = run(body, |request| db.delete_table(request))?;
                self.repeat(body, Database::delete_table);
                self.backups.forget(&table_name(body));
                self.indexes.forget(&table_name(body), now);
                info!(table = table_name(body), "table deleted");
                Ok(answer)
            }
            "DescribeTable" => {
                let answer = run(body, |request| db.describe_table(request))?;
                Ok(self.indexes.show(answer, now))
            }
            "UpdateTable" => {
                let answer = run(body, |request| db.update_table(request))?;
                self.repeat(body, Database::update_table);
                self.indexes.begin(body, now);
                Ok(self.indexes.show(answer, now))
            }
            "ListTables" => run(body, |request| db.list_tables(request)),
            "TagResource" => run(body, |request| db.tag_resource(request)),
            "UntagResource" => run(body, |request| db.untag_resource(request)),
            "ListTagsOfResource" => run(body, |request| db.list_tags_of_resource(request)),
            "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
            "DescribeTimeToLive" => run(body, |request| db.describe_time_to_live(request)),
            "DescribeEndpoints" => Ok(endpoints()),
            "DescribeLimits" => Ok(limits()),
            "UpdateContinuousBackups" => self.backups.update(db, body, now),
            "DescribeContinuousBackups" => self.backups.describe(db, body, now),
            _ => Err(Refusal::new(400, "com.amazon.coral.service#UnknownOperationException", "")),
        }
    }

    /// Changes the tables of the replica as well, if there is one.
    fn repeat<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        operation: impl FnOnce(&Database, Q) -> dynoxide::Result<A>,
    ) {
        if let Some(replica) = &self.replica
            && let Err(refusal) = run(body, |request| operation(replica.catch_up(), request))
        {
            warn!(body = %String::from_utf8_lossy(&refusal.body), "a table could not be changed on the lagging replica");
        }
    }
}

/// Operations on items; `None` for any other.
fn items(db: &Database, operation: &str, body: &[u8]) -> Option<Answered> {
    Some(match operation {
        "PutItem" => run(body, |request| db.put_item(request)),
        "GetItem" => run(body, |request| db.get_item(request)),
        "UpdateItem" => run(body, |request| db.update_item(request)),
        "DeleteItem" => run(body, |request| db.delete_item(request)),
        "Scan" => run(body, |request| db.scan(request)),
        "Query" => run(body, |request| db.query(request)),
        "BatchWriteItem" => run(body, |request| db.batch_write_item(request)),
        "BatchGetItem" => run(body, |request| db.batch_get_item(request)),
        "TransactWriteItems" => run(body, |request| db.transact_write_items(request)),
        "TransactGetItems" => run(body, |request| db.transact_get_items(request)),
        "ExecuteStatement" => run(body, |request| db.execute_statement(request)),
        "ExecuteTransaction" => run(body, |request| db.execute_transaction(request)),
        "BatchExecuteStatement" => run(body, |request| db.batch_execute_statement(request)),
        _ => return None,
    })
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

fn our_arn() -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:")
}

/// Rewrites the ARNs of tables and indexes, so that clients see one region. Attribute values never come this way.
fn in_region(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(body).replace(from, to).into_bytes()
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

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> Result<Vec<u8>, Refusal> {
    let request = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    Ok(serde_json::to_vec(&operation(request)?).expect("answers are structs with string keys"))
}

/// A request that dynoxide's types do not read. They mark what kind of refusal their own checks mean.
fn unreadable(error: &serde_json::Error) -> Refusal {
    const SERIALIZATION: &str = "com.amazon.coral.service#SerializationException";
    const VALIDATION: &str = "com.amazon.coral.validate#ValidationException";
    const MARKS: [(&str, &str); 5] = [
        ("VALIDATION:", VALIDATION),
        ("VALIDATION_AS_READ:", VALIDATION),
        ("VALIDATION_REQUEST:", VALIDATION),
        ("SERIALIZATION:", SERIALIZATION),
        ("SERIALIZATION_AS_READ:", SERIALIZATION),
    ];
    if !error.is_data() {
        return Refusal::new(400, SERIALIZATION, "");
    }
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    for (mark, error_type) in MARKS {
        if let Some(message) = text.strip_prefix(mark) {
            return Refusal::new(400, error_type, message);
        }
    }
    // The service calls a field of the wrong type a serialization error, and anything else a validation error.
    let wrong_type = text.starts_with("invalid type") && !text.starts_with("invalid type: null");
    Refusal::new(400, if wrong_type { SERIALIZATION } else { VALIDATION }, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn refused(operation: &str, body: &str) -> String {
        let dynamodb = DynamoDb::new(ServiceClock::start(Clock::start()), Lags::default());
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
            let dynamodb = DynamoDb::new(ServiceClock::start(Clock::start()), Lags::default());
            if let Err(refusal) = dynamodb.perform((operation, b"{}"), None, Millis::default()) {
                assert!(!String::from_utf8_lossy(&refusal.body).contains("UnknownOperation"), "{operation}");
            }
        }
    }

    #[test]
    fn no_garbage_makes_an_operation_panic() {
        let dynamodb = DynamoDb::new(ServiceClock::start(Clock::start()), Lags::default());
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
