//! Fields of JSON objects, each with its text as it came. Pure.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Fields of one JSON object, by their names.
#[derive(Debug)]
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The fields of these data. None: they are no JSON object, or one that has two fields of one name.
    pub(super) fn of(data: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(data).ok()
    }

    /// Text of a field's value.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get())
    }

    /// The object of the fields that are chosen by name and text of the value. None: there are none.
    pub(super) fn chosen(&self, is_chosen: impl Fn(&str, &str) -> bool) -> Option<String> {
        let chosen = self.0.iter().filter(|(name, value)| is_chosen(name.as_str(), value.get()));
        let chosen: BTreeMap<_, _> = chosen.collect();
        if chosen.is_empty() { None } else { serde_json::to_string(&chosen).ok() }
    }

    /// All fields, in the order of their names.
    pub(super) fn all(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        self.0.into_iter()
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("two fields of one name"));
            }
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_texts() {
        let fields = Fields::of(b" {\"a\" : 1.10, \"b\":{ \"c\":[1,\n2] }, \"\\u00e9\":null }").unwrap();

        assert_eq!(fields.get("a"), Some("1.10"));
        assert_eq!(fields.get("é"), Some("null"));
        assert_eq!(fields.get("c"), None);
        assert_eq!(fields.chosen(|name, _| name != "é").unwrap(), "{\"a\":1.10,\"b\":{ \"c\":[1,\n2] }}");
        assert_eq!(fields.chosen(|_, value| value == "0"), None);
    }

    #[test]
    fn only_an_object_with_distinct_names_has_fields() {
        for data in [&b""[..], b"{", b"[]", b"1", b"\xff", b"{\"a\":\"\xff\"}", b"{\"a\":1,\"a\":1}", b"{} {}"] {
            assert!(Fields::of(data).is_none(), "{data:?}");
        }
        assert!(Fields::of(b"{}").is_some());
    }
}
