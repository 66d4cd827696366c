//! Properties that hold for random schedules.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put {
        place: u8,
        key: u8,
        bytes: u16,
    },
    /// The same, many at a time: nothing is done before all are put.
    PutAll(Vec<(u8, u8, u16)>),
    Answer {
        index: prop::sample::Index,
        how: How,
    },
    List {
        ok: bool,
    },
    Pass {
        ms: u16,
    },
    Split(prop::sample::Index),
    Merge(prop::sample::Index),
    Flush,
    Hurry,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Accept,
    Throttle,
    FailSome,
    Internal,
    /// All is stored, and the answer is an error.
    Lost,
    Invalid,
    Missing,
    Miscount,
}

fn steps(failures: bool) -> impl Strategy<Value = Vec<Step>> {
    let how = match failures {
        true => prop_oneof![
            6 => Just(How::Accept), 1 => Just(How::Throttle), 2 => Just(How::FailSome), 1 => Just(How::Internal),
            1 => Just(How::Lost), 1 => Just(How::Invalid), 1 => Just(How::Missing), 1 => Just(How::Miscount),
        ]
        .boxed(),
        false => Just(How::Accept).boxed(),
    };
    let listed = if failures { any::<bool>().boxed() } else { Just(true).boxed() };
    let bytes = prop_oneof![5 => 8..200_u16, 1 => 8..20_000_u16, 1 => Just(60_000_u16)];
    let step = prop_oneof![
        12 => (any::<u8>(), 0..4_u8, bytes).prop_map(|(place, key, bytes)| Step::Put { place, key, bytes }),
        5 => (any::<prop::sample::Index>(), how).prop_map(|(index, how)| Step::Answer { index, how }),
        2 => listed.prop_map(|ok| Step::List { ok }),
        4 => (0..200_u16).prop_map(|ms| Step::Pass { ms }),
        1 => any::<prop::sample::Index>().prop_map(Step::Split),
        1 => any::<prop::sample::Index>().prop_map(Step::Merge),
        2 => Just(Step::Flush),
        1 => Just(Step::Hurry),
    ];
    prop::collection::vec(step, 1..200)
}

impl World {
    /// Returns the number of records put, of which the first has this `number`.
    fn take(&mut self, step: &Step, number: usize) -> usize {
        let record = |number: usize, place: u8, key: u8, bytes: u16| {
            // A partition key is one of a kind with its place.
            let place = place & 0xf8 | key;
            let data = format!("{number:0width$}", width = usize::from(bytes));
            UserRecord::new(format!("key-{place}"), data).with_explicit_hash_key(HashKey(u128::from(place) << 120))
        };
        match step {
            Step::Put { place, key, bytes } => {
                self.put(record(number, *place, *key, *bytes));
                return 1;
            }
            Step::PutAll(puts) => {
                let records =
                    (number..).zip(puts).map(|(number, (place, key, bytes))| record(number, *place, *key, *bytes));
                self.put_all(records);
                return puts.len();
            }
            Step::Answer { index, how } if !self.open.is_empty() => {
                let index = index.index(self.open.len());
                if let How::Lost = how {
                    self.stream.put(&self.open[index].1, &Reaction::Accept);
                }
                let entries = self.open[index].1.len();
                let some = || (0..entries).step_by(2).map(|n| (n, if n % 4 == 0 { internal() } else { throttled() }));
                self.answer_at(
                    index,
                    &match how {
                        How::Accept => Reaction::Accept,
                        How::Throttle => Reaction::Fail(throttled()),
                        How::FailSome => Reaction::FailEntries(some().collect()),
                        How::Internal | How::Lost => Reaction::Fail(internal()),
                        How::Invalid => Reaction::Fail(invalid()),
                        How::Missing => Reaction::Fail(missing()),
                        How::Miscount => Reaction::Answer(entries + 1),
                    },
                );
            }
            Step::List { ok } if self.listing => {
                if *ok {
                    self.list()
                } else {
                    self.list_fails(internal())
                }
            }
            Step::Pass { ms } => self.pass(MS * u32::from(*ms)),
            Step::Split(index) => {
                let shard = self.stream.shards()[index.index(self.stream.shards().len())].shard_id.clone();
                self.stream.split(&shard);
            }
            Step::Merge(index) => {
                let shard = self.stream.shards()[index.index(self.stream.shards().len())].shard_id.clone();
                self.stream.merge_with_next(&shard);
            }
            Step::Flush => self.handle(Input::Flush),
            Step::Hurry => self.handle(Input::Hurry),
            Step::Answer { .. } | Step::List { .. } => {}
        }
        0
    }

    fn run(&mut self, steps: &[Step]) -> usize {
        let mut puts = 0;
        for step in steps {
            puts += self.take(step, puts);
        }
        self.finish();
        puts
    }

    /// Returns whether the step is another reshard while the producer has not seen the one before.
    fn is_unseen_reshard(&self, step: &Step) -> bool {
        matches!(step, Step::Split(_) | Step::Merge(_)) && self.engine.map.shards != self.stream.shards()
    }

    /// Of what is there twice, the first copy counts.
    pub(super) fn assert_order_per_key(&self) {
        let (mut last, mut seen) = (HashMap::new(), HashSet::new());
        for record in self.stream.delivered() {
            let number = Self::number_of(&record.data);
            if !seen.insert(number) {
                continue;
            }
            let before = last.insert(record.partition_key.clone(), number);
            assert!(before.is_none_or(|before| before <= number), "{number} after {before:?}");
        }
    }

    fn assert_each_resolved_once(&self, puts: usize) {
        let mut numbers: Vec<_> = self.resolved.iter().map(|(record, _)| Self::number_of(record.data())).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..puts).collect::<Vec<_>>());
    }

    /// Whatever was sent in an aggregate has a number, the same each time, and that of no other.
    fn assert_numbers_identify_records(&self) {
        let (mut numbers, mut records) = (HashMap::new(), HashMap::new());
        for entry in self.sent.iter().flat_map(|(_, entries)| entries) {
            let Decoded::Aggregate(found) = decode(&entry.data) else { continue };
            for record in found {
                let number = record.number.expect("it is numbered");
                assert_eq!(numbers.entry(record.data.clone()).or_insert(number), &number);
                assert_eq!(records.entry(number).or_insert(record.data.clone()), &record.data);
            }
        }
    }

    /// Records reported as delivered are those that a KCL finds there.
    fn assert_deliveries_are_true(&self) {
        let consumed = self.stream.delivered();
        for (record, outcome) in &self.resolved {
            let Ok(delivered) = outcome else { continue };
            let found = consumed.iter().any(|found| {
                found.shard_id == *delivered.shard_id()
                    && found.sequence_number == *delivered.sequence_number()
                    && found.sub_sequence_number == delivered.sub_sequence_number()
                    && found.data == *record.data()
            });
            assert!(found, "{record:?} is not at {delivered:?}");
        }
    }
}

fn settings() -> impl Strategy<Value = Config> {
    let aggregation = prop_oneof![
        Just(Aggregation::Off),
        Just(Aggregation::default()),
        (64..2000_usize, 1..20_usize).prop_map(|(max_bytes, max_records)| Aggregation::On { max_bytes, max_records }),
        (64..2000_usize, 1..20_usize)
            .prop_map(|(max_bytes, max_records)| { Aggregation::ByPartitionKey { max_bytes, max_records } }),
    ];
    let key = prop_oneof![Just(AggregateKey::Constant), Just(AggregateKey::FirstRecord), Just(AggregateKey::Spread)];
    let record_order = prop_oneof![
        2 => Just(RecordOrder::PerPartitionKey), 1 => Just(RecordOrder::Strict), 1 => Just(RecordOrder::BestEffort)
    ];
    let rate = (1..200_u32).prop_filter_map("not zero", std::num::NonZero::new);
    ((aggregation, key), record_order, 1..500_usize, 1..5_u16, rate, 0..300_u32, any::<[bool; 2]>()).prop_map(
        |(
            (aggregation, aggregate_key),
            record_order,
            records,
            max_in_flight,
            rate_limit_percent,
            buffered,
            [fail_if_throttled, send_when_idle],
        )| Config {
            aggregation,
            aggregate_key,
            record_order,
            collection_max_records: records,
            collection_max_bytes: 65_000,
            max_in_flight,
            rate_limit_percent,
            record_max_buffered_time: MS * buffered,
            fail_if_throttled,
            send_when_idle,
            ..Config::default()
        },
    )
}

/// Settings with which stripes open soon.
fn striped_settings() -> impl Strategy<Value = Config> {
    (2..6_usize, 1..500_usize, 1..5_u16, prop_oneof![Just(1_000_000), 1..400_u32], 0..400_u32, any::<bool>()).prop_map(
        |(max_records, records, max_in_flight, rate, buffered, send_when_idle)| Config {
            aggregation: Aggregation::On { max_bytes: 51_200, max_records },
            collection_max_records: records,
            max_in_flight,
            rate_limit_percent: std::num::NonZero::new(rate).expect("not zero"),
            record_max_buffered_time: MS * buffered,
            send_when_idle,
            ..Config::default()
        },
    )
}

/// Steps with many small records at a time, of few partition keys or many.
fn bursts(failures: bool) -> impl Strategy<Value = Vec<Vec<Step>>> {
    let place = prop_oneof![any::<u8>().boxed(), prop_oneof![Just(0_u8), Just(8), Just(128)].boxed()];
    let puts = prop::collection::vec((place, 0..2_u8, 8..60_u16), 1..40);
    let apart = |puts: Vec<_>| puts.into_iter().map(|(place, key, bytes)| Step::Put { place, key, bytes }).collect();
    let burst = prop_oneof![
        1 => puts.clone().prop_map(apart),
        1 => puts.prop_map(|puts| vec![Step::PutAll(puts)]),
        1 => steps(failures).prop_map(|steps| steps.into_iter().take(20).collect()),
    ];
    prop::collection::vec(burst, 1..20)
}

fn assert_order_while_nothing_fails(steps: &[Step], shards: usize, settings: Config) {
    let reshards = settings.record_order != RecordOrder::BestEffort;
    let mut world = World::new(shards, |config| *config = Config { record_ttl: None, ..settings });

    let mut puts = 0;
    for step in steps {
        // Nobody can tell any more whether a shard that opened and closed unseen owned what it took.
        let reshard = matches!(step, Step::Split(_) | Step::Merge(_));
        if !reshard || reshards && !world.is_unseen_reshard(step) {
            puts += world.take(step, puts);
        }
    }
    world.finish();

    world.assert_each_resolved_once(puts);
    world.assert_deliveries_are_true();
    assert!(world.failures().is_empty());
    assert_eq!(world.stream.delivered().len(), puts, "none is delivered twice");
    world.assert_order_per_key();
}

/// `PROPTEST_CASES` of each property, and fewer if that is not set.
fn cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig { cases: 100, ..config },
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_put_is_resolved_once_and_truly(
        steps in steps(true), shards in 1..6_usize, settings in settings(), ttl_ms in 500..5000_u32,
    ) {
        let mut world = World::new(shards, |config| *config = Config { record_ttl: Some(MS * ttl_ms), ..settings });

        let puts = world.run(&steps);

        world.assert_each_resolved_once(puts);
        world.assert_deliveries_are_true();
        let flushes = steps.iter().filter(|step| matches!(step, Step::Flush)).count();
        prop_assert_eq!(world.flushed, flushes);
    }

    #[test]
    fn order_per_partition_key_holds_while_nothing_fails(
        steps in steps(false), shards in 1..6_usize, settings in settings(),
    ) {
        assert_order_while_nothing_fails(&steps, shards, settings);
    }

    #[test]
    fn order_per_partition_key_holds_over_stripes_while_nothing_fails(
        bursts in bursts(false), shards in 1..3_usize, settings in striped_settings(),
    ) {
        assert_order_while_nothing_fails(&bursts.concat(), shards, settings);
    }

    #[test]
    fn strict_order_holds_whatever_fails(steps in steps(true), shards in 1..6_usize, settings in settings()) {
        let mut world = World::new(shards, |config| {
            *config = Config { record_ttl: None, record_order: RecordOrder::Strict, ..settings };
        });

        let mut puts = 0;
        for step in &steps {
            if !world.is_unseen_reshard(step) {
                puts += world.take(step, puts);
            }
        }
        world.finish();

        world.assert_each_resolved_once(puts);
        world.assert_deliveries_are_true();
        world.assert_order_per_key();
    }

    #[test]
    fn no_record_is_overtaken_by_one_of_a_later_request(
        steps in steps(true), shards in 1..6_usize, settings in settings(), strict in any::<bool>(),
    ) {
        let record_order = if strict { RecordOrder::Strict } else { RecordOrder::PerPartitionKey };
        let mut world = World::new(shards, |config| *config = Config { record_order, ..settings });
        world.unresolved = Some(HashMap::new());

        // Few partition keys, so that records of one meet.
        let few = |step| match step {
            Step::Put { place, bytes, .. } => Step::Put { place: place & 0x80, key: 0, bytes },
            other => other,
        };
        let puts = world.run(&steps.into_iter().map(few).collect::<Vec<_>>());

        world.assert_each_resolved_once(puts);
    }

    #[test]
    fn no_record_is_overtaken_over_stripes_whatever_fails(
        bursts in bursts(true), shards in 1..3_usize, settings in striped_settings(), ttl_ms in 500..20_000_u32,
    ) {
        let mut world = World::new(shards, |config| *config = Config { record_ttl: Some(MS * ttl_ms), ..settings });
        world.unresolved = Some(HashMap::new());

        let puts = world.run(&bursts.concat());

        world.assert_each_resolved_once(puts);
        world.assert_deliveries_are_true();
    }

    #[test]
    fn a_number_is_that_of_one_record_and_stays_with_it(
        bursts in bursts(true), shards in 1..4_usize, settings in prop_oneof![settings(), striped_settings()],
    ) {
        let mut world = World::new(shards, |config| *config = Config { record_numbers: true, ..settings });

        world.run(&bursts.concat());

        world.assert_numbers_identify_records();
    }

    #[test]
    fn nothing_is_sent_after_its_time_to_live(steps in steps(true), shards in 1..6_usize) {
        let mut world = World::new(shards, |config| config.record_ttl = Some(1000 * MS));
        let mut arrived = Vec::new();
        for step in &steps {
            let puts = world.take(step, arrived.len());
            arrived.extend(std::iter::repeat_n(world.now, puts));
        }
        world.finish();

        for (at, entries) in &world.sent {
            let mut once = FakeStream::new(1);
            once.put(entries, &Reaction::Accept);
            for record in once.delivered() {
                prop_assert!(*at < arrived[World::number_of(&record.data)] + 1000 * MS);
            }
        }
    }
}
