//! JSON lines: records in, an object's bytes out. Pure.

use std::time::UNIX_EPOCH;

use kcl::{BoxError, Position, Record};
use serde::{Deserialize, Serialize, de::IgnoredAny};

/// Position, keys and time of a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    sequence_number: String,
    sub_sequence_number: u64,
    partition_key: String,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrival_millis: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Line {
    kinesis: Place,
}

/// A line for each record, in their order.
pub(super) fn encode(records: &[Record]) -> Result<Vec<u8>, BoxError> {
    let mut lines = Vec::new();
    for record in records {
        lines.extend_from_slice(b"{\"kinesis\":");
        serde_json::to_writer(&mut lines, &place(record))?;
        match std::str::from_utf8(&record.data) {
            Ok(text) if is_object(text) => {
                lines.extend_from_slice(b",\"record\":");
                // The ends of lines in JSON are between its words, where any space is as good.
                lines.extend(text.trim().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            }
            Ok(text) => {
                lines.extend_from_slice(b",\"text\":");
                serde_json::to_writer(&mut lines, text)?;
            }
            Err(_) => {
                lines.extend_from_slice(b",\"base64\":\"");
                lines.extend_from_slice(base64_simd::STANDARD.encode_to_string(&record.data).as_bytes());
                lines.push(b'"');
            }
        }
        lines.extend_from_slice(b"}\n");
    }
    Ok(lines)
}

/// Position of the last line.
pub(super) fn end(object: &[u8]) -> Result<Position, BoxError> {
    let line = object.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let Line { kinesis } =
        serde_json::from_slice(line).map_err(|error| format!("its last line is no record: {error}"))?;
    Ok(Position::new(kinesis.sequence_number.parse()?, kinesis.sub_sequence_number))
}

fn place(record: &Record) -> Place {
    let arrival = record.approximate_arrival.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Place {
        sequence_number: record.sequence_number.to_string(),
        sub_sequence_number: record.sub_sequence_number,
        partition_key: record.partition_key.to_string(),
        arrival_millis: arrival.and_then(|time| time.as_millis().try_into().ok()),
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(data: &'static [u8], number: u64) -> Record {
        Record::new("c-\"7\"", data, number.to_string().parse().unwrap())
    }

    #[test]
    fn objects_stay_as_they_came_and_all_else_is_text_or_base64() {
        let mut last = record(b"\xff\n", 5);
        last.sub_sequence_number = 3;
        let records = [
            record(b"{\"n\": 1.10,\r\n\"t\":\"a\\nb\"}", 1),
            record(b"a\nb", 2),
            record(b"[1]", 3),
            record(b"{", 4),
            last,
        ];

        let lines = encode(&records).unwrap();

        let text = std::str::from_utf8(&lines).unwrap();
        let contents: Vec<&str> = text.lines().map(|line| line.split_once("},").unwrap().1).collect();
        let expected = [
            "\"record\":{\"n\": 1.10,  \"t\":\"a\\nb\"}}",
            "\"text\":\"a\\nb\"}",
            "\"text\":\"[1]\"}",
            "\"text\":\"{\"}",
            "\"base64\":\"/wo=\"}",
        ];
        assert_eq!(contents, expected);
        for line in text.lines() {
            let read: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(read["kinesis"]["partitionKey"], "c-\"7\"");
        }
        assert_eq!(end(&lines).unwrap(), Position::new("5".parse().unwrap(), 3));
    }

    #[test]
    fn the_end_of_what_is_no_archive_is_an_error() {
        for object in [
            &b""[..],
            b"{}\n",
            b"{\"kinesis\":{\"sequenceNumber\":\"x\",\"subSequenceNumber\":0,\"partitionKey\":\"\"}}\n",
        ] {
            assert!(end(object).is_err(), "{object:?}");
        }
    }
}
