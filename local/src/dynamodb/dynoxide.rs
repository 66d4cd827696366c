//! Tables and items by dynoxide, a DynamoDB on SQLite: a peer to check our own against.
//!
//! `dynoxide/transactions.rs` adds what its transactions lack.

#[cfg(test)]
mod tests;
mod transactions;

use std::sync::Arc;

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::transactions::Transactions;
use super::consumed::ConsumedCapacity;
use super::engine::{Engine, EngineKind};
use super::{ITEMS, READS};
use crate::clock::ServiceClock;
use crate::refusal::Refusal;
use crate::timestamp::Millis;
use crate::{ACCOUNT_ID, REGION};

/// The region that dynoxide writes into ARNs.
const DYNOXIDE_ARN: &str = "arn:aws:dynamodb:dynoxide:000000000000:";

pub(crate) const KIND: EngineKind = EngineKind(|clock, _limited| Box::new(Dynoxide::new(clock)));

/// The outcome of an operation on items.
type Answered = Result<Vec<u8>, Refusal>;

impl From<DynoxideError> for Refusal {
    fn from(error: DynoxideError) -> Self {
        Self::json(error.status_code(), error.to_json().into_bytes())
    }
}

/// For times to live of items.
impl dynoxide::storage_backend::Clock for ServiceClock {
    fn now_unix_secs(&self) -> u64 {
        ServiceClock::now(self).0 / 1000
    }

    fn now_unix_secs_f64(&self) -> f64 {
        ServiceClock::now(self).as_seconds()
    }
}

struct Dynoxide {
    database: Database,
    transactions: Transactions,
}

impl std::fmt::Debug for Dynoxide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynoxide").finish_non_exhaustive()
    }
}

impl Dynoxide {
    fn new(clock: &ServiceClock) -> Self {
        let memory = Database::memory_with_clock(Arc::new(clock.clone()));
        Self { database: memory.expect("SQLite opens a database in memory"), transactions: Transactions::default() }
    }

    fn tables(&self, operation: &str, body: &[u8]) -> Answered {
        let db = &self.database;
        match operation {
            "CreateTable" => run(body, |request| db.create_table(request)),
            "DeleteTable" => run(body, |request| db.delete_table(request)),
            "DescribeTable" => run(body, |request| db.describe_table(request)),
            "UpdateTable" => run(body, |request| db.update_table(request)),
            "ListTables" => run(body, |request| db.list_tables(request)),
            "TagResource" => run(body, |request| db.tag_resource(request)),
            "UntagResource" => run(body, |request| db.untag_resource(request)),
            "ListTagsOfResource" => run(body, |request| db.list_tags_of_resource(request)),
            "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
            "DescribeTimeToLive" => run(body, |request| db.describe_time_to_live(request)),
            _ => Err(Refusal::new(400, "com.amazon.coral.service#UnknownOperationException", "")),
        }
    }
}

impl Engine for Dynoxide {
    fn perform(&self, operation: &str, body: &[u8], now: Millis) -> Answered {
        if READS.contains(&operation) {
            return items(&self.database, operation, body);
        }
        if ITEMS.contains(&operation) {
            let perform = |body: &[u8]| items(&self.database, operation, body);
            return self.transactions.perform(&self.database, (operation, body), now, perform);
        }
        let ours = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:");
        match self.tables(operation, &in_region(body, &ours, DYNOXIDE_ARN)) {
            Ok(answer) => Ok(in_region(&answer, DYNOXIDE_ARN, &ours)),
            Err(refusal) => Err(Refusal::json(refusal.status, in_region(&refusal.body, DYNOXIDE_ARN, &ours))),
        }
    }

    fn has_table(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.database.get_table_metadata(name)?.is_some())
    }

    /// Nothing: it is known only where a request asks for it.
    fn consumed(&self) -> ConsumedCapacity {
        ConsumedCapacity::default()
    }
}

/// Operations on items.
fn items(db: &Database, operation: &str, body: &[u8]) -> Answered {
    match operation {
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
        _ => Err(Refusal::new(400, "com.amazon.coral.service#UnknownOperationException", "")),
    }
}

/// Rewrites the ARNs of tables and indexes, so that clients see one region. Attribute values never come this way.
fn in_region(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(body).replace(from, to).into_bytes()
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
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    for (mark, error_type) in MARKS {
        if let Some(message) = text.strip_prefix(mark) {
            return Refusal::new(400, error_type, message);
        }
    }
    super::unreadable(error)
}
