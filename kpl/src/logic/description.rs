//! Knows what the stream is like, as far as that is told, and decides when to ask again.
//!
//! A stream that is not described is taken for one that places records by their keys and has the default limits.

use std::time::{Duration, Instant};

use crate::{
    config::{Config, DEFAULT_MAX_RECORD_BYTES, MAX_RECORD_BYTES},
    kinesis::{KinesisError, KinesisErrorKind, StreamSummary},
};

/// How old a description may get while records flow: the account has but 20 calls each second for all its streams.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>
const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// What is known of the stream.
#[derive(Debug, Default)]
pub(crate) struct Description {
    summary: StreamSummary,
    described_at: Option<Instant>,
    refused: bool,
    failures: u32,
}

impl Description {
    /// Whether it is time to ask.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.refused && self.described_at.is_none_or(|at| now >= at + REFRESH_AFTER)
    }

    /// Takes an answer; says whether the stream is other than it was thought to be.
    pub(crate) fn update(&mut self, summary: StreamSummary, now: Instant) -> bool {
        (self.described_at, self.failures) = (Some(now), 0);
        let changed = self.summary != summary;
        self.summary = summary;
        changed
    }

    /// Takes a failure; says whether it is the first in a row.
    pub(crate) fn has_failed(&mut self, error: &KinesisError) -> bool {
        self.refused = error.kind() == KinesisErrorKind::Permanent;
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// The stream may be another one by now.
    pub(crate) fn forget(&mut self) {
        self.described_at = None;
    }

    /// Whether the stream places records by itself.
    pub(crate) fn ignores_partition_keys(&self) -> bool {
        self.summary.ignores_partition_keys
    }

    /// Most bytes of a Kinesis record: what is configured, within what the stream takes.
    pub(crate) fn max_record_bytes(&self, config: &Config) -> usize {
        let stream = self.summary.max_record_bytes.map(|bytes| bytes.min(MAX_RECORD_BYTES));
        match (config.max_record_bytes, stream) {
            (Some(configured), Some(stream)) => configured.min(stream),
            (Some(bytes), None) | (None, Some(bytes)) => bytes,
            (None, None) => DEFAULT_MAX_RECORD_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    fn summary(max_record_bytes: usize) -> StreamSummary {
        StreamSummary { max_record_bytes: Some(max_record_bytes), ..StreamSummary::default() }
    }

    #[test]
    fn the_streams_limit_holds_within_the_configured_one() {
        let mut description = Description::default();
        let configured = |bytes| Config { max_record_bytes: bytes, ..Config::default() };

        assert_eq!(description.max_record_bytes(&configured(None)), 1 << 20);
        assert_eq!(description.max_record_bytes(&configured(Some(5 << 20))), 5 << 20);
        assert!(description.update(summary(2 << 20), start()));
        assert_eq!(description.max_record_bytes(&configured(None)), 2 << 20);
        assert_eq!(description.max_record_bytes(&configured(Some(5 << 20))), 2 << 20);
        assert_eq!(description.max_record_bytes(&configured(Some(1000))), 1000);
    }

    #[test]
    fn a_stream_is_described_again_after_five_minutes_and_never_if_that_is_denied() {
        let (mut description, now) = (Description::default(), start());

        assert!(description.is_due(now));
        description.update(summary(1 << 20), now);
        assert!(!description.is_due(now + REFRESH_AFTER - Duration::from_nanos(1)));
        assert!(description.is_due(now + REFRESH_AFTER));
        description.forget();
        assert!(description.is_due(now));
        assert!(description.has_failed(&KinesisError::from_code("InternalFailure", "", None)), "told once");
        assert!(description.is_due(now));
        assert!(!description.has_failed(&KinesisError::from_code("AccessDeniedException", "", None)));
        assert!(!description.is_due(now + 10 * REFRESH_AFTER));
    }
}
