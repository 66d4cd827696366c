//! The time and the content of PutRecords requests.
//!
//! - (A) A request is within the limits of the service, and of the settings unless one record alone exceeds those.
//! - (B) No lane that is busy, held or limited takes part, and none gives records out of order.
//! - (C) Unless order is [`RecordOrder::BestEffort`], at most one aggregate of several hash keys takes part per lane, as its last
//!   record, and nothing behind an aggregate shares a hash key with it: if the shard is split meanwhile and the aggregate
//!   sent again, nothing behind it was stored before it. With [`RecordOrder::Strict`] this holds for all records.
//! - (D) When nothing is sent, [`wake_at`] is the time at which something may be.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::lanes::{Lane, Lanes};
use crate::{
    config::{Aggregation, Config, PUT_RECORDS_MAX_BYTES, RecordOrder},
    hash_key::{HashKey, HashKeyRange},
    id::ShardId,
    logic::{Shape, kinesis_record::KinesisRecord, pending::Detach},
};

/// Bytes for one shard that justify a request, and their maximum in one.
/// Source: KPL (aws/kinesis/core/collector.h).
const SHARD_BYTES: usize = 256 * 1024;

/// A Kinesis record, with the shard known when it was sent.
#[derive(Debug)]
pub(crate) struct Sent<T: Detach> {
    pub(crate) record: KinesisRecord<T>,
    pub(crate) range: HashKeyRange,
    /// `None` for unknown shards.
    pub(crate) predicted: Option<ShardId>,
}

impl<T: Detach> Sent<T> {
    pub(crate) fn shape(&self, now: Instant) -> Shape {
        Shape {
            shard_id: self.predicted.clone(),
            user_records: self.record.courses().len(),
            bytes: self.record.size_bytes(),
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
            if lane.is_busy() || lane.held_until(now).is_some() {
                continue;
            }
            lane.waiting.complete_due(now, if lane.patient { 0 } else { self.urgent_before });
            if let Some(until) = self.rests_until(lane) {
                lanes.rest(index, until);
                continue;
            }
            let Some(due) = lane.waiting.front_due().filter(|_| lane.limited_until(now).is_none()) else { continue };
            trigger |= due <= now || self.has_enough(lane);
            if !lane.patient {
                records += lane.waiting.ready.len();
                bytes += lane.waiting.ready_bytes;
            }
            ready.push((due, index));
        }
        if !trigger && records < self.max_records && bytes < self.max_bytes {
            return None;
        }
        ready.sort_unstable();
        let mut request = Request { records: Vec::new(), bytes: 0, max_bytes: self.max_bytes.min(room) };
        for (_, index) in ready {
            if request.records.len() >= self.max_records {
                break;
            }
            self.take_from(lanes.get_mut(index), &mut request, now);
        }
        Some(request.records)
    }

    /// Time until which a lane without complete Kinesis record needs no look.
    fn rests_until<T: Detach>(&self, lane: &Lane<T>) -> Option<Instant> {
        if lane.waiting.front().is_some() {
            return None;
        }
        let first = lane.waiting.first()?;
        let expires = self.record_ttl.and_then(|ttl| first.arrived.checked_add(ttl));
        lane.waiting.open_due().into_iter().chain(expires).min()
    }

    fn has_enough<T: Detach>(&self, lane: &Lane<T>) -> bool {
        let hurried = || lane.waiting.front().is_some_and(|front| front.first().number < self.urgent_before);
        let one_at_a_time = self.order != RecordOrder::BestEffort && !self.by_key;
        let in_order = || one_at_a_time && lane.waiting.ready_aggregates > 1;
        !lane.patient && (lane.waiting.ready_bytes >= SHARD_BYTES || hurried() || in_order())
    }

    fn take_from<T: Detach>(&self, lane: &mut Lane<T>, request: &mut Request<T>, now: Instant) {
        let mut lane_bytes = 0;
        let mut keys = HashSet::new();
        while let Some(front) = lane.waiting.front() {
            let size = front.size_bytes();
            let fits = request.records.is_empty() || request.bytes + size <= request.max_bytes;
            let room = request.records.len() < self.max_records && lane_bytes < SHARD_BYTES;
            let early = lane.patient && lane.waiting.front_due().is_some_and(|due| due > now);
            if !fits || !room || early || collides(&keys, front) || lane.limited_until(now).is_some() {
                return;
            }
            lane.waiting.digest_ahead();
            let Some(record) = lane.waiting.pop() else { return };
            if let Some(limiter) = &mut lane.limiter {
                limiter.take(size, now);
            }
            lane_bytes += size;
            request.bytes += size;
            let last = self.order != RecordOrder::BestEffort && record.hash_keys().are_mixed();
            // Later records of the same key might be stored alone.
            let goes_once = match self.order {
                RecordOrder::BestEffort => false,
                RecordOrder::PerPartitionKey => record.is_aggregate(),
                RecordOrder::Strict => true,
            };
            keys.extend(goes_once.then_some(record.hash_keys().first));
            request.records.push(Sent { record, range: lane.range, predicted: lane.shard_id.clone() });
            if last {
                return;
            }
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
    max_bytes: usize,
}

/// Time at which a lane that could not send `now` may.
pub(crate) fn wake_at<T: Detach>(lane: &Lane<T>, now: Instant) -> Option<Instant> {
    if lane.is_busy() || lane.waiting.is_empty() {
        return None;
    }
    let held_or_limited = lane.held_until(now).or_else(|| lane.limited_until(now));
    held_or_limited.or_else(|| lane.waiting.front_due().into_iter().chain(lane.waiting.open_due()).min())
}
