//! The wall clock.

use std::time::{Duration, SystemTime};

/// The wall clock's time: deadlines of Lambda, and ends of items in DynamoDB, are in it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// The same since 1970.
pub(super) fn since_epoch() -> Duration {
    now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
