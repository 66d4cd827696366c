//! GetItem, PutItem, UpdateItem, DeleteItem.

use serde_json::Value as Json;

use super::super::Answer;
use super::super::capacity::{Consumed, Shown, Units, read_units};
use super::super::error::Error;
use super::super::expression::condition::Condition;
use super::super::expression::placeholders::Placeholders;
use super::super::expression::update::Update;
use super::super::legacy;
use super::super::path::{Path, project};
use super::super::request::Fields;
use super::super::value::{Item, item_json, stored_bytes};
use super::super::writes::{Change, Planned, Tables, Write, table};

pub(in super::super) fn get(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    fields.require_one_style(&["ProjectionExpression"], &["AttributesToGet"])?;
    let shown = fields.consumption()?;
    let mut placeholders = fields.placeholders()?;
    let projection = fields.projection(&mut placeholders)?;
    placeholders.finish(fields.has("ProjectionExpression"))?;
    let (name, key) = (fields.required("TableName")?, fields.required_item("Key")?);
    let table = table(tables, name)?;
    let position = table.key.require_key(&key)?;
    let item = table.items.get(&position);
    let units = read_units(item.map_or(0, stored_bytes), fields.flag("ConsistentRead")?);
    let mut answer = Answer::default();
    answer.consumed.read(name, position.hash, &Units::of_table(units));
    if let Some(item) = item {
        answer.body.insert("Item".to_owned(), item_json(&projected(item, projection.as_deref())));
    }
    Ok(answer.with_consumption(shown))
}

/// The item, or the parts of it that were asked for.
pub(in super::super) fn projected(item: &Item, projection: Option<&[Path]>) -> Item {
    projection.map_or_else(|| item.clone(), |paths| project(item, paths))
}

pub(in super::super) fn put(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    replace(tables, fields, |fields| Ok(Change::Put(fields.required_item("Item")?)))
}

pub(in super::super) fn delete(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    replace(tables, fields, |fields| Ok(Change::Delete(fields.required_item("Key")?)))
}

/// A change that needs no more of the old item than its condition does.
fn replace(
    tables: &Tables,
    fields: Fields<'_>,
    change: fn(Fields<'_>) -> Result<Change, Error>,
) -> Result<Answer, Error> {
    fields.require_one_style(&["ConditionExpression"], &["Expected", "ConditionalOperator"])?;
    let returned = fields.choice("ReturnValues", &["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"])?;
    let mut placeholders = fields.placeholders()?;
    let condition = condition(fields, &mut placeholders)?;
    placeholders.finish(fields.has("ConditionExpression"))?;
    if !matches!(returned, "NONE" | "ALL_OLD") {
        return Err(Error::validation("ReturnValues can only be ALL_OLD or NONE"));
    }
    write(tables, fields, (change(fields)?, condition), |planned| planned.old.clone().filter(|_| returned == "ALL_OLD"))
}

pub(in super::super) fn update(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let expressions = ["UpdateExpression", "ConditionExpression"];
    fields.require_one_style(&expressions, &["AttributeUpdates", "Expected", "ConditionalOperator"])?;
    let returned = fields.choice("ReturnValues", &["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"])?;
    let mut placeholders = fields.placeholders()?;
    let update = match (fields.text("UpdateExpression")?, fields.map("AttributeUpdates")?) {
        (Some(text), _) => Update::parse(text, &mut placeholders)?,
        (None, Some(updates)) => legacy::update(updates)?,
        (None, None) => Update::default(),
    };
    let condition = condition(fields, &mut placeholders)?;
    placeholders.finish(expressions.iter().any(|name| fields.has(name)))?;
    let paths: Vec<_> = update.actions.iter().map(|(path, _)| path.clone()).collect();
    let change = Change::Update(fields.required_item("Key")?, update);
    write(tables, fields, (change, condition), |planned| returned_of(planned, returned, &paths))
}

/// The attributes that an update answers with.
pub(in super::super) fn returned_of(planned: &Planned, returned: &str, updated: &[Path]) -> Option<Item> {
    let updated =
        |item: &Option<Item>| item.as_ref().map(|item| project(item, updated)).filter(|item| !item.is_empty());
    match returned {
        "ALL_OLD" => planned.old.clone(),
        "ALL_NEW" => planned.new.clone(),
        "UPDATED_OLD" => updated(&planned.old),
        "UPDATED_NEW" => updated(&planned.new),
        _ => None,
    }
}

/// The condition of a write, in either form.
pub(super) fn condition(fields: Fields<'_>, placeholders: &mut Placeholders) -> Result<Option<Condition>, Error> {
    match fields.condition("ConditionExpression", placeholders)? {
        Some(condition) => Ok(Some(condition)),
        None => legacy::conditions(fields, "Expected"),
    }
}

fn write(
    tables: &Tables,
    fields: Fields<'_>,
    (change, condition): (Change, Option<Condition>),
    returned: impl FnOnce(&Planned) -> Option<Item>,
) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    fields.choice("ReturnItemCollectionMetrics", &["NONE", "SIZE"])?;
    let shows_failed = fields.choice("ReturnValuesOnConditionCheckFailure", &["NONE", "ALL_OLD"])? == "ALL_OLD";
    let table = fields.required("TableName")?.to_owned();
    let planned = Write { table, change, condition, shows_failed }.plan(tables)?;
    let mut answer = Answer::default();
    if let Some(item) = returned(&planned) {
        answer.body.insert("Attributes".to_owned(), item_json(&item));
    }
    answer.write(planned, 1.0);
    Ok(answer.with_consumption(shown))
}

/// The consumption as an answer about one table shows it.
pub(in super::super) fn single(consumed: &Consumed, shown: Shown) -> Option<Json> {
    consumed.shown(shown, false)?.into_iter().next()
}
