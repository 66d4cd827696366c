//! The clock of both services.
//!
//! All time derives from tokio's clock and one reading of the wall clock at the start. So under paused time
//! (`#[tokio::test(start_paused = true)]`) the services' timestamps, expiries and retention move with `tokio::time`.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::timestamp::Millis;

/// A wall clock that advances with tokio time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Millis,
    started: Instant,
}

impl Clock {
    /// Starts at the wall time of this moment.
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where wall time enters")]
        let wall = SystemTime::now();
        let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { epoch: Millis::default().plus(since_epoch), started: Instant::now() }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Millis {
        self.epoch.plus(self.started.elapsed())
    }
}

impl Clock {
    /// When tokio's clock will show that time; no earlier than the start.
    pub(crate) fn instant(&self, time: Millis) -> Instant {
        self.started + time.since(self.epoch)
    }
}

/// The SDK signs and measures by the same clock.
impl aws_smithy_async::time::TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(Clock::now(self).0)
    }
}

/// For times to live of items.
impl dynoxide::storage_backend::Clock for Clock {
    fn now_unix_secs(&self) -> u64 {
        Clock::now(self).0 / 1000
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Clock::now(self).as_seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn moves_with_tokio_time_only() {
        let clock = Clock::start();
        let before = clock.now();

        tokio::time::sleep(Duration::from_millis(300_001)).await;

        assert_eq!(clock.now().since(before), Duration::from_millis(300_001));
    }
}
