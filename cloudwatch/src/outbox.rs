//! The outbox: a queue for each namespace, its health, and the pause before its next request. Pure.
//!
//! (A) All queues together hold at most the bound; of more the oldest of the longest queue are lost, and counted. (B) A
//! namespace whose requests fail, or are not answered, holds up no other. (C) Beyond [`MAX_VALUES`] values in all queues, data
//! are kept by their statistics.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{datum::Datum, health::Health, queue::Queue};

/// Maximum values that all data together keep besides their statistics: some 16 MB.
const MAX_VALUES: usize = 500_000;

#[derive(Debug)]
pub(crate) struct Outbox {
    lanes: BTreeMap<String, Lane>,
    bound: usize,
}

/// Data of one namespace.
#[derive(Debug, Default)]
struct Lane {
    queue: Queue,
    health: Health,
    /// A request is under way.
    is_sending: bool,
    /// The last request was refused for its data.
    is_refused: bool,
    /// A datum at fault was reported.
    is_reported: bool,
    /// No request is sent before.
    paused_until: Option<Instant>,
}

/// Consequences of a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Failed {
    /// Number of data that are lost.
    pub(crate) lost: usize,
    /// It is to be reported: later ones are not.
    pub(crate) is_news: bool,
}

impl Outbox {
    pub(crate) fn new(bound: usize) -> Self {
        Self { lanes: BTreeMap::new(), bound }
    }

    /// Adds data. Returns how many were lost for them.
    pub(crate) fn add(&mut self, data: Vec<Datum>) -> usize {
        let mut values: usize = self.lanes.values().map(|lane| lane.queue.values()).sum();
        for mut datum in data {
            if values + datum.stats.distinct() > MAX_VALUES {
                datum.stats.forget_values();
            }
            values += datum.stats.distinct();
            self.lanes.entry(datum.namespace.clone()).or_default().queue.add(datum);
        }
        self.shrink()
    }

    fn shrink(&mut self) -> usize {
        let surplus = self.len().saturating_sub(self.bound);
        for _ in 0..surplus {
            if let Some(longest) = self.lanes.values_mut().max_by_key(|lane| lane.queue.len()) {
                longest.queue.drop_first();
                longest.health.lost(1);
            }
        }
        surplus
    }

    fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.queue.len()).sum()
    }

    /// Takes the next batch of each namespace that waits neither for an answer nor for the end of a pause.
    pub(crate) fn take_batches(&mut self, now: Instant) -> Vec<Vec<Datum>> {
        let is_ready = |lane: &&mut Lane| {
            !lane.is_sending && lane.queue.len() > 0 && lane.paused_until.is_none_or(|until| until <= now)
        };
        let batch = |lane: &mut Lane| {
            lane.is_sending = true;
            lane.queue.take_batch()
        };
        self.lanes.values_mut().filter(is_ready).map(batch).collect()
    }

    /// End of the first pause that data wait for.
    pub(crate) fn pause_ends(&self) -> Option<Instant> {
        let waits = |lane: &&Lane| !lane.is_sending && lane.queue.len() > 0;
        self.lanes.values().filter(waits).filter_map(|lane| lane.paused_until).min()
    }

    /// Ends all pauses.
    pub(crate) fn hurry(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.paused_until = None);
    }

    /// A batch was accepted. Returns the number of data lost since the failure that this ends, if any.
    pub(crate) fn accepted(&mut self, namespace: &str, count: usize) -> Option<u64> {
        let lane = self.answered(namespace)?;
        (lane.is_refused, lane.paused_until) = (false, None);
        lane.queue.accepted(count);
        lane.health.succeeded()
    }

    /// A request failed, and not for its data; `random` is from 0 to 1.
    pub(crate) fn failed(&mut self, namespace: &str, batch: Vec<Datum>, now: Instant, random: f64) -> Failed {
        let Some(lane) = self.answered(namespace) else { return Failed::default() };
        let (is_news, pause) = lane.health.failed(random);
        lane.paused_until = Some(now + pause.max(Duration::from_millis(1)));
        lane.queue.put_back(batch);
        Failed { lost: self.shrink(), is_news }
    }

    /// A request was refused for its data.
    pub(crate) fn refused(&mut self, namespace: &str, batch: Vec<Datum>) -> Failed {
        let Some(lane) = self.answered(namespace) else { return Failed::default() };
        lane.is_refused = true;
        let lost = lane.queue.refused(batch);
        Failed { lost, is_news: lost > 0 && !std::mem::replace(&mut lane.is_reported, true) }
    }

    /// A request ended without an answer, and its batch with it.
    pub(crate) fn unanswered(&mut self, namespace: &str) {
        self.answered(namespace);
    }

    fn answered(&mut self, namespace: &str) -> Option<&mut Lane> {
        let lane = self.lanes.get_mut(namespace)?;
        lane.is_sending = false;
        Some(lane)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.lanes.values().any(|lane| lane.is_refused || lane.health.is_failing())
    }

    /// Drops what is left. Returns how many that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.lanes.values_mut().map(|lane| lane.queue.clear()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{datum::Dimensions, stats::Stats};

    fn some_time() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn data(namespace: &str, names: std::ops::Range<u32>) -> Vec<Datum> {
        let datum = |n: u32| Datum {
            namespace: namespace.to_owned(),
            name: n.to_string(),
            dimensions: Dimensions::new(),
            unit: None,
            stats: Stats::of(1.0, 1.0, [1.0; 2]),
            at: None,
        };
        names.map(datum).collect()
    }

    fn names(batches: &[Vec<Datum>]) -> Vec<String> {
        batches.iter().flatten().map(|datum| format!("{}{}", datum.namespace, datum.name)).collect()
    }

    #[test]
    fn the_oldest_of_the_longest_queue_are_lost_beyond_the_bound() {
        let mut outbox = Outbox::new(5);
        assert_eq!(outbox.add(data("a", 0..4)), 0);
        assert_eq!(outbox.add(data("b", 0..3)), 2);

        assert_eq!(names(&outbox.take_batches(some_time())), ["a1", "a2", "a3", "b1", "b2"]);
    }

    #[test]
    fn a_namespace_that_fails_or_does_not_answer_holds_up_no_other() {
        let (mut outbox, now) = (Outbox::new(100), some_time());
        outbox.add([data("a", 0..1), data("b", 0..1), data("c", 0..1)].concat());
        let [failed, _, sent] = &outbox.take_batches(now)[..] else { panic!("three") };
        assert_eq!(outbox.failed("a", failed.clone(), now, 1.0), Failed { lost: 0, is_news: true });
        assert_eq!(outbox.accepted("c", sent.len()), None);
        outbox.add([data("a", 1..2), data("b", 1..2), data("c", 1..2)].concat());

        assert_eq!(names(&outbox.take_batches(now)), ["c1"]);
        assert_eq!(outbox.pause_ends(), Some(now + Duration::from_secs(1)));
        assert_eq!(names(&outbox.take_batches(now + Duration::from_secs(1))), ["a0", "a1"]);
        assert_eq!((outbox.accepted("a", 2), outbox.is_failing()), (Some(0), false));
    }

    #[test]
    fn a_datum_at_fault_is_reported_once_in_a_namespace() {
        let (mut outbox, now) = (Outbox::new(100), some_time());
        let mut refused = || {
            outbox.add(data("a", 0..1));
            let batch = outbox.take_batches(now).remove(0);
            (outbox.refused("a", batch), outbox.is_failing())
        };

        assert_eq!(refused(), (Failed { lost: 1, is_news: true }, true));
        assert_eq!(refused(), (Failed { lost: 1, is_news: false }, true));
    }

    #[test]
    fn beyond_the_bound_of_values_statistics_are_kept_alone() {
        let mut outbox = Outbox::new(100_000);
        let mut many = data("a", 0..4_000);
        for datum in &mut many {
            datum.stats = Stats::default();
            (0..150).for_each(|value| datum.stats.add(f64::from(value), 1.0));
        }

        outbox.add(many);

        let kept: usize = outbox.lanes.values().map(|lane| lane.queue.values()).sum();
        assert_eq!((kept, outbox.len()), (MAX_VALUES - MAX_VALUES % 150, 4_000));
    }
}
