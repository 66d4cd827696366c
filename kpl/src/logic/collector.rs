//! The time and the content of PutRecords requests.
//!
//! - (A) A request is within the limits of the service, and of the settings unless one record alone exceeds those.
//! - (B) No stripe that is busy or held takes part, and none gives records out of order. A lane that is limited is no reason for
//!   a request before it may send as much as one justifies; it takes part in those of others with what it is allowed.
//! - (C) Unless order is [`RecordOrder::BestEffort`], at most one aggregate of several hash keys takes part per stripe, as its last
//!   record, and nothing behind an aggregate shares a hash key with it: if the shard is split meanwhile and the aggregate
//!   sent again, nothing behind it was stored before it. With [`RecordOrder::Strict`] this holds for all records.
//! - (D) When nothing is sent, [`Collector::wake_at`] is the time at which something may be.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::lanes::{Free, Lane, Lanes, Origin, Stripe};
use crate::{
    config::{Aggregation, Config, PUT_RECORDS_MAX_BYTES, RecordOrder},
    hash_key::HashKey,
    id::ShardId,
    logic::{Shape, kinesis_record::KinesisRecord, limiter::Amount, pending::Detach},
};

/// Bytes for one shard that justify a request, and their maximum in one.
/// Source: KPL (aws/kinesis/core/collector.h).
const SHARD_BYTES: usize = 256 * 1024;

/// A Kinesis record, with the shard known when it was sent.
#[derive(Debug)]
pub(crate) struct Sent<T: Detach> {
    pub(crate) record: KinesisRecord<T>,
    pub(crate) origin: Origin,
    /// `None` for unknown shards.
    pub(crate) predicted: Option<ShardId>,
}

impl<T: Detach> Sent<T> {
    pub(crate) fn shape(&self, now: Instant) -> Shape {
        Shape {
            shard_id: self.predicted.clone(),
            user_records: self.record.courses().len(),
            bytes: self.record.size_bytes(),
            data_bytes: self.record.data_bytes(),
            buffered: now.saturating_duration_since(self.record.first().waiting_since()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Collector {
    order: RecordOrder,
    by_key: bool,
    max_records: usize,
    max_bytes: usize,
    record_ttl: Option<Duration>,
    /// Number below which records are sent at once.
    urgent_before: u64,
}

impl Collector {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            order: config.record_order,
            by_key: matches!(config.aggregation, Aggregation::ByPartitionKey { .. }),
            max_records: config.collection_max_records,
            max_bytes: config.collection_max_bytes.min(PUT_RECORDS_MAX_BYTES),
            record_ttl: config.record_ttl,
            urgent_before: 0,
        }
    }

    /// Has records with a lower number sent at once.
    pub(crate) fn hurry(&mut self, number: u64) {
        self.urgent_before = self.urgent_before.max(number);
    }

    /// The next request, if it is time, of up to `room` bytes unless one record is longer.
    pub(crate) fn collect<T: Detach>(&self, lanes: &mut Lanes<T>, room: usize, now: Instant) -> Option<Vec<Sent<T>>> {
        let (mut ready, mut records, mut bytes, mut trigger) = (Vec::new(), 0, 0, false);
        for index in lanes.restless(now) {
            let lane = lanes.get_mut(index);
            lane.complete_due(now, if lane.patient { 0 } else { self.urgent_before });
            let free = lane.look(now);
            if let Some(until) = self.rests_until(lane, &free) {
                lanes.rest(index, until);
                continue;
            }
            let Some((due, size)) = free.next else { continue };
            if lane.limited_until(&free, self.share(), now).is_some() {
                ready.extend((lane.allowed_at(size, now) <= now).then_some((due, index)));
                continue;
            }
            trigger |= due <= now || self.has_enough(lane, &free);
            if !lane.patient {
                records += free.complete.records;
                bytes += free.complete.bytes;
            }
            ready.push((due, index));
        }
        if !trigger && records < self.max_records && bytes < self.max_bytes {
            return None;
        }
        ready.sort_unstable();
        let mut request = Request { records: Vec::new(), bytes: 0, lane_bytes: 0, max_bytes: self.max_bytes.min(room) };
        for (_, index) in ready {
            if request.records.len() >= self.max_records {
                break;
            }
            self.take_from(lanes.get_mut(index), &mut request, now);
        }
        Some(request.records)
    }

    /// Time until which a lane without complete Kinesis record needs no look.
    fn rests_until<T: Detach>(&self, lane: &Lane<T>, free: &Free) -> Option<Instant> {
        let stripes = lane.sending();
        if free.stripes < stripes.len() || lane.is_changing() || free.next.is_some() {
            return None;
        }
        let first = lane.first()?;
        let expires = self.record_ttl.and_then(|ttl| first.arrived.checked_add(ttl));
        stripes.iter().filter_map(|stripe| stripe.waiting.open_due()).chain(expires).min()
    }

    fn has_enough<T: Detach>(&self, lane: &Lane<T>, free: &Free) -> bool {
        let hurried = free.first_number.is_some_and(|number| number < self.urgent_before);
        let one_at_a_time = self.order != RecordOrder::BestEffort && !self.by_key;
        // Aggregates that have to wait for this request, since one of their stripe is in it.
        let many = free.later_aggregates >= lane.sending().len().div_ceil(2) || free.most_aggregates > 2;
        let in_order = one_at_a_time && many;
        // Others wait until these are settled.
        let changing = lane.is_changing();
        !lane.patient && (free.complete.bytes >= SHARD_BYTES || hurried || in_order || changing)
    }

    /// Takes from the stripes of a lane, first from the one that waits longest.
    fn take_from<T: Detach>(&self, lane: &mut Lane<T>, request: &mut Request<T>, now: Instant) {
        let due = |(index, stripe): (usize, &Stripe<T>)| Some((stripe.waiting.front_due()?, index));
        let mut stripes: Vec<_> = lane.free(now).filter_map(due).collect();
        stripes.sort_unstable();
        request.lane_bytes = 0;
        for (_, index) in stripes {
            if !self.take_from_stripe(lane, index, request, now) {
                return;
            }
        }
    }

    /// Returns whether the limiter allowed all that was otherwise possible.
    fn take_from_stripe<T: Detach>(
        &self,
        lane: &mut Lane<T>,
        index: usize,
        request: &mut Request<T>,
        now: Instant,
    ) -> bool {
        let mut keys = HashSet::new();
        while let Some(front) = lane.sending()[index].waiting.front() {
            let size = front.size_bytes();
            let fits = request.records.is_empty() || request.bytes + size <= request.max_bytes;
            let room = request.records.len() < self.max_records && request.lane_bytes < SHARD_BYTES;
            let early = lane.patient && lane.sending()[index].waiting.front_due().is_some_and(|due| due > now);
            if !fits || !room || early || collides(&keys, front) {
                return true;
            }
            if lane.allowed_at(size, now) > now {
                return false;
            }
            let Some((record, origin)) = lane.pop(index) else { return true };
            if let Some(limiter) = &mut lane.limiter {
                limiter.take(size, now);
            }
            request.lane_bytes += size;
            request.bytes += size;
            let last = self.order != RecordOrder::BestEffort && record.hash_keys().are_mixed();
            keys.extend(self.goes_once(&record).then_some(record.hash_keys().first));
            request.records.push(Sent { record, origin, predicted: lane.shard_id.clone() });
            if last {
                return true;
            }
        }
        true
    }

    /// Maximum of a lane in a request.
    pub(crate) fn share(&self) -> Amount {
        Amount { records: self.max_records, bytes: SHARD_BYTES.min(self.max_bytes) }
    }

    /// Time at which a lane that could not send `now` may.
    pub(crate) fn wake_at<T: Detach>(&self, lane: &Lane<T>, now: Instant) -> Option<Instant> {
        if lane.gate().is_busy() || lane.first().is_none() {
            return None;
        }
        let limited = lane.limited_until(&lane.look(now), self.share(), now);
        let held = lane.gate().held_until(now);
        let wake_at = |stripe: &Stripe<T>| {
            let held_or_limited = held.or_else(|| stripe.gate.held_until(now)).or(limited);
            held_or_limited.or_else(|| stripe.waiting.front_due().into_iter().chain(stripe.waiting.open_due()).min())
        };
        let waiting = lane.sending().iter().filter(|stripe| !stripe.gate.is_busy() && !stripe.waiting.is_empty());
        waiting.filter_map(wake_at).min()
    }

    /// Returns whether later records of the same key are not in the same request, where they might be stored alone.
    fn goes_once<T: Detach>(&self, record: &KinesisRecord<T>) -> bool {
        match self.order {
            RecordOrder::BestEffort => false,
            RecordOrder::PerPartitionKey => record.is_aggregate(),
            RecordOrder::Strict => true,
        }
    }
}

/// Returns whether `record` has, or may have, one of these hash keys.
fn collides<T: Detach>(keys: &HashSet<HashKey>, record: &KinesisRecord<T>) -> bool {
    let found = record.hash_keys();
    let contains_any = || keys.iter().any(|key| found.range.contains(*key));
    if found.are_mixed() { contains_any() } else { keys.contains(&found.first) }
}

struct Request<T: Detach> {
    records: Vec<Sent<T>>,
    bytes: usize,
    /// Bytes of the present lane.
    lane_bytes: usize,
    max_bytes: usize,
}
