//! Lanes: the records that wait for each shard, and whether the shard may be sent to.
//!
//! A stripe of a lane is *busy* while its records are in flight, or stored and not judged; it is *held* after a failure. In both
//! cases its records wait, so that none overtakes another one of its partition key. All of a lane is busy or held for records of
//! its range that were sent from another lane, before a reshard.

mod gate;
mod lane;
mod owners;
mod stripes;
mod width;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

pub(crate) use self::{
    lane::{Free, Lane, Origin, Pushed},
    owners::Owners,
    stripes::Stripe,
};
use super::{
    aggregator::Packing,
    kinesis_record::KinesisRecord,
    limiter::Limiter,
    pending::{Detach, Pending},
};
use crate::{
    hash_key::HashKeyRange,
    id::ShardId,
    kinesis::{KinesisErrorKind, Shard},
};

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
    /// Number of lanes that there ever were.
    numbered: u64,
}

impl<T: Detach> Lanes<T> {
    /// One lane for all records, until the shards are known.
    pub(crate) fn unknown(packing: Packing, rate_percent: u32, now: Instant) -> Self {
        Self::unknown_numbered(packing, rate_percent, 1, now)
    }

    fn unknown_numbered(packing: Packing, rate_percent: u32, numbered: u64, now: Instant) -> Self {
        let limiter = Limiter::new(rate_percent, now);
        let mut lane = Lane::new(None, HashKeyRange::FULL, packing.clone().plain(), Some(limiter));
        lane.patient = true;
        lane.set_number(numbered);
        let owners = Owners::new(vec![lane.range.end]);
        Self { owners, lanes: vec![lane], occupied: Vec::new(), rests: vec![None], packing, rate_percent, numbered }
    }

    /// Adds a record later than all others; its lane may have more stripes from then on if it `may_widen`.
    #[inline]
    pub(crate) fn push(&mut self, record: Pending<T>, may_widen: bool) -> Pushed {
        let index = self.owners.index_of(record.hash_key);
        self.list(index);
        let (is_complete, pushed) = self.lanes[index].push(record, may_widen);
        if is_complete {
            self.rests[index] = None;
        }
        pushed
    }

    /// Puts back a Kinesis record, whole if its stripe still exists.
    pub(crate) fn put_back(&mut self, record: KinesisRecord<T>, origin: &Origin) {
        let index = self.owners.index_of(origin.range.start);
        let lane = &mut self.lanes[index];
        let only = Origin { lane: lane.number, generation: lane.stripes.sending_number(), stripe: 0, ..*origin };
        let is_only = lane.range == origin.range && lane.stripes.are_one();
        let found = if lane.number == origin.lane { Some(origin) } else { Some(&only).filter(|_| is_only) };
        match found.and_then(|origin| lane.stripes.of(origin)) {
            Some(stripe) => {
                stripe.waiting.put_back(record);
                self.occupy(index);
            }
            None => self.merge(record.into_records()),
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
            self.lanes[index].settle();
            self.lanes[index].stripes.merge(records);
        }
    }

    /// One lane per open shard. Records of closed shards are regrouped. Afterwards no lane is busy: the caller knows what is in
    /// flight.
    pub(crate) fn replace(&mut self, shards: &[Shard], packing: Packing, kind: LaneKind, now: Instant) {
        let repack = self.packing != packing;
        self.packing = packing.clone();
        let (stay, mut gone): (Vec<_>, Vec<_>) =
            self.lanes.drain(..).partition(|lane| lane.shard_id.is_some() && kind == LaneKind::OfShard && !repack);
        let mut stay: HashMap<(Option<ShardId>, HashKeyRange), Lane<T>> =
            stay.into_iter().map(|lane| ((lane.shard_id.clone(), lane.range), lane)).collect();
        for shard in shards {
            let (id, range) = (Some(shard.shard_id.clone()), shard.hash_key_range);
            let limiter = || Some(Limiter::new(self.rate_percent, now));
            let mut lane = match kind {
                // Anywhere but where its key belongs an aggregate would be discarded.
                LaneKind::Any => {
                    let packing = Packing { max_bytes_alone: 0, series: None, ..packing.clone().plain() };
                    Lane::new(None, range, packing, None)
                }
                LaneKind::OfShard => stay
                    .remove(&(id.clone(), range))
                    .unwrap_or_else(|| Lane::new(id, range, packing.clone(), limiter())),
            };
            if lane.number == 0 {
                self.numbered += 1;
                lane.set_number(self.numbered);
            }
            lane.listed = false;
            lane.gate.clear();
            lane.stripes.all_mut().for_each(|stripe| stripe.gate.clear());
            self.lanes.push(lane);
        }
        gone.extend(stay.into_values());
        self.take_over(gone);
    }

    pub(crate) fn packing(&self) -> &Packing {
        &self.packing
    }

    /// One lane for all records again, not busy.
    pub(crate) fn forget(&mut self, now: Instant) {
        let unknown = Self::unknown_numbered(self.packing.clone(), self.rate_percent, self.numbered + 1, now);
        let gone = std::mem::replace(self, unknown).lanes;
        self.take_over(gone);
    }

    fn take_over(&mut self, gone: Vec<Lane<T>>) {
        self.owners = Owners::new(self.lanes.iter().map(|lane| lane.range.end).collect());
        self.rests = vec![None; self.lanes.len()];
        let max_room = self.packing.room_bytes / self.lanes.len().max(1);
        self.lanes.iter_mut().for_each(|lane| lane.stripes.set_max_room(max_room));
        self.occupied.clear();
        for index in 0..self.lanes.len() {
            if !self.lanes[index].stripes.is_empty() {
                self.occupy(index);
            }
        }
        for mut gone in gone {
            let mut hold = gone.gate;
            gone.stripes.all().for_each(|stripe| hold.inherit(&stripe.gate));
            self.overlapping(&gone.range).iter_mut().for_each(|lane| lane.gate.inherit(&hold));
            self.merge(gone.stripes.take_all());
        }
    }

    pub(crate) fn take_arrived_by(&mut self, limit: Instant, now: Instant) -> Vec<Pending<T>> {
        let mut taken = Vec::new();
        for &index in self.occupied.iter().filter(|index| self.rests[**index].is_none_or(|until| until <= now)) {
            taken.append(&mut self.lanes[index].stripes.take_arrived_by(limit));
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
            lane.listed = !lane.stripes.is_empty();
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

    /// Marks records of `origin` as in flight.
    pub(crate) fn set_busy(&mut self, origin: &Origin) {
        self.overlapping(&origin.range).iter_mut().for_each(|lane| lane.gate_of(origin).set_busy());
    }

    pub(crate) fn set_free(&mut self, origin: &Origin) {
        self.overlapping(&origin.range).iter_mut().for_each(|lane| lane.gate_of(origin).set_free());
    }

    /// Ends the row of failures of what was sent from `origin`.
    pub(crate) fn recover(&mut self, origin: &Origin, now: Instant) {
        self.overlapping(&origin.range).iter_mut().for_each(|lane| lane.recover(origin, now));
    }

    /// Holds what was sent from these origins, in a request that `started` then, for the `pause` after as many failures in a row.
    pub(crate) fn hold(
        &mut self,
        failed: &[(Origin, KinesisErrorKind)],
        started: Instant,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) {
        for (origin, kind) in failed {
            for lane in self.overlapping(&origin.range) {
                // Failures before a reshard, or before the stripes changed, belong to the row.
                let before = lane.gate;
                let gate = lane.gate_of(origin);
                gate.inherit(&before);
                gate.hold(started, now, &pause);
                if let (KinesisErrorKind::Throttled, Some(limiter)) = (kind, &mut lane.limiter) {
                    limiter.throttled(now);
                }
            }
        }
    }

    fn overlapping(&mut self, range: &HashKeyRange) -> &mut [Lane<T>] {
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
