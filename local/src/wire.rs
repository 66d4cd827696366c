//! The formats of requests and answers: JSON, the CBOR of newer SDKs, and the forms of the Query protocol.
//!
//! The same types serve for both. They differ where serde says whether the format is for people: bytes are base64 in
//! JSON only, and times are seconds in JSON and milliseconds in CBOR.

use ciborium::Value;
use serde::{Deserialize, Serialize};

use crate::query;

/// Deepest nesting of a CBOR body; JSON has a limit of its own.
const MAX_DEPTH: usize = 64;

/// The format of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Json,
    Cbor,
    /// A form, answered in XML. For CloudWatch alone.
    Query,
}

/// A body that cannot be read. The text names the wrong types; it is empty if the format is wrong.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

impl Format {
    /// By the content type of a request; JSON unless it says otherwise.
    pub(crate) fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence {
            "application/x-amz-cbor-1.1" | "application/cbor" => Format::Cbor,
            query::CONTENT_TYPE => Format::Query,
            _ => Format::Json,
        }
    }

    /// Reads a body. Text is borrowed from it where it can be.
    pub(crate) fn decode<'a, R: Deserialize<'a>>(self, body: &'a [u8]) -> Result<R, Unreadable> {
        match self {
            Format::Json => serde_json::from_slice(body).map_err(|error| match error.classify() {
                serde_json::error::Category::Data => Unreadable(error.to_string()),
                // The service says nothing more about what is not JSON.
                _ => Unreadable(String::new()),
            }),
            Format::Cbor => {
                let value: Value = ciborium::de::from_reader_with_recursion_limit(body, MAX_DEPTH)
                    .map_err(|_| Unreadable(String::new()))?;
                untagged(value).deserialized().map_err(|error| Unreadable(error.to_string()))
            }
            Format::Query => query::read(body)?.deserialized().map_err(|error| Unreadable(error.to_string())),
        }
    }

    pub(crate) fn encode(self, answer: &impl Serialize) -> Vec<u8> {
        match self {
            Format::Json => serde_json::to_vec(answer).expect("answers are plain structs with string keys"),
            Format::Cbor => {
                let mut bytes = Vec::new();
                ciborium::into_writer(answer, &mut bytes).expect("writing to memory does not fail");
                bytes
            }
            // The only supported operation returns nothing.
            Format::Query => query::ANSWER.into(),
        }
    }

    /// The same in this format, of a refusal that was written in JSON.
    pub(crate) fn transcode(self, json: Vec<u8>) -> Vec<u8> {
        match self {
            Format::Json => json,
            Format::Query => query::refusal(&json),
            Format::Cbor => self.encode(&serde_json::from_slice::<serde_json::Value>(&json).unwrap_or_default()),
        }
    }
}

/// Without tags, which say only what the fields' types say anyway: that a number is a time. No deeper than was read.
fn untagged(value: Value) -> Value {
    match value {
        Value::Tag(_, value) => untagged(*value),
        Value::Array(values) => Value::Array(values.into_iter().map(untagged).collect()),
        Value::Map(fields) => {
            Value::Map(fields.into_iter().map(|(key, value)| (untagged(key), untagged(value))).collect())
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_format_from_the_content_type() {
        assert_eq!(Format::of("application/x-amz-cbor-1.1"), Format::Cbor);
        assert_eq!(Format::of("application/x-amz-cbor-1.1; charset=utf-8"), Format::Cbor);
        assert_eq!(Format::of("application/x-amz-json-1.1"), Format::Json);
        assert_eq!(Format::of("application/x-www-form-urlencoded; charset=utf-8"), Format::Query);
        assert_eq!(Format::of(""), Format::Json);
    }

    #[test]
    fn cbor_may_come_in_chunks_of_unknown_length() {
        // A map of unknown length, of a text in two chunks to a text.
        let body = b"\xbf\x7f\x62ke\x61y\xff\x63one\xff";

        let map: std::collections::BTreeMap<String, String> = Format::Cbor.decode(body).unwrap();

        assert_eq!(map["key"], "one");
    }

    #[test]
    fn no_garbage_is_read() {
        for garbage in [&b""[..], b"\xff", b"\xbf", b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", &[0x81; 10_000]] {
            assert!(Format::Cbor.decode::<Vec<String>>(garbage).is_err(), "{garbage:?}");
        }
    }
}
