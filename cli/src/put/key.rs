//! The partition key of a record that is put. Pure.

use std::str::FromStr;

use md5::{Digest as _, Md5};
use serde_json::Value;

/// Source of partition keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum KeyRule {
    /// A new one for each record: load spreads evenly, and no two records have an order.
    #[default]
    Random,
    /// The MD5 of the data: equal records share a key.
    Hash,
    /// A field of a JSON object by its path, or a column of a CSV file.
    Field(String),
    /// The same for all records: all of them go to one shard, in order.
    Text(String),
}

/// A rule that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected random, hash, field:NAME, column:NAME or text:KEY")]
pub(crate) struct ParseKeyRuleError;

impl FromStr for KeyRule {
    type Err = ParseKeyRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "random" => Ok(Self::Random),
            None if text == "hash" => Ok(Self::Hash),
            Some(("field" | "column", name)) if !name.is_empty() => Ok(Self::Field(name.to_owned())),
            Some(("text", key)) if !key.is_empty() => Ok(Self::Text(key.to_owned())),
            _ => Err(ParseKeyRuleError),
        }
    }
}

impl KeyRule {
    /// The key of a record; `json` is its data if they are JSON. The error says what the record lacks.
    pub(crate) fn key(&self, data: &[u8], json: Option<&Value>) -> Result<String, String> {
        match self {
            Self::Random => Ok(format!("{:032x}", fastrand::u128(..))),
            Self::Hash => Ok(format!("{:032x}", u128::from_be_bytes(Md5::digest(data).into()))),
            Self::Text(key) => Ok(key.clone()),
            Self::Field(path) => {
                json.and_then(|json| field(json, path)).ok_or_else(|| format!("it has no field {path}"))
            }
        }
    }
}

/// A text, number or truth value of an object: the field of this very name, or the one that a path with dots leads to.
fn field(json: &Value, path: &str) -> Option<String> {
    let found = json.get(path).or_else(|| path.split('.').try_fold(json, |value, name| value.get(name)));
    match found? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_texts_numbers_and_nested_fields_as_keys() {
        let json = serde_json::json!({"id": 7, "a.b": "dotted", "c": {"id": "x"}, "none": null, "empty": ""});
        let key = |path: &str| KeyRule::Field(path.to_owned()).key(b"", Some(&json));

        assert_eq!(["id", "a.b", "c.id"].map(key), [Ok("7".into()), Ok("dotted".into()), Ok("x".into())]);
        for path in ["none", "empty", "c", "d", "c.id.x"] {
            assert_eq!(key(path), Err(format!("it has no field {path}")));
        }
    }

    #[test]
    fn equal_lines_share_a_hash_and_random_keys_differ() {
        let key = |rule: KeyRule, data: &[u8]| rule.key(data, None).unwrap();

        assert_eq!(key(KeyRule::Hash, b"a"), "0cc175b9c0f1b6a831c399e269772661");
        assert_ne!(key(KeyRule::Random, b"a"), key(KeyRule::Random, b"a"));
        assert_eq!(key("text:k".parse().unwrap(), b"a"), "k");
    }

    #[test]
    fn refuses_rules_without_a_name() {
        for text in ["", "field", "field:", "text:", "md5", "random:1"] {
            assert_eq!(text.parse::<KeyRule>(), Err(ParseKeyRuleError), "{text}");
        }
    }
}
