//! Series: a metric with its labels, and its samples since the last window. Its handles record without waiting.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::{CounterFn, GaugeFn, HistogramFn};

use crate::{room::Room, stats::Stats};

/// Recorder of a metric, by the target of its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Producer,
    Consumer,
    Application,
}

/// Kind of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Recorder's part of a handle of any kind.
#[derive(Debug)]
pub(crate) struct Series {
    kind: Kind,
    room: Arc<Room>,
    // Protects the samples for the length of an addition, or of taking them away.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Window,
    /// Value of a gauge; total of a counter since the start.
    last: Option<f64>,
}

/// Samples of a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Window {
    /// Each value; of a counter each increment.
    pub(crate) stats: Stats,
    /// Sum of a counter's increments.
    pub(crate) total: f64,
}

impl Window {
    /// Only of a histogram the values are kept: each costs more than all else.
    fn of(kind: Kind) -> Self {
        let stats = if kind == Kind::Histogram { Stats::default() } else { Stats::without_values() };
        Self { stats, total: 0.0 }
    }
}

impl Series {
    pub(crate) fn new(kind: Kind, room: Arc<Room>) -> Self {
        Self { kind, room, state: Mutex::new(State { window: Window::of(kind), last: None }) }
    }

    /// The samples since the last call. Of a gauge that was not set meanwhile, its value, if `holds` it still.
    pub(crate) fn take(&self, holds: bool) -> Window {
        let mut state = self.lock();
        let mut window = mem::replace(&mut state.window, Window::of(self.kind));
        self.room.give_back(window.stats.distinct());
        let is_held = holds && self.kind == Kind::Gauge && window.stats.is_empty();
        if let (true, Some(last)) = (is_held, state.last) {
            window.stats.add(last, 1.0);
        }
        window
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after each of its changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds samples of a histogram. Without room for their value, statistics are kept alone.
    fn add(&self, value: f64, count: f64) {
        let stats = &mut self.lock().window.stats;
        let before = stats.distinct();
        stats.add(value, count);
        let kept = stats.distinct();
        if kept > before && !self.room.take() {
            stats.forget_values();
        }
        if stats.distinct() < before {
            self.room.give_back(before);
        }
    }

    fn change_gauge(&self, change: impl FnOnce(f64) -> f64) {
        let mut state = self.lock();
        let value = change(state.last.unwrap_or_default());
        state.last = Some(value);
        state.window.stats.add(value, 1.0);
    }
}

/// Handle of a counter.
#[derive(Debug)]
pub(crate) struct CounterHandle(pub(crate) std::sync::Arc<Series>);

#[expect(clippy::cast_precision_loss, reason = "CloudWatch has doubles")]
impl CounterFn for CounterHandle {
    fn increment(&self, value: u64) {
        let mut state = self.0.lock();
        state.window.total += value as f64;
        state.window.stats.add(value as f64, 1.0);
    }

    fn absolute(&self, value: u64) {
        let mut state = self.0.lock();
        let before = state.last.unwrap_or_default();
        if value as f64 > before {
            state.last = Some(value as f64);
            state.window.total += value as f64 - before;
            state.window.stats.add(value as f64 - before, 1.0);
        }
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.change_gauge(|last| last + value);
    }

    fn decrement(&self, value: f64) {
        self.change_gauge(|last| last - value);
    }

    fn set(&self, value: f64) {
        self.change_gauge(|_| value);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.add(value, 1.0);
    }

    fn record_many(&self, value: f64, count: usize) {
        #[expect(clippy::cast_precision_loss, reason = "CloudWatch has doubles")]
        self.add(value, count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(kind: Kind) -> Series {
        Series::new(kind, Arc::default())
    }

    #[test]
    fn a_gauge_that_is_not_set_keeps_its_value_while_it_is_held() {
        let gauge = series(Kind::Gauge);
        assert!(gauge.take(true).stats.is_empty(), "it was never set");
        gauge.set(3.0);
        gauge.set(5.0);
        gauge.decrement(1.0);
        assert_eq!((gauge.take(true).stats.max, gauge.take(true).stats.sum), (5.0, 4.0));
        assert!(gauge.take(false).stats.is_empty());
    }

    #[test]
    fn increments_are_samples_of_their_own_and_have_a_total() {
        let series = Arc::new(series(Kind::Counter));
        let counter = CounterHandle(Arc::clone(&series));
        counter.increment(0);
        counter.increment(4);
        counter.absolute(3);
        counter.absolute(2);
        let window = series.take(true);
        assert_eq!((window.total, window.stats.count, window.stats.min, window.stats.max), (7.0, 3.0, 0.0, 4.0));
        assert!(series.take(true).stats.is_empty(), "nothing was added since");
    }

    #[test]
    fn many_values_at_once_are_so_many_samples() {
        let histogram = series(Kind::Histogram);
        histogram.record_many(2.0, 1_000_000);
        histogram.record(3.0);
        let stats = histogram.take(false).stats;
        assert_eq!((stats.count, stats.sum, stats.distinct()), (1_000_001.0, 2_000_003.0, 2));
    }

    #[test]
    fn room_for_values_is_taken_and_given_back() {
        let room = Arc::new(Room::default());
        while room.take() {}
        room.give_back(3);
        let (full, other) =
            (Series::new(Kind::Histogram, Arc::clone(&room)), Series::new(Kind::Histogram, Arc::clone(&room)));
        (0..4).for_each(|n| full.record(f64::from(n)));
        assert_eq!(full.lock().window.stats.distinct(), 0, "there was room for three");
        (0..3).for_each(|n| other.record(f64::from(n)));

        assert_eq!((other.take(true).stats.distinct(), full.take(true).stats.count), (3, 4.0));
        (0..200).for_each(|n| full.record(f64::from(n)));
        assert_eq!(full.lock().window.stats.distinct(), 0, "more than a datum may have");
        assert_eq!([room.take(), room.take(), room.take(), room.take()], [true, true, true, false]);
    }
}
