//! Pauses between subscriptions to a shard. Pure.
//!
//! (A) Calls for a shard are at least a second apart, and at least 5 s after one that succeeded, as the service demands.
//! (B) A session that ran its time is followed at once. (C) Errors in a row double the pause, from 1 s up to 30 s.
//! Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>

use std::time::Duration;

use crate::logic::backoff::Backoff;

/// Pause between calls: one a second for a consumer and a shard.
const CALLS_APART: Duration = Duration::from_secs(1);
/// A subscription cannot be replaced before this age.
const TAKEOVER: Duration = Duration::from_secs(5);
const BACKOFF: Backoff = Backoff::of_millis(1_000, 30_000);
/// Pauses while another subscription holds the shard, which cannot be for long.
const IN_USE_BACKOFF: Backoff = Backoff::of_millis(1_000, 5_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastSession {
    /// In good order, after its time or after an event.
    Ended,
    /// Another subscription holds the shard.
    InUse { in_a_row: u32 },
    /// This many other errors in a row.
    Failed { in_a_row: u32 },
}

/// Pause before the next call, by the time since the last call and since the last success. `jitter`: random, 0 to 1.
pub(crate) fn pause(last: LastSession, since_call: Duration, since_success: Option<Duration>, jitter: f64) -> Duration {
    let wanted = match last {
        LastSession::Ended => Duration::ZERO,
        LastSession::InUse { in_a_row } => IN_USE_BACKOFF.pause(in_a_row, jitter),
        LastSession::Failed { in_a_row } => BACKOFF.pause(in_a_row, jitter),
    };
    let after_call = CALLS_APART.saturating_sub(since_call);
    let after_success = since_success.map_or(Duration::ZERO, |since| TAKEOVER.saturating_sub(since));
    wanted.max(after_call).max(after_success)
}

/// Whether an error of this kind is reported: a shard that changes hands is in use for a moment.
pub(crate) fn is_news(last: LastSession) -> bool {
    match last {
        LastSession::Ended => false,
        LastSession::InUse { in_a_row } => in_a_row > 3,
        LastSession::Failed { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(300);

    #[test]
    fn a_session_that_ran_its_time_is_followed_at_once() {
        assert_eq!(pause(LastSession::Ended, LONG, Some(LONG), 0.5), Duration::ZERO);
    }

    #[test]
    fn a_session_cut_short_is_not_followed_before_the_service_allows_it() {
        assert_eq!(pause(LastSession::Ended, 2 * SECOND, Some(2 * SECOND), 0.5), 3 * SECOND);
        assert_eq!(pause(LastSession::Failed { in_a_row: 1 }, 2 * SECOND, Some(2 * SECOND), 0.0), 3 * SECOND);
    }

    #[test]
    fn calls_are_a_second_apart_whatever_the_jitter() {
        assert_eq!(pause(LastSession::Failed { in_a_row: 1 }, Duration::ZERO, None, 0.0), SECOND);
    }

    #[test]
    fn errors_in_a_row_double_the_pause_up_to_a_limit() {
        let failed = |in_a_row| pause(LastSession::Failed { in_a_row }, LONG, None, 1.0);

        assert_eq!([failed(1), failed(2), failed(3), failed(1000)], [SECOND, 2 * SECOND, 4 * SECOND, 30 * SECOND]);
        assert_eq!(pause(LastSession::InUse { in_a_row: 1000 }, LONG, None, 1.0), 5 * SECOND);
    }
}
