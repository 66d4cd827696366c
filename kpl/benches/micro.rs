//! Stages of a record's way, each alone: `cargo bench -p kinesis-kpl --bench micro`. Private ones are compiled into the bench.

#![allow(clippy::disallowed_methods, reason = "a bench has no virtual time")]

use std::{
    collections::VecDeque,
    hint::black_box,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use futures::FutureExt as _;
use kpl::{
    HashKey, RecordNumber, UserRecord,
    aggregated::{Aggregate, decode},
    hash_key,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

#[allow(dead_code, unused_imports, reason = "a bench uses parts of it")]
#[path = "../src/digest.rs"]
mod digest;
#[allow(dead_code, unused_imports, reason = "a bench uses parts of it")]
#[path = "../src/logic/limiter.rs"]
mod limiter;
#[path = "../src/locked.rs"]
mod locked;
#[allow(unused_imports, reason = "its tests are not compiled")]
#[path = "../src/logic/lanes/owners.rs"]
mod owners;
#[allow(dead_code, unused_imports, reason = "a bench uses parts of it, and none of its tests")]
#[path = "../src/intake"]
mod intake {
    pub(crate) mod queue;
    pub(crate) mod space;
}

use self::{
    delivery::{Delivery, Outcome, Prepared, Slots, Ticket},
    digest::{LANES, digest_each},
    intake::{
        queue::{CHUNK, COMMANDS, Command, Queue, Receiver},
        space::{Share, Space},
    },
    limiter::Limiter,
    owners::Owners,
};

/// Records of 100 B that fill an aggregate.
const RECORDS: usize = 450;

/// The instant that tests of the included files import.
#[cfg(test)]
mod testing {
    #[allow(dead_code, reason = "they are not compiled")]
    pub(crate) fn start() -> std::time::Instant {
        std::time::Instant::now()
    }
}

/// Names that tests of the included files import.
#[cfg(test)]
#[allow(unused_imports, reason = "they are not compiled")]
mod record {
    pub(crate) use kpl::UserRecord;
}
#[cfg(test)]
#[allow(unused_imports, reason = "they are not compiled")]
mod error {
    pub(crate) use kpl::DeliveryErrorKind;
}

/// Records and outcomes as the queue knows them.
#[path = "../src/delivery"]
mod delivery {
    use std::task::{Poll, Waker};

    use kpl::UserRecord;

    pub(crate) use self::slots::Slots;
    use self::slots::{Resolver, Waiter};

    mod slots;

    /// As large as a record's.
    pub(crate) type Outcome = Option<[u64; 3]>;

    fn lost() -> Outcome {
        None
    }

    #[derive(Debug)]
    pub(crate) struct Prepared(UserRecord);

    #[derive(Debug)]
    pub(crate) struct Ticket(#[expect(dead_code, reason = "held")] Prepared, Resolver);

    #[derive(Debug)]
    pub(crate) struct Delivery(Waiter);

    impl Prepared {
        pub(crate) fn new(record: UserRecord) -> Self {
            Self(record)
        }

        pub(crate) fn space_bytes(&self) -> usize {
            self.0.size_bytes()
        }
    }

    impl Ticket {
        pub(crate) fn new(record: Prepared, slots: &mut Slots) -> (Self, Delivery) {
            let (resolver, waiter) = slots.take();
            (Self(record, resolver), Delivery(waiter))
        }

        pub(crate) fn deliver(self, outcome: Outcome) {
            self.1.resolve(outcome);
        }
    }

    impl Delivery {
        pub(crate) fn poll(&mut self) -> Poll<Outcome> {
            self.0.poll(Waker::noop())
        }
    }
}

fn main() {
    divan::main();
}

fn records() -> Vec<UserRecord> {
    let data = Bytes::from_static(&[b'x'; 100]);
    (0..RECORDS).map(|n| UserRecord::new(format!("key-{n}"), data.clone())).collect()
}

fn aggregate() -> Aggregate {
    let mut aggregate = Aggregate::new();
    records().iter().for_each(|record| aggregate.push(record));
    aggregate
}

/// Records join an aggregate.
#[divan::bench]
fn aggregate_push(bencher: Bencher<'_, '_>) {
    let records = records();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let mut aggregate = Aggregate::new();
        records.iter().for_each(|record| aggregate.push(record));
        aggregate
    });
}

/// The same with numbers.
#[divan::bench]
fn aggregate_push_numbered(bencher: Bencher<'_, '_>) {
    let records = records();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let mut aggregate = Aggregate::new();
        let numbers = (0..).map(|number| RecordNumber::new(NonZero::<u64>::MAX, number));
        records.iter().zip(numbers).for_each(|(record, number)| aggregate.push_numbered(record, number));
        aggregate
    });
}

/// An aggregate becomes bytes: copied once, and hashed.
#[divan::bench]
fn aggregate_encode(bencher: Bencher<'_, '_>) {
    let aggregate = aggregate();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| aggregate.encode());
}

/// An aggregate is checked and taken apart.
#[divan::bench]
fn aggregate_decode(bencher: Bencher<'_, '_>) {
    let encoded = aggregate().encode();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| decode(black_box(&encoded)));
}

/// Partition keys, one after the other.
#[divan::bench]
fn hash_one_by_one(bencher: Bencher<'_, '_>) {
    let keys: [String; LANES] = std::array::from_fn(|n| format!("key-{n}"));
    bencher
        .counter(ItemsCount::new(LANES))
        .bench_local(|| keys.each_ref().map(|key| HashKey::of_partition_key(black_box(key))));
}

/// Partition keys, side by side.
#[divan::bench]
fn hash_side_by_side(bencher: Bencher<'_, '_>) {
    let keys: [String; LANES] = std::array::from_fn(|n| format!("key-{n}"));
    bencher
        .counter(ItemsCount::new(LANES))
        .bench_local(|| digest_each(black_box(keys.each_ref().map(|key| key.as_bytes()))));
}

/// Bodies of aggregates, one after the other; count in bytes.
#[divan::bench]
fn hash_bodies_one_by_one(bencher: Bencher<'_, '_>) {
    let bodies = [[b'x'; 51_000]; LANES];
    let bytes = divan::counter::BytesCount::new(51_000 * LANES);
    let digest = |body: &[u8; 51_000]| digest_each([black_box(body.as_slice())]).next();
    bencher.counter(bytes).bench_local(|| bodies.each_ref().map(digest));
}

/// Bodies of aggregates, side by side; count in bytes.
#[divan::bench]
fn hash_bodies_side_by_side(bencher: Bencher<'_, '_>) {
    let bodies = [[b'x'; 51_000]; LANES];
    let bytes = divan::counter::BytesCount::new(51_000 * LANES);
    bencher.counter(bytes).bench_local(|| digest_each(black_box(bodies.each_ref().map(|body| body.as_slice()))));
}

/// The shard of a hash key.
#[divan::bench(args = [1, 16, 4096])]
fn shard_lookup(bencher: Bencher<'_, '_>, shards: u128) {
    let end = |number| {
        if number == shards { u128::MAX } else { u128::MAX / shards * number }
    };
    let owners = Owners::new((1..=shards).map(|number| HashKey(end(number))).collect());
    let keys: Vec<HashKey> = records().iter().map(UserRecord::hash_key).collect();
    bencher
        .counter(ItemsCount::new(RECORDS))
        .bench_local(|| keys.iter().map(|key| owners.index_of(black_box(*key))).sum::<usize>());
}

/// A rate limit at which a Kinesis record of 2,000 bytes is sent each millisecond, if allowed.
#[divan::bench]
fn rate_limit(bencher: Bencher<'_, '_>) {
    let mut now = Instant::now();
    let mut limiter = Limiter::new(150, now);
    bencher.bench_local(|| {
        now += Duration::from_millis(1);
        if limiter.available_at(black_box(2000), now) <= now {
            limiter.take(2000, now);
        }
    });
}

fn prepared() -> Vec<Prepared> {
    records().into_iter().map(Prepared::new).collect()
}

/// Records pass a stream's queue: a channel of tokio's under a lock.
#[divan::bench]
fn queue_locked(bencher: Bencher<'_, '_>) {
    let (queue, mut commands) = (Arc::<Queue>::default(), Vec::new());
    let put = |record| queue.put(record, |bytes| black_box(bytes) > 0).expect("open").0;
    drop(put(Prepared::new(UserRecord::new("k", "v"))));
    let mut receiver = Receiver::claim(&queue).expect("requested");
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(prepared).bench_local_values(|records| {
        let deliveries: Vec<Delivery> = records.into_iter().map(put).collect();
        receiver.take(&mut commands).now_or_never().expect("not empty");
        commands.clear();
        deliveries
    });
}

/// Records pass a stream's queue a chunk at a time.
#[divan::bench]
fn queue_chunks(bencher: Bencher<'_, '_>) {
    let (queue, mut commands) = (Arc::<Queue>::default(), Vec::new());
    let mut chunk = VecDeque::new();
    let take = |records: &VecDeque<Prepared>| black_box(records).len();
    chunk.push_back(Prepared::new(UserRecord::new("k", "v")));
    assert!(queue.put_chunk(&mut chunk, take, drop));
    let mut receiver = Receiver::claim(&queue).expect("requested");
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(prepared).bench_local_values(|records| {
        let mut records = records.into_iter();
        let mut deliveries: Vec<Delivery> = Vec::with_capacity(RECORDS);
        while records.len() > 0 {
            chunk.extend(records.by_ref().take(CHUNK));
            queue.put_chunk(&mut chunk, take, |delivery| deliveries.push(delivery));
        }
        receiver.take(&mut commands).now_or_never().expect("not empty");
        commands.clear();
        deliveries
    });
}

/// Records pass a channel of tokio's, without the lock.
#[divan::bench]
fn queue_mpsc(bencher: Bencher<'_, '_>) {
    let (sender, mut receiver) = mpsc::unbounded_channel(); // bounded by the records of a round
    let mut commands = Vec::new();
    let mut slots = Slots::default();
    let mut put = |record: Prepared| {
        assert!(black_box(record.space_bytes()) > 0, "space");
        let (ticket, delivery) = Ticket::new(record, &mut slots);
        sender.send(Command::Put(ticket)).expect("open");
        delivery
    };
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(prepared).bench_local_values(|records| {
        let deliveries: Vec<Delivery> = records.into_iter().map(&mut put).collect();
        receiver.recv_many(&mut commands, COMMANDS).now_or_never().expect("not empty");
        commands.clear();
        deliveries
    });
}

/// Deliveries that are awaited together, as the bench `producer` of the integration tests does.
const WINDOW: usize = 20_000;

fn window() -> Vec<Prepared> {
    (0..WINDOW).map(|_| Prepared::new(UserRecord::new("", ""))).collect()
}

/// Outcomes pass slots of shared chunks.
#[divan::bench]
fn outcomes_slots(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(WINDOW)).with_inputs(window).bench_local_values(|records| {
        let mut slots = Slots::default();
        let sides = records.into_iter().map(|record| Ticket::new(record, &mut slots));
        let (tickets, mut deliveries): (Vec<_>, Vec<Delivery>) = sides.unzip();
        tickets.into_iter().for_each(|ticket| ticket.deliver(black_box(Some([1; 3]))));
        deliveries.iter_mut().map(|delivery| black_box(delivery.poll())).filter(Poll::is_ready).count()
    });
}

/// Outcomes pass channels of tokio's.
#[divan::bench]
fn outcomes_oneshot(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(WINDOW)).with_inputs(window).bench_local_values(|records| {
        let sides = records.into_iter().map(|record| {
            let (resolver, outcome) = oneshot::channel::<Outcome>();
            ((record, resolver), outcome)
        });
        let (tickets, mut deliveries): (Vec<_>, Vec<_>) = sides.unzip();
        for (_record, resolver) in tickets {
            resolver.send(black_box(Some([1; 3]))).expect("awaited");
        }
        deliveries.iter_mut().filter_map(|delivery| black_box(delivery.now_or_never())).count()
    });
}

/// Records take space, one by one, and give it back together.
#[divan::bench]
fn space_own(bencher: Bencher<'_, '_>) {
    let (space, share) = (Space::new(100_000, 64 << 20, true), Share::new());
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let taken = (0..RECORDS).filter(|_| space.try_take(black_box(&share), 105)).count();
        assert_eq!((taken, space.vacate(&share).records), (RECORDS, RECORDS));
    });
}

/// Records take permits of two semaphores of tokio's, one by one, and give them back together. There are no shares.
#[divan::bench]
fn space_semaphores(bencher: Bencher<'_, '_>) {
    let (records, bytes) = (Semaphore::new(100_000), Semaphore::new(64 << 20));
    let try_take = || {
        let taken = black_box(&records).try_acquire().ok().zip(black_box(&bytes).try_acquire_many(105).ok());
        taken.map(|(record, bytes)| (record.forget(), bytes.forget())).is_some()
    };
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let taken = (0..RECORDS).filter(|_| try_take()).count();
        assert_eq!(taken, RECORDS);
        records.add_permits(taken);
        bytes.add_permits(105 * taken);
    });
}

/// The same, and the counts that shares need: of what all streams take up, and of what one does.
#[divan::bench]
fn space_semaphores_shares(bencher: Bencher<'_, '_>) {
    let (records, bytes) = (Semaphore::new(100_000), Semaphore::new(64 << 20));
    let [used, used_bytes, own, own_bytes] = [(); 4].map(|()| AtomicUsize::new(0));
    let try_take = || {
        let free = 100_000 - used.load(Relaxed);
        let (record, taken) =
            black_box(&records).try_acquire().ok().zip(black_box(&bytes).try_acquire_many(105).ok())?;
        (own.fetch_add(1, Relaxed) < free).then(|| (record.forget(), taken.forget()))?;
        own_bytes.fetch_add(105, Relaxed);
        used.fetch_add(1, Relaxed);
        Some(used_bytes.fetch_add(105, Relaxed))
    };
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let taken = (0..RECORDS).filter(|_| try_take().is_some()).count();
        assert_eq!(taken, RECORDS);
        records.add_permits(taken);
        bytes.add_permits(105 * taken);
        for (count, bytes) in [(&used, &used_bytes), (&own, &own_bytes)] {
            count.fetch_sub(taken, Relaxed);
            bytes.fetch_sub(105 * taken, Relaxed);
        }
    });
}
