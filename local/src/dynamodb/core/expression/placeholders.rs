//! ExpressionAttributeNames and -Values of a request, each of which must be used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::super::error::Error;
use super::super::value::Value;

/// The placeholders of all expressions of one request.
#[derive(Debug, Default)]
pub(in super::super) struct Placeholders {
    names: BTreeMap<String, String>,
    values: BTreeMap<String, Value>,
    used: BTreeSet<String>,
}

impl Placeholders {
    pub(in super::super) fn new(
        names: Option<&Map<String, Json>>,
        values: Option<&Map<String, Json>>,
    ) -> Result<Self, Error> {
        let mut placeholders = Self::default();
        let is_empty = |map: Option<&Map<_, _>>| map.is_some_and(Map::is_empty);
        for (field, map, sign) in [("Names", names, '#'), ("Values", values, ':')] {
            if is_empty(map) {
                return Err(Error::validation(format!("ExpressionAttribute{field} must not be empty")));
            }
            let is_valid = |key: &String| {
                let rest = key.strip_prefix(sign).unwrap_or_default();
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            if let Some(key) = map.into_iter().flat_map(Map::keys).find(|key| !is_valid(key)) {
                let message = format!("ExpressionAttribute{field} contains invalid key: Syntax error; key: \"{key}\"");
                return Err(Error::validation(message));
            }
        }
        for (key, name) in names.into_iter().flatten() {
            let name = name.as_str().ok_or_else(|| Error::serialization("names of attributes are strings"))?;
            placeholders.names.insert(key.clone(), name.to_owned());
        }
        for (key, value) in values.into_iter().flatten() {
            let value = Value::from_json(value).map_err(|error| Error {
                message: format!("ExpressionAttributeValues contains invalid value: {} for key {key}", error.message),
                ..error
            })?;
            placeholders.values.insert(key.clone(), value);
        }
        Ok(placeholders)
    }

    pub(in super::super) fn name(&mut self, key: &str) -> Option<String> {
        self.used.insert(key.to_owned());
        self.names.get(key).cloned()
    }

    pub(in super::super) fn value(&mut self, key: &str) -> Option<Value> {
        self.used.insert(key.to_owned());
        self.values.get(key).cloned()
    }

    /// Passes when all placeholders were used.
    ///
    /// `has_expressions` tells whether the request has any expression at all.
    pub(in super::super) fn finish(&self, has_expressions: bool) -> Result<(), Error> {
        let names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        let values: Vec<&str> = self.values.keys().map(String::as_str).collect();
        for (field, keys) in [("Names", names), ("Values", values)] {
            if !has_expressions && !keys.is_empty() {
                let message = format!("ExpressionAttribute{field} can only be specified when using expressions");
                return Err(Error::validation(message));
            }
            let unused: Vec<_> = keys.into_iter().filter(|key| !self.used.contains(*key)).collect();
            if !unused.is_empty() {
                let message = format!(
                    "Value provided in ExpressionAttribute{field} unused in expressions: keys: {{{}}}",
                    unused.join(", ")
                );
                return Err(Error::validation(message));
            }
        }
        Ok(())
    }
}
