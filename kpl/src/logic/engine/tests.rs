use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use super::*;
use crate::{
    aggregated::{Decoded, decode},
    config::{AggregateKey, Aggregation, RecordOrder},
    delivered::Delivered,
    error::Failure,
    kinesis::KinesisError,
    kinesis::{Entry, Shard, StreamSummary},
    record::UserRecord,
    testing::{FakeStream, Reaction, start},
    trace_context::TraceContext,
};

mod described;
mod keys;
mod properties;
mod stripes;

const MS: Duration = Duration::from_millis(1);

/// An engine and a stream, with time in our hands.
struct World {
    config: Config,
    engine: Engine<UserRecord>,
    stream: FakeStream,
    now: Instant,
    /// Sent and not answered.
    open: Vec<(BatchId, Vec<Entry>)>,
    listing: bool,
    describing: bool,
    max_record_bytes: Option<usize>,
    resolved: Vec<(UserRecord, Result<Delivered, Failure>)>,
    flushed: usize,
    /// For each flush that is not complete, the number of records put before it.
    flushing: VecDeque<u64>,
    events: Vec<Event>,
    sent: Vec<(Instant, Vec<Entry>)>,
    /// Numbers of the unresolved records of each partition key, if overtaking is watched for.
    unresolved: Option<HashMap<String, BTreeSet<usize>>>,
}

impl World {
    fn new(shards: usize, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let now = start();
        let mut world = Self {
            engine: Engine::new(Stream::Name("StockTradeStream".into()), &config, 7, 70, now),
            config,
            stream: FakeStream::new(shards),
            now,
            open: Vec::new(),
            listing: false,
            describing: false,
            max_record_bytes: None,
            resolved: Vec::new(),
            flushed: 0,
            flushing: VecDeque::new(),
            events: Vec::new(),
            sent: Vec::new(),
            unresolved: None,
        };
        world.perform();
        world
    }

    /// A world whose engine knows the shards.
    fn ready(shards: usize, change: impl FnOnce(&mut Config)) -> Self {
        let mut world = Self::new(shards, change);
        world.list();
        world
    }

    fn handle(&mut self, input: Input<UserRecord>) {
        if let Input::Flush = input {
            self.flushing.push_back(self.engine.unresolved.next);
        }
        self.engine.handle(input, self.now);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Send { id, entries, shapes } => {
                    assert!((1..=500).contains(&entries.len()) && shapes.len() == entries.len());
                    let size = |entry: &Entry| entry.data.len() + entry.partition_key.len();
                    let bytes: usize = entries.iter().map(size).sum();
                    assert!(bytes <= self.config.collection_max_bytes || entries.len() == 1, "{bytes} bytes");
                    self.assert_keys_not_in_flight(&entries);
                    self.assert_aggregates_fit(&entries);
                    self.assert_nothing_is_overtaken(&entries);
                    self.sent.push((self.now, entries.clone()));
                    self.open.push((id, entries));
                }
                Action::ListShards { describe } => {
                    self.describing = describe;
                    assert!(!self.listing, "one listing at a time");
                    self.listing = true;
                }
                Action::LimitRecords { max_bytes } => self.max_record_bytes = Some(max_bytes),
                Action::Deliver { record, stored } => {
                    let stored = stored.into();
                    let delivered: Vec<_> = record.deliver(&stored).collect();
                    delivered.into_iter().for_each(|(ticket, delivered)| self.resolve(ticket, Ok(delivered)));
                }
                Action::Fail { ticket, failure } => self.resolve(ticket, Err(*failure)),
                Action::Emit(event) => self.events.push(event),
            }
        }
        self.complete_flushes(self.engine.unresolved.lowest());
        assert!(self.open.len() <= usize::from(self.config.max_in_flight), "too many requests in flight");
        let deadline = self.engine.wake;
        assert!(deadline.is_none_or(|at| at > self.now), "the deadline has passed already");
        if self.config.send_when_idle && self.open.is_empty() && self.engine.flow.held_until(self.now).is_none() {
            assert!(
                self.engine.lanes.are_blocked(self.engine.collector.share(), self.now),
                "something waits for company while nothing is under way"
            );
        }
        let awaited = deadline.is_some() || !self.open.is_empty() || self.listing;
        assert_eq!(self.engine.unresolved.oldest().is_some(), self.engine.unresolved.records > 0);
        assert!(awaited || self.engine.unresolved.records == 0, "records are left, but nothing is going to happen");
    }

    fn complete_flushes(&mut self, lowest: u64) {
        let complete = self.flushing.partition_point(|flush| *flush <= lowest);
        if complete > 0 {
            let resolved = self.resolved.iter().filter(|(record, _)| Self::number_of(record.data()) < lowest as usize);
            assert_eq!(resolved.count(), lowest as usize, "a flush waits for everything before it");
        }
        self.flushing.drain(..complete);
        self.flushed += complete;
    }

    fn resolve(&mut self, record: UserRecord, outcome: Result<Delivered, Failure>) {
        let numbers = self.unresolved.as_mut().and_then(|unresolved| unresolved.get_mut(record.partition_key()));
        if let Some(numbers) = numbers {
            numbers.remove(&Self::number_of(record.data()));
        }
        self.resolved.push((record, outcome));
    }

    /// Of each partition key, the first record that is not resolved goes before all others.
    fn assert_nothing_is_overtaken(&self, entries: &[Entry]) {
        let Some(unresolved) = &self.unresolved else {
            return;
        };
        let mut once = FakeStream::new(1);
        once.put(entries, &Reaction::Accept);
        let mut firsts: HashMap<String, usize> = HashMap::new();
        for record in once.delivered() {
            let number = Self::number_of(&record.data);
            let first = firsts.entry(record.partition_key).or_insert(number);
            *first = number.min(*first);
        }
        for (key, first) in firsts {
            assert_eq!(unresolved[&key].first(), Some(&first), "{key} is overtaken");
        }
    }

    fn number_of(data: &[u8]) -> usize {
        String::from_utf8_lossy(data).parse().expect("a number")
    }

    /// Runs the steps to the end. Returns the number of records put.
    fn assert_aggregates_fit(&self, entries: &[Entry]) {
        for entry in entries {
            let Decoded::Aggregate(records) = decode(&entry.data) else {
                continue;
            };
            let fits = |shard: &Shard| records.iter().all(|record| record.belongs_in(&shard.hash_key_range));
            let shards = &self.engine.map.shards;
            assert!(
                shards.is_empty() || shards.iter().any(fits),
                "an aggregate fits no shard that is known to be open"
            );
        }
    }

    fn assert_keys_not_in_flight(&self, entries: &[Entry]) {
        let mine = partition_keys(entries);
        for (_, others) in &self.open {
            assert!(partition_keys(others).is_disjoint(&mine), "records of a key are in flight twice");
        }
    }

    fn put(&mut self, record: UserRecord) {
        self.put_all([record].into_iter());
    }

    /// Puts records before anything is done about them.
    fn put_all(&mut self, records: impl Iterator<Item = UserRecord>) {
        for record in records {
            if let Some(unresolved) = &mut self.unresolved {
                let numbers = unresolved.entry(record.partition_key().to_owned()).or_default();
                numbers.insert(Self::number_of(record.data()));
            }
            let hash_key = record.hash_key();
            self.engine.handle(Input::Put { ticket: record, hash_key }, self.now);
        }
        self.perform();
    }

    /// Puts a record whose data is its number, for the shard at `place` (0 to 255) of the hash keys.
    fn put_number(&mut self, key: &str, place: u8, number: usize) {
        let hash_key = HashKey(u128::from(place) << 120);
        self.put(UserRecord::new(key, number.to_string()).with_explicit_hash_key(hash_key));
    }

    fn list(&mut self) {
        assert!(std::mem::take(&mut self.listing), "no listing is under way");
        let summary = self.describing.then(|| Ok(StreamSummary::default()));
        self.listed(Ok(self.stream.shards().to_vec()), summary);
    }

    fn list_fails(&mut self, error: KinesisError) {
        assert!(std::mem::take(&mut self.listing), "no listing is under way");
        let summary = self.describing.then(|| Err(error.clone()));
        self.listed(Err(error), summary);
    }

    fn listed(
        &mut self,
        shards: Result<Vec<Shard>, KinesisError>,
        summary: Option<Result<StreamSummary, KinesisError>>,
    ) {
        self.handle(Input::ShardsListed { shards, summary });
    }

    fn answer(&mut self, reaction: &Reaction) {
        self.answer_at(0, reaction);
    }

    fn answer_at(&mut self, index: usize, reaction: &Reaction) {
        let (id, entries) = self.open.remove(index);
        let result = self.stream.put(&entries, reaction).expect("no hanging here");
        self.handle(Input::Responded { id, result });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.engine.wake.filter(|at| *at <= end) {
            self.now = at;
            self.handle(Input::Tick);
        }
        self.now = end;
        self.handle(Input::Tick);
    }

    /// Has so much stored, soon each time, that as much may be in flight as ever.
    fn warm_up(&mut self) {
        for _ in 0..50 {
            (0..8).for_each(|n| self.put(UserRecord::new(format!("key-{n}"), vec![0; 50_000])));
            self.pass(Duration::from_secs(1));
            while !self.open.is_empty() {
                self.answer(&Reaction::Accept);
            }
        }
    }

    /// Lets everything succeed until nothing is left.
    fn finish(&mut self) {
        self.handle(Input::Drain);
        for _ in 0..10_000 {
            if self.engine.unresolved.records == 0 {
                return;
            }
            if self.listing {
                self.list();
            } else if !self.open.is_empty() {
                self.answer(&Reaction::Accept);
            } else {
                let at = self.engine.wake.expect("something is to happen while records are unresolved");
                self.pass(at - self.now);
            }
        }
        panic!("{} records are still unresolved", self.engine.unresolved.records);
    }

    fn delivered(&self) -> Vec<&Delivered> {
        self.resolved.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect()
    }

    fn failures(&self) -> Vec<&Failure> {
        self.resolved.iter().filter_map(|(_, outcome)| outcome.as_ref().err()).collect()
    }

    /// Data of what a KCL would deliver.
    fn consumed(&self) -> Vec<String> {
        let text = |data: &bytes::Bytes| String::from_utf8(data.to_vec()).expect("text");
        self.stream.delivered().iter().map(|record| text(&record.data)).collect()
    }
}

/// Partition keys of the user records.
fn partition_keys(entries: &[Entry]) -> HashSet<String> {
    let mut once = FakeStream::new(1);
    once.put(entries, &Reaction::Accept);
    once.delivered().into_iter().map(|record| record.partition_key).collect()
}

fn throttled() -> KinesisError {
    KinesisError::from_code("ProvisionedThroughputExceededException", "Rate exceeded", Some(400))
}

fn internal() -> KinesisError {
    KinesisError::from_code("InternalFailure", "Internal Service Failure", Some(500))
}

fn invalid() -> KinesisError {
    KinesisError::from_code("ValidationException", "too large", Some(400))
}

fn denied() -> KinesisError {
    KinesisError::from_code("AccessDeniedException", "not authorized", Some(400))
}

fn missing() -> KinesisError {
    KinesisError::from_code("ResourceNotFoundException", "no such stream", Some(400))
}

#[test]
fn records_of_one_shard_go_as_one_aggregate_when_their_time_has_come() {
    let mut world = World::ready(1, |_| {});
    world.put_number("k", 0, 0);
    world.pass(40 * MS);
    world.put_number("k", 200, 1);

    world.pass(79 * MS);
    assert!(world.open.is_empty(), "they wait for 100 ms, and for other shards another 20 ms");
    world.pass(MS);
    world.answer(&Reaction::Accept);

    assert_eq!(world.sent[0].1.len(), 1);
    assert_eq!(world.sent[0].1[0].partition_key, "a");
    let sub_sequence: Vec<_> = world.delivered().iter().map(|delivered| delivered.sub_sequence_number()).collect();
    assert_eq!(sub_sequence, [Some(0), Some(1)]);
    assert_eq!(world.consumed(), ["0", "1"]);
}

#[test]
fn a_full_buffer_waits_for_what_is_under_way_and_for_no_company() {
    let mut world = World::ready(4, |config| config.record_max_buffered_time = Duration::from_secs(60));
    world.put_number("k", 0, 0);
    world.handle(Input::Hurry);
    assert_eq!(world.open.len(), 1, "nothing else is under way");

    (1..10).for_each(|n| world.put_number("k", 100, n));
    world.handle(Input::Hurry);
    assert_eq!(world.open.len(), 1, "its answer makes space, and the aggregate may grow until then");

    world.answer(&Reaction::Accept);
    assert_eq!(world.open.len(), 1, "what is left goes in one request");
}

#[test]
fn a_single_record_goes_plain_with_its_hash_key() {
    let mut world = World::ready(1, |_| {});
    world.put(UserRecord::new("alpha", "hello"));

    world.finish();

    let entry = &world.sent[0].1[0];
    assert_eq!((entry.partition_key.as_str(), &entry.data[..]), ("alpha", &b"hello"[..]));
    assert_eq!(entry.explicit_hash_key, HashKey(58606826522850340945736240254012750329));
    assert_eq!(world.delivered()[0].sub_sequence_number(), None);
    assert_eq!(world.delivered()[0].attempts(), 1);
}

#[test]
fn each_shard_has_its_own_aggregate_in_the_same_request() {
    let mut world = World::ready(2, |_| {});
    (0..10).for_each(|n| world.put_number("k", if n % 2 == 0 { 0 } else { 200 }, n));

    world.finish();

    assert_eq!(world.sent.len(), 1);
    assert_eq!(world.sent[0].1.len(), 2);
    assert_eq!(world.consumed(), ["0", "2", "4", "6", "8", "1", "3", "5", "7", "9"]);
}

#[test]
fn sends_plain_records_within_limits_without_aggregation() {
    let mut world = World::ready(1, |config| config.aggregation = Aggregation::Off);
    (0..1100).for_each(|n| world.put_number("k", 0, n));
    world.handle(Input::Flush);

    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }

    assert_eq!(world.delivered().len(), 1000, "the burst of a shard's limit");
    world.pass(Duration::from_millis(67));
    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
        world.pass(MS);
    }
    assert_eq!((world.delivered().len(), world.flushed), (1100, 1));
    assert!(world.sent.iter().flat_map(|(_, entries)| entries).all(|entry| entry.partition_key == "k"));
}

#[test]
fn requests_are_full_while_the_shards_are_limited() {
    let shards = 16;
    let mut world = World::ready(shards, |config| {
        (config.aggregation, config.record_ttl) = (Aggregation::Off, None);
    });
    let begun = world.now;
    let numbers = 0..(shards * 2500);
    world.put_all(numbers.map(|n| {
        let hash_key = HashKey(((n % shards) as u128) << 124);
        UserRecord::new(format!("key-{}", n % shards), n.to_string()).with_explicit_hash_key(hash_key)
    }));

    while world.engine.unresolved.records > 0 {
        world.pass(MS);
        while !world.open.is_empty() {
            world.answer(&Reaction::Accept);
        }
    }

    let took = world.now - begun;
    assert!((1000..1030).contains(&took.as_millis()), "{took:?}: 1000 records of each shard at once, 1500 a second");
    assert!(world.sent.len() < shards * 2500 / 400, "{} requests", world.sent.len());
}

#[test]
fn a_record_waits_for_no_others_while_the_limiter_allows_it() {
    let mut world = World::ready(1, |config| config.aggregation = Aggregation::Off);
    (0..990).for_each(|n| world.put_number("k", 0, n));
    world.handle(Input::Flush);
    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }

    world.put_number("k", 0, 990);
    world.handle(Input::Flush);

    assert_eq!(world.open.len(), 1);
}

#[test]
fn records_wait_for_the_first_map_and_are_then_aggregated() {
    let mut world = World::new(2, |_| {});
    (0..10).for_each(|n| world.put_number("k", if n % 2 == 0 { 0 } else { 200 }, n));
    world.handle(Input::Flush);

    world.pass(99 * MS);
    assert!(world.open.is_empty());
    world.list();

    assert_eq!(world.open[0].1.len(), 2, "one aggregate for each shard");
}

#[test]
fn sends_plain_records_in_time_without_a_shard_map() {
    let mut world = World::new(2, |_| {});
    (0..10).for_each(|n| world.put_number("k", 0, n));

    world.pass(100 * MS);

    assert_eq!(world.open[0].1.len(), 10);
    assert_eq!(world.open[0].1[0].partition_key, "k");
}

#[test]
fn listing_denied_disables_aggregation_only_and_is_told_once() {
    let mut world = World::new(2, |config| config.record_ttl = Some(Duration::from_secs(600)));
    world.list_fails(denied());
    for n in 0..5000 {
        world.put_number("k", (n % 256) as u8, n);
    }
    world.pass(Duration::from_secs(1));
    assert!(world.listing, "tried again after a second");
    world.list_fails(denied());

    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }

    assert_eq!(world.delivered().len(), 5000, "not limited to what one shard takes");
    let unavailable = |event: &&Event| matches!(event, Event::ShardMapUnavailable { .. });
    assert_eq!(world.events.iter().filter(unavailable).count(), 1);
    assert_eq!(world.consumed(), (0..5000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_full_aggregate_goes_when_another_one_is_full_behind_it() {
    let mut world = World::ready(1, |_| {});
    let big = |n: usize| UserRecord::new("k", vec![n as u8; 10_000]);

    (0..10).for_each(|n| world.put(big(n)));
    assert!(world.open.is_empty(), "the second aggregate is not complete");
    world.put(big(10));

    assert_eq!(world.open.len(), 1);
    assert_eq!(world.open[0].1.len(), 1, "one aggregate of a shard at a time");
    world.answer(&Reaction::Accept);
    world.finish();
    assert_eq!(world.delivered().len(), 11);
}

#[test]
fn best_effort_order_sends_many_aggregates_of_a_shard_at_a_time() {
    let mut world = World::ready(1, |config| config.record_order = RecordOrder::BestEffort);
    world.warm_up();

    (0..40).for_each(|n| world.put(UserRecord::new("k", vec![n; 10_000])));

    assert_eq!(world.open[0].1.len(), 6, "256 KiB of aggregates of 50 KB");
}

#[test]
fn a_flush_is_complete_when_what_was_put_before_is_resolved() {
    let mut world = World::ready(1, |_| {});
    world.put_number("k", 0, 0);
    world.handle(Input::Flush);
    world.put_number("k", 0, 1);
    assert_eq!(world.open.len(), 1, "a flush does not wait for company");

    assert_eq!(world.flushed, 0);
    world.answer(&Reaction::Accept);
    assert_eq!(world.flushed, 1);
    assert_eq!(world.engine.unresolved.records, 1, "what was put since is not waited for");
}

#[test]
fn an_entry_that_failed_is_sent_again_after_a_pause() {
    let mut world = World::ready(2, |_| {});
    world.put_number("left", 0, 0);
    world.put_number("right", 200, 1);
    world.pass(120 * MS);

    world.answer(&Reaction::FailEntries(vec![(1, throttled())]));
    assert_eq!(world.delivered().len(), 1);
    world.finish();

    let second = &world.resolved[1].1.as_ref().expect("delivered");
    assert_eq!((second.attempts(), second.failed_attempts().len()), (2, 1));
    assert_eq!(&*second.failed_attempts()[0].code, "ProvisionedThroughputExceededException");
    assert_eq!(second.failed_attempts()[0].delay, 120 * MS);
    assert_eq!(world.sent[1].1.len(), 1);
}

#[test]
fn holds_back_records_of_a_throttled_shard_only() {
    let mut world = World::ready(2, |_| {});
    world.put_number("left", 0, 0);
    world.handle(Input::Flush);
    world.answer(&Reaction::FailEntries(vec![(0, throttled())]));

    world.put_number("left", 0, 1);
    world.put_number("right", 200, 2);
    world.handle(Input::Flush);

    assert!(world.open.len() <= 1);
    world.finish();
    assert_eq!(world.consumed().iter().filter(|data| *data != "2").collect::<Vec<_>>(), ["0", "1"]);
}

#[test]
fn throttled_records_fail_at_once_if_so_configured() {
    let mut world = World::ready(1, |config| config.fail_if_throttled = true);
    world.put_number("k", 0, 0);
    world.pass(120 * MS);

    world.answer(&Reaction::Fail(throttled()));

    let kind = &world.failures()[0].kind;
    assert!(matches!(kind, DeliveryErrorKind::Throttled { .. }), "{kind:?}");
}

#[test]
fn a_permanent_error_fails_fast_with_the_true_cause() {
    let mut world = World::ready(1, |_| {});
    (0..3).for_each(|n| world.put_number("k", 0, n));
    world.pass(120 * MS);

    world.answer(&Reaction::Fail(denied()));

    let rejected =
        DeliveryErrorKind::Rejected { code: "AccessDeniedException".into(), message: "not authorized".into() };
    assert_eq!(world.failures().iter().filter(|failure| failure.kind == rejected).count(), 3);
}

#[test]
fn a_poison_entry_fails_alone() {
    let mut world = World::ready(1, |config| config.aggregation = Aggregation::Off);
    (0..100).for_each(|n| world.put_number(if n == 42 { "poison" } else { "k" }, 0, n));
    world.pass(100 * MS);

    while let Some((_, entries)) = world.open.first() {
        let poisoned = entries.iter().any(|entry| entry.partition_key == "poison");
        world.answer(&if poisoned { Reaction::Fail(invalid()) } else { Reaction::Accept });
        assert!(world.open.len() <= 1, "parts go one after the other");
    }

    assert_eq!(world.failures().len(), 1);
    assert!(matches!(world.failures()[0].kind, DeliveryErrorKind::Rejected { .. }));
    assert_eq!(world.consumed().len(), 99);
    let mut in_order = world.consumed();
    in_order.sort_by_key(|data| data.parse::<usize>().expect("a number"));
    assert_eq!(world.consumed(), in_order);
}

#[test]
fn fails_only_the_culprit_of_a_refused_aggregate() {
    let mut world = World::ready(1, |_| {});
    (0..20).for_each(|n| world.put_number(if n == 7 { "poison" } else { "k" }, 0, n));
    world.pass(120 * MS);

    while let Some((_, entries)) = world.open.first() {
        let poisoned = entries.iter().any(|entry| ["a", "poison"].contains(&entry.partition_key.as_str()));
        world.answer(&if poisoned { Reaction::Fail(invalid()) } else { Reaction::Accept });
    }

    assert_eq!((world.failures().len(), world.consumed().len()), (1, 19));
}

#[test]
fn an_answer_of_wrong_length_fails_its_records() {
    let mut world = World::ready(1, |config| config.aggregation = Aggregation::Off);
    (0..3).for_each(|n| world.put_number("k", 0, n));
    world.pass(100 * MS);

    world.answer(&Reaction::Answer(2));

    let kinds: Vec<_> = world.failures().iter().map(|failure| failure.kind.to_string()).collect();
    assert_eq!(kinds, ["record count mismatch: 3 entries were sent, 2 were answered"; 3]);
}

#[test]
fn records_expire_with_the_cause_of_their_last_attempt() {
    let mut world = World::ready(1, |config| config.record_ttl = Some(Duration::from_secs(1)));
    world.put_number("k", 0, 0);
    world.pass(120 * MS);
    while world.resolved.is_empty() {
        if world.open.is_empty() {
            world.pass(MS);
        } else {
            world.answer(&Reaction::Fail(internal()));
        }
    }

    let failure = world.failures()[0];
    assert_eq!(failure.kind, DeliveryErrorKind::Expired);
    assert_eq!(&*failure.attempts.last().expect("attempts").code, "InternalFailure");
    assert!(failure.attempts_made >= 2);
    assert!(world.sent.iter().all(|(at, _)| *at < world.now), "nothing is sent after the time to live");
}

#[test]
fn records_expire_while_they_wait_behind_others() {
    let mut world = World::ready(1, |config| config.record_ttl = Some(Duration::from_secs(1)));
    world.put_number("k", 0, 0);
    world.pass(120 * MS);
    world.put_number("k", 0, 1);

    world.pass(Duration::from_secs(1));
    assert_eq!(world.failures()[0].kind, DeliveryErrorKind::Expired);
    assert_eq!(world.failures()[0].attempts_made, 0);
    world.answer(&Reaction::Accept);
    assert_eq!(world.delivered().len(), 1, "what is in flight is waited for");
}

#[test]
fn retries_records_for_ever_without_a_time_to_live() {
    let mut world = World::ready(1, |config| config.record_ttl = None);
    world.put_number("k", 0, 0);
    for _ in 0..100 {
        world.pass(Duration::from_secs(10));
        world.answer(&Reaction::Fail(internal()));
    }

    world.finish();

    assert_eq!(world.delivered()[0].attempts(), 101);
    assert_eq!(world.delivered()[0].failed_attempts().len(), 16, "what is remembered is bounded");
}

#[test]
fn an_aggregate_stored_in_a_child_shard_is_judged_when_the_child_is_known() {
    let mut world = World::ready(1, |_| {});
    world.put_number("left", 0, 0);
    world.put_number("right", 200, 1);
    world.pass(120 * MS);
    let parent = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&parent);

    world.answer(&Reaction::Accept);
    assert!(world.resolved.is_empty() && world.listing, "the map is fetched first");
    world.put_number("left", 0, 2);
    world.pass(200 * MS);
    assert!(world.open.is_empty(), "nothing overtakes what may have to be sent again");
    world.list();

    assert!(world.events.iter().any(|event| matches!(event, Event::WrongShard { user_records: 2, .. })));
    world.finish();
    assert_eq!(world.consumed(), ["0", "2", "1"], "a KCL discards the aggregate and gets each record once");
    let attempts: Vec<_> = world.delivered().iter().map(|delivered| delivered.attempts()).collect();
    assert_eq!(attempts, [2, 1, 2]);
}

#[test]
fn an_aggregate_that_fits_the_child_shard_is_delivered() {
    let mut world = World::ready(1, |_| {});
    (0..2).for_each(|n| world.put_number("k", 0, n));
    world.pass(120 * MS);
    let parent = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&parent);

    world.answer(&Reaction::Accept);
    world.list();

    assert_eq!(world.delivered().len(), 2);
    assert_eq!(world.consumed(), ["0", "1"]);
}

#[test]
fn delivers_aggregates_of_both_parents_after_a_merge() {
    let mut world = World::ready(2, |_| {});
    (0..8).for_each(|n| world.put_number("k", if n < 4 { 0 } else { 200 }, n));
    world.pass(120 * MS);
    let first = world.stream.shards()[0].shard_id.clone();
    world.stream.merge_with_next(&first);

    world.answer(&Reaction::Accept);
    world.list();

    assert_eq!(world.delivered().len(), 8);
    assert_eq!(world.consumed().len(), 8, "none twice");
}

#[test]
fn a_plain_record_is_never_in_a_wrong_shard() {
    let mut world = World::ready(1, |_| {});
    world.put_number("k", 0, 0);
    world.pass(120 * MS);
    let parent = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&parent);

    world.answer(&Reaction::Accept);

    assert_eq!(world.delivered().len(), 1);
    assert!(!world.listing, "nothing is waiting for the map");
    world.put_number("k", 0, 1);
    assert!(world.listing, "but it is known to be old");
}

/// A record with a trace context whose data is its number, as [`World::put_number`] has it.
fn traced(place: u8, number: usize) -> UserRecord {
    let context = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("valid");
    let hash_key = HashKey(u128::from(place) << 120);
    UserRecord::new("k", number.to_string()).with_explicit_hash_key(hash_key).with_trace_context(context)
}

/// Answers with another shard than the hash key's, as of a stream that places records as it likes.
fn land_elsewhere(world: &mut World) {
    let elsewhere = world.stream.shards()[1].shard_id.clone();
    for _ in 0..20 {
        while world.open.is_empty() && world.engine.unresolved.records > 0 {
            if world.listing {
                world.list();
            }
            world.pass(10 * MS);
        }
        let Some((id, entries)) = world.open.pop() else {
            break;
        };
        let stored =
            |n: usize| Stored { shard_id: elsewhere.clone(), sequence_number: n.to_string().parse().expect("digits") };
        world.handle(Input::Responded { id, result: Ok((0..entries.len()).map(|n| Ok(stored(n))).collect()) });
    }
}

#[test]
fn records_that_keep_landing_elsewhere_go_alone() {
    let mut world = World::ready(2, |_| {});
    (0..3).for_each(|n| world.put_number("k", 0, n));

    land_elsewhere(&mut world);

    assert_eq!(world.delivered().len(), 3);
    assert!(
        world
            .delivered()
            .iter()
            .all(|delivered| delivered.attempts() == 3 && delivered.sub_sequence_number().is_none())
    );
}

#[test]
fn traced_records_that_keep_landing_elsewhere_go_without_context() {
    let mut world = World::ready(2, |_| {});
    (0..3).for_each(|n| world.put(traced(0, n)));

    land_elsewhere(&mut world);

    let outcomes =
        world.delivered().into_iter().map(|delivered| (delivered.attempts(), delivered.sub_sequence_number()));
    assert_eq!(outcomes.collect::<Vec<_>>(), [(3, None); 3]);
}

/// Splits a shard under an aggregate; the shards cannot be listed any more.
fn split_unseen(world: &mut World) {
    world.pass(120 * MS);
    let parent = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&parent);
    world.answer(&Reaction::Accept);
    for _ in 0..3 {
        world.list_fails(internal());
        world.pass(Duration::from_millis(2300));
    }
}

#[test]
fn sends_doubtful_records_alone_when_shards_cannot_be_listed_any_more() {
    let mut world = World::ready(1, |_| {});
    (0..3).for_each(|n| world.put_number("k", n as u8 * 100, n));

    split_unseen(&mut world);
    while !world.open.is_empty() {
        world.answer(&Reaction::Accept);
    }

    assert_eq!(world.delivered().len(), 3);
    assert_eq!(world.consumed(), ["0", "1", "2"]);
}

#[test]
fn a_traced_record_is_not_sent_for_ever_when_shards_cannot_be_listed_any_more() {
    let mut world = World::ready(1, |_| {});
    (0..3).for_each(|n| world.put(traced(n as u8 * 100, n)));

    split_unseen(&mut world);
    let answers = (0..20).take_while(|_| {
        let is_open = !world.open.is_empty();
        if is_open {
            world.answer(&Reaction::Accept);
        }
        is_open
    });

    assert!(answers.count() <= 3);
    assert_eq!(world.delivered().len(), 3);
    assert_eq!(world.consumed(), ["0", "1", "2"]);
}

#[test]
fn a_doubtful_record_resolves_at_the_end_of_its_time() {
    let mut world = World::ready(1, |config| config.record_ttl = Some(Duration::from_secs(1)));
    (0..2).for_each(|n| world.put_number("k", n as u8 * 200, n));
    world.pass(120 * MS);
    let parent = world.stream.shards()[0].shard_id.clone();
    world.stream.split(&parent);
    world.answer(&Reaction::Accept);

    world.pass(Duration::from_secs(1));

    assert_eq!(world.failures().len(), 2);
    assert!(matches!(world.failures()[0].kind, DeliveryErrorKind::WrongShard { .. }));
}

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    let mut world = World::ready(64, |config| config.max_in_flight = 2);
    for n in 0..64 {
        world.put_number(&format!("key-{n}"), n * 4, n.into());
        world.handle(Input::Flush);
    }

    assert_eq!(world.open.len(), 2);
    world.finish();
    assert_eq!(world.delivered().len(), 64);
}

#[test]
fn no_more_of_the_buffer_is_in_flight_than_a_part_and_a_request() {
    let buffer = 8 << 20;
    let mut world = World::ready(64, |config| {
        config.max_outstanding_bytes = buffer;
        config.collection_max_bytes = 256 * 1024;
    });
    let in_flight = |world: &World| {
        let entries = world.open.iter().flat_map(|(_, entries)| entries);
        entries.map(|entry| entry.data.len()).sum::<usize>()
    };

    world.warm_up();

    (0..6400).for_each(|n| world.put(UserRecord::new(format!("key-{n}"), vec![0; 1000])));
    world.pass(200 * MS);
    let begun = in_flight(&world);
    assert!(begun >= buffer / 12 && begun <= buffer / 12 + 256 * 1024, "{begun}");

    world.finish();
    assert_eq!(world.failures().len(), 0);
}

#[test]
fn a_map_is_refreshed_after_a_minute_of_use_and_not_when_idle() {
    let mut world = World::ready(1, |_| {});
    world.pass(Duration::from_secs(600));
    assert!(!world.listing && world.engine.wake.is_none());

    world.put_number("k", 0, 0);

    assert!(world.listing);
}
