//! Which actions are denied, as a policy would: `kinesis:PutRecords`, `dynamodb:CreateTable`.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::services::Service;
use crate::wire::Format;
use crate::{ACCOUNT_ID, REGION, kinesis};

/// The denied actions. Everything else is allowed.
#[derive(Debug, Default)]
pub(crate) struct Access {
    // Protects a set for the length of one lookup or change.
    denied: Mutex<BTreeSet<String>>,
}

impl Access {
    pub(crate) fn new(denied: BTreeSet<String>) -> Self {
        Self { denied: Mutex::new(denied) }
    }

    pub(crate) fn deny(&self, action: &str) {
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
        let action = format!("{}:{operation}", service.prefix());
        denied.contains(&action).then(|| {
            format!(
                "User: arn:aws:iam::{ACCOUNT_ID}:user/local is not authorized to perform: {action} on resource: {} \
                 because no identity-based policy allows the {action} action",
                resource(service, format, body)
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set is whole even when a thread panicked between two of its changes.
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Service::DynamoDb => {
            names.table_name.map(|table| format!("arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:table/{table}"))
        }
    }
    .unwrap_or_else(|| "*".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_action_is_refused_in_the_words_of_the_service_until_allowed() {
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
