//! Runs records through the stages: from put to resolved.
//!
//! - (A) Every put is resolved exactly once.
//! - (B) Requests are within the limits of the service, and predicted sizes are those of the bytes.
//! - (C) Nothing is sent after its time to live.
//! - (D) While no attempt fails, records of a partition key are stored in the order they were put, and what a KCL
//!   delivers of them is in that order, also when shards are split or merged meanwhile.
//! - (E) At most `max_in_flight` requests are under way, with a part of the buffer, and at most one of them holds records of
//!   a given hash key.
//! - (F) Once [`Engine::next_action`] has returned `None`, [`Engine::deadline`] is in the future.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

mod expiry;
mod reshard;
mod split;

use self::{
    reshard::Unjudged,
    split::{is_single, split},
};
use super::{
    Action, BatchId, Input,
    ages::Ages,
    aggregator::Packing,
    barrier::Barrier,
    collector::{Collector, Sent, wake_at},
    description::Description,
    lanes::Lanes,
    pending::{Detach, KinesisRecord, Pending},
    retrier::{given_up, pause},
    shard_map::{Listing, ShardMap},
};
use crate::{
    DeliveryErrorKind, Event, HashKey, HashKeyRange, RecordOrder,
    aggregated::Sealed,
    config::{Config, DEFAULT_MAX_RECORD_BYTES},
    kinesis::{EntryResult, KinesisError, KinesisErrorKind, Stored},
};

/// One in so many bytes of the buffer may be in flight, and a request more: what is in flight exists twice, as it is kept and
/// as the SDK sends it.
const IN_FLIGHT_PART: usize = 12;

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
    bytes_in_flight: usize,
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
    started: Instant,
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
            bytes_in_flight: 0,
            unjudged: Vec::new(),
            barrier: Barrier::new(),
            ages: Ages::new(),
            next_number: 0,
            next_batch: 0,
            rng: fastrand::Rng::with_seed(seed),
            actions: VecDeque::new(),
            stirred: false,
            wake: None,
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
            Input::Flush => {
                self.barrier.flush(self.next_number);
                self.hurry(self.next_number);
                self.complete_flushes();
            }
            Input::Drain => self.hurry(u64::MAX),
            Input::Responded { id, result } => self.responded(id, result),
            Input::ShardsListed { shards, summary } => self.shards_listed(shards, summary),
            Input::Tick => {}
        }
    }

    /// What is to be done next; to be called until it returns `None`.
    pub(crate) fn next_action(&mut self) -> Option<Action<T>> {
        if std::mem::take(&mut self.stirred) {
            self.expire();
            self.list_if_due();
            while self.may_send() {
                let Some(sent) = self.collector.collect(&mut self.lanes, self.now) else { break };
                self.launch(sent);
            }
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
        let overdue = self.wake.is_some_and(|wake| wake <= self.now);
        self.stirred |= may_go || overdue || self.listing.is_due(self.now);
    }

    /// Records with a lower number than `number` shall wait for no company.
    fn hurry(&mut self, number: u64) {
        self.collector.hurry(number);
        self.lanes.rouse();
    }

    fn next_wake(&self) -> Option<Instant> {
        let free = self.may_send();
        let lanes = self.lanes.wake_at(self.now, |lane| {
            let wake = wake_at(lane, self.now).filter(|_| free);
            let end = lane.waiting.first().and_then(|first| self.ttl_end(first.arrived));
            wake.into_iter().chain(end).min()
        });
        let unjudged = self.unjudged.iter().map(|unjudged| self.ttl_end(unjudged.sent.record.first().arrived));
        let listing = self.listing.retry_at().filter(|_| self.unresolved() > 0);
        unjudged.chain([lanes, listing]).flatten().min()
    }

    fn ttl_end(&self, arrived: Instant) -> Option<Instant> {
        self.config.record_ttl.and_then(|ttl| arrived.checked_add(ttl))
    }

    /// Whether one more request may be under way.
    fn may_send(&self) -> bool {
        let part = self.config.max_outstanding_bytes / IN_FLIGHT_PART;
        self.in_flight.is_empty()
            || self.in_flight.len() < usize::from(self.config.max_in_flight) && self.bytes_in_flight < part
    }

    fn launch(&mut self, sent: Vec<Sent<T>>) {
        let mut ranges: Vec<HashKeyRange> = sent.iter().map(|sent| sent.range).collect();
        ranges.dedup(); // the records of a lane stand together
        ranges.iter().for_each(|range| self.lanes.set_busy(range));
        let bytes = sent.iter().map(|sent| sent.record.size_bytes()).sum();
        self.bytes_in_flight += bytes;
        self.send(Flight { sent, later: Vec::new(), ranges, bytes, started: self.now, listings: 0 });
    }

    fn send(&mut self, mut flight: Flight<T>) {
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        (flight.started, flight.listings) = (self.now, self.listing.started());
        Sealed::digest_all(flight.sent.iter_mut().filter_map(|sent| sent.record.content_mut()));
        let entries = flight.sent.iter().map(|sent| sent.record.entry()).collect();
        let shapes = flight.sent.iter().map(|sent| sent.shape(self.now)).collect();
        self.in_flight.insert(id, flight);
        self.actions.push_back(Action::Send { id, entries, shapes });
    }

    fn responded(&mut self, id: BatchId, result: Result<Vec<EntryResult>, KinesisError>) {
        let Some(mut flight) = self.in_flight.remove(&id) else { return };
        let sent = std::mem::take(&mut flight.sent);
        let missing = result.as_ref().is_err_and(KinesisError::is_missing_stream);
        match result {
            Ok(answers) if answers.len() == sent.len() => self.entries_answered(sent, answers, &mut flight),
            Ok(answers) => self.count_mismatch(sent, answers.len()),
            Err(error) => {
                self.notify_call_failed(&sent, &error);
                if error.kind() == KinesisErrorKind::Invalid && !is_single(&sent) {
                    flight.later.extend(split(sent, &self.config).into_iter().rev());
                } else {
                    self.call_failed(sent, &mut flight, &error);
                }
            }
        }
        self.land(flight);
        if missing {
            self.forget_stream();
        }
    }

    /// Sends the next part of a request that was taken apart, or ends it.
    fn land(&mut self, mut flight: Flight<T>) {
        while let Some(part) = flight.later.pop() {
            let in_time = self.without_expired(part);
            flight.sent = self.without_misfits(in_time);
            if !flight.sent.is_empty() {
                return self.send(flight);
            }
        }
        self.bytes_in_flight -= flight.bytes;
        flight.ranges.iter().for_each(|range| self.lanes.set_free(range));
    }

    fn entries_answered(&mut self, sent: Vec<Sent<T>>, answers: Vec<EntryResult>, flight: &mut Flight<T>) {
        let mut failed: Vec<(HashKeyRange, KinesisErrorKind)> = Vec::new();
        for (sent, answer) in sent.into_iter().zip(answers) {
            match answer {
                Ok(stored) => {
                    let now = self.now;
                    self.lanes.overlapping(&sent.range).iter_mut().for_each(|lane| lane.recover(now));
                    self.stored(sent, stored, flight);
                }
                Err(error) => {
                    self.notify_entry_failed(&sent, &error);
                    if !failed.contains(&(sent.range, error.kind())) {
                        failed.push((sent.range, error.kind()));
                    }
                    self.attempt_failed(sent, &error, flight.started);
                }
            }
        }
        if !failed.is_empty() && self.config.record_order == RecordOrder::Strict {
            self.put_back_later(flight);
        }
        for (range, kind) in failed {
            self.hold(&range, kind);
        }
    }

    /// The other parts wait behind what is to be sent again rather than overtake it.
    fn put_back_later(&mut self, flight: &mut Flight<T>) {
        for part in flight.later.drain(..) {
            part.into_iter().for_each(|sent| self.lanes.put_back(sent.record, &sent.range));
        }
    }

    fn call_failed(&mut self, sent: Vec<Sent<T>>, flight: &mut Flight<T>, error: &KinesisError) {
        for range in &flight.ranges {
            self.hold(range, error.kind());
        }
        if given_up(error, self.config.fail_if_throttled).is_none() {
            self.put_back_later(flight);
        }
        sent.into_iter().for_each(|sent| self.attempt_failed(sent, error, flight.started));
    }

    fn attempt_failed(&mut self, mut sent: Sent<T>, error: &KinesisError, started: Instant) {
        sent.record.attempt_failed(error, started, self.now);
        match given_up(error, self.config.fail_if_throttled) {
            Some(kind) => self.fail(sent.record.into_records(), &kind),
            None => self.lanes.put_back(sent.record, &sent.range),
        }
    }

    fn count_mismatch(&mut self, sent: Vec<Sent<T>>, answered: usize) {
        let kind = DeliveryErrorKind::CountMismatch { sent: sent.len(), answered };
        sent.into_iter().for_each(|sent| self.fail(sent.record.into_records(), &kind));
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
            let (ticket, failure) = record.fail(kind.clone());
            self.actions.push_back(Action::Fail { ticket, failure });
        }
        self.complete_flushes();
    }

    fn complete_flushes(&mut self) {
        while self.barrier.next_complete() {
            self.actions.push_back(Action::Flushed);
        }
    }

    fn hold(&mut self, range: &HashKeyRange, kind: KinesisErrorKind) {
        if !matches!(kind, KinesisErrorKind::Throttled | KinesisErrorKind::Transient) {
            return;
        }
        let (now, rng) = (self.now, &mut self.rng);
        for lane in self.lanes.overlapping(range) {
            lane.hold(now, |failures| pause(failures, rng));
            if let (KinesisErrorKind::Throttled, Some(limiter)) = (kind, &mut lane.limiter) {
                limiter.throttled(now);
            }
        }
    }

    fn list_if_due(&mut self) {
        self.list_if(self.unresolved() > 0);
    }

    fn list_if(&mut self, wanted: bool) {
        if wanted && self.listing.start_if_due(self.now) {
            self.actions.push_back(Action::ListShards { describe: self.description.is_due(self.now) });
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
