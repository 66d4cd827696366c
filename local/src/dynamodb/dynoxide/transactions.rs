//! Transactions, as far as dynoxide's differ from the service's: the lifetime of tokens, and EXISTS.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dynoxide::Database;
use serde_json::{Value, json};

use super::{Answered, run};
use crate::dynamodb::statements::Verb;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// Lifetime of a ClientRequestToken.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const WINDOW: Duration = Duration::from_secs(600);

/// Maximum length of a token. Same source.
const MAX_TOKEN: usize = 36;

/// Recent transactions.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    // Protects the tokens, and makes a transaction with its checks one step among the other writes.
    tokens: Mutex<Tokens>,
}

/// Dynoxide remembers tokens by a clock of its own. So it is given others: a new one for each use after the window.
#[derive(Debug, Default)]
struct Tokens {
    used: BTreeMap<(String, String), Use>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    since: Millis,
    number: u64,
}

/// An EXISTS among the statements of a transaction.
#[derive(Debug)]
struct Check {
    index: usize,
    request: Value,
}

impl Transactions {
    /// Performs a write.
    pub(super) fn perform(
        &self,
        database: &Database,
        (operation, body): (&str, &[u8]),
        now: Millis,
        perform: impl FnOnce(&[u8]) -> Answered,
    ) -> Answered {
        // The map is whole even when a thread panicked between two of its changes.
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let is_transaction = matches!(operation, "TransactWriteItems" | "ExecuteTransaction");
        let request = is_transaction.then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
        let Some(mut request) = request else { return perform(body) };
        let token = tokens.replace(operation, &mut request, now);
        let statements = request["TransactStatements"].as_array().map_or(0, Vec::len);
        let checks = take_checks(&mut request);
        let is_replay = token.as_ref().is_some_and(|(key, _)| tokens.used.contains_key(key));
        if !is_replay && let Err(refusal) = require(database, &checks, statements) {
            return Err(refusal);
        }
        let answer = perform(request.to_string().as_bytes());
        if let (Ok(_), Some((key, used))) = (&answer, token) {
            tokens.used.entry(key).or_insert(used);
        }
        match answer {
            Ok(body) => Ok(with_places(body, &checks)),
            Err(refusal) => Err(Refusal { body: with_places(refusal.body, &checks), ..refusal }),
        }
    }
}

impl Tokens {
    /// Replaces the token of the request, if it has a valid one, by that under which dynoxide knows it.
    fn replace(&mut self, operation: &str, request: &mut Value, now: Millis) -> Option<((String, String), Use)> {
        self.used.retain(|_, used| now.since(used.since) < WINDOW);
        let token = request.get("ClientRequestToken")?.as_str()?.to_owned();
        if token.is_empty() || token.len() > MAX_TOKEN {
            return None;
        }
        let key = (operation.to_owned(), token);
        self.count += 1;
        let used = self.used.get(&key).copied().unwrap_or(Use { since: now, number: self.count });
        request["ClientRequestToken"] = used.number.to_string().into();
        Some((key, used))
    }
}

/// Takes the checks out of a transaction that writes. In any other, dynoxide refuses them in the words of the service.
fn take_checks(request: &mut Value) -> Vec<Check> {
    let statements = request.get_mut("TransactStatements").and_then(Value::as_array_mut);
    let Some(statements) = statements else { return Vec::new() };
    let verb = |statement: &Value| statement["Statement"].as_str().and_then(Verb::of);
    let writes = |statement: &Value| matches!(verb(statement), Some(Verb::Insert | Verb::Update | Verb::Delete));
    if !statements.iter().any(writes) {
        return Vec::new();
    }
    let check = |(index, statement): (usize, &Value)| {
        let select = verb(statement).filter(|verb| *verb == Verb::Exists);
        let select = select.and_then(|_| checked(statement["Statement"].as_str()?))?;
        let mut request = statement.clone();
        request["Statement"] = select.into();
        request["ConsistentRead"] = true.into();
        Some(Check { index, request })
    };
    let checks: Vec<_> = statements.iter().enumerate().filter_map(check).collect();
    for check in checks.iter().rev() {
        statements.remove(check.index);
    }
    checks
}

/// An answer about the other statements, with the places of the checks, which passed.
fn with_places(body: Vec<u8>, checks: &[Check]) -> Vec<u8> {
    if checks.is_empty() {
        return body;
    }
    let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else { return body };
    for (list, place) in [("Responses", json!({})), ("CancellationReasons", json!({ "Code": "None" }))] {
        let Some(list) = answer.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for check in checks {
            list.insert(check.index.min(list.len()), place.clone());
        }
    }
    if let Some(reasons) = answer.get("CancellationReasons").and_then(Value::as_array) {
        let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
        let message = Refusal::canceled_because(&codes);
        let key = if answer.get("Message").is_some() { "Message" } else { "message" };
        answer[key] = message.into();
    }
    answer.to_string().into_bytes()
}

/// Passes when every check finds its item.
fn require(database: &Database, checks: &[Check], statements: usize) -> Result<(), Refusal> {
    for check in checks {
        let answer = run(check.request.to_string().as_bytes(), |request| database.execute_statement(request))?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if answer["Items"].as_array().is_none_or(Vec::is_empty) {
            let reason = ("ConditionalCheckFailed", "The conditional request failed");
            return Err(Refusal::transaction_canceled(statements, check.index, reason));
        }
    }
    Ok(())
}

/// The SELECT inside of EXISTS(..).
fn checked(statement: &str) -> Option<&str> {
    let rest = statement.trim().get("EXISTS".len()..)?.trim_start();
    rest.strip_prefix('(')?.strip_suffix(')')
}
