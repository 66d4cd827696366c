//! TransactWriteItems and TransactGetItems, and what all transactions share: tokens and reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::Answer;
use super::super::capacity::{Units, read_units};
use super::super::error::{Error, Kind};
use super::super::expression::update::Update;
use super::super::request::{Fields, constraint, missing};
use super::super::value::{item_json, stored_bytes};
use super::super::writes::{Change, Planned, Tables, Write, table};
use super::items::projected;
use crate::timestamp::Millis;

/// Maximum number of items of a transaction.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
pub(super) const MAX_ITEMS: usize = 100;

/// Maximum size of the items of a transaction together. Same source.
const MAX_BYTES: usize = 4 << 20;

/// Lifetime of a ClientRequestToken, and its maximum length. Same source.
const WINDOW: Duration = Duration::from_secs(600);
const MAX_TOKEN: usize = 36;

/// A transaction costs twice: it is prepared, and then committed.
pub(super) const FACTOR: f64 = 2.0;

/// The tokens of recent transactions that were done.
#[derive(Debug, Default)]
pub(in super::super) struct Tokens(BTreeMap<(String, String), Done>);

#[derive(Debug)]
struct Done {
    at: Millis,
    request: Json,
    answer: Answer,
}

impl Tokens {
    /// Performs a transaction, or answers as before if it was done under its token.
    pub(in super::super) fn once(
        &mut self,
        (operation, request): (&str, &Json),
        now: Millis,
        perform: impl FnOnce() -> Result<Answer, Error>,
    ) -> Result<Answer, Error> {
        self.0.retain(|_, done| now.since(done.at) < WINDOW);
        let Some(token) = Fields::of(request)?.text("ClientRequestToken")? else { return perform() };
        if token.is_empty() || token.len() > MAX_TOKEN {
            let rule = "Member must have length less than or equal to 36, and greater than or equal to 1";
            return Err(constraint(token, "ClientRequestToken", rule));
        }
        let key = (operation.to_owned(), token.to_owned());
        let same = without_shown(request);
        if let Some(done) = self.0.get(&key) {
            if done.request != same {
                return Err(Error::new(
                    Kind::IdempotentParameterMismatch,
                    "The provided client token refers to another transaction",
                ));
            }
            return Ok(done.answer.clone());
        }
        let answer = perform()?;
        self.0.insert(key, Done { at: now, request: same, answer: answer.clone() });
        Ok(answer)
    }
}

/// The request without what may differ in a repetition.
fn without_shown(request: &Json) -> Json {
    let mut request = request.clone();
    if let Some(request) = request.as_object_mut() {
        request.remove("ReturnConsumedCapacity");
        request.remove("ReturnItemCollectionMetrics");
    }
    request
}

pub(in super::super) fn write(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    let entries = fields.required_list("TransactItems")?;
    require_count(entries.len(), "TransactItems")?;
    let writes = entries.iter().map(|entry| parse(Fields::of(entry)?)).collect::<Result<Vec<_>, Error>>()?;
    Ok(plan(tables, &writes)?.with_consumption_of_transaction(shown))
}

pub(super) fn require_count(count: usize, name: &str) -> Result<(), Error> {
    if (1..=MAX_ITEMS).contains(&count) {
        return Ok(());
    }
    let rule = "Member must have length less than or equal to 100, and greater than or equal to 1";
    Err(constraint(&format!("[{count} items]"), name, rule))
}

fn parse(entry: Fields<'_>) -> Result<Write, Error> {
    let kinds = ["Put", "Update", "Delete", "ConditionCheck"].into_iter().filter(|kind| entry.has(kind));
    let kinds: Vec<_> = kinds.collect();
    let [kind] = kinds[..] else {
        return Err(Error::validation("TransactItems can only contain one of Check, Put, Update or Delete"));
    };
    let fields = entry.structure(kind)?.ok_or_else(|| missing(kind))?;
    let mut placeholders = fields.placeholders()?;
    let change = match kind {
        "Put" => Change::Put(fields.required_item("Item")?),
        "Update" => {
            let update = Update::parse(fields.required("UpdateExpression")?, &mut placeholders)?;
            Change::Update(fields.required_item("Key")?, update)
        }
        "Delete" => Change::Delete(fields.required_item("Key")?),
        _ => Change::Check(fields.required_item("Key")?),
    };
    let condition = fields.condition("ConditionExpression", &mut placeholders)?;
    if kind == "ConditionCheck" && condition.is_none() {
        return Err(missing("ConditionExpression"));
    }
    placeholders.finish(condition.is_some() || kind == "Update")?;
    let shows_failed = fields.choice("ReturnValuesOnConditionCheckFailure", &["NONE", "ALL_OLD"])? == "ALL_OLD";
    Ok(Write { table: fields.required("TableName")?.to_owned(), change, condition, shows_failed })
}

/// All writes, or why there is none.
pub(super) fn plan(tables: &Tables, writes: &[Write]) -> Result<Answer, Error> {
    let mut places = BTreeSet::new();
    for write in writes {
        if let Ok((_, position)) = write.place(tables)
            && !places.insert((write.table.clone(), position))
        {
            return Err(Error::validation("Transaction request cannot include multiple operations on one item"));
        }
    }
    let planned: Vec<Result<Planned, Error>> = writes.iter().map(|write| write.plan(tables)).collect();
    if let Some(error) =
        planned.iter().find_map(|planned| planned.as_ref().err().filter(|e| e.kind == Kind::ResourceNotFound))
    {
        return Err(error.clone());
    }
    if planned.iter().any(Result::is_err) {
        return Err(Error::canceled(planned.into_iter().map(Result::err).collect()));
    }
    let planned: Vec<_> = planned.into_iter().flatten().collect();
    if planned.iter().filter_map(|planned| planned.new.as_ref()).map(stored_bytes).sum::<usize>() > MAX_BYTES {
        return Err(Error::validation("Collection size of items in a transaction cannot exceed 4MB"));
    }
    let mut answer = Answer::default();
    planned.into_iter().for_each(|planned| answer.write(planned, FACTOR));
    Ok(answer)
}

pub(in super::super) fn get(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    let entries = fields.required_list("TransactItems")?;
    require_count(entries.len(), "TransactItems")?;
    let (mut answer, mut responses, mut seen) = (Answer::default(), Vec::new(), BTreeSet::new());
    for entry in entries {
        let fields = Fields::of(entry)?.structure("Get")?.ok_or_else(|| missing("Get"))?;
        let mut placeholders = fields.placeholders()?;
        let projection = fields.projection(&mut placeholders)?;
        placeholders.finish(projection.is_some())?;
        let name = fields.required("TableName")?;
        let table = table(tables, name)?;
        let position = table.key.require_key(&fields.required_item("Key")?)?;
        let item = table.items.get(&position);
        let hash = position.hash;
        if !seen.insert((name, position)) {
            return Err(Error::validation("Transaction request cannot include multiple operations on one item"));
        }
        let units = read_units(item.map_or(0, stored_bytes), true) * FACTOR;
        answer.consumed.read(name, hash, &Units::of_table(units));
        let item = item.map(|item| item_json(&projected(item, projection.as_deref())));
        responses.push(item.map_or_else(|| json!({}), |item| json!({ "Item": item })));
    }
    answer.body.insert("Responses".to_owned(), responses.into());
    Ok(answer.with_consumption_of_transaction(shown))
}
