//! The stripes of a lane: groups of hash keys of one shard whose aggregates may be under way side by side.
//!
//! - (A) Of a generation, a hash key has one stripe. Only records of the oldest generation are under way: the newest one takes
//!   records, and sends none until all older ones are settled. The order of each key is thus that of its stripe.
//! - (B) Of the generations that have sent nothing yet, each has twice as many stripes as the one before: there are at most four
//!   of them. Which stripe a key has needs no table.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{Origin, gate::Gate, width::Width};
use crate::{
    hash_key::HashKey,
    logic::{
        aggregator::{Aggregator, Packing},
        fill::Fill,
        limiter::Limiter,
        numbers::Series,
        pending::{Course, Detach, Pending},
    },
};

/// Records that wait for the outcome of those before them.
pub(crate) struct Stripe<T: Detach> {
    pub(crate) waiting: Aggregator<T>,
    pub(crate) gate: Gate,
    /// Time that its last aggregate took to fill. `None` if that was not filled.
    filled_in: Option<Duration>,
}

impl<T: Detach> Stripe<T> {
    fn is_settled(&self) -> bool {
        self.waiting.is_empty() && !self.gate.is_busy()
    }

    /// Returns whether a complete aggregate waits for another one.
    fn is_saturated(&self) -> bool {
        self.waiting.front().is_some() && (self.gate.is_busy() || self.waiting.ready.aggregates > 1)
    }
}

/// Stripes, as many as a power of two, that divide the hash keys in one way.
struct Generation<T: Detach> {
    number: u32,
    stripes: Vec<Stripe<T>>,
}

impl<T: Detach> Generation<T> {
    fn new(number: u32, stripes: usize, packing: &Packing, max_room: usize, fill: Fill) -> Self {
        let stripe = || {
            let mut waiting = Aggregator::new(packing.clone());
            waiting.set_max_room(max_room / stripes);
            waiting.set_fill(fill);
            Stripe { waiting, gate: Gate::default(), filled_in: None }
        };
        Self { number, stripes: (0..stripes).map(|_| stripe()).collect() }
    }

    fn set_series(&mut self, series: Series) {
        for (index, stripe) in self.stripes.iter_mut().enumerate() {
            stripe.waiting.set_numbers(series.numbers(self.number, index));
        }
    }

    fn index_of(&self, key: HashKey) -> usize {
        match self.stripes.len() {
            1 => 0,
            stripes => mix(key, self.number) as usize & (stripes - 1),
        }
    }

    fn merge(&mut self, records: Vec<Pending<T>>) {
        let mut by_stripe: BTreeMap<usize, Vec<Pending<T>>> = BTreeMap::new();
        for record in records {
            by_stripe.entry(self.index_of(record.hash_key)).or_default().push(record);
        }
        for (index, records) in by_stripe {
            self.stripes[index].waiting.merge(records);
        }
    }
}

/// Spreads hash keys that differ in few bits, in another way for each generation.
fn mix(key: HashKey, salt: u32) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let folded = (key.0 as u64) ^ ((key.0 >> 64) as u64).rotate_left(32) ^ u64::from(salt);
    let mixed = folded.wrapping_mul(ODD);
    (mixed ^ (mixed >> 32)).wrapping_mul(ODD) >> 32
}

pub(super) struct Stripes<T: Detach> {
    /// Generations before the newest; the oldest one sends until it is settled.
    older: VecDeque<Generation<T>>,
    /// Takes the records that are put.
    newest: Generation<T>,
    width: Width,
    packing: Packing,
    /// `None` if records are not numbered.
    series: Option<Series>,
    /// Maximum room that full aggregates of the lane leave to the next ones.
    max_room: usize,
    /// Number of the record put last.
    latest: u64,
    /// Number of the last record that was put while the newest generation waited for an older one.
    waited: u64,
}

impl<T: Detach> Stripes<T> {
    /// A single one.
    pub(super) fn new(packing: Packing) -> Self {
        let max_room = packing.room_bytes;
        let newest = Generation::new(0, 1, &packing, max_room, Fill::default());
        let older = VecDeque::new();
        Self { older, newest, width: Width::default(), packing, series: None, max_room, latest: 0, waited: 0 }
    }

    /// Has the records numbered, before there are any. No other lane has this series.
    pub(super) fn set_series(&mut self, series: Series) {
        self.series = Some(series);
        self.newest.set_series(series);
    }

    pub(super) fn packing(&self) -> &Packing {
        &self.packing
    }

    pub(super) fn set_max_room(&mut self, bytes: usize) {
        self.max_room = bytes;
        for Generation { stripes, .. } in self.generations_mut() {
            let each = bytes / stripes.len();
            stripes.iter_mut().for_each(|stripe| stripe.waiting.set_max_room(each));
        }
    }

    fn generations(&self) -> impl Iterator<Item = &Generation<T>> {
        self.older.iter().chain([&self.newest])
    }

    fn generations_mut(&mut self) -> impl Iterator<Item = &mut Generation<T>> {
        self.older.iter_mut().chain([&mut self.newest])
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Stripe<T>> {
        self.generations().flat_map(|generation| &generation.stripes)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Stripe<T>> {
        self.generations_mut().flat_map(|generation| &mut generation.stripes)
    }

    /// Returns whether there is one, which sends and takes records.
    pub(super) fn are_one(&self) -> bool {
        self.older.is_empty() && self.newest.stripes.len() == 1
    }

    /// Returns whether the newest generation waits for an older one.
    pub(super) fn is_changing(&self) -> bool {
        !self.older.is_empty()
    }

    /// Stripes of the generation that may send.
    pub(super) fn sending(&self) -> &[Stripe<T>] {
        &self.older.front().unwrap_or(&self.newest).stripes
    }

    pub(super) fn sending_mut(&mut self) -> &mut [Stripe<T>] {
        &mut self.older.front_mut().unwrap_or(&mut self.newest).stripes
    }

    pub(super) fn sending_number(&self) -> u32 {
        self.older.front().unwrap_or(&self.newest).number
    }

    /// Lets the next generation send if the oldest one is settled; returns the hold that it leaves.
    pub(super) fn settle(&mut self) -> Option<Gate> {
        let is_settled = |oldest: &mut Generation<T>| oldest.stripes.iter().all(Stripe::is_settled);
        let mut hold = None;
        while let Some(settled) = self.older.pop_front_if(is_settled) {
            let gate = hold.get_or_insert_with(Gate::default);
            settled.stripes.iter().for_each(|stripe| gate.inherit(&stripe.gate));
            self.waited = self.latest;
        }
        hold
    }

    /// The stripe that a Kinesis record was sent from, if it still exists.
    pub(super) fn of(&mut self, origin: &Origin) -> Option<&mut Stripe<T>> {
        let mut generations = self.generations_mut();
        let generation = generations.find(|generation| generation.number == origin.generation)?;
        generation.stripes.get_mut(origin.stripe as usize)
    }

    /// Adds a record later than all others. Returns its stripe, and whether that may send.
    #[inline]
    pub(super) fn push(&mut self, record: Pending<T>) -> (&Stripe<T>, bool) {
        let now = record.course.arrived;
        self.latest = record.course.number;
        let index = self.newest.index_of(record.hash_key);
        let stripe = &mut self.newest.stripes[index];
        let complete = stripe.waiting.ready.len();
        stripe.waiting.push(record);
        if let Some(last) = stripe.waiting.ready.get(complete).filter(|last| last.is_aggregate()) {
            stripe.filled_in = Some(now.saturating_duration_since(last.first().arrived));
            self.width.filled();
        }
        (stripe, self.older.is_empty())
    }

    /// Returns whether a record, put now, should find twice as many stripes.
    pub(super) fn should_widen(&self, record: &Pending<T>, limiter: Option<&Limiter>) -> bool {
        let now = record.course.arrived;
        let Generation { stripes, .. } = &self.newest;
        if 2 * stripes.len() > self.packing.max_stripes {
            return false;
        }
        let stripe = &stripes[self.newest.index_of(record.hash_key)];
        // An aggregate that is not full would have to be sent as it is.
        let is_full = stripe.is_saturated() && stripe.waiting.is_full(record.as_ref().size_bytes());
        let Some(front) = stripe.waiting.front().filter(|_| is_full) else { return false };
        let is_limited = limiter.is_some_and(|limiter| limiter.available_at(front.size_bytes(), now) > now);
        let slowest = stripes
            .iter()
            .map(|stripe| stripe.filled_in)
            .try_fold(Duration::ZERO, |slowest, in_time| in_time.map(|in_time| slowest.max(in_time)));
        !is_limited
            && 2 * stripes.iter().filter(|stripe| stripe.is_saturated()).count() > stripes.len()
            && self.all().all(|stripe| stripe.gate.held_until(now).is_none())
            && slowest.is_some_and(|slowest| self.width.may_double(slowest, self.packing.buffered, now))
    }

    pub(super) fn widen(&mut self, now: Instant) {
        self.width.has_widened(now);
        self.begin(2 * self.newest.stripes.len());
    }

    /// Begins a generation of as many stripes. The present one is complete.
    fn begin(&mut self, stripes: usize) {
        let number = self.newest.number.wrapping_add(1);
        let fill = self.newest.stripes.iter().map(|stripe| stripe.waiting.fill()).fold(Fill::default(), Fill::max);
        let mut newest = Generation::new(number, stripes, &self.packing, self.max_room, fill);
        if let Some(series) = self.series {
            newest.set_series(series);
        }
        let mut older = std::mem::replace(&mut self.newest, newest);
        older.stripes.iter_mut().for_each(|stripe| stripe.waiting.complete());
        self.older.push_back(older);
    }

    /// Completes aggregates of open stripes that have waited long enough, or begin with a lower number, and narrows if many are
    /// far from full. One behind a complete aggregate could not be sent yet: it is filled until that is settled. One that
    /// began before its generation could send says nothing about how fast records come.
    pub(super) fn complete_due(&mut self, now: Instant, urgent_before: u64) {
        let Self { older, newest, width, packing, waited, .. } = self;
        let counts = older.is_empty() && newest.stripes.len() > 1;
        let stripes = &mut older.front_mut().unwrap_or(newest).stripes;
        for stripe in stripes.iter_mut().filter(|stripe| stripe.gate.is_open(now)) {
            let complete = stripe.waiting.ready.len();
            stripe.waiting.complete_due(now, urgent_before);
            let Some(last) = stripe.waiting.ready.get(complete).filter(|_| counts) else { continue };
            if let Some(limits) = packing.limits.filter(|_| last.first().number > *waited) {
                let by_bytes = 100 * last.size_bytes() / limits.max_bytes;
                let by_records = last.courses().len().saturating_mul(100) / limits.max_records;
                width.completed_at(by_bytes.max(by_records));
                stripe.filled_in = None;
            }
        }
        if counts && let Some(stripes) = self.width.narrower(self.newest.stripes.len(), now) {
            self.begin(stripes);
        }
    }

    /// Adds records of any order, not later than those of the newest generation.
    pub(super) fn merge(&mut self, records: Vec<Pending<T>>) {
        self.older.front_mut().unwrap_or(&mut self.newest).merge(records);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().all(|stripe| stripe.waiting.is_empty())
    }

    /// The record that arrived first.
    pub(super) fn first(&self) -> Option<&Course> {
        self.all().filter_map(|stripe| stripe.waiting.first()).min_by_key(|first| first.number)
    }

    pub(super) fn take_all(&mut self) -> Vec<Pending<T>> {
        self.all_mut().flat_map(|stripe| stripe.waiting.take_all()).collect()
    }

    pub(super) fn take_arrived_by(&mut self, limit: Instant) -> Vec<Pending<T>> {
        let late = |stripe: &&mut Stripe<T>| stripe.waiting.first().is_some_and(|first| first.arrived <= limit);
        self.all_mut().filter(late).flat_map(|stripe| stripe.waiting.take_arrived_by(limit)).collect()
    }
}

#[cfg(test)]
mod tests;
