//! Limits of the requests under way: their number, their bytes, and pauses.
//!
//! - (A) After a call that failed as a whole nothing is sent for a pause, which grows with each failure, and then one request at
//!   a time until a call succeeds. An outage is met with few calls, however many shards there are.
//! - (B) Bytes in flight start low and grow while answers are fast: by no more than keeps the next answers within half of the
//!   time-out if the link is the limit. They shrink when a slow call fails. A slow link is filled, not flooded.

use std::time::{Duration, Instant};

use crate::config::Config;

/// Part of the buffer that may be in flight, plus a request: it exists twice, as kept and as the SDK sends it.
const IN_FLIGHT_PART: usize = 12;
/// Window before the first answer: with a request more, three seconds of a link of 60 KB/s.
const FIRST_WINDOW: usize = 64 * 1024;
const MIN_WINDOW: usize = 16 * 1024;
/// Divisor of the window after a slow call failed.
const NARROWER: usize = 8;

pub(crate) struct Flow {
    max_requests: usize,
    max_window: usize,
    timeout: Duration,
    pub(crate) bytes: usize,
    /// Bytes in flight at which no other request is sent, and maximum bytes of one, unless it is one record.
    window: usize,
    narrowed_at: Option<Instant>,
    failures: u32,
    failed_at: Option<Instant>,
    held_until: Option<Instant>,
}

impl Flow {
    pub(crate) fn new(config: &Config) -> Self {
        let max_window = config.max_outstanding_bytes / IN_FLIGHT_PART;
        Self {
            max_requests: config.max_in_flight.into(),
            max_window,
            timeout: config.request_timeout,
            bytes: 0,
            window: FIRST_WINDOW.min(max_window),
            narrowed_at: None,
            failures: 0,
            failed_at: None,
            held_until: None,
        }
    }

    /// Maximum bytes of another request besides `requests` under way. `None` if it waits.
    pub(crate) fn room(&self, requests: usize, now: Instant) -> Option<usize> {
        let more = self.failures == 0 && requests < self.max_requests && self.bytes < self.window;
        (self.held_until(now).is_none() && (requests == 0 || more)).then_some(self.window)
    }

    /// Time until which a failure holds all requests.
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }

    /// Handles an answer to a request still counted. Returns whether calls had failed before.
    pub(crate) fn answered(&mut self, bytes: usize, started: Instant, now: Instant) -> bool {
        let took = now.saturating_duration_since(started);
        let gain = match took {
            _ if took <= self.timeout / 32 => bytes * 4,
            _ if took <= self.timeout / 4 => bytes,
            _ if took <= self.timeout / 2 => bytes / 4,
            _ => 0,
        };
        // A few bytes say nothing about many.
        if self.bytes >= self.window / 2 {
            self.window = (self.window + gain).min(self.max_window);
        }
        std::mem::take(&mut self.failures) > 0
    }

    /// Handles a failed call. Holds all requests for the `pause` after as many failures in a row; calls under way at the same
    /// time count as one.
    pub(crate) fn failed(&mut self, started: Instant, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        let took = now.saturating_duration_since(started);
        if took >= self.timeout / 2 && self.narrowed_at.is_none_or(|at| at <= started) {
            self.window = (self.window / NARROWER).max(MIN_WINDOW).min(self.max_window);
            self.narrowed_at = Some(now);
        }
        if self.failed_at.is_none_or(|at| at <= started) {
            self.failures = self.failures.saturating_add(1);
            self.failed_at = Some(now);
            self.held_until = Some(now + pause(self.failures));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::start;

    const MS: Duration = Duration::from_millis(1);

    fn flow() -> Flow {
        Flow::new(&Config::default())
    }

    /// Sends and answers as much as there is room for, again and again.
    fn grow(flow: &mut Flow, rounds: usize, latency: Duration, now: &mut Instant) {
        for _ in 0..rounds {
            let bytes = flow.room(0, *now).expect("nothing is under way");
            flow.bytes += bytes;
            let started = *now;
            *now += latency;
            flow.answered(bytes, started, *now);
            flow.bytes -= bytes;
        }
    }

    #[test]
    fn multiplies_bytes_in_flight_while_answers_come_soon() {
        let (mut flow, mut now) = (flow(), start());

        grow(&mut flow, 3, 1500 * MS, &mut now);
        assert_eq!(flow.window, 8 * FIRST_WINDOW);
        grow(&mut flow, 1, 20 * MS, &mut now);
        assert_eq!(flow.window, 40 * FIRST_WINDOW);
        grow(&mut flow, 1, 20 * MS, &mut now);
        assert_eq!(flow.window, flow.max_window);
    }

    #[test]
    fn widens_less_for_slow_answers_and_not_at_all_for_slower_ones() {
        let (mut flow, mut now) = (flow(), start());

        grow(&mut flow, 1, 2500 * MS, &mut now);
        assert_eq!(flow.window, FIRST_WINDOW * 5 / 4);
        grow(&mut flow, 5, 3500 * MS, &mut now);
        assert_eq!(flow.window, FIRST_WINDOW * 5 / 4);
    }

    #[test]
    fn learns_nothing_from_small_requests() {
        let (mut flow, now) = (flow(), start());

        for _ in 0..1000 {
            flow.bytes += 1000;
            flow.answered(1000, now, now + MS);
            flow.bytes -= 1000;
        }

        assert_eq!(flow.window, FIRST_WINDOW);
    }

    #[test]
    fn narrows_once_for_calls_that_time_out_together() {
        let (mut flow, mut now) = (flow(), start());
        grow(&mut flow, 4, 20 * MS, &mut now);
        let (window, started) = (flow.window, now);

        now += 6000 * MS;
        (0..10).for_each(|_| flow.failed(started, now, |_| MS));
        assert_eq!(flow.window, window / NARROWER);
        flow.failed(now, now + 20 * MS, |_| MS);
        assert_eq!(flow.window, window / NARROWER, "a refusal that comes soon says nothing about bytes");
    }

    #[test]
    fn sends_one_request_at_a_time_after_a_failure() {
        let (mut flow, now) = (flow(), start());

        (0..20).for_each(|_| flow.failed(now, now + MS, |failures| 50 * MS * failures));
        let now = now + MS;
        assert_eq!(flow.room(0, now), None);
        assert_eq!(flow.held_until(now), Some(now + 50 * MS), "calls of the same time count once");

        let now = now + 50 * MS;
        assert!(flow.room(0, now).is_some() && flow.room(1, now).is_none());
        assert!(flow.answered(1, now, now));
        assert!(flow.room(23, now).is_some() && flow.room(24, now).is_none());
    }

    proptest! {
        #[test]
        fn lets_a_request_go_in_the_end_whatever_happened(
            answers in prop::collection::vec((0..8000_u64, any::<bool>(), 1..10_000_000_usize), 0..50),
            buffer in 1..100_000_000_usize,
        ) {
            let mut flow = Flow::new(&Config { max_outstanding_bytes: buffer, ..Config::default() });
            let mut now = start();
            for (took, succeeds, bytes) in answers {
                let started = now;
                now += Duration::from_millis(took);
                flow.bytes += bytes;
                match succeeds {
                    true => drop(flow.answered(bytes, started, now)),
                    false => flow.failed(started, now, |_| 5000 * MS),
                }
                flow.bytes -= bytes;
                prop_assert!(flow.window <= flow.max_window && flow.window >= MIN_WINDOW.min(flow.max_window));
            }

            prop_assert_eq!(flow.bytes, 0);
            prop_assert_eq!(flow.room(0, now + 5000 * MS), Some(flow.window));
        }
    }
}
