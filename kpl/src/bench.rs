//! Pieces of the producer alone, for this crate's own benches. Not part of the API.

use std::time::{Duration, Instant};

use crate::{
    digest::{LANES, digest_each},
    hash_key::HashKey,
    logic::{lanes::Owners, limiter::Limiter},
};

/// Inputs that are hashed side by side.
pub const SIDE_BY_SIDE: usize = LANES;

/// MD5 of several inputs side by side.
pub fn digests(inputs: &[&[u8]; LANES]) -> [[u8; 16]; LANES] {
    digest_each(inputs)
}

/// Shards that divide the hash key space evenly.
#[derive(Debug)]
pub struct Shards(Owners);

impl Shards {
    /// So many.
    pub fn new(shards: u128) -> Self {
        let end = |number| if number == shards { u128::MAX } else { u128::MAX / shards * number };
        Self(Owners::new((1..=shards).map(|number| HashKey(end(number))).collect()))
    }

    /// Number of the shard that owns `key`.
    pub fn owner(&self, key: HashKey) -> usize {
        self.0.index_of(key)
    }
}

/// The rate limit of one shard.
#[derive(Debug)]
pub struct Limit(Limiter, Instant);

impl Limit {
    /// At the default rate.
    pub fn new(now: Instant) -> Self {
        Self(Limiter::new(150, now), now)
    }

    /// A millisecond passes, and a Kinesis record of as many bytes goes, if it may.
    pub fn step(&mut self, bytes: usize) -> bool {
        self.1 += Duration::from_millis(1);
        let goes = self.0.available_at(bytes, self.1) <= self.1;
        if goes {
            self.0.take(bytes, self.1);
        }
        goes
    }
}
