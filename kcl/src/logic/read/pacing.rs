//! Pace of the reads of a shard, and of the subscriptions to it. Pure.
//!
//! Polling: behind the tip as soon as the shard's read limits allow, at the tip after the idle time, after an error
//! backed off. Limits per shard, shared by all its readers: 5 reads and 2 MiB a second.
//! Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
//!
//! Fan-out: calls for a shard are at least a second apart, and at least 5 s after one that succeeded, as the service
//! demands. A session that ran its time is followed at once. Errors in a row double the pause, from 1 s up to 30 s.
//! Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>

use std::time::Duration;

use super::answer_size::MAX_RECORDS;
use crate::logic::backoff::Backoff;

/// Minimum time between two reads: 5 reads a second.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_millis(200);
const READ_BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
const READ_BACKOFF: Backoff = Backoff::of_millis(500, 10_000);
/// Pause between calls: one a second for a consumer and a shard.
const CALLS_APART: Duration = Duration::from_secs(1);
/// A subscription cannot be replaced before this age.
const TAKEOVER: Duration = Duration::from_secs(5);
const SESSION_BACKOFF: Backoff = Backoff::of_millis(1_000, 30_000);
/// Pauses while another subscription holds the shard, which cannot be for long.
const IN_USE_BACKOFF: Backoff = Backoff::of_millis(1_000, 5_000);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LastRead {
    /// Records, and whether more are waiting.
    Read { bytes: usize, behind: bool },
    /// This many errors in a row.
    Failed { in_a_row: u32 },
}

/// True if an answer has all records that a read with less memory than usual asked for: more may follow, whatever the
/// service says.
pub(crate) fn is_full(records: usize, limit: i32) -> bool {
    limit < MAX_RECORDS && i32::try_from(records).is_ok_and(|records| records >= limit)
}

/// Idle time of a shard that was empty at this many reads in a row: grows by half with each from the second on, from
/// `idle` up to `max`.
pub(crate) fn idle_time(idle: Duration, max: Duration, empty_in_a_row: u32) -> Duration {
    // 1.5^20 is 3,000 times the minimum of 200 ms, more than `max` can be.
    let growth = 1.5_f64.powi(empty_in_a_row.saturating_sub(1).min(20).cast_signed());
    idle.mul_f64(growth).min(max.max(idle))
}

/// Time from the start of the last read to the start of the next. `jitter` is random, from 0 to 1.
pub(crate) fn interval(last: LastRead, idle: Duration, jitter: f64) -> Duration {
    match last {
        LastRead::Read { behind: false, .. } => idle.max(MIN_INTERVAL),
        LastRead::Read { bytes, behind: true } => {
            #[expect(clippy::cast_precision_loss, reason = "a response has at most 10 MiB")]
            let budget = Duration::from_secs_f64(bytes as f64 / READ_BYTES_PER_SECOND);
            budget.max(MIN_INTERVAL)
        }
        LastRead::Failed { in_a_row } => MIN_INTERVAL + READ_BACKOFF.ceiling(in_a_row).mul_f64(jitter),
    }
}

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
        LastSession::Failed { in_a_row } => SESSION_BACKOFF.pause(in_a_row, jitter),
    };
    let after_call = CALLS_APART.saturating_sub(since_call);
    let after_success = since_success.map_or(Duration::ZERO, |since| TAKEOVER.saturating_sub(since));
    wanted.max(after_call).max(after_success)
}

/// True if an error of this kind is reported: a shard that changes hands is in use for a moment.
pub(crate) fn is_news(last: LastSession) -> bool {
    !matches!(last, LastSession::Ended | LastSession::InUse { in_a_row: ..=3 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(1);
    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(300);

    #[test]
    fn waits_the_idle_time_at_the_tip() {
        assert_eq!(interval(LastRead::Read { bytes: 0, behind: false }, IDLE, 0.5), IDLE);
    }

    #[test]
    fn the_idle_time_of_an_empty_shard_grows_up_to_its_maximum() {
        let max = Duration::from_secs(4);
        let grown = [0, 1, 2, 3, 4, 5, u32::MAX].map(|empty| idle_time(IDLE, max, empty).as_millis());

        assert_eq!(grown, [1000, 1000, 1500, 2250, 3375, 4000, 4000]);
        assert_eq!(idle_time(IDLE, IDLE, u32::MAX), IDLE, "not by default");
        assert_eq!(idle_time(Duration::from_secs(9), max, 7), Duration::from_secs(9));
        let longest = Duration::from_secs(120);
        assert_eq!(idle_time(MIN_INTERVAL, longest, u32::MAX), longest);
    }

    #[test]
    fn behind_the_tip_it_reads_as_often_as_the_shard_allows() {
        let behind = |bytes| interval(LastRead::Read { bytes, behind: true }, IDLE, 0.5);

        assert_eq!(behind(1000), MIN_INTERVAL);
        assert_eq!(behind(10 * 1024 * 1024), Duration::from_secs(5));
    }

    #[test]
    fn a_short_read_that_was_filled_leaves_more_behind() {
        assert_eq!([is_full(9, 10), is_full(10, 10), is_full(10_000, 10_000)], [false, true, false]);
    }

    #[test]
    fn errors_in_a_row_double_the_pause_up_to_a_limit() {
        let pause = |in_a_row| interval(LastRead::Failed { in_a_row }, IDLE, 1.0) - MIN_INTERVAL;

        assert_eq!(pause(1), READ_BACKOFF.ceiling(1));
        assert_eq!(pause(2), READ_BACKOFF.ceiling(1) * 2);
        assert_eq!(pause(1000), READ_BACKOFF.ceiling(u32::MAX));
    }

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
    fn errors_in_a_row_double_the_pause_between_sessions_up_to_a_limit() {
        let failed = |in_a_row| pause(LastSession::Failed { in_a_row }, LONG, None, 1.0);

        assert_eq!([failed(1), failed(2), failed(3), failed(1000)], [SECOND, 2 * SECOND, 4 * SECOND, 30 * SECOND]);
        assert_eq!(pause(LastSession::InUse { in_a_row: 1000 }, LONG, None, 1.0), 5 * SECOND);
    }
}
