//! Partition keys of aggregates, an aggregate for each partition key, and strict order.

use super::*;

const BY_KEY: Aggregation = Aggregation::ByPartitionKey { max_bytes: 51_200, max_records: 1000 };

fn partition_keys_of(world: &World) -> Vec<&str> {
    world.sent.iter().flat_map(|(_, entries)| entries).map(|entry| entry.partition_key.as_str()).collect()
}

#[test]
fn an_aggregate_can_have_the_partition_key_of_its_first_record() {
    let mut world = World::ready(1, |config| config.aggregate_key = AggregateKey::FirstRecord);
    ["alpha", "beta", "gamma"].iter().enumerate().for_each(|(n, key)| world.put_number(key, n as u8, n));

    world.finish();

    assert_eq!(partition_keys_of(&world), ["alpha"]);
    assert_eq!(world.consumed(), ["0", "1", "2"]);
}

#[test]
fn partition_keys_of_aggregates_can_be_spread() {
    let mut world = World::ready(1, |config| config.aggregate_key = AggregateKey::Spread);
    for n in 0..20 {
        world.put_number("k", 0, n);
        if n % 2 == 1 {
            world.handle(Input::Flush);
            world.answer(&Reaction::Accept);
        }
    }

    let keys: HashSet<_> = partition_keys_of(&world).into_iter().collect();
    assert_eq!(keys.len(), 10);
}

#[test]
fn an_aggregate_that_is_sent_again_keeps_its_partition_key() {
    let mut world = World::ready(1, |config| config.aggregate_key = AggregateKey::Spread);
    (0..2).for_each(|n| world.put_number("k", 0, n));
    world.pass(120 * MS);
    world.answer(&Reaction::Fail(internal()));
    world.finish();

    let keys = partition_keys_of(&world);
    assert_eq!((keys.len(), keys[0]), (2, keys[1]));
}

#[test]
fn each_partition_key_has_its_own_aggregate_in_the_same_request() {
    let mut world = World::ready(1, |config| config.aggregation = BY_KEY);
    for n in 0..9 {
        world.put_number(["alpha", "beta", "gamma"][n % 3], n as u8 % 3, n);
    }

    world.finish();

    assert_eq!(world.sent.len(), 1);
    assert_eq!(partition_keys_of(&world), ["alpha", "beta", "gamma"]);
    assert_eq!(world.consumed(), ["0", "3", "6", "1", "4", "7", "2", "5", "8"]);
}

#[test]
fn partition_keys_that_share_a_hash_key_do_not_share_an_aggregate() {
    let mut world = World::ready(1, |config| config.aggregation = BY_KEY);
    for n in 0..4 {
        world.put_number(["alpha", "beta"][n % 2], 0, n);
    }

    world.finish();

    assert_eq!(partition_keys_of(&world), ["alpha", "beta"]);
}

#[test]
fn an_aggregate_of_one_partition_key_survives_every_split() {
    let mut world = World::ready(1, |config| config.aggregation = BY_KEY);
    for n in 0..20 {
        world.put_number(&format!("k{}", n % 2), if n % 2 == 0 { 0 } else { 200 }, n);
    }
    world.pass(120 * MS);
    let parent = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&parent);

    world.answer(&Reaction::Accept);
    world.list();

    assert_eq!((world.delivered().len(), world.consumed().len()), (20, 20));
}

#[test]
fn sends_one_record_of_each_key_a_request_in_strict_order() {
    let mut world = World::ready(1, |config| {
        (config.aggregation, config.record_order) = (Aggregation::Off, RecordOrder::Strict);
    });
    (0..9).for_each(|n| world.put_number(&format!("k{}", n % 3), n as u8 % 3, n));

    world.finish();

    assert_eq!(world.sent.iter().map(|(_, entries)| entries.len()).collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn overtakes_no_throttled_record_of_a_key_in_strict_order() {
    let mut world = World::ready(1, |config| {
        (config.aggregation, config.record_order) = (Aggregation::Off, RecordOrder::Strict);
    });
    (0..4).for_each(|n| world.put_number("k", 0, n));
    world.pass(120 * MS);

    world.answer(&Reaction::FailEntries(vec![(0, throttled())]));
    world.finish();

    assert_eq!(world.consumed(), ["0", "1", "2", "3"]);
}
