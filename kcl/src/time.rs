//! The runtime's clock, which tests may pause, and the text of times. Nothing else in the crate reads an instant.

use std::time::{Instant, SystemTime};

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) fn rfc_3339(time: DateTime) -> String {
    time.fmt(DateTimeFormat::DateTime).unwrap_or_else(|_| "an impossible time".to_owned())
}

/// A time to the millisecond.
pub(crate) fn millis_since_1970(time: SystemTime) -> DateTime {
    DateTime::from_millis(DateTime::from(time).to_millis().unwrap_or(0))
}
