//! Lanes: the records that wait for each shard, and whether the shard may be sent to.
//!
//! A lane is *busy* while records of its range are in flight, or stored and not judged; it is *held* after a failure. In both
//! cases its records wait, so that none overtakes another one of its partition key.

mod owners;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

pub(crate) use self::owners::Owners;
use super::{
    aggregator::{Aggregator, Packing},
    kinesis_record::KinesisRecord,
    limiter::Limiter,
    pending::{Detach, Pending},
};
use crate::{hash_key::HashKeyRange, id::ShardId, kinesis::Shard};

/// The records that wait for one shard.
pub(crate) struct Lane<T: Detach> {
    /// `None` while the shards are unknown or the stream ignores partition keys.
    pub(crate) shard_id: Option<ShardId>,
    pub(crate) range: HashKeyRange,
    pub(crate) waiting: Aggregator<T>,
    /// `None` without shard.
    pub(crate) limiter: Option<Limiter>,
    /// Records wait for their deadline, even if flushed: the shards will be known soon.
    pub(crate) patient: bool,
    busy: usize,
    held_until: Option<Instant>,
    failures: u32,
    listed: bool,
}

impl<T: Detach> Lane<T> {
    fn new(shard_id: Option<ShardId>, range: HashKeyRange, packing: Packing, limiter: Option<Limiter>) -> Self {
        let (waiting, held_until) = (Aggregator::new(packing), None);
        Self { shard_id, range, waiting, limiter, patient: false, busy: 0, held_until, failures: 0, listed: false }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Time until which a failure holds the lane.
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }

    /// Holds the lane for the `pause` after as many failures in a row.
    pub(crate) fn hold(&mut self, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.failures = self.failures.saturating_add(1);
        self.held_until = Some(now + pause(self.failures));
    }

    pub(crate) fn recover(&mut self, now: Instant) {
        self.failures = 0;
        if let Some(limiter) = &mut self.limiter {
            limiter.stored(now);
        }
    }

    /// Time until which the limiter holds the first complete Kinesis record.
    pub(crate) fn limited_until(&self, now: Instant) -> Option<Instant> {
        let size = self.waiting.front()?.size_bytes();
        let at = self.limiter.as_ref()?.available_at(size, now);
        (at > now).then_some(at)
    }
}

/// Kind of a stream's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// One per shard, for the records of its range.
    OfShard,
    /// For streams that place records by themselves: one per shard, so that requests can run side by side; records are sent
    /// plain, limited by throttling only.
    Any,
}

/// All lanes of a stream. Together they cover every hash key exactly once.
pub(crate) struct Lanes<T: Detach> {
    lanes: Vec<Lane<T>>,
    owners: Owners,
    /// Lanes with records, and perhaps some without.
    occupied: Vec<usize>,
    /// By lane, the time until which it needs no look, if known.
    rests: Vec<Option<Instant>>,
    packing: Packing,
    rate_percent: u32,
}

impl<T: Detach> Lanes<T> {
    /// One lane for all records, until the shards are known.
    pub(crate) fn unknown(packing: Packing, rate_percent: u32, now: Instant) -> Self {
        let limiter = Limiter::new(rate_percent, now);
        let mut lane = Lane::new(None, HashKeyRange::FULL, packing.plain(), Some(limiter));
        lane.patient = true;
        let owners = Owners::new(vec![lane.range.end]);
        Self { owners, lanes: vec![lane], occupied: Vec::new(), rests: vec![None], packing, rate_percent }
    }

    /// Adds a record later than all others; returns its lane.
    pub(crate) fn push(&mut self, record: Pending<T>) -> &Lane<T> {
        let index = self.owners.index_of(record.hash_key);
        self.list(index);
        let lane = &mut self.lanes[index];
        lane.waiting.push(record);
        if lane.waiting.front().is_some() {
            self.rests[index] = None;
        }
        lane
    }

    /// Puts back a Kinesis record sent from a lane with `range`, whole if that lane still exists.
    pub(crate) fn put_back(&mut self, record: KinesisRecord<T>, range: &HashKeyRange) {
        let index = self.owners.index_of(range.start);
        if self.lanes[index].range == *range {
            self.occupy(index);
            self.lanes[index].waiting.put_back(record);
        } else {
            self.merge(record.into_records());
        }
    }

    /// Adds records of any order to their lanes.
    pub(crate) fn merge(&mut self, records: Vec<Pending<T>>) {
        let mut by_lane: BTreeMap<usize, Vec<Pending<T>>> = BTreeMap::new();
        for record in records {
            by_lane.entry(self.owners.index_of(record.hash_key)).or_default().push(record);
        }
        for (index, records) in by_lane {
            self.occupy(index);
            self.lanes[index].waiting.merge(records);
        }
    }

    /// One lane per open shard. Records of closed shards are regrouped. Afterwards no lane is busy: the caller knows what is in
    /// flight.
    pub(crate) fn replace(&mut self, shards: &[Shard], packing: Packing, kind: LaneKind, now: Instant) {
        let repack = self.packing != packing;
        self.packing = packing;
        let (stay, mut gone): (Vec<_>, Vec<_>) =
            self.lanes.drain(..).partition(|lane| lane.shard_id.is_some() && kind == LaneKind::OfShard && !repack);
        let mut stay: HashMap<(Option<ShardId>, HashKeyRange), Lane<T>> =
            stay.into_iter().map(|lane| ((lane.shard_id.clone(), lane.range), lane)).collect();
        for shard in shards {
            let (id, range) = (Some(shard.shard_id.clone()), shard.hash_key_range);
            let limiter = || Some(Limiter::new(self.rate_percent, now));
            let mut lane = match kind {
                // Anywhere but where its key belongs an aggregate would be discarded.
                LaneKind::Any => Lane::new(None, range, Packing { max_bytes_alone: 0, ..packing.plain() }, None),
                LaneKind::OfShard => {
                    stay.remove(&(id.clone(), range)).unwrap_or_else(|| Lane::new(id, range, packing, limiter()))
                }
            };
            (lane.busy, lane.listed) = (0, false);
            self.lanes.push(lane);
        }
        gone.extend(stay.into_values());
        self.take_over(gone);
    }

    /// One lane for all records again, not busy.
    pub(crate) fn forget(&mut self, now: Instant) {
        let unknown = Self::unknown(self.packing, self.rate_percent, now);
        let gone = std::mem::replace(self, unknown).lanes;
        self.take_over(gone);
    }

    fn take_over(&mut self, gone: Vec<Lane<T>>) {
        self.owners = Owners::new(self.lanes.iter().map(|lane| lane.range.end).collect());
        self.rests = vec![None; self.lanes.len()];
        let max_room = self.packing.room_bytes / self.lanes.len().max(1);
        self.lanes.iter_mut().for_each(|lane| lane.waiting.set_max_room(max_room));
        self.occupied.clear();
        for index in 0..self.lanes.len() {
            if !self.lanes[index].waiting.is_empty() {
                self.occupy(index);
            }
        }
        for mut gone in gone {
            for lane in self.overlapping(&gone.range) {
                lane.held_until = lane.held_until.max(gone.held_until);
                lane.failures = lane.failures.max(gone.failures);
            }
            self.merge(gone.waiting.take_all());
        }
    }

    pub(crate) fn take_arrived_by(&mut self, limit: Instant, now: Instant) -> Vec<Pending<T>> {
        let mut taken = Vec::new();
        for &index in self.occupied.iter().filter(|index| self.rests[**index].is_none_or(|until| until <= now)) {
            let waiting = &mut self.lanes[index].waiting;
            if waiting.first().is_some_and(|first| first.arrived <= limit) {
                taken.append(&mut waiting.take_arrived_by(limit));
            }
        }
        taken
    }

    /// Time of the next look at a lane after `now`, by `wake_at` for those that do not rest.
    pub(crate) fn wake_at(&self, now: Instant, wake_at: impl Fn(&Lane<T>) -> Option<Instant>) -> Option<Instant> {
        let rest = |index: usize| self.rests[index].filter(|until| *until > now);
        self.occupied.iter().filter_map(|index| rest(*index).or_else(|| wake_at(&self.lanes[*index]))).min()
    }

    /// Lanes with records that need a look.
    pub(crate) fn restless(&mut self, now: Instant) -> Vec<usize> {
        let (lanes, rests) = (&mut self.lanes, &mut self.rests);
        let mut restless = Vec::new();
        self.occupied.retain(|&index| {
            if rests[index].is_some_and(|until| until > now) {
                return true;
            }
            rests[index] = None;
            let lane = &mut lanes[index];
            lane.listed = !lane.waiting.is_empty();
            if lane.listed {
                restless.push(index);
            }
            lane.listed
        });
        restless
    }

    /// The lane needs no look until then, unless a Kinesis record is complete earlier.
    pub(crate) fn rest(&mut self, index: usize, until: Instant) {
        self.rests[index] = Some(until);
    }

    pub(crate) fn rouse(&mut self) {
        self.rests.fill(None);
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> &mut Lane<T> {
        &mut self.lanes[index]
    }

    /// Marks records of `range` as in flight.
    pub(crate) fn set_busy(&mut self, range: &HashKeyRange) {
        self.overlapping(range).iter_mut().for_each(|lane| lane.busy += 1);
    }

    pub(crate) fn set_free(&mut self, range: &HashKeyRange) {
        self.overlapping(range).iter_mut().for_each(|lane| lane.busy -= 1);
    }

    pub(crate) fn overlapping(&mut self, range: &HashKeyRange) -> &mut [Lane<T>] {
        let (first, last) = (self.owners.index_of(range.start), self.owners.index_of(range.end));
        &mut self.lanes[first..=last]
    }

    /// Returns whether records of unknown shards wait for the listing.
    pub(crate) fn is_patient(&self) -> bool {
        self.lanes[0].patient
    }

    /// Ends that wait. Returns the lane of unknown shards, if it exists.
    pub(crate) fn end_patience(&mut self) -> Option<&mut Lane<T>> {
        self.rouse();
        let lane = self.lanes.first_mut().filter(|lane| lane.shard_id.is_none())?;
        lane.patient = false;
        Some(lane)
    }

    fn occupy(&mut self, index: usize) {
        self.rests[index] = None;
        self.list(index);
    }

    fn list(&mut self, index: usize) {
        if !std::mem::replace(&mut self.lanes[index].listed, true) {
            self.occupied.push(index);
        }
    }
}

#[cfg(test)]
mod tests;
