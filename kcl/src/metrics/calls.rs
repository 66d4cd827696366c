//! Metrics of calls of one kind: success, as samples of 0 or 1, and duration.

use std::{
    future::Future,
    thread,
    time::{Duration, Instant},
};

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

    /// Awaits a call and records it; one that panics as a failure.
    pub(crate) async fn counted<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let begun = now();
        let panics = OnPanic { begun, record: |took| self.record(false, took) };
        let outcome = call.await;
        drop(panics);
        self.record(outcome.is_ok(), now() - begun);
        outcome
    }
}

/// Awaits a call and records its duration, also if it panics.
pub(crate) async fn timed<T>(histogram: &Histogram, call: impl Future<Output = T>) -> T {
    let begun = now();
    let panics = OnPanic { begun, record: |took| histogram.record(millis(took)) };
    let value = call.await;
    drop(panics);
    histogram.record(millis(now() - begun));
    value
}

/// Records the duration of a call that panics.
struct OnPanic<F: Fn(Duration)> {
    begun: Instant,
    record: F,
}

impl<F: Fn(Duration)> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.record)(now() - self.begun);
        }
    }
}
