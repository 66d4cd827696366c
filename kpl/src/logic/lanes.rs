//! Lanes: what waits for each shard, and whether the shard may be sent to just now.
//!
//! A lane is *busy* while records of its range are in flight, or stored with a verdict outstanding; it is *held* after a
//! failure. In both cases its records wait, so that none overtakes another one of the same partition key.

mod owners;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

pub(crate) use self::owners::Owners;
use super::{
    aggregator::{Aggregator, Packing, Spare},
    limiter::Limiter,
    pending::{Detach, KinesisRecord, Pending},
};
use crate::{hash_key::HashKeyRange, id::ShardId, kinesis::Shard};

/// What waits for one shard.
#[derive(Debug)]
pub(crate) struct Lane<T: Detach> {
    /// `None` while the shards are unknown or the stream ignores partition keys.
    pub(crate) shard_id: Option<ShardId>,
    pub(crate) range: HashKeyRange,
    pub(crate) waiting: Aggregator<T>,
    /// `None` if there is nothing to go by.
    pub(crate) limiter: Option<Limiter>,
    /// Records wait for their deadline, even if they are many or flushed: the shards will be known soon.
    pub(crate) patient: bool,
    busy: usize,
    held_until: Option<Instant>,
    failures: u32,
    listed: bool,
}

impl<T: Detach> Lane<T> {
    fn new(shard_id: Option<ShardId>, range: HashKeyRange, packing: Packing, limiter: Option<Limiter>) -> Self {
        Self {
            patient: false,
            shard_id,
            range,
            waiting: Aggregator::new(packing),
            limiter,
            busy: 0,
            held_until: None,
            failures: 0,
            listed: false,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// The instant until which a failure holds the lane.
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }

    /// Holds the lane for what `pause` makes of the number of failures in a row.
    pub(crate) fn hold(&mut self, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.failures = self.failures.saturating_add(1);
        self.held_until = Some(now + pause(self.failures));
    }

    /// An attempt succeeded.
    pub(crate) fn recover(&mut self, now: Instant) {
        self.failures = 0;
        if let Some(limiter) = &mut self.limiter {
            limiter.stored(now);
        }
    }

    /// When the limiter lets the first complete Kinesis record go.
    pub(crate) fn limited_until(&self, now: Instant) -> Option<Instant> {
        let size = self.waiting.front()?.size_bytes();
        let at = self.limiter.as_ref()?.available_at(size, now);
        (at > now).then_some(at)
    }
}

/// What the lanes of a stream stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// A shard each, which takes the records of its range.
    OfShard,
    /// Nothing: the stream places records by itself. There are as many lanes as shards, so that as many requests can be
    /// under way; records go plain, and nothing limits them but throttling.
    Any,
}

/// All lanes of a stream. Together they cover every hash key exactly once.
#[derive(Debug)]
pub(crate) struct Lanes<T: Detach> {
    /// In the order of their ranges.
    lanes: Vec<Lane<T>>,
    owners: Owners,
    /// Lanes with records, and perhaps some without.
    occupied: Vec<usize>,
    /// For each lane, until when nothing is to be done with it, if that is known.
    rests: Vec<Option<Instant>>,
    spare: Spare,
    packing: Packing,
    rate_percent: u32,
}

impl<T: Detach> Lanes<T> {
    /// One lane for everything, until the shards are known.
    pub(crate) fn unknown(packing: Packing, rate_percent: u32, now: Instant) -> Self {
        let limiter = Limiter::new(rate_percent, now);
        let mut lane = Lane::new(None, HashKeyRange::FULL, packing.plain(), Some(limiter));
        lane.patient = true;
        Self {
            owners: Owners::new(vec![lane.range.end]),
            lanes: vec![lane],
            occupied: Vec::new(),
            rests: vec![None],
            spare: Spare::new(&packing, 1),
            packing,
            rate_percent,
        }
    }

    /// Adds a record that is later than all others; returns its lane.
    pub(crate) fn push(&mut self, record: Pending<T>) -> &Lane<T> {
        let index = self.owners.index_of(record.hash_key);
        let lane = &mut self.lanes[index];
        if !std::mem::replace(&mut lane.listed, true) {
            self.occupied.push(index);
        }
        lane.waiting.push(record, &mut self.spare);
        if lane.waiting.front().is_some() {
            self.rests[index] = None;
        }
        lane
    }

    /// Puts a Kinesis record back that was sent from a lane with `range`, whole if that lane is still there.
    pub(crate) fn put_back(&mut self, record: KinesisRecord<T>, range: &HashKeyRange) {
        let index = self.owners.index_of(range.start);
        if self.lanes[index].range == *range {
            self.occupy(index);
            self.lanes[index].waiting.put_back(record);
        } else {
            self.merge(record.into_records());
        }
    }

    /// Adds records of any order to the lanes that they belong to.
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

    /// One lane for each of the open shards, which cover every hash key. Records of shards that are gone are regrouped.
    ///
    /// Afterwards no lane is busy: the caller knows what is in flight.
    pub(crate) fn replace(&mut self, shards: &[Shard], packing: Packing, kind: LaneKind, now: Instant) {
        let repack = self.packing != packing;
        self.packing = packing;
        let (stay, mut gone): (Vec<_>, Vec<_>) =
            self.lanes.drain(..).partition(|lane| lane.shard_id.is_some() && kind == LaneKind::OfShard && !repack);
        let mut stay: HashMap<(Option<ShardId>, HashKeyRange), Lane<T>> =
            stay.into_iter().map(|lane| ((lane.shard_id.clone(), lane.range), lane)).collect();
        for shard in shards {
            let (id, range) = (Some(shard.shard_id.clone()), shard.hash_key_range);
            let limiter = || Limiter::new(self.rate_percent, now);
            let mut lane = match kind {
                // Anywhere but where its key belongs an aggregate would be discarded.
                LaneKind::Any => Lane::new(None, range, Packing { max_bytes_alone: 0, ..packing.plain() }, None),
                LaneKind::OfShard => match stay.remove(&(id.clone(), range)) {
                    Some(lane) => lane,
                    None => Lane::new(id, range, packing, Some(limiter())),
                },
            };
            lane.busy = 0;
            lane.listed = false;
            self.lanes.push(lane);
        }
        gone.extend(stay.into_values());
        self.take_over(gone);
    }

    /// One lane for everything again, until the shards are known. Afterwards it is not busy.
    pub(crate) fn forget(&mut self, now: Instant) {
        let unknown = Self::unknown(self.packing, self.rate_percent, now);
        let gone = std::mem::replace(self, unknown).lanes;
        self.take_over(gone);
    }

    fn take_over(&mut self, gone: Vec<Lane<T>>) {
        self.owners = Owners::new(self.lanes.iter().map(|lane| lane.range.end).collect());
        self.rests = vec![None; self.lanes.len()];
        self.spare = Spare::new(&self.packing, self.lanes.len());
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

    /// Takes out what arrived at `limit` or before.
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

    /// When something is to be done with a lane after `now`, as `wake_at` tells of each that does not rest.
    pub(crate) fn wake_at(&self, now: Instant, wake_at: impl Fn(&Lane<T>) -> Option<Instant>) -> Option<Instant> {
        let rest = |index: usize| self.rests[index].filter(|until| *until > now);
        self.occupied.iter().filter_map(|index| rest(*index).or_else(|| wake_at(&self.lanes[*index]))).min()
    }

    /// Indexes of the lanes with records that do not rest.
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

    /// Nothing is to be done with the lane until then, unless a Kinesis record is complete before.
    pub(crate) fn rest(&mut self, index: usize, until: Instant) {
        self.rests[index] = Some(until);
    }

    /// No lane rests any more.
    pub(crate) fn rouse(&mut self) {
        self.rests.fill(None);
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> (&mut Lane<T>, &mut Spare) {
        (&mut self.lanes[index], &mut self.spare)
    }

    /// Records of `range` are in flight.
    pub(crate) fn set_busy(&mut self, range: &HashKeyRange) {
        self.overlapping(range).iter_mut().for_each(|lane| lane.busy += 1);
    }

    /// Records of `range` are no longer in flight. Undoes one [`set_busy`](Self::set_busy).
    pub(crate) fn set_free(&mut self, range: &HashKeyRange) {
        self.overlapping(range).iter_mut().for_each(|lane| lane.busy -= 1);
    }

    /// The lanes that own hash keys of `range`.
    pub(crate) fn overlapping(&mut self, range: &HashKeyRange) -> &mut [Lane<T>] {
        let (first, last) = (self.owners.index_of(range.start), self.owners.index_of(range.end));
        &mut self.lanes[first..=last]
    }

    /// Whether records of unknown shards wait for the shards to be listed.
    pub(crate) fn is_patient(&self) -> bool {
        self.lanes[0].patient
    }

    /// Nothing waits for the shards to be listed any more. Returns the lane of unknown shards, if that is what there is.
    pub(crate) fn end_patience(&mut self) -> Option<&mut Lane<T>> {
        self.rouse();
        let lane = self.lanes.first_mut().filter(|lane| lane.shard_id.is_none())?;
        lane.patient = false;
        Some(lane)
    }

    /// Whether nothing can be sent, whatever is waited for.
    #[cfg(test)]
    pub(crate) fn are_blocked(&self, now: Instant) -> bool {
        let is_blocked = |lane: &Lane<T>| {
            let limited = lane.limited_until(now).is_some();
            lane.waiting.is_empty() || lane.is_busy() || lane.patient || lane.held_until(now).is_some() || limited
        };
        self.lanes.iter().all(is_blocked)
    }

    fn occupy(&mut self, index: usize) {
        self.rests[index] = None;
        if !std::mem::replace(&mut self.lanes[index].listed, true) {
            self.occupied.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::aggregator::Limits;
    use crate::testing::{shard, start, uniform_shards};
    use crate::{hash_key::HashKey, record::UserRecord};

    fn lanes(now: Instant) -> Lanes<UserRecord> {
        let packing = Packing {
            limits: Some(Limits { max_bytes: 51_200, max_records: usize::MAX }),
            by_key: false,
            key: crate::config::AggregateKey::Constant,
            buffered: Duration::from_millis(100),
            linger: Duration::from_millis(20),
            spare_bytes: 1 << 20,
            max_bytes_alone: 1 << 20,
        };
        Lanes::unknown(packing, 150, now)
    }

    fn replace(lanes: &mut Lanes<UserRecord>, shards: &[Shard], now: Instant) {
        lanes.replace(shards, lanes.packing, LaneKind::OfShard, now);
    }

    fn pending(number: u64, hash_key: u128, now: Instant) -> Pending<UserRecord> {
        Pending::new(
            UserRecord::new("k", "v").with_explicit_hash_key(HashKey(hash_key)),
            HashKey(hash_key),
            number,
            now,
        )
    }

    fn contents(lanes: &mut Lanes<UserRecord>) -> Vec<(Option<ShardId>, Vec<u64>)> {
        let occupied = lanes.restless(start());
        let numbers = |records: Vec<Pending<_>>| records.iter().map(|record| record.course.number).collect();
        let mut found: Vec<_> = occupied
            .into_iter()
            .map(|index| {
                let (lane, _) = lanes.get_mut(index);
                (lane.shard_id.clone(), numbers(lane.waiting.take_all()))
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn hash_keys_belong_to_the_lane_whose_range_holds_them() {
        let now = start();
        let mut lanes = lanes(now);
        // Shape of a stream whose shard 0 was split and its first half split again.
        let quarter = 85070591730234615865843651857942052863;
        let half = 170141183460469231731687303715884105728;
        let shards = [shard("s2", 0, quarter - 1), shard("s3", quarter, half - 1), shard("s1", half, u128::MAX)];
        replace(&mut lanes, &shards, now);

        for (key, id) in
            [(0, "s2"), (quarter - 1, "s2"), (quarter, "s3"), (half - 1, "s3"), (half, "s1"), (u128::MAX, "s1")]
        {
            lanes.push(pending(0, key, now));
            assert_eq!(contents(&mut lanes), [(Some(id.into()), vec![0])], "{key}");
        }
    }

    #[test]
    fn records_of_unknown_shards_are_regrouped_when_the_shards_are_known() {
        let now = start();
        let mut lanes = lanes(now);
        for n in 0..6 {
            lanes.push(pending(n, if n % 2 == 0 { 0 } else { u128::MAX }, now));
        }

        let shards = uniform_shards(2);
        replace(&mut lanes, &shards, now);

        let id = |n: usize| Some(shards[n].shard_id.clone());
        assert_eq!(contents(&mut lanes), [(id(0), vec![0, 2, 4]), (id(1), vec![1, 3, 5])]);
    }

    #[test]
    fn a_lane_whose_shard_stays_keeps_its_records_and_its_hold() {
        let now = start();
        let mut lanes = lanes(now);
        let half = u128::MAX / 2;
        replace(&mut lanes, &[shard("a", 0, half), shard("b", half + 1, u128::MAX)], now);
        lanes.push(pending(0, 0, now));
        lanes.push(pending(1, u128::MAX, now));
        lanes.get_mut(1).0.hold(now, |_| Duration::from_secs(1));

        replace(
            &mut lanes,
            &[shard("a", 0, half), shard("c", half + 1, u128::MAX - 1), shard("d", u128::MAX, u128::MAX)],
            now,
        );

        let held = |lanes: &mut Lanes<_>, index| lanes.get_mut(index).0.held_until(now).is_some();
        assert_eq!([0, 1, 2].map(|index| held(&mut lanes, index)), [false, true, true]);
        assert_eq!(contents(&mut lanes), [(Some("a".into()), vec![0]), (Some("d".into()), vec![1])]);
    }

    #[test]
    fn a_range_in_flight_keeps_all_lanes_busy_that_share_it() {
        let now = start();
        let mut lanes = lanes(now);
        replace(&mut lanes, &uniform_shards(4), now);
        let second = lanes.get_mut(1).0.range;
        let across = HashKeyRange { start: second.end, end: HashKey(second.end.0 + 1) };

        lanes.set_busy(&second);
        lanes.set_busy(&across);
        lanes.set_free(&second);

        assert_eq!([0, 1, 2, 3].map(|index| lanes.get_mut(index).0.is_busy()), [false, true, true, false]);
    }
}
