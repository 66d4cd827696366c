//! The time that an invocation has left.

use std::time::Duration;

use lambda_runtime::Context;
use tokio::time::Instant;

use super::clock;

/// Time before the deadline at which work ends, so that what was done is still noted and answered. 1 s: an answer, and a write to
/// DynamoDB with a retry.
const MARGIN: Duration = Duration::from_secs(1);

/// The end of an invocation's work, some time before Lambda ends the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLeft {
    end: Instant,
    answer: Instant,
}

impl TimeLeft {
    /// One second less than Lambda grants, and a quarter of it at the least.
    pub fn of(context: &Context) -> Self {
        Self::within(context.deadline().duration_since(clock::now()).unwrap_or_default())
    }

    /// The same of an invocation that Lambda ends after this time.
    pub fn within(granted: Duration) -> Self {
        let work = granted.saturating_sub(MARGIN).max(granted / 4);
        let end = Instant::now() + work;
        Self { end, answer: end + granted.saturating_sub(work) * 3 / 4 }
    }

    /// The time at which work ends.
    pub fn end(self) -> Instant {
        self.end
    }

    /// The time at which the function answers, whatever is not noted by then: a quarter of the margin before Lambda ends it.
    pub fn answer(self) -> Instant {
        self.answer
    }

    /// True if no further work begins.
    pub fn is_over(self) -> bool {
        Instant::now() >= self.end
    }
}
