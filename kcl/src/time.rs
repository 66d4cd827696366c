//! The runtime's clock, which tests may pause. Nothing else in the crate reads an instant.

use std::time::Instant;

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
