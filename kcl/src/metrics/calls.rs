//! Metrics of calls of one kind: success, as samples of 0 or 1, and duration.

use std::{future::Future, time::Duration};

use kpl::metric::{Metric, Registry};
use metrics::{Histogram, Label};

use super::millis;
use crate::time::now;

#[derive(Debug)]
pub(crate) struct Calls {
    success: Histogram,
    time: Histogram,
}

impl Calls {
    pub(super) fn new(registry: &Registry, [success, time]: [&Metric; 2], dimensions: &[Label]) -> Self {
        Self { success: registry.histogram(success, dimensions), time: registry.histogram(time, dimensions) }
    }

    pub(crate) fn record(&self, success: bool, took: Duration) {
        self.success.record(f64::from(u8::from(success)));
        self.time.record(millis(took));
    }

    /// Awaits a call and records it.
    pub(crate) async fn counted<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let begun = now();
        let outcome = call.await;
        self.record(outcome.is_ok(), now() - begun);
        outcome
    }
}

/// Awaits a call and records its duration.
pub(crate) async fn timed<T>(histogram: &Histogram, call: impl Future<Output = T>) -> T {
    let begun = now();
    let value = call.await;
    histogram.record(millis(now() - begun));
    value
}
