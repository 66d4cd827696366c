//! Batches with parts that fail: the parts that a fault removes are not performed, and the answer names them.

use serde_json::{Map, Value, json};

use super::Answered;
use crate::faults::{Failing, RecordFaults};

/// Performs a batch, some entries of which fail, or any other operation unchanged.
pub(super) fn perform(
    (operation, body): (&str, &[u8]),
    faults: Option<RecordFaults>,
    perform: impl FnOnce(&[u8]) -> Answered,
) -> Answered {
    let request = faults.and_then(|faults| Some((faults, serde_json::from_slice::<Value>(body).ok()?)));
    let Some((faults, request)) = request else { return perform(body) };
    match operation {
        "BatchExecuteStatement" => statements(request, faults, perform),
        "BatchWriteItem" => items((request, "UnprocessedItems"), faults, perform),
        "BatchGetItem" => items((request, "UnprocessedKeys"), faults, perform),
        _ => perform(body),
    }
}

/// A batch of statements: each has a response of its own.
fn statements(mut request: Value, faults: RecordFaults, perform: impl FnOnce(&[u8]) -> Answered) -> Answered {
    let statements = request.get_mut("Statements").and_then(Value::as_array_mut);
    let count = statements.as_ref().map_or(0, |statements| statements.len());
    if let Some(statements) = statements
        && !faults.are_stored
    {
        let mut n = 0;
        statements.retain(|_| {
            n += 1;
            !faults.strikes(n)
        });
    }
    let is_left = request["Statements"].as_array().is_none_or(|statements| !statements.is_empty());
    let mut answer = match if is_left { perform(request.to_string().as_bytes()) } else { Ok(Vec::new()) } {
        Ok(answer) => serde_json::from_slice(&answer).unwrap_or_else(|_| json!({ "Responses": [] })),
        refused => return refused,
    };
    let (code, message) = match faults.failing {
        Failing::First => ("TransactionConflict", "Transaction is ongoing for the item"),
        Failing::Every(_) => ("ThrottlingError", "Rate of requests exceeds the allowed throughput."),
    };
    if let Some(responses) = answer["Responses"].as_array_mut() {
        for n in (1..=count).filter(|n| faults.strikes(*n)) {
            let failed = json!({ "Error": { "Code": code, "Message": message } });
            if faults.are_stored { responses[n - 1] = failed } else { responses.insert(n - 1, failed) }
        }
    }
    Ok(answer.to_string().into_bytes())
}

/// A batch of items by table: what failed is unprocessed.
fn items(
    (mut request, unprocessed): (Value, &str),
    faults: RecordFaults,
    perform: impl FnOnce(&[u8]) -> Answered,
) -> Answered {
    let mut failed = Map::new();
    let mut n = 0;
    if let Some(tables) = request.get_mut("RequestItems").and_then(Value::as_object_mut) {
        for (table, entries) in tables.iter_mut() {
            let mut strikes = || {
                n += 1;
                faults.strikes(n)
            };
            let mut of_table = entries.clone();
            let (Some(all), Some(struck)) = (list(entries), list(&mut of_table)) else { continue };
            let is_struck: Vec<_> = all.iter().map(|_| strikes()).collect();
            retain(struck, |n| is_struck[n]);
            if !struck.is_empty() {
                failed.insert(table.clone(), of_table);
            }
            if !faults.are_stored {
                retain(all, |n| !is_struck[n]);
            }
        }
        tables.retain(|_, entries| list(entries).is_none_or(|entries| !entries.is_empty()));
    }
    let is_left = request["RequestItems"].as_object().is_none_or(|tables| !tables.is_empty());
    let mut answer = match if is_left { perform(request.to_string().as_bytes()) } else { Ok(Vec::new()) } {
        Ok(answer) => serde_json::from_slice(&answer).unwrap_or_else(|_| json!({})),
        refused => return refused,
    };
    if !answer[unprocessed].is_object() {
        answer[unprocessed] = json!({});
    }
    for (table, mut entries) in failed {
        match answer[unprocessed].get_mut(&table).and_then(list) {
            Some(left) => left.append(list(&mut entries).unwrap_or(&mut Vec::new())),
            None => answer[unprocessed][table] = entries,
        }
    }
    Ok(answer.to_string().into_bytes())
}

/// The requests of BatchWriteItem, or the keys of BatchGetItem, for one table.
fn list(entries: &mut Value) -> Option<&mut Vec<Value>> {
    if entries.is_array() { entries.as_array_mut() } else { entries.get_mut("Keys")?.as_array_mut() }
}

fn retain(entries: &mut Vec<Value>, keeps: impl Fn(usize) -> bool) {
    let mut n = 0;
    entries.retain(|_| {
        n += 1;
        keeps(n - 1)
    });
}
