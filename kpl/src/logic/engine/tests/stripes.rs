//! Several aggregates of a shard under way without a common partition key.

use super::*;
use crate::{kinesis::KinesisErrorKind, logic::lanes::Stripe};

/// Bytes that Kinesis counts as one PUT payload unit.
const UNIT_BYTES: usize = 25 * 1024;
const ROUND_TRIP: Duration = Duration::from_millis(20);

fn unlimited(config: &mut Config) {
    config.rate_limit_percent = const { std::num::NonZero::new(1_000_000).unwrap() };
    config.record_ttl = None;
}

/// Load of a shard, put at equal intervals, each request answered after the round trip.
#[derive(Debug, Clone, Copy)]
struct Load {
    per_second: u32,
    keys: usize,
    /// Nine of ten records have the same partition key.
    is_hot: bool,
    records: usize,
}

impl Load {
    fn run(self, world: &mut World) {
        self.run_until(world, |_| false);
    }

    /// Ends early once `done` holds.
    fn run_until(self, world: &mut World, done: impl Fn(&World) -> bool) {
        let mut answers: VecDeque<Instant> = VecDeque::new();
        let begun = world.now;
        for n in 0..self.records {
            let at = begun + Duration::from_secs(1).mul_f64(n as f64 / f64::from(self.per_second));
            while let Some(answer) = answers.pop_front_if(|answer| *answer <= at) {
                world.pass(answer - world.now);
                world.answer(&Reaction::Accept);
                answers.extend((answers.len()..world.open.len()).map(|_| world.now + ROUND_TRIP));
            }
            world.pass(at - world.now);
            let key = if self.is_hot && n % 10 != 0 { 0 } else { n % self.keys };
            world.put(UserRecord::new(format!("key-{key}"), format!("{:0100}", world.engine.unresolved.next)));
            answers.extend((answers.len()..world.open.len()).map(|_| world.now + ROUND_TRIP));
            if done(world) {
                return;
            }
        }
    }
}

/// Kinesis records and payload units of a load, with as many stripes at most.
fn cost(max_stripes: usize, load: Load) -> (usize, usize) {
    let mut world = World::ready(1, unlimited);
    world.engine.lanes.limit_stripes(max_stripes);
    load.run(&mut world);
    world.finish();
    let entries = || world.sent.iter().flat_map(|(_, entries)| entries);
    (entries().count(), entries().map(|entry| entry.data.len().div_ceil(UNIT_BYTES)).sum())
}

#[test]
fn stripes_cost_at_most_a_twentieth_more_records_and_payload_units() {
    for (per_second, records) in [(10, 50), (100, 200), (1000, 1000), (30_000, 30_000), (100_000, 80_000)] {
        for is_hot in [false, true] {
            let load = Load { per_second, keys: 1000, is_hot, records };
            let (one, several) = (cost(1, load), cost(8, load));

            let allowed = |count: usize| count + count.div_ceil(20);
            println!("{load:?}: {one:?} and {several:?}");
            assert!(several.0 <= allowed(one.0) && several.1 <= allowed(one.1), "{load:?}: {one:?} and {several:?}");
        }
    }
}

#[test]
fn a_shard_takes_four_times_as_many_records_with_stripes() {
    let unresolved = |max_stripes| {
        let mut world = World::ready(1, unlimited);
        world.engine.lanes.limit_stripes(max_stripes);
        Load { per_second: 90_000, keys: 1000, is_hot: false, records: 90_000 }.run(&mut world);
        let unresolved = world.engine.unresolved.records;
        world.finish();
        world.assert_order_per_key();
        unresolved
    };

    let (one, several) = (unresolved(1), unresolved(8));

    assert!(one > 50_000, "{one} wait");
    assert!(several < 20_000, "{several} wait");
}

/// Time in which a shard takes 120,000 records of 250 partition keys, put as fast as a buffer for 25,000 of them allows.
fn time_of_a_full_buffer(order: RecordOrder) -> Duration {
    let mut world = World::ready(1, |config| {
        unlimited(config);
        config.record_order = order;
    });
    let (begun, mut answers) = (world.now, VecDeque::new());
    for n in 0..120_000 {
        if world.engine.unresolved.records == 25_000 {
            world.handle(Input::Hurry);
        }
        while world.engine.unresolved.records == 25_000 {
            answers.extend((answers.len()..world.open.len()).map(|_| world.now + ROUND_TRIP));
            let at: Instant = answers.pop_front().expect("something is under way");
            world.pass(at - world.now);
            world.answer(&Reaction::Accept);
        }
        let key = format!("key-{}", n % 250);
        world.put(UserRecord::new(key, format!("{:0100}", world.engine.unresolved.next)));
    }
    world.handle(Input::Flush);
    while world.engine.unresolved.records > 0 {
        answers.extend((answers.len()..world.open.len()).map(|_| world.now + ROUND_TRIP));
        let at = answers.pop_front().expect("something is under way");
        world.pass(at - world.now);
        world.answer(&Reaction::Accept);
    }
    world.assert_order_per_key();
    world.now - begun
}

#[test]
fn order_per_key_costs_at_most_a_fifth_of_the_throughput_of_a_full_buffer() {
    let [best_effort, by_key] = [RecordOrder::BestEffort, RecordOrder::PerPartitionKey].map(time_of_a_full_buffer);

    let ratio = best_effort.as_secs_f64() / by_key.as_secs_f64();
    println!("{best_effort:?} and {by_key:?}: {ratio:.2}");
    assert!(ratio >= 0.8, "{best_effort:?} and {by_key:?}: {ratio:.2}");
}

/// A world with a request under way that has several aggregates of its only shard, and the position of that, while the number of
/// stripes stays.
fn striped() -> (World, usize) {
    let mut world = World::ready(1, unlimited);
    let position = |world: &World| {
        let found = world.open.iter().position(|(_, entries)| entries.len() > 2);
        found.filter(|_| !world.engine.lanes.are_changing())
    };
    let load = Load { per_second: 90_000, keys: 1000, is_hot: false, records: 50_000 };
    load.run_until(&mut world, |world| position(world).is_some());
    let position = position(&world).expect("stripes are used");
    (world, position)
}

#[test]
fn aggregates_of_a_shard_in_one_request_have_no_common_key() {
    let (world, position) = striped();

    let keys: Vec<_> = world.open[position].1.iter().map(|entry| partition_keys(std::slice::from_ref(entry))).collect();

    let all: HashSet<_> = keys.iter().flatten().collect();
    assert_eq!(all.len(), keys.iter().map(HashSet::len).sum::<usize>());
}

#[test]
fn a_stripe_that_fails_holds_back_its_own_keys_only() {
    let (mut world, position) = striped();
    let entries = world.open[position].1.clone();
    let (failed, stored) = (partition_keys(&entries[..1]), partition_keys(&entries[1..]));

    world.answer_at(position, &Reaction::FailEntries(vec![(0, internal())]));
    let sent = world.sent.len();
    world.handle(Input::Flush);

    let sent: Vec<_> = world.sent[sent..].iter().flat_map(|(_, entries)| entries.clone()).collect();
    let sent = partition_keys(&sent);
    assert!(!sent.is_disjoint(&stored) && sent.is_disjoint(&failed));
    world.finish();
    assert!(world.failures().is_empty());
}

#[test]
fn entries_of_stripes_that_fail_after_a_split_count_as_one_failure() {
    let (mut world, position) = striped();
    while world.open.len() > 1 {
        world.answer_at(usize::from(position == 0), &Reaction::Accept);
    }
    let entries = world.open[0].1.len();
    let shard = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&shard);
    world.engine.listing.want_after(u64::MAX);
    world.pass(Duration::from_secs(120));
    world.list();

    world.answer(&Reaction::FailEntries((0..entries).map(|n| (n, internal())).collect()));

    assert!(world.engine.lanes.failures().iter().all(|failures| *failures <= 1));
    world.finish();
    assert!(world.failures().is_empty());
}

#[test]
fn requests_of_stripes_that_fail_after_a_split_count_as_one_failure() {
    let (mut world, position) = striped();
    world.answer_at(position, &Reaction::FailEntries(vec![(0, internal())]));
    world.handle(Input::Flush);
    world.pass(Duration::from_secs(1));
    assert!(world.open.len() > 1, "the stripe that failed is under way beside the others");
    let shard = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&shard);
    world.engine.listing.want_after(u64::MAX);
    world.pass(Duration::from_secs(120));
    world.list();

    for _ in 0..world.open.len() {
        let entries = world.open[0].1.len();
        world.answer(&Reaction::FailEntries((0..entries).map(|n| (n, throttled())).collect()));
    }

    let failures = world.engine.lanes.failures();
    assert_eq!(failures.into_iter().max(), Some(2), "the one before the split, and one since");
    world.finish();
    assert!(world.failures().is_empty());
}

#[test]
fn stripes_that_wait_for_held_ones_do_not_multiply() {
    let load = |records| Load { per_second: 90_000, keys: 1000, is_hot: false, records };
    for all_are_held in [false, true] {
        let mut world = World::ready(1, unlimited);
        load(90_000).run_until(&mut world, |world| world.engine.lanes.are_changing());
        let (stripes, now, pause) = (world.engine.lanes.stripes(), world.now, Duration::from_secs(5));
        match world.engine.in_flight.values().flat_map(|flight| flight.origins.clone()).next() {
            Some(origin) if !all_are_held => {
                world.engine.lanes.hold(&[(origin, KinesisErrorKind::Transient)], now, now, |_| pause);
            }
            _ => world.engine.flow.failed(now, now, |_| pause),
        }

        load(9000).run(&mut world);

        assert!(world.engine.unresolved.records > 5000, "{} wait", world.engine.unresolved.records);
        assert_eq!(world.engine.lanes.stripes(), stripes);
        world.finish();
    }
}

#[test]
fn a_free_stripe_with_three_complete_aggregates_waits_for_no_others() {
    let mut world = World::ready(1, |config| {
        config.aggregation = Aggregation::On { max_bytes: 51_200, max_records: 100 };
        unlimited(config);
    });
    let load = Load { per_second: 90_000, keys: 1000, is_hot: false, records: 90_000 };
    load.run_until(&mut world, |world| world.engine.lanes.stripes() == [8] && !world.engine.lanes.are_changing());
    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }

    let complete = |stripe: &Stripe<_>| stripe.waiting.ready.aggregates;
    assert!(world.engine.lanes.get_mut(0).sending().iter().map(complete).max() < Some(3));

    let mut puts = 0;
    while world.open.is_empty() {
        world.put(UserRecord::new("hot", format!("{:0100}", world.engine.unresolved.next)));
        puts += 1;
    }

    assert_eq!(world.engine.lanes.stripes(), [8]);
    assert!((200..=300).contains(&puts), "three aggregates of 100 records: {puts}");
    world.finish();
}

#[test]
fn entries_of_one_shard_that_all_fail_do_not_pause_the_others() {
    let (mut world, position) = striped();
    let entries = world.open[position].1.len();

    world.answer_at(position, &Reaction::FailEntries((0..entries).map(|n| (n, internal())).collect()));

    assert_eq!(world.engine.flow.held_until(world.now), None);
    world.finish();
}
