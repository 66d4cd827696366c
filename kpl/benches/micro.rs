//! Stages of a record's way, each alone: `cargo bench -p kinesis-kpl --bench micro`. Private ones are compiled into the bench.

#![allow(clippy::disallowed_methods, reason = "a bench has no virtual time")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use kpl::{
    HashKey, UserRecord,
    aggregated::{Aggregate, decode},
    hash_key,
};

#[allow(dead_code, unused_imports, reason = "a bench uses parts of it")]
#[path = "../src/digest.rs"]
mod digest;
#[allow(dead_code, unused_imports, reason = "a bench uses parts of it")]
#[path = "../src/logic/limiter.rs"]
mod limiter;
#[allow(unused_imports, reason = "its tests are not compiled")]
#[path = "../src/logic/lanes/owners.rs"]
mod owners;

use self::{
    digest::{LANES, digest_each},
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
        .bench_local(|| digest_each(black_box(&keys.each_ref().map(|key| key.as_bytes()))));
}

/// Bodies of aggregates, side by side; count in bytes.
#[divan::bench]
fn hash_bodies_side_by_side(bencher: Bencher<'_, '_>) {
    let bodies = [[b'x'; 51_000]; LANES];
    let bytes = divan::counter::BytesCount::new(51_000 * LANES);
    bencher.counter(bytes).bench_local(|| digest_each(black_box(&bodies.each_ref().map(|body| body.as_slice()))));
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
