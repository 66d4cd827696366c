//! Denied actions, as in a policy: `kinesis:PutRecords`, `dynamodb:PartiQLSelect`, `kinesis:*`.
//!
//! An operation needs the action of its name. Those of DynamoDB that are made of others need theirs: transactions those of
//! their items, PartiQL those of its statements.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use crate::dynamodb::statements::{self, Verb};
use crate::services::Service;
use crate::wire::Format;
use crate::{ACCOUNT_ID, REGION, kinesis};

/// Operations of DynamoDB that have no action of their name.
const COMPOSED: [&str; 5] =
    ["BatchExecuteStatement", "ExecuteStatement", "ExecuteTransaction", "TransactGetItems", "TransactWriteItems"];

/// Actions of DynamoDB that have no operation of their name.
/// docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
const PARTS: [&str; 5] = ["ConditionCheckItem", "PartiQLDelete", "PartiQLInsert", "PartiQLSelect", "PartiQLUpdate"];

/// The denied actions. Everything else is allowed.
#[derive(Debug, Default)]
pub(crate) struct Access {
    // Protects a set for the length of one lookup or change.
    denied: Mutex<BTreeSet<String>>,
}

impl Access {
    /// # Panics
    /// A pattern matches no action.
    pub(crate) fn new(denied: BTreeSet<String>) -> Self {
        denied.iter().for_each(|action| require_action(action));
        Self { denied: Mutex::new(denied) }
    }

    /// # Panics
    /// The pattern matches no action: it would deny nothing.
    pub(crate) fn deny(&self, action: &str) {
        require_action(action);
        self.lock().insert(action.to_owned());
    }

    pub(crate) fn allow(&self, action: &str) {
        self.lock().remove(action);
    }

    /// The message of the refusal when the operation is denied.
    pub(crate) fn refusal(&self, service: Service, operation: &str, format: Format, body: &[u8]) -> Option<String> {
        let denied = self.lock();
        if denied.is_empty() {
            return None;
        }
        let needs = needs(service, operation, format, body);
        let (action, resource) =
            needs.into_iter().find(|(action, _)| denied.iter().any(|denied| matches(denied, action)))?;
        Some(format!(
            "User: arn:aws:iam::{ACCOUNT_ID}:user/local is not authorized to perform: {action} on resource: {resource} \
             because no identity-based policy allows the {action} action"
        ))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set is whole even when a thread panicked between two of its changes.
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if the pattern, which may end in `*`, matches the action.
fn matches(pattern: &str, action: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == action, |prefix| action.starts_with(prefix))
}

fn require_action(pattern: &str) {
    let is_known = Service::ALL.into_iter().any(|service| {
        let parts = if service == Service::DynamoDb { &PARTS[..] } else { &[] };
        let operations = service.operations().iter().filter(|operation| !COMPOSED.contains(operation));
        operations.chain(parts).any(|action| matches(pattern, &format!("{}:{action}", service.prefix())))
    });
    assert!(is_known, "{pattern} is no action like kinesis:PutRecords or dynamodb:PartiQLSelect, nor kinesis:* or *");
}

/// The actions that a request needs, each with its resource.
fn needs(service: Service, operation: &str, format: Format, body: &[u8]) -> Vec<(String, String)> {
    if service != Service::DynamoDb || !COMPOSED.contains(&operation) {
        return vec![(format!("{}:{operation}", service.prefix()), resource(service, format, body))];
    }
    let request: Value = format.decode(body).unwrap_or_default();
    let entries = |name: &str| request[name].as_array().cloned().unwrap_or_default();
    let of_item = |item: &Value| {
        let (kind, item) = item.as_object()?.iter().next()?;
        let action = if kind == "ConditionCheck" { "ConditionCheckItem" } else { &format!("{kind}Item") };
        Some((format!("dynamodb:{action}"), table_arn(item["TableName"].as_str())))
    };
    let of_statement = |statement: &Value| {
        let statement = statement["Statement"].as_str()?;
        let action = Verb::of(statement)?.action();
        Some((format!("dynamodb:{action}"), table_arn(statements::table(statement))))
    };
    let items = entries("TransactItems");
    let statements = [entries("TransactStatements"), entries("Statements"), vec![request]].concat();
    items.iter().filter_map(of_item).chain(statements.iter().filter_map(of_statement)).collect()
}

fn table_arn(table: Option<&str>) -> String {
    table.map_or("*".to_owned(), |table| format!("arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:table/{table}"))
}

/// The names of what a request is about, in any operation among any other fields.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Resource {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    table_name: Option<String>,
}

/// The ARN of what the request is about, or `*` when it names nothing.
fn resource(service: Service, format: Format, body: &[u8]) -> String {
    let names: Resource = format.decode(body).unwrap_or_default();
    match service {
        Service::Kinesis => names.stream_arn.or_else(|| names.stream_name.as_deref().map(kinesis::arn)),
        Service::CloudWatch => None,
        Service::DynamoDb => Some(table_arn(names.table_name.as_deref())),
    }
    .unwrap_or_else(|| "*".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_denied_action_in_the_words_of_the_service() {
        let access = Access::default();
        let refusal =
            |access: &Access| access.refusal(Service::DynamoDb, "CreateTable", Format::Json, br#"{"TableName":"app"}"#);
        assert_eq!(refusal(&access), None);

        access.deny("dynamodb:CreateTable");

        let message = refusal(&access).unwrap();
        assert!(
            message.starts_with(
                "User: arn:aws:iam::000000000000:user/local is not authorized to perform: dynamodb:CreateTable on \
                 resource: arn:aws:dynamodb:us-east-1:000000000000:table/app"
            ),
            "{message}"
        );
        assert_eq!(access.refusal(Service::Kinesis, "CreateTable", Format::Json, b""), None);

        access.allow("dynamodb:CreateTable");
        assert_eq!(refusal(&access), None);
    }

    #[test]
    fn the_resource_is_the_stream_by_either_name() {
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
        assert_eq!(resource(Service::Kinesis, Format::Json, br#"{"StreamName":"s"}"#), arn);
        assert_eq!(resource(Service::Kinesis, Format::Json, format!(r#"{{"StreamARN":"{arn}"}}"#).as_bytes()), arn);
        assert_eq!(resource(Service::Kinesis, Format::Json, b"{}"), "*");
        assert_eq!(resource(Service::Kinesis, Format::Json, b"garbage"), "*");
    }
}
