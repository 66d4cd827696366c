use super::*;
use crate::config::Limits;
use crate::logic::limiter::Amount;
use crate::testing::{shard, start, uniform_shards};
use crate::{hash_key::HashKey, record::UserRecord};

impl<T: Detach> Lanes<T> {
    /// Returns whether nothing can be sent, whatever is waited for.
    pub(crate) fn are_blocked(&self, share: Amount, now: Instant) -> bool {
        let is_blocked = |lane: &Lane<T>| {
            let waits = lane.free(now).any(|(_, stripe)| !stripe.waiting.is_empty());
            !waits || lane.patient || lane.limited_until(&lane.look(now), share, now).is_some()
        };
        self.lanes.iter().all(is_blocked)
    }

    pub(crate) fn are_changing(&self) -> bool {
        self.lanes.iter().any(Lane::is_changing)
    }

    /// Number of stripes that take records, by lane.
    pub(crate) fn stripes(&self) -> Vec<usize> {
        self.lanes.iter().map(|lane| lane.stripes.taking()).collect()
    }

    pub(crate) fn limit_stripes(&mut self, max: usize) {
        self.lanes.iter_mut().for_each(|lane| lane.stripes.limit(max));
    }

    /// Failures in a row of each lane and stripe.
    pub(crate) fn failures(&self) -> Vec<u32> {
        let failures = |lane: &Lane<T>| {
            lane.stripes.all().map(|stripe| stripe.gate.failures()).chain([lane.gate.failures()]).collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(failures).collect()
    }
}

impl<T: Detach> Lane<T> {
    fn only_origin(&self) -> Origin {
        Origin { range: self.range, lane: self.number, generation: self.stripes.sending_number(), stripe: 0 }
    }
}

fn lanes(now: Instant) -> Lanes<UserRecord> {
    let packing = Packing {
        limits: Some(Limits { max_bytes: 51_200, max_records: usize::MAX }),
        by_key: false,
        key: crate::config::AggregateKey::Constant,
        buffered: Duration::from_millis(100),
        linger: Duration::from_millis(20),
        room_bytes: 1 << 20,
        max_bytes_alone: 1 << 20,
        max_stripes: 8,
        compressing: None,
        series: None,
    };
    Lanes::unknown(packing, 150, now)
}

fn replace(lanes: &mut Lanes<UserRecord>, shards: &[Shard], now: Instant) {
    lanes.replace(shards, lanes.packing.clone(), LaneKind::OfShard, now);
}

fn pending(number: u64, hash_key: u128, now: Instant) -> Pending<UserRecord> {
    Pending::new(UserRecord::new("k", "v").with_explicit_hash_key(HashKey(hash_key)), HashKey(hash_key), number, now)
}

fn contents(lanes: &mut Lanes<UserRecord>) -> Vec<(Option<ShardId>, Vec<u64>)> {
    let occupied = lanes.restless(start());
    let numbers = |records: Vec<Pending<_>>| records.iter().map(|record| record.course.number).collect();
    let mut found: Vec<_> = occupied
        .into_iter()
        .map(|index| {
            let lane = lanes.get_mut(index);
            (lane.shard_id.clone(), numbers(lane.stripes.take_all()))
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
        lanes.push(pending(0, key, now), true);
        assert_eq!(contents(&mut lanes), [(Some(id.into()), vec![0])], "{key}");
    }
}

#[test]
fn records_of_unknown_shards_are_regrouped_when_the_shards_are_known() {
    let now = start();
    let mut lanes = lanes(now);
    for n in 0..6 {
        lanes.push(pending(n, if n % 2 == 0 { 0 } else { u128::MAX }, now), true);
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
    lanes.push(pending(0, 0, now), true);
    lanes.push(pending(1, u128::MAX, now), true);
    let origin = lanes.get_mut(1).only_origin();
    lanes.hold(&[(origin, KinesisErrorKind::Transient)], now, now, |_| Duration::from_secs(1));

    replace(
        &mut lanes,
        &[shard("a", 0, half), shard("c", half + 1, u128::MAX - 1), shard("d", u128::MAX, u128::MAX)],
        now,
    );

    let held = |lanes: &mut Lanes<_>, index| lanes.get_mut(index).free(now).count() == 0;
    assert_eq!([0, 1, 2].map(|index| held(&mut lanes, index)), [false, true, true]);
    assert_eq!(contents(&mut lanes), [(Some("a".into()), vec![0]), (Some("d".into()), vec![1])]);
}

#[test]
fn failures_in_a_row_are_counted_on_after_a_reshard() {
    let now = start();
    let mut lanes = lanes(now);
    let fail = |lanes: &mut Lanes<UserRecord>, after: u64| {
        let (origin, at) = (lanes.get_mut(0).only_origin(), now + Duration::from_secs(after));
        lanes.hold(&[(origin, KinesisErrorKind::Throttled)], at, at, |_| Duration::from_millis(1));
    };
    (1..=3).for_each(|after| fail(&mut lanes, after));
    replace(&mut lanes, &uniform_shards(1), now);

    fail(&mut lanes, 4);

    assert_eq!(lanes.failures(), [4, 3], "of the stripe and the lane");
}

#[test]
fn a_range_in_flight_keeps_all_lanes_busy_that_share_it() {
    let now = start();
    let mut lanes = lanes(now);
    replace(&mut lanes, &uniform_shards(4), now);
    let second = lanes.get_mut(1).only_origin();
    let end = second.range.end;
    let across = Origin { range: HashKeyRange { start: end, end: HashKey(end.0 + 1) }, lane: 0, ..second };

    lanes.set_busy(&second);
    lanes.set_busy(&across);
    lanes.set_free(&second);

    assert_eq!([0, 1, 2, 3].map(|index| lanes.get_mut(index).free(now).count() == 0), [false, true, true, false]);
}
