//! A DynamoDB of our own: tables and items in memory. Pure: a request and the time in, an answer out.
//!
//! Complete for what lease tables, applications beside them and their tests need: conditional writes in both forms,
//! queries and scans of tables and global secondary indexes, batches, transactions, PartiQL by keys, consumed capacity,
//! the limits of items, keys and expressions. Local secondary indexes, streams and global tables are refused by name.
//!
//! | File | What |
//! | --- | --- |
//! | `value.rs`, `number.rs`, `path.rs` | attribute values, numbers, document paths |
//! | `expression/` | conditions, updates, projections, key conditions: trees and parser; `legacy.rs` makes the same trees |
//! | `statement.rs` | PartiQL, by the same parser |
//! | `key.rs`, `table.rs` | positions of items; a table with its indexes |
//! | `writes.rs` | every write of an item: planned, then committed |
//! | `capacity.rs` | units that are consumed |
//! | `operations/` | the operations, by theme |

mod capacity;
mod error;
mod expression;
mod key;
mod legacy;
mod number;
mod operations;
mod path;
mod request;
mod statement;
mod table;
mod value;
mod writes;

use serde_json::{Map, Value as Json};

use self::capacity::{Consumed, Shown};
use self::error::{Error, Kind};
use self::operations::transactions::Tokens;
use self::operations::{batches, items, reads, settings, statements, tables, transactions};
use self::request::Fields;
use self::writes::Tables;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// All tables, and the transactions of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Core {
    tables: Tables,
    tokens: Tokens,
}

/// The answer to a request, and what it consumed.
#[derive(Clone, Debug, Default)]
struct Answer {
    body: Map<String, Json>,
    consumed: Consumed,
}

impl Answer {
    /// With the consumption of its one table, if it is to be shown.
    fn with_consumption(self, shown: Shown) -> Self {
        let entry = items::single(&self.consumed, shown);
        self.with("ConsumedCapacity", entry)
    }

    /// With the consumption by table.
    fn with_consumption_by_table(self, shown: Shown) -> Self {
        let entries = self.consumed.shown(shown, false).map(Json::from);
        self.with("ConsumedCapacity", entries)
    }

    /// With the consumption by table, reads and writes told apart.
    fn with_consumption_of_transaction(self, shown: Shown) -> Self {
        let entries = self.consumed.shown(shown, true).map(Json::from);
        self.with("ConsumedCapacity", entries)
    }

    fn with(mut self, name: &str, value: Option<Json>) -> Self {
        self.body.extend(value.map(|value| (name.to_owned(), value)));
        self
    }
}

impl Core {
    /// Performs one operation, in one step.
    pub(super) fn perform(&mut self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        let request: Json = serde_json::from_slice(body).map_err(|_| Error::serialization(""))?;
        let answer = self.answer(operation, &request, now)?;
        Ok(Json::Object(answer.body).to_string().into_bytes())
    }

    /// True if there is such a table.
    pub(super) fn has_table(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }

    fn answer(&mut self, operation: &str, request: &Json, now: Millis) -> Result<Answer, Error> {
        let fields = Fields::of(request)?;
        fields.text("TableName")?;
        let all = &mut self.tables;
        match operation {
            "GetItem" => items::get(all, fields),
            "PutItem" => items::put(all, fields),
            "UpdateItem" => items::update(all, fields),
            "DeleteItem" => items::delete(all, fields),
            "Query" => reads::query(all, fields),
            "Scan" => reads::scan(all, fields),
            "BatchGetItem" => batches::get(all, fields),
            "BatchWriteItem" => batches::write(all, fields),
            "ExecuteStatement" => statements::execute(all, fields),
            "BatchExecuteStatement" => statements::batch(all, fields),
            "TransactGetItems" => transactions::get(all, fields),
            "TransactWriteItems" => self.tokens.once((operation, request), now, || transactions::write(all, fields)),
            "ExecuteTransaction" => {
                self.tokens.once((operation, request), now, || statements::transaction(all, fields))
            }
            "CreateTable" => tables::create(all, fields, now),
            "UpdateTable" => tables::update(all, fields, now),
            "DeleteTable" => tables::delete(all, fields),
            "DescribeTable" => tables::describe(all, fields),
            "ListTables" => tables::list(all, fields),
            "TagResource" => settings::tag(all, fields),
            "UntagResource" => settings::untag(all, fields),
            "ListTagsOfResource" => settings::list_tags(all, fields),
            "UpdateTimeToLive" => settings::update_time_to_live(all, fields),
            "DescribeTimeToLive" => settings::describe_time_to_live(all, fields),
            _ => Err(Error::new(Kind::UnknownOperation, "")),
        }
    }
}
