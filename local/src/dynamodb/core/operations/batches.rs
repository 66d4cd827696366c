//! BatchGetItem and BatchWriteItem.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::super::Answer;
use super::super::capacity::{Units, read_units};
use super::super::error::Error;
use super::super::request::{Fields, missing};
use super::super::value::{item_from_json, item_json, stored_bytes};
use super::super::writes::{Change, Tables, Write, table};
use super::items::projected;

/// Maximum number of keys to get, and of writes.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MAX_KEYS: usize = 100;
const MAX_WRITES: usize = 25;

/// Maximum size of the items of an answer. What does not fit is unprocessed.
const MAX_ANSWER: usize = 16 << 20;

pub(in super::super) fn get(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    let requests = fields.map("RequestItems")?.filter(|requests| !requests.is_empty());
    let requests = requests.ok_or_else(|| missing("RequestItems"))?;
    let mut count = 0;
    for request in requests.values() {
        count += Fields::of(request)?.required_list("Keys")?.len();
    }
    if count > MAX_KEYS {
        return Err(Error::validation("Too many items requested for the BatchGetItem call"));
    }
    let (mut answer, mut responses, mut unprocessed) = (Answer::default(), Map::new(), Map::new());
    let mut room = MAX_ANSWER;
    for (name, request) in requests {
        let (items, left) = of_table(tables, (name, Fields::of(request)?), &mut answer, &mut room)?;
        responses.insert(name.clone(), items.into());
        if !left.is_empty() {
            let mut request = request.clone();
            request["Keys"] = left.into();
            unprocessed.insert(name.clone(), request);
        }
    }
    answer.body.insert("Responses".to_owned(), responses.into());
    answer.body.insert("UnprocessedKeys".to_owned(), unprocessed.into());
    Ok(answer.with_consumption_by_table(shown))
}

/// The items of one table, and the keys for which there is no room.
fn of_table(
    tables: &Tables,
    (name, fields): (&str, Fields<'_>),
    answer: &mut Answer,
    room: &mut usize,
) -> Result<(Vec<Json>, Vec<Json>), Error> {
    fields.require_one_style(&["ProjectionExpression"], &["AttributesToGet"])?;
    let mut placeholders = fields.placeholders()?;
    let projection = fields.projection(&mut placeholders)?;
    placeholders.finish(fields.has("ProjectionExpression"))?;
    let is_consistent = fields.flag("ConsistentRead")?;
    let table = table(tables, name)?;
    let (mut seen, mut items, mut left) = (BTreeSet::new(), Vec::new(), Vec::new());
    let keys = fields.required_list("Keys")?;
    if keys.is_empty() {
        return Err(Error::validation("1 validation error detected: The list of keys must not be empty"));
    }
    for key in keys {
        let position = table.key.require_key(&item_from_json(key)?)?;
        let item = table.items.get(&position);
        let hash = position.hash;
        if !seen.insert(position) {
            return Err(Error::validation("Provided list of item keys contains duplicates"));
        }
        let bytes = item.map_or(0, stored_bytes);
        if bytes > *room {
            left.push(key.clone());
            continue;
        }
        *room -= bytes;
        answer.consumed.read(name, hash, &Units::of_table(read_units(bytes, is_consistent)));
        items.extend(item.map(|item| item_json(&projected(item, projection.as_deref()))));
    }
    Ok((items, left))
}

pub(in super::super) fn write(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let shown = fields.consumption()?;
    let requests = fields.map("RequestItems")?.filter(|requests| !requests.is_empty());
    let requests = requests.ok_or_else(|| missing("RequestItems"))?;
    let mut writes = Vec::new();
    for (table, requests) in requests {
        let requests = requests.as_array().ok_or_else(|| Error::serialization("a list of writes is needed"))?;
        for request in requests {
            writes.push(Write::new(table, change(Fields::of(request)?)?));
        }
    }
    if writes.is_empty() || writes.len() > MAX_WRITES {
        return Err(Error::validation("Too many items requested for the BatchWriteItem call"));
    }
    // All are checked before the first is done, so that what is refused does nothing.
    let mut places = BTreeSet::new();
    for write in &writes {
        let (_, position) = write.place(tables)?;
        if !places.insert((write.table.clone(), position)) {
            return Err(Error::validation("Provided list of item keys contains duplicates"));
        }
    }
    let planned = writes.iter().map(|write| write.plan(tables)).collect::<Result<Vec<_>, _>>()?;
    let mut answer = Answer::default();
    planned.into_iter().for_each(|planned| answer.write(planned, 1.0));
    answer.body.insert("UnprocessedItems".to_owned(), json!({}));
    Ok(answer.with_consumption_by_table(shown))
}

fn change(fields: Fields<'_>) -> Result<Change, Error> {
    match (fields.structure("PutRequest")?, fields.structure("DeleteRequest")?) {
        (Some(put), None) => Ok(Change::Put(put.required_item("Item")?)),
        (None, Some(delete)) => Ok(Change::Delete(delete.required_item("Key")?)),
        _ => Err(Error::validation(
            "Supplied WriteRequest must contain exactly one of the supported types: PutRequest or DeleteRequest",
        )),
    }
}
