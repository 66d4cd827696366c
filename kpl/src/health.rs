//! The health of a producer, for probes and for people; and the notes of a stream's calls by which it is judged.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

/// Time for which all calls must have failed before a stream counts as failing: retries outlast shorter troubles.
const FAILING: Duration = Duration::from_secs(10);
/// Time after which a failure says nothing any more. A producer that is sent nothing, because it is not ready, gets ready
/// by this.
const RECENT: Duration = Duration::from_secs(60);

/// The health of a producer at one moment. Serialises as JSON for a probe's answer; durations are in milliseconds.
///
/// A full buffer is no problem: it is what a producer at the limits of its stream looks like, and puts wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// False once a task of the producer has panicked: it takes no more records, and a new process would mend that.
    pub live: bool,
    /// True while the producer accepts records and its streams take them in.
    pub ready: bool,
    /// Reasons why it is not live or not ready; empty if it is both.
    pub problems: Vec<HealthProblem>,
    /// Number of user records that are accepted and not resolved, over all streams.
    pub outstanding_records: usize,
    /// Maximum of them; see [`ProducerBuilder::max_outstanding_records`](crate::ProducerBuilder::max_outstanding_records).
    pub max_outstanding_records: usize,
    /// Bytes, data and partition keys, of these records.
    pub outstanding_bytes: usize,
    /// Maximum of them; see [`ProducerBuilder::max_outstanding_bytes`](crate::ProducerBuilder::max_outstanding_bytes).
    pub max_outstanding_bytes: usize,
    /// Streams with a handle, or with records in the last five minutes, by name.
    pub streams: Vec<StreamHealth>,
}

/// Reason why a producer is not live or not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthProblem {
    /// A task of the producer has panicked. Not live.
    Panicked,
    /// The producer is shut down, or its runtime is.
    ShutDown,
    /// No call to a stream has stored anything for ten seconds and more, or one was refused for its credentials or permissions;
    /// the last within a minute.
    #[non_exhaustive]
    StreamFailing {
        /// Stream, by name or ARN.
        stream: String,
        /// Failure of its calls.
        failure: StreamFailure,
    },
}

impl HealthProblem {
    /// True if a producer with this problem is not live.
    pub fn ends_life(&self) -> bool {
        matches!(self, Self::Panicked)
    }
}

impl fmt::Display for HealthProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("a task of the producer has panicked"),
            Self::ShutDown => f.write_str("the producer is shut down"),
            Self::StreamFailing { stream, failure } => {
                let StreamFailure { code, message, for_millis } = failure;
                write!(f, "stream {stream} has taken nothing in for {} s: {code}: {message}", for_millis / 1000)
            }
        }
    }
}

/// The health of one stream of a producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamHealth {
    /// Stream, by name or ARN.
    pub stream: String,
    /// Number of its user records that are accepted and not resolved.
    pub outstanding_records: usize,
    /// Bytes, data and partition keys, of these records.
    pub outstanding_bytes: usize,
    /// Age of the oldest of them; None without records.
    pub oldest_record_millis: Option<u64>,
    /// Time since a call last stored a record; None before the first.
    pub stored_before_millis: Option<u64>,
    /// Failure of the calls since then, throttling included; None if the last call stored a record.
    pub failure: Option<StreamFailure>,
}

/// Failure of all calls to a stream since the last that stored a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamFailure {
    /// Code of the last error.
    pub code: String,
    /// Message of the last error.
    pub message: String,
    /// Time since the first of the failures in a row.
    pub for_millis: u64,
}

/// Notes of a stream's calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallNotes {
    /// Last call that stored a record.
    stored: Option<Instant>,
    /// First and last failed call since then, and the last error's code and message.
    failed: Option<(Instant, Instant, Arc<str>, Arc<str>)>,
}

impl CallNotes {
    pub(crate) fn stored(&mut self, now: Instant) {
        (self.stored, self.failed) = (Some(now), None);
    }

    pub(crate) fn failed(&mut self, (code, message): (Arc<str>, Arc<str>), now: Instant) {
        let first = self.failed.as_ref().map_or(now, |(first, ..)| *first);
        self.failed = Some((first, now, code, message));
    }

    pub(crate) fn stored_before(&self, now: Instant) -> Option<Duration> {
        self.stored.map(|stored| now.saturating_duration_since(stored))
    }

    pub(crate) fn failure(&self, now: Instant) -> Option<StreamFailure> {
        self.failed.as_ref().map(|(first, _, code, message)| StreamFailure {
            code: code.to_string(),
            message: message.to_string(),
            for_millis: millis(now.saturating_duration_since(*first)),
        })
    }

    /// True if calls have failed for long, or were refused for good, and still did a moment ago.
    pub(crate) fn is_failing(&self, now: Instant) -> bool {
        let failing = |(first, last, code, _): &(Instant, Instant, Arc<str>, Arc<str>)| {
            let counts = now.saturating_duration_since(*first) >= FAILING || is_refusal(code);
            counts && now.saturating_duration_since(*last) < RECENT
        };
        self.failed.as_ref().is_some_and(failing)
    }
}

/// True if credentials, or their permissions, were refused: no retry mends that.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
fn is_refusal(code: &str) -> bool {
    matches!(
        code,
        "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
    )
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(code: &str) -> (Arc<str>, Arc<str>) {
        (code.into(), "text".into())
    }

    #[test]
    fn a_stream_fails_after_ten_seconds_of_failures_and_until_a_minute_after_the_last() {
        let (start, mut notes) = (tokio::time::Instant::now().into_std(), CallNotes::default());
        let at = |seconds| start + Duration::from_secs(seconds);

        notes.failed(words("First"), at(0));
        notes.failed(words("Second"), at(9));
        assert!(!notes.is_failing(at(9)));
        assert!(notes.is_failing(at(10)));
        let failure = notes.failure(at(10)).expect("it fails");
        assert_eq!((&*failure.code, failure.for_millis), ("Second", 10_000));
        assert!(!notes.is_failing(at(69)), "the last failure is a minute ago");
    }

    #[test]
    fn a_stream_fails_at_once_where_a_permission_is_missing() {
        let (start, mut notes) = (tokio::time::Instant::now().into_std(), CallNotes::default());
        notes.failed(words("ServiceUnavailable"), start);
        assert!(!notes.is_failing(start));
        notes.failed(words("AccessDeniedException"), start);
        assert!(notes.is_failing(start));
        assert!(!notes.is_failing(start + RECENT), "the last failure is a minute ago");
    }

    #[test]
    fn a_record_that_is_stored_ends_a_failure() {
        let (now, mut notes) = (tokio::time::Instant::now().into_std(), CallNotes::default());
        notes.failed(words("First"), now);

        notes.stored(now + Duration::from_secs(20));

        assert!(notes.failure(now).is_none() && !notes.is_failing(now + Duration::from_secs(20)));
        assert_eq!(notes.stored_before(now + Duration::from_secs(21)), Some(Duration::from_secs(1)));
    }
}
