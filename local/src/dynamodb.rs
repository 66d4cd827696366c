//! DynamoDB: `dynoxide` for tables and items, and our own answers where it has none (`dynamodb/backups.rs`).
//!
//! Not here: throttling, eventual consistency, transaction conflicts, indexes that take time to build, expiry of items
//! by their time to live, streams. Creation times of tables are real, not virtual. Items are in SQLite in memory; an
//! ordinary call takes 0.1 to 0.2 ms of the calling thread.

mod backups;

use std::sync::Arc;

use dynoxide::{Database, DynoxideError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::info;

use self::backups::Backups;
use crate::clock::Clock;
use crate::timestamp::Millis;
use crate::{ACCOUNT_ID, REGION};

/// The region that dynoxide writes into ARNs.
const DYNOXIDE_ARN: &str = "arn:aws:dynamodb:dynoxide:000000000000:";

/// A refusal as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Refusal {
    fn new(error_type: &str, message: &str) -> Self {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(rename = "__type")]
            error_type: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            message: &'a str,
        }
        let body = serde_json::to_vec(&Wire { error_type, message }).expect("two strings always serialize");
        Self { status: 400, body }
    }
}

impl From<DynoxideError> for Refusal {
    fn from(error: DynoxideError) -> Self {
        Self { status: error.status_code(), body: error.to_json().into_bytes() }
    }
}

/// All tables.
pub(crate) struct DynamoDb {
    database: Database,
    backups: Backups,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDb").finish_non_exhaustive()
    }
}

impl DynamoDb {
    pub(crate) fn new(clock: Clock) -> Self {
        let database = Database::memory_with_clock(Arc::new(clock)).expect("SQLite opens a database in memory");
        Self { database, backups: Backups::default() }
    }

    /// Performs one operation.
    pub(crate) fn perform(&self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        if let Some(answer) = self.items(operation, body) {
            return answer;
        }
        let body = in_region(body, &our_arn(), DYNOXIDE_ARN);
        match self.tables(operation, &body, now) {
            Ok(answer) => Ok(in_region(&answer, DYNOXIDE_ARN, &our_arn())),
            Err(Refusal { status, body }) => Err(Refusal { status, body: in_region(&body, DYNOXIDE_ARN, &our_arn()) }),
        }
    }

    /// Operations on items; `None` for any other.
    fn items(&self, operation: &str, body: &[u8]) -> Option<Result<Vec<u8>, Refusal>> {
        let db = &self.database;
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

    /// Operations on tables.
    fn tables(&self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        let db = &self.database;
        match operation {
            "CreateTable" => {
                let answer = run(body, |request| db.create_table(request))?;
                info!(table = table_name(body), "table created");
                Ok(answer)
            }
            "DeleteTable" => {
                let answer = run(body, |request| db.delete_table(request))?;
                self.backups.forget(&table_name(body));
                info!(table = table_name(body), "table deleted");
                Ok(answer)
            }
            "DescribeTable" => run(body, |request| db.describe_table(request)),
            "UpdateTable" => run(body, |request| db.update_table(request)),
            "ListTables" => run(body, |request| db.list_tables(request)),
            "TagResource" => run(body, |request| db.tag_resource(request)),
            "UntagResource" => run(body, |request| db.untag_resource(request)),
            "ListTagsOfResource" => run(body, |request| db.list_tags_of_resource(request)),
            "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
            "DescribeTimeToLive" => run(body, |request| db.describe_time_to_live(request)),
            "UpdateContinuousBackups" => self.backups.update(db, body, now),
            "DescribeContinuousBackups" => self.backups.describe(db, body, now),
            _ => Err(Refusal::new("com.amazon.coral.service#UnknownOperationException", "")),
        }
    }
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
        return Refusal::new(SERIALIZATION, "");
    }
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    for (mark, error_type) in MARKS {
        if let Some(message) = text.strip_prefix(mark) {
            return Refusal::new(error_type, message);
        }
    }
    // The service calls a field of the wrong type a serialization error, and anything else a validation error.
    let wrong_type = text.starts_with("invalid type") && !text.starts_with("invalid type: null");
    Refusal::new(if wrong_type { SERIALIZATION } else { VALIDATION }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(operation: &str, body: &str) -> String {
        let dynamodb = DynamoDb::new(Clock::start());
        let refusal = dynamodb.perform(operation, body.as_bytes(), Millis::default()).unwrap_err();
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
    fn no_garbage_makes_an_operation_panic() {
        let dynamodb = DynamoDb::new(Clock::start());
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
            let answer = dynamodb.perform(operation, body.as_bytes(), Millis::default());
            assert!(answer.is_err_and(|refusal| refusal.status == 400), "{operation} {body}");
        }
    }
}
