//! Pace of the reads of a shard. Pure.
//!
//! Behind the tip: as soon as the shard's read limits allow. At the tip: after the idle time. After an error: backed off.
//! Limits per shard, shared by all its readers: 5 reads and 2 MiB a second.
//! Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>

use std::time::Duration;

use crate::logic::backoff::Backoff;

/// Minimum time between two reads: 5 reads a second.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_millis(200);
const READ_BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
const BACKOFF: Backoff = Backoff::of_millis(500, 10_000);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LastRead {
    /// Records, and whether more are waiting.
    Read { bytes: usize, behind: bool },
    /// This many errors in a row.
    Failed { in_a_row: u32 },
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
        LastRead::Failed { in_a_row } => MIN_INTERVAL + BACKOFF.ceiling(in_a_row).mul_f64(jitter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(1);

    #[test]
    fn waits_the_idle_time_at_the_tip() {
        assert_eq!(interval(LastRead::Read { bytes: 0, behind: false }, IDLE, 0.5), IDLE);
    }

    #[test]
    fn behind_the_tip_it_reads_as_often_as_the_shard_allows() {
        let behind = |bytes| interval(LastRead::Read { bytes, behind: true }, IDLE, 0.5);

        assert_eq!(behind(1000), MIN_INTERVAL);
        assert_eq!(behind(10 * 1024 * 1024), Duration::from_secs(5));
    }

    #[test]
    fn errors_in_a_row_double_the_pause_up_to_a_limit() {
        let pause = |in_a_row| interval(LastRead::Failed { in_a_row }, IDLE, 1.0) - MIN_INTERVAL;

        assert_eq!(pause(1), BACKOFF.ceiling(1));
        assert_eq!(pause(2), BACKOFF.ceiling(1) * 2);
        assert_eq!(pause(1000), BACKOFF.ceiling(u32::MAX));
    }
}
