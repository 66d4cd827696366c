//! When to subscribe to a shard again. Pure.
//!
//! (A) Calls for a shard are at least a second apart, and at least 5 s after one that succeeded, as the service demands.
//! (B) A session that ran its time is followed at once. (C) Errors in a row double the pause, from 1 s up to 30 s.
//! Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>

use std::time::Duration;

/// Between calls: one a second for a consumer and a shard.
const CALLS_APART: Duration = Duration::from_secs(1);
/// A subscription cannot be replaced before this age.
const TAKEOVER: Duration = Duration::from_secs(5);
/// First and longest pause after errors.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Longest pause while another subscription holds the shard, which cannot be for long.
const IN_USE_LONGEST: Duration = Duration::from_secs(5);

/// How the last subscription, or the try to get one, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// As it should, after its time or after telling something.
    Session,
    /// Another subscription holds the shard, for so many tries in a row.
    InUse { in_a_row: u32 },
    /// An error, the so-manieth in a row.
    Failed { in_a_row: u32 },
}

/// How long to wait. `since_call` is the time since the last call began, `since_success` since the last that succeeded;
/// `jitter` is random, from 0 to 1.
pub(crate) fn pause(last: Last, since_call: Duration, since_success: Option<Duration>, jitter: f64) -> Duration {
    let backoff = |in_a_row: u32, longest: Duration| {
        let ceiling = BACKOFF.0.saturating_mul(1 << in_a_row.saturating_sub(1).min(16)).min(longest);
        ceiling.mul_f64(0.5 + 0.5 * jitter)
    };
    let wanted = match last {
        Last::Session => Duration::ZERO,
        Last::InUse { in_a_row } => backoff(in_a_row, IN_USE_LONGEST),
        Last::Failed { in_a_row } => backoff(in_a_row, BACKOFF.1),
    };
    let after_call = CALLS_APART.saturating_sub(since_call);
    let after_success = since_success.map_or(Duration::ZERO, |since| TAKEOVER.saturating_sub(since));
    wanted.max(after_call).max(after_success)
}

/// Whether an error of this kind, the so-manieth in a row, is worth a word: a shard that changes hands is in use for a
/// moment.
pub(crate) fn is_news(last: Last) -> bool {
    match last {
        Last::Session => false,
        Last::InUse { in_a_row } => in_a_row > 3,
        Last::Failed { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(300);

    #[test]
    fn a_session_that_ran_its_time_is_followed_at_once() {
        assert_eq!(pause(Last::Session, LONG, Some(LONG), 0.5), Duration::ZERO);
    }

    #[test]
    fn a_session_cut_short_is_not_followed_before_the_service_allows_it() {
        assert_eq!(pause(Last::Session, 2 * SECOND, Some(2 * SECOND), 0.5), 3 * SECOND);
        assert_eq!(pause(Last::Failed { in_a_row: 1 }, 2 * SECOND, Some(2 * SECOND), 0.0), 3 * SECOND);
    }

    #[test]
    fn calls_are_a_second_apart_whatever_the_jitter() {
        assert_eq!(pause(Last::Failed { in_a_row: 1 }, Duration::ZERO, None, 0.0), SECOND);
    }

    #[test]
    fn errors_in_a_row_double_the_pause_up_to_a_limit() {
        let failed = |in_a_row| pause(Last::Failed { in_a_row }, LONG, None, 1.0);

        assert_eq!([failed(1), failed(2), failed(3), failed(1000)], [SECOND, 2 * SECOND, 4 * SECOND, 30 * SECOND]);
        assert_eq!(pause(Last::InUse { in_a_row: 1000 }, LONG, None, 1.0), 5 * SECOND);
    }
}
