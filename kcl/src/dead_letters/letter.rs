//! One dead letter: what its operator needs, as a JSON object. Pure.

use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::BoxError,
    event::chain,
    model::Record,
    settings::error_policy::FailedRecords,
    time::{millis_since_1970, rfc_3339},
};

/// Maximum bytes of an error's text in a letter.
const MAX_ERROR_BYTES: usize = 4 * 1024;

/// A record that was given up: where it lies in its stream, why it was given up, and its data. Serialised by serde as a JSON
/// object, with names in camel case; fields that are None are left out.
///
/// Of [`text`](Self::text) and [`data`](Self::data) one is set. If both are None, the letter was too large with its data:
/// they are in the stream, at the letter's position, until its retention ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeadLetter {
    /// The application that gave it up.
    pub application: String,
    /// Name of the record's stream.
    pub stream: String,
    /// Shard of the record.
    pub shard_id: String,
    /// Sequence number of its Kinesis record.
    pub sequence_number: String,
    /// Place in its aggregate, from 0. None: it came in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_sequence_number: Option<u64>,
    /// Partition key.
    pub partition_key: String,
    /// Explicit hash key, as a decimal number; Kinesis returns it only for aggregated records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explicit_hash_key: Option<String>,
    /// Arrival in Kinesis, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<String>,
    /// Time at which it was given up, by the services' clock, RFC 3339 in UTC.
    pub failed_at: String,
    /// Failures in a row.
    pub attempts: u32,
    /// Last error, with its causes, cut at 4 KiB.
    pub error: String,
    /// Size of the record's data.
    pub data_bytes: usize,
    /// The data, if they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The data in base64, if they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl FailedRecords {
    /// The records as dead letters, in their order. For places of the application's own; [`DeadLetterFile`] and
    /// [`DeadLetterStream`] make them by themselves.
    ///
    /// [`DeadLetterFile`]: crate::DeadLetterFile
    /// [`DeadLetterStream`]: crate::DeadLetterStream
    pub fn letters(&self) -> impl Iterator<Item = DeadLetter> {
        let error = cut(chain(self.error.as_ref()));
        self.records.iter().map(move |record| DeadLetter::new(self, record, error.clone()))
    }
}

impl DeadLetter {
    fn new(failed: &FailedRecords, record: &Record, error: String) -> Self {
        let text = std::str::from_utf8(&record.data).ok().map(str::to_owned);
        let data = text.is_none().then(|| base64_simd::STANDARD.encode_to_string(&record.data));
        Self {
            application: failed.application.clone(),
            stream: failed.shard.stream_id.name().to_owned(),
            shard_id: failed.shard.shard_id.to_string(),
            sequence_number: record.sequence_number.to_string(),
            sub_sequence_number: record.aggregated.then_some(record.sub_sequence_number),
            partition_key: record.partition_key.to_string(),
            explicit_hash_key: record.explicit_hash_key.map(|key| key.to_string()),
            arrival: record.approximate_arrival.map(rfc_3339_of),
            failed_at: rfc_3339_of(failed.failed_at),
            attempts: failed.attempts,
            error,
            data_bytes: record.data.len(),
            text,
            data,
        }
    }

    /// The letter in one line of JSON.
    ///
    /// # Errors
    /// None for a letter that this library made.
    pub fn to_json(&self) -> Result<String, BoxError> {
        Ok(serde_json::to_string(self)?)
    }

    /// The letter in one line of JSON of at most `max_bytes`: without the data if they do not fit.
    ///
    /// # Errors
    /// It does not fit without its data either.
    pub fn to_json_within(&self, max_bytes: usize) -> Result<String, BoxError> {
        let whole = self.to_json()?;
        if whole.len() <= max_bytes {
            return Ok(whole);
        }
        let reference = Self { text: None, data: None, ..self.clone() }.to_json()?;
        if reference.len() > max_bytes {
            let bytes = reference.len();
            return Err(
                format!("a dead letter of {bytes} bytes without its data is above the {max_bytes}-byte limit").into()
            );
        }
        Ok(reference)
    }

    /// The record's data. None: they are only in the stream.
    ///
    /// # Errors
    /// The letter was changed: its data are no base64, or it has both text and data.
    pub fn payload(&self) -> Result<Option<Bytes>, BoxError> {
        match (&self.text, &self.data) {
            (Some(text), None) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
            (None, Some(data)) => match base64_simd::STANDARD.decode_to_vec(data) {
                Ok(data) => Ok(Some(data.into())),
                Err(_) => Err("the data of the dead letter are not base64".into()),
            },
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err("the dead letter has both text and data".into()),
        }
    }
}

fn rfc_3339_of(time: SystemTime) -> String {
    rfc_3339(millis_since_1970(time))
}

/// The beginning of a long text.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::StreamShard;

    fn letter(data: &'static [u8], error: &str) -> DeadLetter {
        let mut record = Record::new("c-7", data, "77".parse().unwrap());
        record.approximate_arrival = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_125));
        let failed = FailedRecords {
            application: "printer".to_owned(),
            shard: StreamShard::new("orders", "shardId-000000000001"),
            records: vec![record],
            error: error.into(),
            attempts: 3,
            failed_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_060),
        };
        failed.letters().next().unwrap()
    }

    #[test]
    fn has_everything_that_an_operator_needs_in_one_line() {
        let json = letter(b"{\"item\":\"tea\"}", "no such item").to_json().unwrap();

        assert_eq!(
            json,
            r#"{"application":"printer","stream":"orders","shardId":"shardId-000000000001","sequenceNumber":"77","#
                .to_owned()
                + r#""partitionKey":"c-7","arrival":"2023-11-14T22:13:20.125Z","failedAt":"2023-11-14T22:14:20Z","attempts":3,"#
                + r#""error":"no such item","dataBytes":14,"text":"{\"item\":\"tea\"}"}"#
        );
    }

    #[test]
    fn data_survive_the_way_to_json_and_back() {
        for data in [&b""[..], b"order 7", b"\xff\xfe\x00"] {
            let json = letter(data, "no").to_json().unwrap();
            let read: DeadLetter = serde_json::from_str(&json).unwrap();
            assert_eq!(read.payload().unwrap().unwrap(), data, "{json}");
        }
        let both = DeadLetter { data: Some("YQ==".to_owned()), ..letter(b"a", "no") };
        assert!(both.payload().is_err());
    }

    #[test]
    fn data_that_do_not_fit_are_left_out_and_the_rest_stays() {
        let letter = letter(b"0123456789", "no");
        let whole = letter.to_json().unwrap();

        assert_eq!(letter.to_json_within(whole.len()).unwrap(), whole);
        let reference = letter.to_json_within(whole.len() - 1).unwrap();
        let read: DeadLetter = serde_json::from_str(&reference).unwrap();
        assert_eq!((read.payload().unwrap(), read.data_bytes), (None, 10));
        assert_eq!(DeadLetter { text: letter.text.clone(), ..read }, letter);
        let bytes = reference.len();
        let refused = letter.to_json_within(bytes - 1).unwrap_err().to_string();
        let limit = bytes - 1;
        assert_eq!(refused, format!("a dead letter of {bytes} bytes without its data is above the {limit}-byte limit"));
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let error = letter(b"", &"ö".repeat(4_000)).error;

        assert_eq!((error.len(), error.chars().all(|c| c == 'ö')), (4_096, true));
        assert_eq!(letter(b"", &format!("x{}", "ö".repeat(4_000))).error.len(), 4_095);
    }
}
