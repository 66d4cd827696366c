//! The producer of one stream, from put to resolved, without its clock, tasks and service.
//!
//! - (A) Every put is resolved exactly once.
//! - (B) Requests are within the limits of the service, and predicted sizes are those of the bytes.
//! - (C) Nothing is sent after its time to live.
//! - (D) While no attempt fails, records of a hash key are stored, and delivered by a KCL, in the order they were put,
//!   also when shards are split or merged meanwhile.
//! - (E) At most `max_in_flight` requests are under way, with the bytes that [`Flow`] allows, and at most one of them holds
//!   records of a given hash key.
//! - (F) With `send_when_idle`, no record waits for others while no request is under way and no limit holds them.
//! - (G) Once [`Engine::next_action`] has returned `None`, [`Engine::wake`] is in the future.

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
    aggregator::Packing,
    collector::{Collector, Sent},
    description::Description,
    flow::Flow,
    kinesis_record::KinesisRecord,
    lanes::{Lanes, Origin},
    pending::{Detach, Pending},
    retrier::Retrier,
    shard_map::{Listing, ShardMap},
    unresolved::Unresolved,
};
use crate::{
    aggregated::Sealed,
    config::{Config, DEFAULT_MAX_RECORD_BYTES},
    delivered::Stored,
    error::{Attempt, DeliveryErrorKind},
    event::Event,
    hash_key::HashKey,
    stream::Stream,
};

/// Time that a flush waits for the first listing before records are sent plain.
const FLUSH_WAITS_FOR_SHARDS: Duration = Duration::from_millis(200);

pub(crate) struct Engine<T: Detach> {
    stream: Stream,
    config: Config,
    /// First series of the numbers, if records are numbered.
    series: Option<u64>,
    collector: Collector,
    lanes: Lanes<T>,
    map: ShardMap,
    description: Description,
    listing: Listing,
    in_flight: HashMap<BatchId, Flight<T>>,
    flow: Flow,
    retrier: Retrier,
    unjudged: Vec<Unjudged<T>>,
    pub(crate) unresolved: Unresolved,
    next_batch: u64,
    rng: fastrand::Rng,
    actions: VecDeque<Action<T>>,
    /// An input since the last look at the lanes justifies another one.
    stirred: bool,
    /// Time of the next [`Input::Tick`], if no other input is earlier. `None`: nothing is waited for.
    pub(crate) wake: Option<Instant>,
    /// Time from which records of unknown shards are sent plain, for a flush.
    plain_at: Option<Instant>,
    /// The buffer is full. Requests under way will free space; without any, records are sent at once.
    hurried: bool,
    /// Cause that keeps records from being sent, if any.
    obstacle: Option<Attempt>,
    now: Instant,
}

struct Flight<T: Detach> {
    sent: Vec<Sent<T>>,
    /// Parts of a refused request, sent one after the other; the next one last.
    later: Vec<Vec<Sent<T>>>,
    /// Busy until all parts are answered.
    origins: Vec<Origin>,
    /// Of the original request.
    bytes: usize,
    /// The request was split.
    apart: bool,
    started: Instant,
    /// Answered listings at its start, if the shard map was not trusted.
    untrusted: Option<u64>,
    /// Started listings at its start.
    listings: u64,
}

impl<T: Detach> Engine<T> {
    /// `seed` is for the jitter of retries. If records are numbered, no other producer may have the same `first_series`.
    pub(crate) fn new(stream: Stream, config: &Config, seed: u64, first_series: u64, now: Instant) -> Self {
        let series = config.numbers_records().then_some(first_series);
        let packing = Packing { series, ..Packing::of(config, DEFAULT_MAX_RECORD_BYTES) };
        let mut engine = Self {
            stream,
            config: config.clone(),
            series,
            collector: Collector::new(config),
            lanes: Lanes::unknown(packing, config.rate_limit_percent.get(), now),
            map: ShardMap::default(),
            description: Description::default(),
            listing: Listing::default(),
            in_flight: HashMap::new(),
            flow: Flow::new(config),
            retrier: Retrier::default(),
            unjudged: Vec::new(),
            unresolved: Unresolved::new(),
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

    pub(crate) fn handle(&mut self, input: Input<T>, now: Instant) {
        self.now = now;
        self.stirred |= !matches!(input, Input::Put { .. });
        match input {
            Input::Put { ticket, hash_key } => self.put(ticket, hash_key),
            Input::Hurry => self.hurried = true,
            Input::Flush => {
                self.unresolved.flush();
                self.flush(self.unresolved.next);
            }
            Input::Drain => self.flush(u64::MAX),
            Input::Responded { id, result } => self.responded(id, result),
            Input::ShardsListed { shards, summary } => self.shards_listed(shards, summary),
            Input::Tick => {}
        }
    }

    /// The next action; called until it returns `None`.
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
                self.hurry(self.unresolved.next);
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

    fn put(&mut self, ticket: T, hash_key: HashKey) {
        let number = self.unresolved.put(self.now);
        let may_widen = self.flow.held_until(self.now).is_none();
        let pushed = self.lanes.push(Pending::new(ticket, hash_key, number, self.now), may_widen);
        if pushed.opened.is_some() {
            let dues = [self.wake, pushed.opened, self.ttl_end(self.now)];
            self.wake = dues.into_iter().flatten().min();
        }
        // Most records just join an open aggregate, and nothing follows from that.
        let is_idle = self.config.send_when_idle && self.in_flight.is_empty();
        let overdue = self.wake.is_some_and(|wake| wake <= self.now);
        self.stirred |=
            pushed.may_go || overdue || is_idle || self.listing.is_due(self.description.is_due(self.now), self.now);
    }

    fn hurry(&mut self, number: u64) {
        self.collector.hurry(number);
        self.lanes.rouse();
    }

    fn flush(&mut self, number: u64) {
        self.hurry(number);
        if self.lanes.is_patient() {
            self.plain_at.get_or_insert(self.now + FLUSH_WAITS_FOR_SHARDS);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let free = self.flow.room(self.in_flight.len(), self.now).is_some();
        let lanes = self.lanes.wake_at(self.now, |lane| {
            let wake = self.collector.wake_at(lane, self.now).filter(|_| free);
            let end = lane.first().and_then(|first| self.ttl_end(first.arrived));
            wake.into_iter().chain(end).min()
        });
        let unjudged = self.unjudged.iter().map(|unjudged| self.ttl_end(unjudged.sent.record.first().arrived));
        let calls = [self.listing.due_at(self.description.due_at), self.flow.held_until(self.now), self.plain_at];
        let calls = calls.into_iter().filter(|_| self.unresolved.records > 0);
        unjudged.chain([lanes]).chain(calls).flatten().min()
    }

    fn ttl_end(&self, arrived: Instant) -> Option<Instant> {
        self.config.record_ttl.and_then(|ttl| arrived.checked_add(ttl))
    }

    fn launch(&mut self, sent: Vec<Sent<T>>) {
        let mut origins: Vec<Origin> = sent.iter().map(|sent| sent.origin).collect();
        origins.dedup(); // the records of a stripe stand together
        origins.iter().for_each(|origin| self.lanes.set_busy(origin));
        let bytes = sent.iter().map(|sent| sent.record.size_bytes()).sum();
        self.flow.bytes += bytes;
        let started = self.now;
        let (later, apart) = (Vec::new(), false);
        self.send(Flight { sent, later, origins, bytes, apart, started, untrusted: None, listings: 0 });
    }

    fn send(&mut self, mut flight: Flight<T>) {
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        (flight.started, flight.listings) = (self.now, self.listing.started);
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
        self.unresolved.resolved(record.courses().iter().map(|course| course.number));
        self.actions.push_back(Action::Deliver { record, stored });
    }

    fn fail(&mut self, records: Vec<Pending<T>>, kind: &DeliveryErrorKind) {
        for record in records {
            self.unresolved.resolved([record.course.number].into_iter());
            let obstacle = self.obstacle.as_ref().filter(|_| *kind == DeliveryErrorKind::Expired);
            let (ticket, failure) = record.fail(kind.clone(), obstacle);
            self.actions.push_back(Action::Fail { ticket, failure });
        }
    }

    fn list_if_due(&mut self) {
        self.list_if(self.unresolved.records > 0);
    }

    fn list_if(&mut self, wanted: bool) {
        let describe = self.description.is_due(self.now);
        if wanted && self.listing.start_if_due(describe, self.now) {
            self.actions.push_back(Action::ListShards { describe });
        }
    }

    fn emit(&mut self, of: impl FnOnce(Stream) -> Event) {
        self.actions.push_back(Action::Emit(of(self.stream.clone())));
    }
}

#[cfg(test)]
mod tests;
