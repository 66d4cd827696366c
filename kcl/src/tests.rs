//! Tests of the whole crate.

use tokio::time::Instant;

mod model;
mod purity;
mod simulation;
mod stopping;

/// For tests of `logic`, which takes times and asks no clock; tokio's Instant has no other beginning.
pub(crate) fn some_time() -> Instant {
    Instant::now()
}
