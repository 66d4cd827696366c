//! The machine's clock.

use std::time::SystemTime;

/// The present time by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
