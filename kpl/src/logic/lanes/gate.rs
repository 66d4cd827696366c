//! The gate before records of equal rights: closed while earlier ones are in flight, and for a pause after a failure.

use std::time::{Duration, Instant};

/// Closed while records are in flight, or stored and not judged, and while a failure holds it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gate {
    busy: usize,
    held_until: Option<Instant>,
    failures: u32,
    /// Time of the last failure that counts.
    failed_at: Option<Instant>,
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

    /// Holds the records for the `pause` after as many failures in a row; those of requests under way at the same time, of which
    /// this one `started` then, count as one.
    pub(super) fn hold(&mut self, started: Instant, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        if self.failed_at.is_none_or(|at| at < started) {
            self.failures = self.failures.saturating_add(1);
            self.failed_at = Some(now);
        }
        self.held_until = self.held_until.max(Some(now + pause(self.failures)));
    }

    pub(super) fn recover(&mut self) {
        self.failures = 0;
    }

    /// Takes over the hold of another gate, whose records are behind this one now.
    pub(super) fn inherit(&mut self, other: &Self) {
        self.held_until = self.held_until.max(other.held_until);
        self.failed_at = self.failed_at.max(other.failed_at);
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
