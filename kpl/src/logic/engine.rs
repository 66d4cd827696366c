//! Runs records through the stages: from put to resolved.
//!
//! - (A) Every put is resolved exactly once.
//! - (B) Requests are within the limits of the service, and predicted sizes are those of the bytes.
//! - (C) Nothing is sent after its time to live.
//! - (D) While no attempt fails, records of a partition key are stored in the order they were put, and what a KCL
//!   delivers of them is in that order, also when shards are split or merged meanwhile.
//! - (E) At most `max_in_flight` requests are under way, with as many bytes as [`Flow`] allows, and at most one of them holds
//!   records of a given hash key.
//! - (F) With `send_when_idle`, nothing waits for company while no request is under way.
//! - (G) Once [`Engine::next_action`] has returned `None`, [`Engine::deadline`] is in the future.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

mod answers;
mod expiry;
mod reshard;
mod split;

use self::reshard::Unjudged;
use super::{
    Action, BatchId, Input,
    ages::Ages,
    aggregator::Packing,
    barrier::Barrier,
    collector::{Collector, Sent, wake_at},
    description::Description,
    flow::Flow,
    lanes::Lanes,
    pending::{Detach, KinesisRecord, Pending},
    retrier::Retrier,
    shard_map::{Listing, ShardMap},
};
use crate::{
    aggregated::Sealed,
    config::{Config, DEFAULT_MAX_RECORD_BYTES},
    delivered::Stored,
    error::{Attempt, DeliveryErrorKind},
    event::Event,
    hash_key::{HashKey, HashKeyRange},
    kinesis::KinesisError,
};

/// How long a flush waits for the first listing of the shards before records are sent plain.
const FLUSH_WAITS_FOR_SHARDS: Duration = Duration::from_millis(200);

/// The producer of one stream, without its clock, its tasks and its service.
#[derive(Debug)]
pub(crate) struct Engine<T: Detach> {
    config: Config,
    collector: Collector,
    lanes: Lanes<T>,
    map: ShardMap,
    description: Description,
    listing: Listing,
    in_flight: HashMap<BatchId, Flight<T>>,
    flow: Flow,
    retrier: Retrier,
    unjudged: Vec<Unjudged<T>>,
    barrier: Barrier,
    ages: Ages,
    next_number: u64,
    next_batch: u64,
    rng: fastrand::Rng,
    actions: VecDeque<Action<T>>,
    /// What has happened since the last look at the lanes makes another one worthwhile.
    stirred: bool,
    /// When to look at the lanes at the latest.
    wake: Option<Instant>,
    /// From when on records of unknown shards are sent plain because a flush waits for them.
    plain_at: Option<Instant>,
    /// There is no space for more. What is under way will make some; if nothing is, records wait for company no longer.
    hurried: bool,
    /// What keeps records from being sent at all, if something does.
    obstacle: Option<Attempt>,
    now: Instant,
}

/// A request under way.
#[derive(Debug)]
struct Flight<T: Detach> {
    sent: Vec<Sent<T>>,
    /// Parts of a request that was not accepted as a whole; they go one after the other, the next one last.
    later: Vec<Vec<Sent<T>>>,
    /// What is busy until all parts are answered.
    ranges: Vec<HashKeyRange>,
    /// Of the request that it was at first.
    bytes: usize,
    /// The request was taken apart.
    apart: bool,
    started: Instant,
    /// If the shard map was not trusted when it started: listings of shards that had been answered by then.
    untrusted: Option<u64>,
    /// Listings of shards that had been started by then.
    listings: u64,
}

impl<T: Detach> Engine<T> {
    /// `seed` is for the jitter of retries.
    pub(crate) fn new(config: &Config, seed: u64, now: Instant) -> Self {
        let mut engine = Self {
            config: config.clone(),
            collector: Collector::new(config),
            lanes: Lanes::unknown(Packing::of(config, DEFAULT_MAX_RECORD_BYTES), config.rate_limit_percent.get(), now),
            map: ShardMap::default(),
            description: Description::default(),
            listing: Listing::default(),
            in_flight: HashMap::new(),
            flow: Flow::new(config),
            retrier: Retrier::default(),
            unjudged: Vec::new(),
            barrier: Barrier::new(),
            ages: Ages::new(),
            next_number: 0,
            next_batch: 0,
            rng: fastrand::Rng::with_seed(seed),
            actions: VecDeque::new(),
            stirred: false,
            wake: None,
            plain_at: None,
            hurried: false,
            obstacle: None,
            now,
        };
        engine.list_if(true);
        engine
    }

    /// Takes note of what happened at `now`.
    pub(crate) fn handle(&mut self, input: Input<T>, now: Instant) {
        self.now = now;
        self.stirred |= !matches!(input, Input::Put { .. });
        match input {
            Input::Put { ticket, hash_key } => self.put(ticket, hash_key),
            Input::Hurry => self.hurried = true,
            Input::SendNow => self.flush(self.next_number),
            Input::Flush => {
                self.barrier.flush(self.next_number);
                self.flush(self.next_number);
                self.complete_flushes();
            }
            Input::Drain => self.flush(u64::MAX),
            Input::Responded { id, result } => self.responded(id, result),
            Input::ShardsListed { shards, summary } => self.shards_listed(shards, summary),
            Input::Tick => {}
        }
    }

    /// What is to be done next; to be called until it returns `None`.
    pub(crate) fn next_action(&mut self) -> Option<Action<T>> {
        if std::mem::take(&mut self.stirred) {
            self.note_standstill();
            if self.plain_at.take_if(|at| *at <= self.now).is_some() {
                self.lanes.end_patience();
            }
            self.expire();
            self.list_if_due();
            if self.in_flight.is_empty() && (self.hurried || self.config.send_when_idle) {
                self.hurried = false;
                self.hurry(self.next_number);
            }
            while let Some(room) = self.flow.room(self.in_flight.len(), self.now) {
                let Some(sent) = self.collector.collect(&mut self.lanes, room, self.now) else { break };
                self.launch(sent);
            }
            self.list_if_due();
            self.wake = self.next_wake();
        }
        self.actions.pop_front()
    }

    /// When [`Input::Tick`] is due, if nothing else happens before. `None` while there is nothing to wait for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    /// Number of records that are not resolved.
    pub(crate) fn unresolved(&self) -> usize {
        self.barrier.unresolved()
    }

    /// Number of the record that is put next. Records are numbered from 0.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// When the oldest record arrived that is not resolved.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.ages.oldest()
    }

    fn put(&mut self, ticket: T, hash_key: HashKey) {
        let number = self.next_number;
        self.next_number += 1;
        self.barrier.put();
        self.ages.put(number, self.now);
        let lane = self.lanes.push(Pending::new(ticket, hash_key, number, self.now));
        // Most records just join an open aggregate, and nothing follows from that.
        let may_go = lane.waiting.front().is_some() && !lane.is_busy();
        if lane.waiting.has_just_opened() {
            let dues = [self.wake, lane.waiting.open_due(), self.ttl_end(self.now)];
            self.wake = dues.into_iter().flatten().min();
        }
        let is_idle = self.config.send_when_idle && self.in_flight.is_empty();
        let overdue = self.wake.is_some_and(|wake| wake <= self.now);
        self.stirred |=
            may_go || overdue || is_idle || self.listing.is_due(self.description.is_due(self.now), self.now);
    }

    /// Records with a lower number than `number` shall wait for no company.
    fn hurry(&mut self, number: u64) {
        self.collector.hurry(number);
        self.lanes.rouse();
    }

    /// Nor for shards that are not known soon.
    fn flush(&mut self, number: u64) {
        self.hurry(number);
        if self.lanes.is_patient() {
            self.plain_at.get_or_insert(self.now + FLUSH_WAITS_FOR_SHARDS);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let free = self.flow.room(self.in_flight.len(), self.now).is_some();
        let lanes = self.lanes.wake_at(self.now, |lane| {
            let wake = wake_at(lane, self.now).filter(|_| free);
            let end = lane.waiting.first().and_then(|first| self.ttl_end(first.arrived));
            wake.into_iter().chain(end).min()
        });
        let unjudged = self.unjudged.iter().map(|unjudged| self.ttl_end(unjudged.sent.record.first().arrived));
        let calls = [self.listing.due_at(self.description.due_at()), self.flow.held_until(self.now), self.plain_at];
        let calls = calls.into_iter().filter(|_| self.unresolved() > 0);
        unjudged.chain([lanes]).chain(calls).flatten().min()
    }

    fn ttl_end(&self, arrived: Instant) -> Option<Instant> {
        self.config.record_ttl.and_then(|ttl| arrived.checked_add(ttl))
    }

    fn launch(&mut self, sent: Vec<Sent<T>>) {
        let mut ranges: Vec<HashKeyRange> = sent.iter().map(|sent| sent.range).collect();
        ranges.dedup(); // the records of a lane stand together
        ranges.iter().for_each(|range| self.lanes.set_busy(range));
        let bytes = sent.iter().map(|sent| sent.record.size_bytes()).sum();
        self.flow.sent(bytes);
        let started = self.now;
        let (later, apart) = (Vec::new(), false);
        self.send(Flight { sent, later, ranges, bytes, apart, started, untrusted: None, listings: 0 });
    }

    fn send(&mut self, mut flight: Flight<T>) {
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        (flight.started, flight.listings) = (self.now, self.listing.started());
        flight.untrusted = (!self.map.is_trusted(self.now)).then(|| self.listing.answered());
        if let Some(seen) = flight.untrusted
            && flight.sent.iter().any(|sent| sent.record.is_aggregate())
        {
            self.listing.want_after(seen);
        }
        Sealed::digest_all(flight.sent.iter_mut().filter_map(|sent| sent.record.content_mut()));
        let entries = flight.sent.iter().map(|sent| sent.record.entry()).collect();
        let shapes = flight.sent.iter().map(|sent| sent.shape(self.now)).collect();
        self.in_flight.insert(id, flight);
        self.actions.push_back(Action::Send { id, entries, shapes });
    }

    fn deliver(&mut self, record: KinesisRecord<T>, stored: Stored) {
        debug_assert!(record.courses().is_sorted_by_key(|course| course.number));
        let numbers = record.courses().iter().map(|course| course.number);
        self.barrier.resolved(numbers.clone());
        self.ages.resolved(numbers);
        self.actions.push_back(Action::Deliver { record, stored });
        self.complete_flushes();
    }

    fn fail(&mut self, records: Vec<Pending<T>>, kind: &DeliveryErrorKind) {
        for record in records {
            let number = [record.course.number].into_iter();
            self.barrier.resolved(number.clone());
            self.ages.resolved(number);
            let obstacle = self.obstacle.as_ref().filter(|_| *kind == DeliveryErrorKind::Expired);
            let (ticket, failure) = record.fail(kind.clone(), obstacle);
            self.actions.push_back(Action::Fail { ticket, failure });
        }
        self.complete_flushes();
    }

    fn complete_flushes(&mut self) {
        if let Some(below) = self.barrier.completed() {
            self.actions.push_back(Action::Flushed { below });
        }
    }

    fn list_if_due(&mut self) {
        self.list_if(self.unresolved() > 0);
    }

    fn list_if(&mut self, wanted: bool) {
        let describe = self.description.is_due(self.now);
        if wanted && self.listing.start_if_due(describe, self.now) {
            self.actions.push_back(Action::ListShards { describe });
        }
    }

    fn notify_call_failed(&mut self, sent: &[Sent<T>], error: &KinesisError) {
        let (code, message) = (error.code().clone(), error.message().clone());
        self.notify(Event::CallFailed { kinesis_records: sent.len(), code, message });
    }

    fn notify_entry_failed(&mut self, sent: &Sent<T>, error: &KinesisError) {
        self.notify(Event::EntryFailed {
            shard_id: sent.predicted.clone(),
            user_records: sent.record.courses().len(),
            code: error.code().clone(),
            message: error.message().clone(),
        });
    }

    fn notify(&mut self, event: Event) {
        self.actions.push_back(Action::Notify(event));
    }
}

#[cfg(test)]
mod tests;
