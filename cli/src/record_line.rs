//! A record as one line of JSON: what `tail` prints, and `put` puts again. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One record. Data that are UTF-8 are in `text`, others in `data` as base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordLine {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) sequence_number: Option<String>,
    /// Place in the aggregate, from 0; absent if the record came in none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) sub_sequence_number: Option<u64>,
    /// Arrival in Kinesis, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) arrival: Option<String>,
    /// Absent for a record that could not be put for want of one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) partition_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) explicit_hash_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) data: Option<String>,
    /// The reason why it was not stored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) error: Option<String>,
    /// The file and line that it was read from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) source: Option<String>,
}

impl RecordLine {
    pub(crate) fn with_data(mut self, data: &[u8]) -> Self {
        match std::str::from_utf8(data) {
            Ok(text) => self.text = Some(text.to_owned()),
            Err(_) => self.data = Some(base64_simd::STANDARD.encode_to_string(data)),
        }
        self
    }

    /// The record's data; an error says what is wrong with them.
    pub(crate) fn bytes(&self) -> Result<Bytes, String> {
        match (&self.text, &self.data) {
            (Some(text), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            (None, Some(data)) => match base64_simd::STANDARD.decode_to_vec(data) {
                Ok(data) => Ok(data.into()),
                Err(_) => Err("its data are not base64".to_owned()),
            },
            (Some(_), Some(_)) => Err("it has both text and data".to_owned()),
            (None, None) => Err("it has neither text nor data".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_survive_the_way_to_json_and_back() {
        for data in [&b""[..], b"order 7", "é\u{0}\n\"".as_bytes(), b"\xff\xfe\x00"] {
            let line = serde_json::to_string(&RecordLine::default().with_data(data)).unwrap();
            let read: RecordLine = serde_json::from_str(&line).unwrap();

            assert_eq!(read.bytes().unwrap(), data, "{line}");
        }
    }

    #[test]
    fn a_line_with_no_or_two_kinds_of_data_is_refused() {
        let read = |line: &str| serde_json::from_str::<RecordLine>(line).unwrap().bytes();

        assert!(read("{}").is_err() && read(r#"{"text":"a","data":"YQ=="}"#).is_err());
        assert!(read(r#"{"data":"no base64"}"#).is_err());
    }
}
