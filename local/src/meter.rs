//! A limit on the use in a second.
//!
//! A window begins with the first use after an idle one. What goes beyond the limit at once, as a large record or a
//! large answer may, is carried over and uses up the windows after it. Pure.

use crate::timestamp::Millis;

/// The use of one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    window: Millis,
    used: u64,
}

impl Meter {
    /// Begins the window of `now`, if the last one is over.
    fn roll(&mut self, limit: u64, now: Millis) {
        // A clock that was set back begins anew.
        if now < self.window {
            *self = Self { window: now, used: 0 };
        }
        let seconds = now.since(self.window).as_secs();
        if seconds > 0 {
            self.used = self.used.saturating_sub(seconds.saturating_mul(limit));
            self.window = if self.used == 0 { now } else { Millis(self.window.0 + seconds * 1000) };
        }
    }

    /// True if the amount fits the limit. Any amount fits an unused window.
    pub(crate) fn fits(&mut self, amount: u64, limit: u64, now: Millis) -> bool {
        self.roll(limit, now);
        self.used == 0 || self.used.saturating_add(amount) <= limit
    }

    pub(crate) fn add(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Uses the amount, if it fits.
    pub(crate) fn admit(&mut self, amount: u64, limit: u64, now: Millis) -> bool {
        let fits = self.fits(amount, limit, now);
        if fits {
            self.add(amount);
        }
        fits
    }
}
