//! ExecuteStatement, BatchExecuteStatement, ExecuteTransaction.

use std::collections::BTreeSet;

use base64_simd::STANDARD;
use serde_json::{Value as Json, json};

use super::super::Answer;
use super::super::capacity::Consumed;
use super::super::error::Error;
use super::super::expression::condition::Condition;
use super::super::expression::key_condition::Split;
use super::super::path::{Path, project};
use super::super::request::{Fields, constraint};
use super::super::statement::{Select, Statement};
use super::super::table::Table;
use super::super::value::{Item, Value, item_from_json, item_json};
use super::super::writes::{Change, Tables, Write, table};
use super::items::returned_of;
use super::reads::{Page, Range, Reading};
use super::transactions::{self, FACTOR, require_count};

/// Maximum number of statements of a batch.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html
const MAX_BATCH: usize = 25;

const EXISTS_ALONE: &str = "EXISTS can only be used in ExecuteTransaction write requests.";

/// A statement of a request, with what the request says about it.
#[derive(Debug)]
struct Entry {
    statement: Statement,
    is_consistent: bool,
    shows_failed: bool,
}

impl Entry {
    fn read(fields: Fields<'_>) -> Result<Self, Error> {
        let parameters = fields.list("Parameters")?.into_iter().flatten();
        let parameters = parameters.map(Value::from_json).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            statement: Statement::parse(fields.required("Statement")?, &parameters)?,
            is_consistent: fields.flag("ConsistentRead")?,
            shows_failed: fields.choice("ReturnValuesOnConditionCheckFailure", &["NONE", "ALL_OLD"])? == "ALL_OLD",
        })
    }
}

pub(in super::super) fn execute(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    let entry = Entry::read(fields)?;
    let mut answer = Answer::default();
    let items = match &entry.statement {
        Statement::Select(select) => {
            let start = fields.text("NextToken")?.map(key_of_token).transpose()?;
            let page = select_page(
                tables,
                select,
                (start, fields.count("Limit")?),
                entry.is_consistent,
                &mut answer.consumed,
            )?;
            if let Some(last) = &page.last {
                answer.body.insert("LastEvaluatedKey".to_owned(), item_json(last));
                let token = STANDARD.encode_to_string(item_json(last).to_string());
                answer.body.insert("NextToken".to_owned(), token.into());
            }
            page.items
        }
        Statement::Exists(_) => return Err(Error::validation(EXISTS_ALONE)),
        _ => write(tables, &entry, &mut answer)?.into_iter().collect(),
    };
    answer.body.insert("Items".to_owned(), items.iter().map(item_json).collect());
    Ok(answer.with_consumption(shown))
}

pub(in super::super) fn batch(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    let statements = fields.required_list("Statements")?;
    if !(1..=MAX_BATCH).contains(&statements.len()) {
        let rule = "Member must have length less than or equal to 25, and greater than or equal to 1";
        return Err(constraint(&format!("[{} statements]", statements.len()), "Statements", rule));
    }
    let entries: Vec<_> = statements.iter().map(|statement| Entry::read(Fields::of(statement)?)).collect();
    let reads = entries.iter().flatten().filter(|entry| entry.statement.is_read()).count();
    if reads > 0 && reads < entries.iter().flatten().count() {
        return Err(Error::validation("All statements in a batch must be either read or write operations"));
    }
    require_apart(tables, &entries)?;
    let mut answer = Answer::default();
    let mut responses = Vec::new();
    for entry in entries {
        responses.push(response(tables, entry, &mut answer));
    }
    answer.body.insert("Responses".to_owned(), responses.into());
    Ok(answer.with_consumption_by_table(shown))
}

/// Passes when no two statements write the same item.
fn require_apart(tables: &Tables, entries: &[Result<Entry, Error>]) -> Result<(), Error> {
    let mut places = BTreeSet::new();
    for entry in entries.iter().flatten().filter(|entry| !entry.statement.is_read()) {
        let place = planned_write(tables, entry).and_then(|(write, ..)| Ok(write.place(tables)?.1));
        if place.is_ok_and(|position| !places.insert((entry.statement.table(), position))) {
            return Err(Error::validation("Provided list of item keys contains duplicates"));
        }
    }
    Ok(())
}

/// The response to one statement of a batch; no other is touched by its failure.
fn response(tables: &Tables, entry: Result<Entry, Error>, answer: &mut Answer) -> Json {
    let table = entry.as_ref().ok().map(|entry| entry.statement.table().to_owned());
    let outcome = entry.and_then(|entry| match &entry.statement {
        Statement::Select(select) => one(tables, select, entry.is_consistent, &mut answer.consumed),
        Statement::Exists(_) => Err(Error::validation(EXISTS_ALONE)),
        _ => write(tables, &entry, answer),
    });
    let mut response = json!({});
    // A statement that is wrong in itself names no table.
    let is_wrong = outcome.as_ref().is_err_and(|error| error.part_code() == "ValidationError");
    if let Some(table) = table.filter(|_| !is_wrong) {
        response["TableName"] = table.into();
    }
    match outcome {
        Ok(None) => {}
        Ok(Some(item)) => response["Item"] = item_json(&item),
        Err(error) => response["Error"] = error.part(),
    }
    response
}

pub(in super::super) fn transaction(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    let statements = fields.required_list("TransactStatements")?;
    require_count(statements.len(), "TransactStatements")?;
    let entries = statements.iter().map(|statement| Entry::read(Fields::of(statement)?));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let count = |is: fn(&Statement) -> bool| entries.iter().filter(|entry| is(&entry.statement)).count();
    let (reads, checks) = (count(Statement::is_read), count(|statement| matches!(statement, Statement::Exists(_))));
    if checks > 0 && reads + checks == entries.len() {
        return Err(Error::validation(EXISTS_ALONE));
    }
    if reads > 0 && reads < entries.len() {
        return Err(Error::validation("Transaction contains both reads and writes"));
    }
    let mut answer = Answer::default();
    let mut responses = vec![json!({}); entries.len()];
    if reads > 0 {
        for (entry, response) in entries.iter().zip(&mut responses) {
            let Statement::Select(select) = &entry.statement else { continue };
            let mut consumed = Consumed::default();
            if let Some(item) = one(tables, select, true, &mut consumed)? {
                response["Item"] = item_json(&item);
            }
            answer.consumed.add(consumed.times(FACTOR));
        }
    } else {
        let writes = entries.iter().map(|entry| Ok(planned_write(tables, entry)?.0));
        answer = transactions::plan(tables, &writes.collect::<Result<Vec<_>, Error>>()?)?;
    }
    answer.body.insert("Responses".to_owned(), responses.into());
    Ok(answer.with_consumption_of_transaction(shown))
}

/// The item that a selection by the whole key finds.
fn one(tables: &Tables, select: &Select, is_consistent: bool, consumed: &mut Consumed) -> Result<Option<Item>, Error> {
    let whole_key = || {
        Error::validation(
            "Select statements within BatchExecuteStatement must specify the primary key in the where clause.",
        )
    };
    let key = &table(tables, &select.table)?.key;
    let split = Split::new(select.condition.clone().ok_or_else(whole_key)?, key);
    if split.partition.is_none() || key.sort.is_some() && split.sort_value.is_none() {
        return Err(whole_key());
    }
    Ok(select_page(tables, select, (None, None), is_consistent, consumed)?.items.into_iter().next())
}

fn select_page(
    tables: &Tables,
    select: &Select,
    (start, limit): (Option<Item>, Option<usize>),
    is_consistent: bool,
    consumed: &mut Consumed,
) -> Result<Page, Error> {
    let table = table(tables, &select.table)?;
    let index = select.index.as_deref().map(|name| Ok((name, table.index(name)?))).transpose()?;
    if index.is_some() && is_consistent {
        return Err(Error::validation("Consistent reads are not supported on global secondary indexes"));
    }
    let key = index.map_or(&table.key, |(_, index)| &index.key);
    let split = select.condition.clone().map(|condition| Split::new(condition, key)).unwrap_or_default();
    let (range, filter) = match split.partition.as_ref().map(|value| key.partition.part(value)) {
        Some(Some(partition)) => (Range::Partition(partition, split.sort), split.rest),
        // Without the partition key, or with one of another type, which no item has: everything is looked at.
        _ => (Range::Hashes(0, u64::MAX), select.condition.clone()),
    };
    let reading = Reading { table, index, range, start, is_backward: select.is_descending, limit, filter };
    let mut page = reading.page()?;
    consumed.read(&table.name, reading.hash(), &reading.units(&page, is_consistent));
    if !select.paths.is_empty() {
        page.items = page.items.iter().map(|item| project(item, &select.paths)).collect();
    }
    Ok(page)
}

/// Plans a statement that writes; what it returns of the item.
fn write(tables: &Tables, entry: &Entry, answer: &mut Answer) -> Result<Option<Item>, Error> {
    let (write, returned, paths) = planned_write(tables, entry)?;
    let planned = write.plan(tables)?;
    let item = returned_of(&planned, returned, &paths);
    answer.write(planned, 1.0);
    Ok(item)
}

/// The write that a statement asks for, what it returns, and the paths that it changes.
fn planned_write(tables: &Tables, entry: &Entry) -> Result<(Write, &'static str, Vec<Path>), Error> {
    let statement = &entry.statement;
    let table = table(tables, statement.table())?;
    let (change, condition, returned) = match statement {
        Statement::Insert(_, item) => (Change::Insert(item.clone()), None, "NONE"),
        Statement::Update { update, condition, returned, .. } => {
            let (key, rest) = by_key(table, condition)?;
            let condition = exists(table, rest);
            (Change::Update(key, update.clone()), Some(condition), *returned)
        }
        Statement::Delete { condition, returned, .. } => {
            let (key, rest) = by_key(table, condition)?;
            // Nothing to delete is no failure.
            let absent = || Condition::Not(Box::new(Condition::Exists(Path::attribute(&table.key.partition.name))));
            let condition = rest.map(|rest| Condition::Or(Box::new(absent()), Box::new(rest)));
            (Change::Delete(key), condition, *returned)
        }
        Statement::Exists(Select { condition, .. }) | Statement::Select(Select { condition, .. }) => {
            let condition = condition.as_ref().ok_or_else(no_key)?;
            let (key, rest) = by_key(table, condition)?;
            (Change::Check(key), Some(exists(table, rest)), "NONE")
        }
    };
    let paths = match &change {
        Change::Update(_, update) => update.actions.iter().map(|(path, _)| path.clone()).collect(),
        _ => Vec::new(),
    };
    Ok((Write { table: table.name.clone(), change, condition, shows_failed: entry.shows_failed }, returned, paths))
}

/// The condition, and that there is an item.
fn exists(table: &Table, rest: Option<Condition>) -> Condition {
    let exists = Condition::Exists(Path::attribute(&table.key.partition.name));
    match rest {
        Some(rest) => exists.and(rest),
        None => exists,
    }
}

/// The key that a condition names in whole, and the rest of the condition.
fn by_key(table: &Table, condition: &Condition) -> Result<(Item, Option<Condition>), Error> {
    let split = Split::new(condition.clone(), &table.key);
    let partition = split.partition.ok_or_else(no_key)?;
    let mut key = Item::from([(table.key.partition.name.clone(), partition)]);
    if let Some(sort) = &table.key.sort {
        key.insert(sort.name.clone(), split.sort_value.ok_or_else(no_key)?);
    }
    Ok((key, split.rest))
}

fn no_key() -> Error {
    Error::validation("Where clause does not contain a mandatory equality on all key attributes")
}

fn key_of_token(token: &str) -> Result<Item, Error> {
    let invalid = || Error::validation("Invalid NextToken");
    let json = STANDARD.decode_to_vec(token).map_err(|_| invalid())?;
    item_from_json(&serde_json::from_slice(&json).map_err(|_| invalid())?).map_err(|_| invalid())
}
