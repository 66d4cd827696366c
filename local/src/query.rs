//! The Query protocol, which older SDKs speak to CloudWatch: requests are forms, answers XML. Pure.
//!
//! (A) A form is read as the same fields in JSON would be: a list is `Name.member.1`, a structure `Name.Field`. (B) Memory is
//! bounded by the size of the form. docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/making-api-requests.html

use std::collections::BTreeMap;

use aws_smithy_types::date_time::{DateTime, Format as DateFormat};
use ciborium::Value;

use crate::wire::Unreadable;

/// Content type of its requests.
pub(crate) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Answer to PutMetricData, the only supported operation.
pub(crate) const ANSWER: &str = "<PutMetricDataResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\">\
                                 <ResponseMetadata/></PutMetricDataResponse>";

/// Maximum parts of a name. `EntityMetricData.member.1.MetricData.member.1.Dimensions.member.1.Name` has ten.
const MAX_PARTS: usize = 16;

/// Codes where they differ from the types of errors in other protocols.
/// github.com/aws/api-models-aws/blob/main/models/cloudwatch/service/2010-08-01/cloudwatch-2010-08-01.json
const CODES: [(&str, &str); 8] = [
    ("AccessDeniedException", "AccessDenied"),
    ("InternalServiceFault", "InternalServiceError"),
    ("InvalidParameterValueException", "InvalidParameterValue"),
    ("MissingRequiredParameterException", "MissingParameter"),
    ("SerializationException", "MalformedInput"),
    ("ServiceUnavailableException", "ServiceUnavailable"),
    ("ThrottlingException", "Throttling"),
    ("UnknownOperationException", "InvalidAction"),
];

/// The operation of a form.
pub(crate) fn action(form: &[u8]) -> Option<&str> {
    let action = form.split(|byte| *byte == b'&').find_map(|field| field.strip_prefix(b"Action="))?;
    std::str::from_utf8(action).ok()
}

/// The fields of a form.
pub(crate) fn read(form: &[u8]) -> Result<Value, Unreadable> {
    let mut root = Node::default();
    for field in form.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
        let mut halves = field.splitn(2, |byte| *byte == b'=');
        let mut half = || decoded(halves.next().unwrap_or_default());
        let (name, text) = (half()?, half()?);
        let parts: Vec<&str> = name.split('.').collect();
        if parts.len() > MAX_PARTS {
            return Err(unreadable(&name));
        }
        let leaf = typed(&parts, text).ok_or_else(|| unreadable(&name))?;
        let node = parts.iter().fold(&mut root, |node, part| node.children.entry(key(part)).or_default());
        node.leaf = Some(leaf);
    }
    Ok(root.into_value())
}

/// A refusal that was written in JSON, as XML.
pub(crate) fn refusal(json: &[u8]) -> Vec<u8> {
    let refusal: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let text = |key: &str| refusal[key].as_str().unwrap_or_default();
    let error_type = text("__type");
    let code = CODES.iter().find(|(of, _)| *of == error_type).map_or(error_type, |(_, code)| code);
    format!(
        "<ErrorResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\"><Error><Type>Sender</Type><Code>{}</Code>\
         <Message>{}</Message></Error><RequestId/></ErrorResponse>",
        escaped(code),
        escaped(text("message")),
    )
    .into_bytes()
}

/// Part of a name, by number where it is one, so that the tenth follows the ninth.
type Key = (Option<u32>, String);

/// Fields whose names begin alike, as a tree.
#[derive(Default)]
struct Node {
    leaf: Option<Value>,
    children: BTreeMap<Key, Node>,
}

impl Node {
    /// No deeper than names have parts.
    fn into_value(mut self) -> Value {
        if let Some(leaf) = self.leaf {
            return leaf;
        }
        if let Some(members) = self.children.remove(&key("member")) {
            return Value::Array(members.children.into_values().map(Self::into_value).collect());
        }
        Value::Map(self.children.into_iter().map(|((_, name), node)| (name.into(), node.into_value())).collect())
    }
}

fn key(part: &str) -> Key {
    (part.parse().ok(), part.to_owned())
}

/// The value of a field, of the type that belongs to its name; `None` if it is not of that type.
fn typed(name: &[&str], text: String) -> Option<Value> {
    let mut names = name.iter().rev().filter(|part| **part != "member" && part.parse::<u32>().is_err());
    match (names.next().copied(), names.next().copied()) {
        (Some("Timestamp"), _) => {
            Some(Value::Float(DateTime::from_str(&text, DateFormat::DateTimeWithOffset).ok()?.as_secs_f64()))
        }
        (Some("Value" | "Values" | "Counts" | "StorageResolution"), Some("MetricData"))
        | (_, Some("StatisticValues")) => text.parse().ok().map(Value::Float),
        _ => Some(Value::Text(text)),
    }
}

/// Text without its percent signs and pluses.
fn decoded(text: &[u8]) -> Result<String, Unreadable> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(Unreadable(String::new())) };
                bytes.push(high << 4 | low);
                rest = after;
            }
            (b'%', _) => return Err(Unreadable(String::new())),
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).map_err(|_| Unreadable(String::new()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unreadable(name: &str) -> Unreadable {
    Unreadable(format!("{name} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_in_order_and_numbers_by_name() {
        let form = b"Action=PutMetricData&Namespace=a+b%2Fc&MetricData.member.10.MetricName=tenth\
                     &MetricData.member.9.MetricName=ninth&MetricData.member.9.Value=1.5e1\
                     &MetricData.member.9.Dimensions.member.1.Value=7&MetricData.member.9.Values.member.1=2\
                     &MetricData.member.9.Timestamp=2026-11-30T05%3A26%3A03Z&Version=2010-08-01";
        assert_eq!(action(form), Some("PutMetricData"));

        let json: serde_json::Value = read(form).unwrap().deserialized().unwrap();

        let dimensions = serde_json::json!([{ "Value": "7" }]);
        let ninth = serde_json::json!({
            "MetricName": "ninth", "Value": 15.0, "Values": [2.0], "Timestamp": 1_796_016_363.0, "Dimensions": dimensions,
        });
        assert_eq!(json["Namespace"], "a b/c");
        assert_eq!(json["MetricData"], serde_json::json!([ninth, { "MetricName": "tenth" }]));
    }

    #[test]
    fn no_garbage_is_read() {
        let deep = "a.".repeat(MAX_PARTS);
        for garbage in
            ["a=%", "a=%g0", "a=%ff", "MetricData.member.1.Value=x", "MetricData.member.1.Timestamp=1", &deep]
        {
            assert!(read(garbage.as_bytes()).is_err(), "{garbage}");
        }
        assert_eq!(read(b"&&").unwrap(), Value::Map(Vec::new()));
        assert_eq!(action(b"Version=1"), None);
    }

    #[test]
    fn a_refusal_has_the_code_of_the_protocol() {
        let xml = refusal(br#"{"__type":"ThrottlingException","message":"a < b & c"}"#);

        let xml = String::from_utf8(xml).unwrap();
        assert!(xml.contains("<Code>Throttling</Code><Message>a &lt; b &amp; c</Message>"), "{xml}");
    }
}
