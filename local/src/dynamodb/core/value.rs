//! Attribute values and items: read from and written to JSON, compared, measured. Pure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use base64_simd::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::error::Error;
use super::number::Number;

/// Maximum depth of lists and maps in an attribute.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MAX_DEPTH: usize = 32;

/// An item, or a key: attributes by name.
pub(super) type Item = BTreeMap<String, Value>;

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    S(String),
    N(Number),
    B(Vec<u8>),
    Bool(bool),
    Null,
    M(Item),
    L(Vec<Value>),
    Ss(BTreeSet<String>),
    Ns(BTreeSet<Number>),
    Bs(BTreeSet<Vec<u8>>),
}

impl Value {
    /// Reads `{"S": "text"}`.
    pub(super) fn from_json(json: &Json) -> Result<Self, Error> {
        Self::read(json, 0)
    }

    fn read(json: &Json, depth: usize) -> Result<Self, Error> {
        let Some(parts) = json.as_object() else { return Err(wrong_type("a structure")) };
        let mut parts = parts.iter().filter(|(_, value)| !value.is_null());
        let Some((kind, value)) = parts.next() else {
            let message = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
            return Err(Error::validation(message));
        };
        if parts.next().is_some() {
            return Err(Error::validation(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported \
                 datatypes",
            ));
        }
        Self::of_kind(kind, value, depth)
    }

    fn of_kind(kind: &str, value: &Json, depth: usize) -> Result<Self, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::validation("Nesting Levels have exceeded supported limits"));
        }
        Ok(match kind {
            "S" => Self::S(text(value)?.to_owned()),
            "N" => Self::N(Number::parse(text(value)?)?),
            "B" => Self::B(bytes(value)?),
            "BOOL" => Self::Bool(value.as_bool().ok_or_else(|| wrong_type("a boolean"))?),
            "NULL" => match value.as_bool().ok_or_else(|| wrong_type("a boolean"))? {
                true => Self::Null,
                false => return Err(Error::invalid("Null attribute value types must have the value of true")),
            },
            "M" => {
                let map = value.as_object().ok_or_else(|| wrong_type("a map"))?;
                let entry = |(name, value): (&String, &Json)| Ok((name.clone(), Self::read(value, depth + 1)?));
                Self::M(map.iter().map(entry).collect::<Result<_, Error>>()?)
            }
            "L" => {
                let list = list(value)?.iter().map(|value| Self::read(value, depth + 1));
                Self::L(list.collect::<Result<_, _>>()?)
            }
            "SS" => Self::Ss(set("string", value, |value| Ok(text(value)?.to_owned()))?),
            "NS" => Self::Ns(set("number", value, |value| Number::parse(text(value)?))?),
            "BS" => Self::Bs(set("binary", value, bytes)?),
            _ => {
                let message = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
                return Err(Error::validation(message));
            }
        })
    }

    /// As requests and answers have it.
    pub(super) fn to_json(&self) -> Json {
        let base64 = |bytes: &Vec<u8>| STANDARD.encode_to_string(bytes);
        match self {
            Self::S(text) => json!({ "S": text }),
            Self::N(number) => json!({ "N": number.to_string() }),
            Self::B(bytes) => json!({ "B": base64(bytes) }),
            Self::Bool(flag) => json!({ "BOOL": flag }),
            Self::Null => json!({ "NULL": true }),
            Self::M(map) => json!({ "M": item_json(map) }),
            Self::L(list) => json!({ "L": list.iter().map(Self::to_json).collect::<Vec<_>>() }),
            Self::Ss(set) => json!({ "SS": set }),
            Self::Ns(set) => json!({ "NS": set.iter().map(Number::to_string).collect::<Vec<_>>() }),
            Self::Bs(set) => json!({ "BS": set.iter().map(base64).collect::<Vec<_>>() }),
        }
    }

    /// The name of the type, as `attribute_type` takes it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::M(_) => "M",
            Self::L(_) => "L",
            Self::Ss(_) => "SS",
            Self::Ns(_) => "NS",
            Self::Bs(_) => "BS",
        }
    }

    /// Order of two strings, numbers or binaries; `None` for any others.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::S(a), Self::S(b)) => Some(a.cmp(b)),
            (Self::N(a), Self::N(b)) => Some(a.cmp(b)),
            (Self::B(a), Self::B(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// True if it can be ordered, and be a key.
    pub(super) fn is_scalar(&self) -> bool {
        matches!(self, Self::S(_) | Self::N(_) | Self::B(_))
    }

    /// Stored size in bytes.
    /// docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    pub(super) fn stored_bytes(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => number.size(),
            Self::B(bytes) => bytes.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::M(map) => 3 + map.len() + stored_bytes(map),
            Self::L(list) => 3 + list.iter().map(|value| 1 + value.stored_bytes()).sum::<usize>(),
            Self::Ss(set) => set.iter().map(String::len).sum(),
            Self::Ns(set) => set.iter().map(|number| number.size()).sum(),
            Self::Bs(set) => set.iter().map(Vec::len).sum(),
        }
    }

    /// Answer of the function `size`; `None` for types without a size.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            Self::S(text) => Some(text.chars().count()),
            Self::B(bytes) => Some(bytes.len()),
            Self::M(map) => Some(map.len()),
            Self::L(list) => Some(list.len()),
            Self::Ss(set) => Some(set.len()),
            Self::Ns(set) => Some(set.len()),
            Self::Bs(set) => Some(set.len()),
            Self::N(_) | Self::Bool(_) | Self::Null => None,
        }
    }

    /// True if it is a string with that part, or a set or list with that element.
    pub(super) fn contains(&self, part: &Self) -> bool {
        match (self, part) {
            (Self::S(text), Self::S(part)) => text.contains(part.as_str()),
            (Self::B(bytes), Self::B(part)) => {
                part.is_empty() || bytes.windows(part.len()).any(|window| window == part.as_slice())
            }
            (Self::Ss(set), Self::S(part)) => set.contains(part),
            (Self::Ns(set), Self::N(part)) => set.contains(part),
            (Self::Bs(set), Self::B(part)) => set.contains(part),
            (Self::L(list), part) => list.contains(part),
            _ => false,
        }
    }

    pub(super) fn begins_with(&self, prefix: &Self) -> bool {
        match (self, prefix) {
            (Self::S(text), Self::S(prefix)) => text.starts_with(prefix.as_str()),
            (Self::B(bytes), Self::B(prefix)) => bytes.starts_with(prefix),
            _ => false,
        }
    }
}

/// Reads an item or a key.
pub(super) fn item_from_json(json: &Json) -> Result<Item, Error> {
    let map = json.as_object().ok_or_else(|| wrong_type("a map"))?;
    map.iter().map(|(name, value)| Ok((name.clone(), Value::from_json(value)?))).collect()
}

pub(super) fn item_json(item: &Item) -> Json {
    Json::Object(item.iter().map(|(name, value)| (name.clone(), value.to_json())).collect::<Map<_, _>>())
}

/// Stored size of an item in bytes: its names and values.
pub(super) fn stored_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.stored_bytes()).sum()
}

fn set<T: Ord>(name: &str, json: &Json, element: impl Fn(&Json) -> Result<T, Error>) -> Result<BTreeSet<T>, Error> {
    let elements = list(json)?;
    let mut set = BTreeSet::new();
    for json in elements {
        if !set.insert(element(json)?) {
            let shown: Vec<_> = elements.iter().filter_map(Json::as_str).collect();
            return Err(Error::invalid(format!("Input collection [{}] contains duplicates.", shown.join(", "))));
        }
    }
    if set.is_empty() {
        return Err(Error::invalid(format!("An {name} set  may not be empty")));
    }
    Ok(set)
}

fn text(json: &Json) -> Result<&str, Error> {
    json.as_str().ok_or_else(|| wrong_type("a string"))
}

fn list(json: &Json) -> Result<&Vec<Json>, Error> {
    json.as_array().ok_or_else(|| wrong_type("a list"))
}

fn bytes(json: &Json) -> Result<Vec<u8>, Error> {
    STANDARD.decode_to_vec(text(json)?).map_err(|_| Error::serialization("Invalid base64"))
}

fn wrong_type(wanted: &str) -> Error {
    Error::serialization(format!("Start of structure or value found where not expected: {wanted} is needed"))
}

#[cfg(test)]
mod tests {
    use super::super::error::Kind;
    use super::*;

    #[test]
    fn values_of_all_types_are_shown_as_they_were_read() {
        for json in [
            json!({ "S": "text" }),
            json!({ "N": "-1.5" }),
            json!({ "B": "aGk=" }),
            json!({ "BOOL": false }),
            json!({ "NULL": true }),
            json!({ "M": { "a": { "L": [{ "S": "" }, { "M": {} }] } } }),
            json!({ "SS": ["a", "b"] }),
            json!({ "NS": ["1", "2.5"] }),
            json!({ "BS": ["YQ==", "Yg=="] }),
        ] {
            assert_eq!(Value::from_json(&json).unwrap().to_json(), json);
        }
    }

    #[test]
    fn what_is_no_value_is_refused_in_kind() {
        let mut deep = json!({ "S": "x" });
        for _ in 0..33 {
            deep = json!({ "L": [deep] });
        }
        for (json, kind) in [
            (json!({}), Kind::Validation),
            (json!({ "S": "a", "N": "1" }), Kind::Validation),
            (json!({ "X": "a" }), Kind::Validation),
            (json!({ "SS": [] }), Kind::Validation),
            (json!({ "NS": ["1", "1.0"] }), Kind::Validation),
            (json!({ "NULL": false }), Kind::Validation),
            (deep, Kind::Validation),
            (json!({ "S": 1 }), Kind::Serialization),
            (json!({ "B": "?" }), Kind::Serialization),
            (json!("text"), Kind::Serialization),
        ] {
            assert_eq!(Value::from_json(&json).unwrap_err().kind, kind, "{json}");
        }
    }

    #[test]
    fn sizes_follow_the_rules_of_capacity() {
        let item = item_from_json(&json!({
            "text": { "S": "äb" }, "n": { "N": "-123" }, "flag": { "BOOL": true },
            "list": { "L": [{ "S": "ab" }, { "NULL": true }] }, "map": { "M": { "k": { "S": "v" } } },
        }));
        let (text, number, flag, list, map) = (4 + 3, 1 + 4, 4 + 1, 4 + 3 + 2 + 2 + 1, 3 + 3 + 1 + 2);
        assert_eq!(stored_bytes(&item.unwrap()), text + number + flag + list + map);
    }
}
