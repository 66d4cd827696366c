//! Resource policies of streams and consumers: validated and kept, but not enforced, as there is only one account.

use serde::Deserialize;
use serde_json::Value;

use crate::ACCOUNT_ID;
use crate::kinesis::check::{self, Check};
use crate::kinesis::consumer::Status;
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// Maximum length of a resource's ARN. docs.aws.amazon.com/kinesis/latest/APIReference/API_PutResourcePolicy.html
const MAX_ARN: usize = 2048;

/// Maximum size of a resource's policy. docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const MAX_POLICY: usize = 20_480;

/// The policy of a resource without one.
const NO_POLICY: &str = "{}";

impl Kinesis {
    pub(super) fn put_resource_policy(
        &mut self,
        request: request::ResourcePolicy<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mut check = check_arn(&request);
        check.required(&request.policy, "policy");
        check.finish()?;
        let arn = request.resource_arn.as_deref().unwrap_or_default();
        let policy = self.policy(&request, now)?;
        let text = request.policy.as_deref().unwrap_or_default();
        require_policy(text, arn)?;
        *policy = Some(text.to_owned());
        Ok(response::Empty {})
    }

    pub(super) fn get_resource_policy(
        &mut self,
        request: request::ResourcePolicy<'_>,
        now: Millis,
    ) -> Result<response::ResourcePolicy, Error> {
        check_arn(&request).finish()?;
        let policy = self.policy(&request, now)?.clone();
        Ok(response::ResourcePolicy { policy: policy.unwrap_or_else(|| NO_POLICY.to_owned()) })
    }

    pub(super) fn delete_resource_policy(
        &mut self,
        request: request::ResourcePolicy<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        check_arn(&request).finish()?;
        let arn = request.resource_arn.as_deref().unwrap_or_default();
        match self.policy(&request, now)?.take() {
            Some(_) => Ok(response::Empty {}),
            None => Err(Error::no_policy(arn)),
        }
    }

    /// The policy of the ACTIVE stream or consumer that the request names.
    fn policy(&mut self, request: &request::ResourcePolicy<'_>, now: Millis) -> Result<&mut Option<String>, Error> {
        let text = request.resource_arn.as_deref().unwrap_or_default();
        if !text.contains("/consumer/") {
            let stream = self.stream(check::stream(None, request.resource_arn.as_ref())?, now)?;
            stream.require_active()?;
            return Ok(&mut stream.policy);
        }
        let parts = check::consumer_arn(text)?;
        let missing = || Error::no_consumer(text);
        let stream = self.stream(parts.stream, now).map_err(|_| missing())?;
        let consumer = stream.consumers.get_mut(parts.consumer).filter(|found| found.arn(parts.stream) == text);
        let consumer = consumer.ok_or_else(missing)?;
        if consumer.status != Status::Active {
            return Err(Error::resource_in_use(format!(
                "Consumer {} with creation timestamp {} under stream {} and account {ACCOUNT_ID} is not in ACTIVE \
                 status.",
                parts.consumer,
                consumer.created_at.0 / 1000,
                parts.stream
            )));
        }
        Ok(&mut consumer.policy)
    }
}

fn check_arn(request: &request::ResourcePolicy<'_>) -> Check {
    let mut check = Check::default();
    check.required(&request.resource_arn, "resourceARN");
    if request.resource_arn.as_ref().is_some_and(|arn| arn.len() > MAX_ARN) {
        check.fail("", "resourceARN", format_args!("have length less than or equal to {MAX_ARN}"));
    }
    check
}

/// A policy, as far as it is looked at. What may be one or many is read as it is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    statement: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: String,
    #[serde(default)]
    principal: Value,
    #[serde(default)]
    action: Value,
    #[serde(default)]
    resource: Value,
}

/// Passes when the text is a policy about the resource: who may or may not do what with it.
fn require_policy(text: &str, arn: &str) -> Result<(), Error> {
    let invalid = |why: &str| Error::invalid_argument(format!("Invalid resource policy: {why}."));
    if text.len() > MAX_POLICY {
        return Err(invalid("it is larger than 20 KB"));
    }
    let policy: Policy = serde_json::from_str(text).map_err(|_| invalid("it is no JSON with a Statement"))?;
    let statements = many(policy.statement);
    if statements.is_empty() {
        return Err(invalid("it has no statement"));
    }
    for statement in statements {
        let statement: Statement =
            serde_json::from_value(statement).map_err(|_| invalid("a statement has no Effect"))?;
        if !["Allow", "Deny"].contains(&&*statement.effect) {
            return Err(invalid("an Effect is neither Allow nor Deny"));
        }
        if statement.principal.is_null() {
            return Err(invalid("a statement has no Principal"));
        }
        let is_action =
            |action: &Value| action.as_str().is_some_and(|text| text == "*" || text.starts_with("kinesis:"));
        let actions = many(statement.action);
        if actions.is_empty() || !actions.iter().all(is_action) {
            return Err(invalid("a statement has no Action of Kinesis"));
        }
        if many(statement.resource) != [Value::from(arn)] {
            return Err(invalid("the Resource of a statement is not the ARN of the resource"));
        }
    }
    Ok(())
}

fn many(value: Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values,
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

    fn policy(change: impl FnOnce(&mut Value)) -> String {
        let mut policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow", "Principal": { "AWS": "123456789012" }, "Resource": ARN,
                "Action": ["kinesis:GetRecords", "kinesis:ListShards"],
            }],
        });
        change(&mut policy);
        policy.to_string()
    }

    #[test]
    fn a_policy_says_who_may_do_what_with_the_resource() {
        require_policy(&policy(|_| {}), ARN).unwrap();
        require_policy(&policy(|policy| policy["Statement"] = policy["Statement"][0].clone()), ARN).unwrap();
        require_policy(&policy(|policy| policy["Statement"][0]["Action"] = "kinesis:*".into()), ARN).unwrap();

        let refused = |change: fn(&mut Value)| require_policy(&policy(change), ARN).unwrap_err().code();
        for change in [
            (|policy| *policy = "text".into()) as fn(&mut Value),
            |policy| policy["Statement"] = Value::Null,
            |policy| policy["Statement"] = Value::Array(Vec::new()),
            |policy| policy["Statement"][0]["Effect"] = "Maybe".into(),
            |policy| policy["Statement"][0]["Principal"] = Value::Null,
            |policy| policy["Statement"][0]["Action"] = "sqs:SendMessage".into(),
            |policy| policy["Statement"][0]["Resource"] = "arn:aws:kinesis:us-east-1:000000000000:stream/t".into(),
            |policy| policy["Id"] = "x".repeat(MAX_POLICY).into(),
        ] {
            assert_eq!(refused(change), "InvalidArgumentException");
        }
        assert_eq!(require_policy("{", ARN).unwrap_err().code(), "InvalidArgumentException");
    }
}
