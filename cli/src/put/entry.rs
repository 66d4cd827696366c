//! An entry to put: one line or row of the input, as a record or as a refusal. Pure.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use clap::ValueEnum;
use kpl::UserRecord;
use serde_json::Value;

use super::key::KeyRule;
use crate::record_line::RecordLine;

/// Shape of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Each line is a record, byte for byte
    Lines,
    /// Each line is a JSON value
    Jsonl,
    /// CSV with a header: each row becomes a JSON object
    Csv,
    /// Lines of JSON as `kds tail --output json` prints them, and as failures are written
    Records,
}

impl InputFormat {
    /// The format by a file's name.
    pub(crate) fn of_file(name: &str) -> Self {
        match name.rsplit_once('.').map(|(stem, extension)| (stem, extension.to_ascii_lowercase())) {
            Some((stem, extension)) if extension == "jsonl" && stem.ends_with(".records") => Self::Records,
            Some((_, extension)) if ["jsonl", "ndjson"].contains(&extension.as_str()) => Self::Jsonl,
            Some((_, extension)) if extension == "csv" => Self::Csv,
            _ => Self::Lines,
        }
    }
}

/// A line of a file. Prints as `FILE:LINE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A record that is to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) record: UserRecord,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) place: Place,
    pub(crate) reason: String,
    /// None: too long to be held.
    pub(crate) data: Option<Bytes>,
}

/// Makes records of lines.
#[derive(Debug, Clone)]
pub(crate) struct EntryMaker {
    pub(crate) format: InputFormat,
    pub(crate) key: KeyRule,
}

impl EntryMaker {
    /// The record of a line; None for a blank line of a format in which these mean nothing.
    pub(crate) fn of_line(&self, place: Place, line: Vec<u8>) -> Option<Result<Entry, Refusal>> {
        if self.format != InputFormat::Lines && line.trim_ascii().is_empty() {
            return None;
        }
        let data = Bytes::from(line);
        let record = match self.format {
            InputFormat::Lines => self.keyed(data.clone(), None),
            InputFormat::Jsonl | InputFormat::Csv => self.of_json(data.clone()),
            InputFormat::Records => self.of_record_line(&data),
        };
        Some(match record {
            Ok(record) => Ok(Entry { place, record }),
            Err(reason) => Err(Refusal { place, reason, data: Some(data) }),
        })
    }

    /// The record of a CSV row: an object with the header's names, and texts as values.
    pub(crate) fn of_row(&self, place: Place, header: &[String], row: &csv::ByteRecord) -> Result<Entry, Refusal> {
        let fields = row.iter().map(|field| Value::String(String::from_utf8_lossy(field).into_owned()));
        let object = Value::Object(header.iter().cloned().zip(fields).collect());
        let data = Bytes::from(object.to_string());
        let refused = |reason| Refusal { place: place.clone(), reason, data: Some(data.clone()) };
        if row.len() != header.len() {
            return Err(refused(format!("it has {} fields, and the header {}", row.len(), header.len())));
        }
        if row.iter().any(|field| std::str::from_utf8(field).is_err()) {
            return Err(refused("it is not UTF-8".to_owned()));
        }
        let record = self.keyed(data.clone(), Some(&object)).map_err(refused)?;
        Ok(Entry { place, record })
    }

    fn of_json(&self, data: Bytes) -> Result<UserRecord, String> {
        let json: Value = serde_json::from_slice(&data).map_err(|error| format!("it is not JSON: {error}"))?;
        self.keyed(data, Some(&json))
    }

    fn of_record_line(&self, line: &[u8]) -> Result<UserRecord, String> {
        let line: RecordLine =
            serde_json::from_slice(line).map_err(|error| format!("it is no record line: {error}"))?;
        let data = line.bytes()?;
        let json = serde_json::from_slice(&data).ok();
        let record = match line.partition_key {
            Some(key) => UserRecord::new(key, data),
            None => self.keyed(data, json.as_ref())?,
        };
        match line.explicit_hash_key.map(|key| key.parse()) {
            None => Ok(record),
            Some(Ok(key)) => Ok(record.with_explicit_hash_key(key)),
            Some(Err(error)) => Err(format!("{error}")),
        }
    }

    fn keyed(&self, data: Bytes, json: Option<&Value>) -> Result<UserRecord, String> {
        self.key.key(&data, json).map(|key| UserRecord::new(key, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { file: "orders.log".into(), line: 3 }
    }

    fn read(format: InputFormat, key: &str, line: &str) -> Option<Result<(String, String), String>> {
        let made = EntryMaker { format, key: key.parse().unwrap() }.of_line(place(), line.into())?;
        Some(made.map_err(|refusal| refusal.reason).map(|entry| {
            let data = String::from_utf8(entry.record.data().to_vec()).unwrap();
            (entry.record.partition_key().to_owned(), data)
        }))
    }

    #[test]
    fn a_file_name_tells_the_format() {
        let formats = ["a.log", "-", "a.jsonl", "a.NDJSON", "a.csv", "a.records.jsonl"].map(InputFormat::of_file);

        use InputFormat::{Csv, Jsonl, Lines, Records};
        assert_eq!(formats, [Lines, Lines, Jsonl, Jsonl, Csv, Records]);
    }

    #[test]
    fn blank_lines_are_records_only_where_each_line_is_one() {
        assert_eq!(read(InputFormat::Lines, "text:k", ""), Some(Ok(("k".into(), String::new()))));
        assert_eq!(read(InputFormat::Jsonl, "text:k", "  "), None);
    }

    #[test]
    fn json_lines_are_put_as_they_are_with_a_field_as_key() {
        let put = read(InputFormat::Jsonl, "field:id", r#" {"id": 7} "#);
        assert_eq!(put, Some(Ok(("7".into(), r#" {"id": 7} "#.into()))));

        let refused = read(InputFormat::Jsonl, "random", "{").unwrap().unwrap_err();
        assert!(refused.starts_with("it is not JSON"), "{refused}");
    }

    #[test]
    fn record_lines_keep_their_keys_and_get_one_by_the_rule_if_they_have_none() {
        let with_key = read(InputFormat::Records, "text:k", r#"{"partitionKey":"p","data":"YQ=="}"#);
        assert_eq!(with_key, Some(Ok(("p".into(), "a".into()))));
        let without = read(InputFormat::Records, "field:id", r#"{"text":"{\"id\":\"x\"}","error":"e"}"#);
        assert_eq!(without, Some(Ok(("x".into(), r#"{"id":"x"}"#.into()))));
        let bad_key = read(InputFormat::Records, "random", r#"{"text":"","explicitHashKey":"-1"}"#);
        assert!(bad_key.unwrap().unwrap_err().contains("is not a hash key"));
    }

    #[test]
    fn a_row_becomes_an_object_unless_its_fields_do_not_fit() {
        let maker = EntryMaker { format: InputFormat::Csv, key: "column:id".parse().unwrap() };
        let header = ["id".to_owned(), "side".to_owned()];

        let row = maker.of_row(place(), &header, &csv::ByteRecord::from(vec!["7", "buy"])).unwrap();
        assert_eq!((row.record.partition_key(), &row.record.data()[..]), ("7", &br#"{"id":"7","side":"buy"}"#[..]));

        let short = maker.of_row(place(), &header, &csv::ByteRecord::from(vec!["7"])).unwrap_err();
        assert_eq!(short.reason, "it has 1 fields, and the header 2");
    }
}
