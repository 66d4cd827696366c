//! The gate before records of equal rights: closed while earlier ones are in flight, and for a pause after a failure.

use std::time::{Duration, Instant};

/// Closed while records are in flight, or stored and not judged, and while a failure holds it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gate {
    busy: usize,
    held_until: Option<Instant>,
    failures: u32,
}

impl Gate {
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        !self.is_busy() && self.held_until(now).is_none()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    pub(super) fn set_busy(&mut self) {
        self.busy += 1;
    }

    pub(super) fn set_free(&mut self) {
        self.busy -= 1;
    }

    /// Forgets what is in flight.
    pub(super) fn clear(&mut self) {
        self.busy = 0;
    }

    /// Time until which a failure holds the records.
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }

    /// Holds the records for the `pause` after as many failures in a row.
    pub(super) fn hold(&mut self, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.failures = self.failures.saturating_add(1);
        self.held_until = Some(now + pause(self.failures));
    }

    pub(super) fn recover(&mut self) {
        self.failures = 0;
    }

    /// Takes over the hold of another gate, whose records are behind this one now.
    pub(super) fn inherit(&mut self, other: &Self) {
        self.held_until = self.held_until.max(other.held_until);
        self.failures = self.failures.max(other.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Gate {
        pub(crate) fn failures(&self) -> u32 {
            self.failures
        }
    }
}
