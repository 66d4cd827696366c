//! The known properties of the stream, and the time of the next description.
//!
//! Until it is described, a stream is treated as one that places records by their keys and has the default limits.

use std::time::{Duration, Instant};

use crate::{
    config::{Config, DEFAULT_MAX_RECORD_BYTES, MAX_RECORD_BYTES},
    kinesis::{KinesisError, KinesisErrorKind, StreamSummary},
};

/// Minimum age of a description that is renewed: an account has 20 calls per second for all streams.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>
const REFRESH_AFTER: Duration = Duration::from_secs(240);
/// Minimum pause after a failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Upper bound of that, and of the jitter of every pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Minimum pause after access was denied: the permission may be granted later.
const PAUSE_IF_DENIED: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(crate) struct Description {
    pub(crate) summary: StreamSummary,
    described_at: Option<Instant>,
    /// `None`: at once.
    pub(crate) due_at: Option<Instant>,
    denied: bool,
    failures: u32,
}

impl Description {
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due_at.is_none_or(|at| at <= now)
    }

    /// Takes a description; says whether the stream has changed. `luck` is from 0 to 1.
    pub(crate) fn update(&mut self, summary: StreamSummary, now: Instant, luck: f64) -> bool {
        (self.described_at, self.denied, self.failures) = (Some(now), false, 0);
        self.due_at = Some(now + REFRESH_AFTER + MAX_PAUSE.mul_f64(luck));
        std::mem::replace(&mut self.summary, summary) != summary
    }

    /// Takes a failure; says whether it is the first in a row. `luck` is from 0 to 1.
    pub(crate) fn has_failed(&mut self, error: &KinesisError, now: Instant, luck: f64) -> bool {
        self.denied = error.kind() == KinesisErrorKind::Permanent;
        let growing = (FIRST_PAUSE * 2_u32.pow(self.failures.min(16))).min(MAX_PAUSE);
        let pause = if self.denied { PAUSE_IF_DENIED } else { growing };
        self.due_at = Some(now + pause + pause.min(MAX_PAUSE).mul_f64(luck));
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// The stream may be another one.
    pub(crate) fn forget(&mut self) {
        if !self.denied {
            self.due_at = None;
        }
    }

    /// There is evidence against the description.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.described_at.is_none_or(|at| now >= at + FIRST_PAUSE) {
            self.forget();
        }
    }

    /// Returns whether the description is known, or denied.
    pub(crate) fn is_settled(&self) -> bool {
        self.denied || self.described_at.is_some()
    }

    /// Maximum bytes of a Kinesis record: the configured limit, within that of the stream.
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
        assert!(description.update(summary(2 << 20), start(), 0.0));
        assert_eq!(description.max_record_bytes(&configured(None)), 2 << 20);
        assert_eq!(description.max_record_bytes(&configured(Some(5 << 20))), 2 << 20);
        assert_eq!(description.max_record_bytes(&configured(Some(1000))), 1000);
    }

    #[test]
    fn a_stream_is_described_again_within_five_minutes() {
        let (mut description, now) = (Description::default(), start());

        assert!(description.is_due(now));
        description.update(summary(1 << 20), now, 0.5);
        assert!(!description.is_due(now + Duration::from_secs(269)));
        assert!(description.is_due(now + Duration::from_secs(270)));
        description.forget();
        assert!(description.is_due(now));
    }

    #[test]
    fn a_description_that_failed_is_asked_for_again_soon() {
        let (mut description, now) = (Description::default(), start());
        let throttled = KinesisError::from_code("LimitExceededException", "", None);

        for (luck, seconds) in [(0.0, 1), (1.0, 4), (0.5, 6), (0.0, 8), (0.0, 16), (0.0, 32), (1.0, 120), (0.0, 60)] {
            let is_first = description.failures == 0;
            assert_eq!(description.has_failed(&throttled, now, luck), is_first, "reported once");
            assert_eq!(description.due_at, Some(now + Duration::from_secs(seconds)));
        }
        assert!(!description.is_settled());
    }

    #[test]
    fn a_description_that_is_denied_is_asked_for_again_after_ten_minutes() {
        let (mut description, now) = (Description::default(), start());

        assert!(description.has_failed(&KinesisError::from_code("AccessDeniedException", "", None), now, 0.0));
        description.forget();
        description.doubt(now + FIRST_PAUSE);
        assert_eq!(description.due_at, Some(now + Duration::from_secs(600)));
        assert!(description.is_settled());
    }

    #[test]
    fn evidence_against_a_description_is_reason_to_ask_at_once() {
        let (mut description, now) = (Description::default(), start());
        description.update(summary(1 << 20), now, 0.0);

        description.doubt(now + Duration::from_millis(999));
        assert!(!description.is_due(now), "it may be elder than the description");
        description.doubt(now + FIRST_PAUSE);
        assert!(description.is_due(now));
    }
}
