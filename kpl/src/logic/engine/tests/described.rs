//! Consequences of a stream's description, and of a stream that is gone.

use super::*;
use crate::kinesis::StreamSummary;

fn automatic() -> StreamSummary {
    StreamSummary { ignores_partition_keys: true, ..StreamSummary::default() }
}

impl World {
    fn list_with(&mut self, summary: Result<StreamSummary, KinesisError>) {
        assert!(std::mem::take(&mut self.listing) && self.describing, "the stream is being described");
        self.listed(Ok(self.stream.shards().to_vec()), Some(summary));
    }

    /// Answers a request as a stream does that places records wherever it likes.
    fn answer_anywhere(&mut self) {
        let (id, entries) = self.open.remove(0);
        let shards = self.stream.shards();
        let stored = |n: usize| Stored {
            shard_id: shards[n % shards.len()].shard_id.clone(),
            sequence_number: n.to_string().parse().expect("digits"),
        };
        self.handle(Input::Responded { id, result: Ok((0..entries.len()).map(|n| Ok(stored(n))).collect()) });
    }

    fn count(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| of(event)).count()
    }
}

#[test]
fn sends_plain_records_to_a_stream_that_ignores_partition_keys() {
    let mut world = World::new(4, |_| {});
    world.list_with(Ok(automatic()));
    (0..400).for_each(|n| world.put_number("k", (n % 256) as u8, n));

    for _ in 0..100 {
        while !world.open.is_empty() {
            world.answer_anywhere();
        }
        world.pass(10 * MS);
    }

    assert_eq!(world.delivered().len(), 400);
    assert!(
        world
            .delivered()
            .iter()
            .all(|delivered| delivered.sub_sequence_number().is_none() && delivered.attempts() == 1)
    );
    assert_eq!(world.count(|event| matches!(event, Event::PartitionKeysIgnored { .. })), 1);
    assert!(!world.listing, "that a shard is another one says nothing about the map");
}

#[test]
fn requests_to_a_stream_that_ignores_partition_keys_run_side_by_side() {
    let mut world = World::new(4, |_| {});
    world.list_with(Ok(automatic()));

    for n in 0..4 {
        world.put_number(&format!("key-{n}"), n * 64, n.into());
        world.handle(Input::Flush);
    }

    assert_eq!(world.open.len(), 4);
}

#[test]
fn a_stream_that_changes_its_strategy_is_followed() {
    let mut world = World::new(2, |_| {});
    world.list_with(Ok(StreamSummary::default()));
    (0..10).for_each(|n| world.put_number("k", 0, n));

    world.pass(Duration::from_secs(301));
    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }
    world.put_number("k", 0, 10);
    world.list_with(Ok(automatic()));
    (11..15).for_each(|n| world.put_number("k", 0, n));
    world.finish();

    let plain = world.delivered().iter().filter(|delivered| delivered.sub_sequence_number().is_none()).count();
    assert!(plain >= 5, "{plain} went plain");
    assert_eq!(world.delivered().len(), world.resolved.len() - world.failures().len());
}

#[test]
fn a_denied_description_is_reported_once_and_asked_for_again_late() {
    let mut world = World::new(2, |_| {});
    world.list_with(Err(denied()));
    (0..10).for_each(|n| world.put_number("k", 0, n));
    world.finish();

    assert_eq!(world.sent[0].1[0].partition_key, "a", "records are aggregated");
    world.pass(Duration::from_secs(599));
    world.put_number("k", 0, 10);
    assert!(world.listing && !world.describing);
    world.list();
    world.pass(Duration::from_secs(61));
    world.put_number("k", 0, 11);
    assert!(world.describing);
    world.list_with(Err(denied()));
    assert_eq!(world.count(|event| matches!(event, Event::StreamNotDescribed { .. })), 1);
    assert_eq!(world.max_record_bytes, Some(1 << 20));
}

#[test]
fn aggregates_and_records_are_as_large_as_the_stream_takes() {
    let large = Aggregation::On { max_bytes: 10 << 20, max_records: 1000 };
    let mut world = World::new(1, |config| {
        config.aggregation = large;
        config.rate_limit_percent = const { std::num::NonZero::new(10_000).expect("not zero") };
    });
    world.list_with(Ok(StreamSummary { max_record_bytes: Some(2 << 20), ..StreamSummary::default() }));
    assert_eq!(world.max_record_bytes, Some(2 << 20));

    (0..8).for_each(|n| world.put(UserRecord::new("k", vec![n; 500_000])));
    world.finish();

    let sizes: Vec<_> = world.sent.iter().flat_map(|(_, entries)| entries).map(|entry| entry.data.len() + 1).collect();
    assert!(sizes.iter().all(|size| (1_900_000..=2 << 20).contains(size)), "{sizes:?}");
}

#[test]
fn a_stream_that_is_made_anew_is_not_mistaken_for_the_one_before() {
    let mut world = World::ready(2, |_| {});
    (0..4).for_each(|n| world.put_number("k", (n * 80) as u8, n));
    world.pass(120 * MS);
    world.answer(&Reaction::Fail(missing()));

    // The same ids, other ranges.
    world.stream = FakeStream::new(3);
    (4..8).for_each(|n| world.put_number("k", ((n - 4) * 80) as u8, n));
    assert!(world.listing && world.describing);
    world.list();
    world.finish();

    assert_eq!(world.delivered().len(), 8);
    assert_eq!(world.consumed().len(), 8, "a KCL discards none");
    assert_eq!(world.count(|event| matches!(event, Event::WrongShard { .. })), 0);
}

#[test]
fn a_stream_of_twelve_thousand_shards_is_written_to() {
    let mut world = World::ready(12_000, |config| config.record_max_buffered_time = 10 * MS);
    for n in 0..3000_usize {
        let hash_key = HashKey((n as u128 * 7) << 112);
        world.put(UserRecord::new(format!("key-{n}"), n.to_string()).with_explicit_hash_key(hash_key));
    }
    world.pass(20 * MS);
    let first = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&first);
    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }
    world.finish();

    assert_eq!((world.delivered().len(), world.consumed().len()), (3000, 3000));
}

#[test]
fn lists_shards_beside_the_first_aggregate_after_a_pause() {
    let mut world = World::ready(2, |_| {});
    world.pass(Duration::from_secs(6));
    assert!(!world.listing);

    (0..10).for_each(|n| world.put_number("k", 0, n));
    world.handle(Input::Flush);

    assert_eq!((world.open.len(), world.listing), (1, true), "no time is lost");
    world.finish();
    assert!(world.delivered().iter().all(|delivered| delivered.attempts() == 1));
}

#[test]
fn sends_plain_records_after_a_pause_where_listing_is_denied() {
    let mut world = World::ready(2, |_| {});
    world.pass(Duration::from_secs(6));
    (0..10).for_each(|n| world.put_number("k", 0, n));
    world.handle(Input::Flush);
    world.list_fails(denied());
    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }
    world.sent.clear();

    (10..20).for_each(|n| world.put_number("k", 0, n));
    world.handle(Input::Flush);

    let mut entries = world.sent.iter().flat_map(|(_, entries)| entries);
    assert!(entries.all(|entry| !matches!(decode(&entry.data), Decoded::Aggregate(_))));
    assert_eq!(world.sent.iter().map(|(_, entries)| entries.len()).sum::<usize>(), 10);
}
