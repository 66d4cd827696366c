//! The clock of the process, and that of the services, which may differ from it.
//!
//! All time derives from tokio's clock and one reading of the wall clock at the start. So under paused time
//! (`#[tokio::test(start_paused = true)]`) the services' timestamps, expiries and retention move with `tokio::time`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::timestamp::Millis;

/// A wall clock that advances with tokio time: that of the process and its clients.
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

/// The SDK signs and measures by it.
impl aws_smithy_async::time::TimeSource for Clock {
    fn now(&self) -> SystemTime {
        Clock::now(self).into()
    }
}

/// The clock of the services. Clones share how far it is off.
#[derive(Clone, Debug)]
pub(crate) struct ServiceClock {
    process: Clock,
    /// Distance ahead of the process' clock; negative if it is behind.
    skew_millis: Arc<AtomicI64>,
}

impl ServiceClock {
    /// Starts without skew.
    pub(crate) fn start(process: Clock) -> Self {
        Self { process, skew_millis: Arc::default() }
    }

    pub(crate) fn process(&self) -> Clock {
        self.process
    }

    pub(crate) fn set_skew_millis(&self, millis: i64) {
        self.skew_millis.store(millis, Ordering::Relaxed);
    }

    #[cfg(feature = "serve")]
    pub(crate) fn is_skewed(&self) -> bool {
        self.skew_millis() != 0
    }

    /// The time now.
    pub(crate) fn now(&self) -> Millis {
        self.process.now().shifted(self.skew_millis())
    }

    /// Instant of that time on tokio's clock, unless the skew changes; no earlier than the start.
    pub(crate) fn instant(&self, time: Millis) -> Instant {
        self.process.started + time.shifted(self.skew_millis().saturating_neg()).since(self.process.epoch)
    }

    fn skew_millis(&self) -> i64 {
        self.skew_millis.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn moves_with_tokio_time_only() {
        let clock = Clock::start();
        let before = clock.now();

        tokio::time::sleep(Duration::from_millis(300_001)).await;

        assert_eq!(clock.now().since(before), Duration::from_millis(300_001));
    }

    #[tokio::test(start_paused = true)]
    async fn a_skewed_clock_moves_on_from_its_skew() {
        let clock = ServiceClock::start(Clock::start());
        let before = clock.now();

        for skew in [60_000, -60_000] {
            clock.set_skew_millis(skew);
            assert_eq!(clock.now(), before.shifted(skew));
            assert_eq!(clock.instant(before.shifted(skew)), Instant::now());
        }
    }
}
