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
//! | `capacity.rs`, `throughput.rs` | units that are consumed; the limits of partitions |
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
mod throughput;
mod value;
mod writes;

use serde_json::{Map, Value as Json};

use self::capacity::{Consumed, Shown};
use self::error::{Error, Kind};
use self::operations::transactions::Tokens;
use self::operations::{batches, items, reads, settings, statements, tables, transactions};
use self::request::Fields;
use self::throughput::Throughput;
use self::writes::{Planned, Tables};
use super::consumed::ConsumedCapacity;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// All tables, the transactions of the last ten minutes, and what all requests consumed.
#[derive(Debug, Default)]
pub(super) struct Core {
    tables: Tables,
    tokens: Tokens,
    /// Use of the partitions, if their limits are enforced.
    throughput: Option<Throughput>,
    consumed: ConsumedCapacity,
}

/// The answer to a request, what it consumed, and what is still to be written.
#[derive(Clone, Debug, Default)]
struct Answer {
    body: Map<String, Json>,
    consumed: Consumed,
    writes: Vec<Planned>,
}

impl Answer {
    /// Adds a write, which costs so many times as much as it is.
    fn write(&mut self, planned: Planned, factor: f64) {
        planned.count(&mut self.consumed, factor);
        self.writes.push(planned);
    }

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
    /// With the limits of partitions.
    pub(super) fn with_limits() -> Self {
        Self { throughput: Some(Throughput::default()), ..Self::default() }
    }

    /// Performs one operation, in one step.
    pub(super) fn perform(&mut self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        let request: Json = serde_json::from_slice(body).map_err(|_| Error::serialization(""))?;
        let answer = match self.answer(operation, &request, now) {
            Ok(answer) => answer,
            Err(error) => {
                self.consumed.write_units += error.write_units;
                return Err(error.into());
            }
        };
        answer.consumed.add_to(&mut self.consumed);
        Ok(Json::Object(answer.body).to_string().into_bytes())
    }

    /// Units that all requests have consumed.
    pub(super) fn consumed(&self) -> ConsumedCapacity {
        self.consumed
    }

    /// True if there is such a table.
    pub(super) fn has_table(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }

    fn answer(&mut self, operation: &str, request: &Json, now: Millis) -> Result<Answer, Error> {
        let fields = Fields::of(request)?;
        fields.text("TableName")?;
        let Self { tables: all, tokens, throughput, .. } = self;
        let answer = match operation {
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
            "TransactWriteItems" => tokens
                .once((operation, request), now, || done(transactions::write(all, fields)?, (all, throughput), now)),
            "ExecuteTransaction" => tokens.once((operation, request), now, || {
                done(statements::transaction(all, fields)?, (all, throughput), now)
            }),
            "CreateTable" => tables::create(all, fields, now),
            "UpdateTable" => tables::update(all, fields, now),
            "DeleteTable" => {
                let deleted = tables::delete(all, fields)?;
                if let (Some(throughput), Some(name)) = (throughput.as_mut(), fields.text("TableName")?) {
                    throughput.forget(name);
                }
                Ok(deleted)
            }
            "DescribeTable" => tables::describe(all, fields),
            "ListTables" => tables::list(all, fields),
            "TagResource" => settings::tag(all, fields),
            "UntagResource" => settings::untag(all, fields),
            "ListTagsOfResource" => settings::list_tags(all, fields),
            "UpdateTimeToLive" => settings::update_time_to_live(all, fields),
            "DescribeTimeToLive" => settings::describe_time_to_live(all, fields),
            _ => Err(Error::new(Kind::UnknownOperation, "")),
        };
        match operation {
            "TransactWriteItems" | "ExecuteTransaction" => answer,
            _ => done(answer?, (all, throughput), now),
        }
    }
}

/// The answer, once the partitions have taken what it consumes, and what it writes is written.
fn done(
    mut answer: Answer,
    (tables, throughput): (&mut Tables, &mut Option<Throughput>),
    now: Millis,
) -> Result<Answer, Error> {
    if let Some(throughput) = throughput {
        throughput.admit(&answer.consumed, tables, now)?;
    }
    std::mem::take(&mut answer.writes).into_iter().for_each(|write| write.commit(tables));
    Ok(answer)
}
