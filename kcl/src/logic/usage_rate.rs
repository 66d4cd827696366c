//! Rate of a worker's usage of the lease table, from totals noted now and then. Pure.
//!
//! (A) It is that of the last minute, or of the time since the first note, until there is a minute. (B) At most
//!     [`MAX_NOTES`] totals are kept.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::model::{TableUsage, UsageRate};

const WINDOW: Duration = Duration::from_secs(60);
const MAX_NOTES: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct UsageWindow {
    notes: VecDeque<(Instant, TableUsage)>,
}

impl UsageWindow {
    /// Notes the total at `now`. The rate until then; None at the first note.
    pub(crate) fn note(&mut self, now: Instant, total: TableUsage) -> Option<UsageRate> {
        // The last one that is a minute old stays, so that the window is full.
        while self.notes.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
            || self.notes.len() >= MAX_NOTES
        {
            self.notes.pop_front();
        }
        let rate = self.notes.front().and_then(|(at, before)| rate(total - *before, now.duration_since(*at)));
        self.notes.push_back((now, total));
        rate
    }
}

fn rate(usage: TableUsage, within: Duration) -> Option<UsageRate> {
    #[expect(clippy::cast_precision_loss, reason = "requests of a minute")]
    let requests = usage.requests as f64;
    let per_minute = |count: f64| count * WINDOW.as_secs_f64() / within.as_secs_f64();
    let rate = || UsageRate::new(per_minute(requests), per_minute(usage.read_units), per_minute(usage.write_units));
    (!within.is_zero()).then(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_rate_of_the_last_minute() {
        let (mut window, start) = (UsageWindow::default(), crate::tests::some_time());
        let mut note = |seconds: u64, requests: u64| {
            window.note(start + Duration::from_secs(seconds), TableUsage::new(requests, 0.0, 0.0))
        };

        assert_eq!(note(0, 100), None);
        assert_eq!(note(0, 100), None, "no time has passed");
        assert_eq!(note(10, 110), Some(UsageRate::new(60.0, 0.0, 0.0)));
        assert_eq!(note(60, 160), Some(UsageRate::new(60.0, 0.0, 0.0)));
        assert_eq!(note(70, 160), Some(UsageRate::new(50.0, 0.0, 0.0)), "since the note at 10 s");
        assert_eq!(note(600, 160), Some(UsageRate::new(0.0, 0.0, 0.0)));
    }

    #[test]
    fn keeps_few_notes_however_often_they_come() {
        let (mut window, start) = (UsageWindow::default(), crate::tests::some_time());
        for millisecond in 0..10_000 {
            window.note(start + Duration::from_millis(millisecond), TableUsage::new(millisecond, 0.0, 0.0));
        }
        assert!(window.notes.len() <= MAX_NOTES);
    }
}
