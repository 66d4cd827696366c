//! The pieces that a record passes through, each alone: `cargo bench -p kinesis-kpl --features bench --bench micro`.
//!
//! Times are of this machine; compare what stands in one group.

use std::hint::black_box;

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use kpl::{
    HashKey, UserRecord,
    aggregated::{Aggregate, decode},
    bench::{Limit, SIDE_BY_SIDE, Shards, digests},
};
use tokio::time::Instant;

/// Records of 100 B that fill an aggregate.
const RECORDS: usize = 450;

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
    let keys: [String; SIDE_BY_SIDE] = std::array::from_fn(|n| format!("key-{n}"));
    bencher
        .counter(ItemsCount::new(SIDE_BY_SIDE))
        .bench_local(|| keys.each_ref().map(|key| HashKey::of_partition_key(black_box(key))));
}

/// Partition keys, side by side.
#[divan::bench]
fn hash_side_by_side(bencher: Bencher<'_, '_>) {
    let keys: [String; SIDE_BY_SIDE] = std::array::from_fn(|n| format!("key-{n}"));
    bencher
        .counter(ItemsCount::new(SIDE_BY_SIDE))
        .bench_local(|| digests(black_box(&keys.each_ref().map(|key| key.as_bytes()))));
}

/// Bodies of aggregates, side by side; count in bytes.
#[divan::bench]
fn hash_bodies_side_by_side(bencher: Bencher<'_, '_>) {
    let bodies = [[b'x'; 51_000]; SIDE_BY_SIDE];
    let bytes = divan::counter::BytesCount::new(51_000 * SIDE_BY_SIDE);
    bencher.counter(bytes).bench_local(|| digests(black_box(&bodies.each_ref().map(|body| body.as_slice()))));
}

/// The shard of a hash key.
#[divan::bench(args = [1, 16, 4096])]
fn shard_lookup(bencher: Bencher<'_, '_>, shards: u128) {
    let (shards, keys) = (Shards::new(shards), records().iter().map(UserRecord::hash_key).collect::<Vec<_>>());
    bencher
        .counter(ItemsCount::new(RECORDS))
        .bench_local(|| keys.iter().map(|key| shards.owner(black_box(*key))).sum::<usize>());
}

/// Whether a Kinesis record may go.
#[divan::bench]
fn limiter(bencher: Bencher<'_, '_>) {
    let mut limit = Limit::new(Instant::now().into_std());
    bencher.bench_local(|| limit.step(black_box(2000)));
}
