//! Errors of a producer. Each returns the record that it is about.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    id::ShardId,
    record::{PARTITION_KEY_MAX_CHARS, UserRecord},
};

/// A producer that cannot be built as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum ConfigError {
    /// A name that the service would refuse.
    #[error("{setting} {value:?} is not {expected}")]
    #[non_exhaustive]
    InvalidName { setting: &'static str, value: String, expected: &'static str },
    /// A setting is out of its bounds.
    #[error("{setting} is {value}, accepted: {bounds}")]
    #[non_exhaustive]
    OutOfBounds {
        /// The builder's method.
        setting: &'static str,
        value: String,
        bounds: String,
    },
    /// `build` was called outside of a tokio runtime, or a runtime could not be started.
    #[error("no tokio runtime is running here")]
    NoRuntime,
    /// No region is configured. An endpoint does not stand for one, as requests are signed for a region.
    #[error("no AWS region is configured: set AWS_REGION, or the region of the SdkConfig or client")]
    MissingRegion,
}

/// A record was not accepted: nothing of it was or will be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum PutError {
    /// Data and partition key together are longer than a Kinesis record may be.
    #[error("record is {size_bytes} bytes, above the {limit_bytes}-byte limit")]
    #[non_exhaustive]
    TooLarge {
        size_bytes: usize,
        /// [`max_record_bytes`](crate::Producer::max_record_bytes) of the producer.
        limit_bytes: usize,
        record: Box<UserRecord>,
    },
    /// The partition key is empty or too long. Characters count, not bytes.
    #[error("partition key has {chars} characters, Kinesis accepts 1 to {PARTITION_KEY_MAX_CHARS}")]
    #[non_exhaustive]
    InvalidPartitionKey { chars: usize, record: Box<UserRecord> },
    /// The hook that encodes records failed.
    #[error("record cannot be encoded")]
    #[non_exhaustive]
    Encode { source: BoxError, record: Box<UserRecord> },
    /// There is no space for the record, or other puts wait for space. Only from `try_put`.
    #[error("producer buffer is full")]
    #[non_exhaustive]
    BufferFull { record: Box<UserRecord> },
    /// The producer was shut down, or its task ended with the runtime.
    #[error("producer is shut down")]
    #[non_exhaustive]
    ShutDown { record: Box<UserRecord> },
}

impl PutError {
    /// The record that was not accepted.
    pub fn record(&self) -> &UserRecord {
        match self {
            Self::TooLarge { record, .. }
            | Self::InvalidPartitionKey { record, .. }
            | Self::Encode { record, .. }
            | Self::BufferFull { record }
            | Self::ShutDown { record } => record,
        }
    }

    /// The record that was not accepted.
    pub fn into_record(self) -> UserRecord {
        match self {
            Self::TooLarge { record, .. }
            | Self::InvalidPartitionKey { record, .. }
            | Self::Encode { record, .. }
            | Self::BufferFull { record }
            | Self::ShutDown { record } => *record,
        }
    }
}

/// An error of the application's code.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A record was not accepted, or accepted and not known to be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record was not accepted.
    #[error(transparent)]
    Refused(#[from] PutError),
    /// The record was accepted, but is not known to be stored.
    #[error(transparent)]
    Failed(#[from] DeliveryError),
}

impl RecordError {
    /// The record, as it was put.
    pub fn record(&self) -> &UserRecord {
        match self {
            Self::Refused(error) => error.record(),
            Self::Failed(error) => error.record(),
        }
    }

    /// The record, as it was put.
    pub fn into_record(self) -> UserRecord {
        match self {
            Self::Refused(error) => error.into_record(),
            Self::Failed(error) => error.into_record(),
        }
    }
}

/// An incomplete [`Producer::shutdown_within`](crate::Producer::shutdown_within).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Records were not resolved in time and have failed as [abandoned](DeliveryErrorKind::Abandoned).
    #[error("{records} records were not resolved in time")]
    #[non_exhaustive]
    Abandoned {
        /// Number of user records.
        records: usize,
    },
}

/// The record was accepted, but is not known to be stored.
#[derive(Debug)]
pub struct DeliveryError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    failure: Failure,
    record: UserRecord,
}

/// A [`DeliveryError`] without its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: DeliveryErrorKind,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) attempts_made: u32,
}

impl Failure {
    pub(crate) fn unattempted(kind: DeliveryErrorKind) -> Self {
        Self { kind, attempts: Vec::new(), attempts_made: 0 }
    }
}

/// Reason why a record is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum DeliveryErrorKind {
    /// `record_ttl` passed before an attempt succeeded. The last of [`attempts`](DeliveryError::attempts) has the cause; none
    /// means the producer's own rate limit or slow requests. After a time-out the record may be stored nevertheless.
    #[error("time to live elapsed")]
    Expired,
    /// Throttled, and `fail_if_throttled` is set. Not stored by this attempt; by one of the [attempts](DeliveryError::attempts)
    /// before it perhaps, as after a time-out.
    #[error("{code}: {message}")]
    #[non_exhaustive]
    Throttled { code: Arc<str>, message: Arc<str> },
    /// A permanent error, or one that may pass and did not within three seconds, as of a missing stream. Not stored
    /// by this attempt; by one of the [attempts](DeliveryError::attempts) before it perhaps, as after a time-out.
    #[error("{code}: {message}")]
    #[non_exhaustive]
    Rejected {
        /// The service's error code; `CallPanicked` if the call itself panicked, and then the record may be stored.
        code: Arc<str>,
        message: Arc<str>,
    },
    /// `record_ttl` passed while the record was stored in a shard not known to own it. A KCL may discard it.
    #[error("stored in {shard_id}, which is not known to own the record")]
    #[non_exhaustive]
    WrongShard { shard_id: ShardId },
    /// Kinesis answered fewer or more entries than it was sent. The record may be stored.
    #[error("record count mismatch: {sent} entries were sent, {answered} were answered")]
    #[non_exhaustive]
    CountMismatch { sent: usize, answered: usize },
    /// The runtime stopped, the time for a shutdown was over, or the producer's task panicked, which may leave the error with
    /// an empty record. The record may be stored if a request was under way.
    #[error("producer stopped before the record was stored")]
    Abandoned,
}

impl DeliveryError {
    pub(crate) fn new(failure: Failure, record: UserRecord) -> Self {
        Self(Box::new(Inner { failure, record }))
    }

    /// The reason.
    pub fn kind(&self) -> &DeliveryErrorKind {
        &self.0.failure.kind
    }

    /// Failed attempts, the earliest first; of more than 16, the first and the last 15. A record that expired before it was
    /// sent has the error that all requests met, if any, or `Standstill` if the process was frozen.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.failure.attempts
    }

    /// Number of attempts.
    pub fn attempts_made(&self) -> u32 {
        self.0.failure.attempts_made
    }

    /// The record, as it was put.
    pub fn record(&self) -> &UserRecord {
        &self.0.record
    }

    /// The record, as it was put.
    pub fn into_record(self) -> UserRecord {
        self.0.record
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { kind, attempts, attempts_made } = &self.0.failure;
        let plural = if *attempts_made == 1 { "" } else { "s" };
        write!(f, "record not stored after {attempts_made} attempt{plural}: {kind}")?;
        match (kind, attempts.last()) {
            (DeliveryErrorKind::Expired, Some(last)) => write!(f, ", last error {last}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for DeliveryError {}

/// A failed attempt to store a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct Attempt {
    /// Time from the put, or from the end of the attempt before, to the start of this one.
    pub delay: Duration,
    /// Time from the start of the request to its answer.
    pub duration: Duration,
    /// The service's error code; without one a word such as `Timeout`, `DispatchFailure`, `WrongShard`.
    pub code: Arc<str>,
    /// The service's error message.
    pub message: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(code: &str, message: &str) -> Attempt {
        Attempt { delay: Duration::ZERO, duration: Duration::ZERO, code: code.into(), message: message.into() }
    }

    #[test]
    fn an_expired_record_names_the_last_cause() {
        let failure = Failure {
            kind: DeliveryErrorKind::Expired,
            attempts: vec![attempt("InternalFailure", "Internal Service Failure")],
            attempts_made: 1,
        };
        let error = DeliveryError::new(failure, UserRecord::new("k", "v"));

        let text = "record not stored after 1 attempt: time to live elapsed, \
                    last error InternalFailure: Internal Service Failure";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.into_record(), UserRecord::new("k", "v"));
    }

    #[test]
    fn a_rejected_record_names_code_and_message_once() {
        let kind = DeliveryErrorKind::Rejected { code: "ResourceNotFoundException".into(), message: "no S".into() };
        let failure = Failure { kind, attempts: vec![attempt("ResourceNotFoundException", "no S")], attempts_made: 2 };

        let text = DeliveryError::new(failure, UserRecord::new("k", "v")).to_string();

        assert_eq!(text, "record not stored after 2 attempts: ResourceNotFoundException: no S");
    }
}
