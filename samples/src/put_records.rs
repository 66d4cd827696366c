//! Requests and answers of PutRecord and PutRecords as JSON, for services in front of a producer.

use kpl::{
    Delivered, DeliveryError, DeliveryErrorKind, HashKey, PARTITION_KEY_MAX_CHARS, Producer, RecordError, UserRecord,
    hash_key::ParseHashKeyError,
};
use serde::{Deserialize, Serialize};

/// Maximum entries of a request. Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
pub const MAX_ENTRIES: usize = 500;

/// A record to put.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    data: String,
    partition_key: String,
    explicit_hash_key: Option<String>,
}

/// A request with many records.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutRecords {
    records: Vec<Entry>,
}

/// Reason why a request is refused. Nothing of it was put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The number of records.
    #[error("Records has {entries} entries, accepted: 1 to {MAX_ENTRIES}")]
    #[non_exhaustive]
    Count {
        /// Number of entries.
        entries: usize,
    },
    /// One of the records.
    #[error("Records[{position}]: {reason}")]
    #[non_exhaustive]
    Entry {
        /// Position in the request, from 0.
        position: usize,
        /// The reason.
        reason: EntryError,
    },
}

/// Reason why a record is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The data.
    #[error("Data is not base64")]
    Base64,
    /// The partition key.
    #[error("PartitionKey has {chars} characters, accepted: 1 to {PARTITION_KEY_MAX_CHARS}")]
    #[non_exhaustive]
    PartitionKey {
        /// Characters, not bytes.
        chars: usize,
    },
    /// The explicit hash key.
    #[error("ExplicitHashKey: {0}")]
    ExplicitHashKey(ParseHashKeyError),
    /// Data and partition key together.
    #[error("record is {size_bytes} bytes, above the {limit_bytes}-byte limit")]
    #[non_exhaustive]
    TooLarge {
        /// Bytes of data and partition key.
        size_bytes: usize,
        /// The producer's limit.
        limit_bytes: usize,
    },
}

/// Outcome of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It is stored.
    #[serde(rename_all = "PascalCase")]
    Stored {
        /// The shard.
        shard_id: String,
        /// Sequence number of its Kinesis record.
        sequence_number: String,
        /// Place in its aggregate, from 0; absent without one.
        #[serde(skip_serializing_if = "Option::is_none")]
        sub_sequence_number: Option<u64>,
    },
    /// It is not known to be stored.
    #[serde(rename_all = "PascalCase")]
    Failed {
        /// A word for programs.
        error_code: String,
        /// A text for people.
        error_message: String,
    },
}

/// Outcomes of a request, in the order of its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outcomes {
    /// Number of records that are not known to be stored.
    pub failed_record_count: usize,
    /// One for each record.
    pub records: Vec<Outcome>,
}

impl Entry {
    /// The user record, if `producer` would accept it.
    ///
    /// # Errors
    /// If it would not.
    pub fn user_record(self, producer: &Producer) -> Result<UserRecord, EntryError> {
        let data = base64_simd::STANDARD.decode_to_vec(&self.data).map_err(|_| EntryError::Base64)?;
        let chars = self.partition_key.chars().count();
        if !(1..=PARTITION_KEY_MAX_CHARS).contains(&chars) {
            return Err(EntryError::PartitionKey { chars });
        }
        let mut record = UserRecord::new(self.partition_key, data);
        if let Some(hash_key) = self.explicit_hash_key {
            record = record.with_explicit_hash_key(hash_key.parse::<HashKey>().map_err(EntryError::ExplicitHashKey)?);
        }
        let (size_bytes, limit_bytes) = (record.size_bytes(), producer.max_record_bytes());
        if size_bytes > limit_bytes { Err(EntryError::TooLarge { size_bytes, limit_bytes }) } else { Ok(record) }
    }
}

impl PutRecords {
    /// The user records, if `producer` would accept them all.
    ///
    /// # Errors
    /// If it would not accept one, or there are none or too many.
    pub fn user_records(self, producer: &Producer) -> Result<Vec<UserRecord>, RequestError> {
        let entries = self.records.len();
        if !(1..=MAX_ENTRIES).contains(&entries) {
            return Err(RequestError::Count { entries });
        }
        let read = |(position, entry): (usize, Entry)| {
            entry.user_record(producer).map_err(|reason| RequestError::Entry { position, reason })
        };
        self.records.into_iter().enumerate().map(read).collect()
    }
}

impl Outcome {
    /// A failure without a producer's error.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed { error_code: code.to_owned(), error_message: message.into() }
    }

    /// Returns whether it is stored.
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored { .. })
    }
}

impl From<Result<Delivered, RecordError>> for Outcome {
    fn from(outcome: Result<Delivered, RecordError>) -> Self {
        match outcome {
            Ok(delivered) => Self::Stored {
                shard_id: delivered.shard_id().to_string(),
                sequence_number: delivered.sequence_number().to_string(),
                sub_sequence_number: delivered.sub_sequence_number(),
            },
            Err(error) => Self::failed(code(&error), error.to_string()),
        }
    }
}

impl FromIterator<Outcome> for Outcomes {
    fn from_iter<T: IntoIterator<Item = Outcome>>(outcomes: T) -> Self {
        let records: Vec<_> = outcomes.into_iter().collect();
        let failed_record_count = records.iter().filter(|outcome| !outcome.is_stored()).count();
        Self { failed_record_count, records }
    }
}

/// Codes of errors, without `Exception`, at which Kinesis has stored nothing, or nothing was sent.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html#API_PutRecords_Errors> and
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
const REFUSALS: &str = "ProvisionedThroughputExceeded LimitExceeded KMSThrottling Throttling TooManyRequests \
    RequestLimitExceeded RequestExpired ExpiredToken ResourceInUse ResourceNotFound InvalidSignature SignatureDoesNotMatch \
    InvalidArgument Validation ValidationError AccessDenied KMSAccessDenied KMSDisabled KMSInvalidState KMSNotFound \
    KMSOptInRequired UnrecognizedClient IncompleteSignature MissingAuthenticationToken InvalidClientTokenId NotAuthorized \
    ConstructionFailure";

/// Returns whether a record that failed may be stored nevertheless: by the attempt after which it was given up, or by one before,
/// such as one whose answer did not come.
pub(crate) fn may_be_stored(error: &DeliveryError) -> bool {
    use DeliveryErrorKind::{Rejected, Throttled};
    let last = match error.kind() {
        Throttled { code, .. } | Rejected { code, .. } if &**code != "CallPanicked" => code,
        _ => return true,
    };
    let attempts = error.attempts();
    let all_known = usize::try_from(error.attempts_made()).is_ok_and(|made| made <= attempts.len());
    !all_known || !attempts.iter().all(|attempt| attempt.code == *last || is_refusal(&attempt.code))
}

fn is_refusal(code: &str) -> bool {
    REFUSALS.split_ascii_whitespace().any(|known| known == code.trim_end_matches("Exception"))
}

/// The service's code where there is one that says what became of the record.
fn code(error: &RecordError) -> &str {
    use kpl::{DeliveryErrorKind as Kind, PutError};
    match error {
        RecordError::Refused(PutError::BufferFull { .. }) => "BufferFull",
        RecordError::Refused(PutError::TooLarge { .. }) => "TooLarge",
        RecordError::Refused(PutError::ShutDown { .. }) => "ShuttingDown",
        RecordError::Failed(error) => match error.kind() {
            Kind::Throttled { code, .. } | Kind::Rejected { code, .. } if !may_be_stored(error) => code,
            Kind::Expired => "Expired",
            _ => "NotKnownToBeStored",
        },
        _ => "InvalidRecord",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_errors_after_which_a_record_may_be_stored() {
        for code in ["ProvisionedThroughputExceededException", "AccessDeniedException", "Throttling"] {
            assert!(is_refusal(code), "{code}");
        }
        for code in ["Timeout", "DispatchFailure", "InternalFailure", "CallPanicked", "WrongShard", "Http502"] {
            assert!(!is_refusal(code), "{code}");
        }
    }
}
