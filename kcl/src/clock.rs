//! Wall time, for what is stored and shown. Derived from one reading and the runtime's clock, so that virtual time moves
//! it too. Nothing is decided by comparing it with another machine's.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// Reads the wall time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    epoch: SystemTime,
    origin: Instant,
}

impl WallClock {
    /// All clocks of a process agree.
    pub(crate) fn new() -> Self {
        static CLOCK: OnceLock<WallClock> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "the one reading")]
        *CLOCK.get_or_init(|| Self { epoch: SystemTime::now(), origin: Instant::now() })
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.epoch + Instant::now().saturating_duration_since(self.origin)
    }

    fn since_1970(&self) -> Duration {
        self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.since_1970().as_secs()
    }

    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.since_1970().as_millis()).unwrap_or(u64::MAX)
    }
}
