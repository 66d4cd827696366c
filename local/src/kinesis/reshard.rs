//! Splits, merges and uniform scaling, as changes of a stream's open shards.
//!
//! (A) Every shard that a change opens has its parents set, and its parents are closed.
//! (B) Uniform scaling is a chain of splits and merges like the service's, so it may leave shards that closed the
//!     moment they opened.

use super::hash_key::{HashKey, HashKeyRange};
use super::shard::ShardId;
use super::stream::Stream;
use crate::timestamp::Millis;

/// Divisions into at most 10,000 shards leave less than this; any two starts of equal shards are much farther apart.
const ROUNDING: u128 = 1 << 20;

/// A change that was checked when it was requested.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reshard {
    /// The shard in two: below the key, and from the key on.
    Split { shard: ShardId, at: HashKey },
    /// Two adjacent shards in one, the one with the lower hash keys first.
    Merge { lower: ShardId, upper: ShardId },
    /// That many shards of equal size.
    Scale { target: u32 },
}

impl Stream {
    pub(super) fn apply(&mut self, change: Reshard, now: Millis) {
        match change {
            Reshard::Split { shard, at } => {
                self.split(shard, at, now);
            }
            Reshard::Merge { lower, upper } => {
                self.merge(lower, upper, now);
            }
            Reshard::Scale { target } => self.scale(target, now),
        }
    }

    fn range_of(&self, id: ShardId) -> HashKeyRange {
        self.shard(id).expect("an open shard is never forgotten").range
    }

    fn split(&mut self, shard: ShardId, at: HashKey, now: Millis) {
        let (below, above) = self.range_of(shard).split_at(at);
        self.replace(&[shard], &[below, above], now);
    }

    fn merge(&mut self, lower: ShardId, upper: ShardId, now: Millis) {
        let range = HashKeyRange { start: self.range_of(lower).start, end: self.range_of(upper).end };
        self.replace(&[lower, upper], &[range], now);
    }

    /// First cuts wherever a target range begins, then joins what lies within one.
    fn scale(&mut self, target: u32, now: Millis) {
        let starts: Vec<_> = HashKeyRange::uniform(target).iter().map(|range| self.nearby_start(range.start)).collect();
        for start in &starts {
            let at = self.open_shards().partition_point(|(open, _)| open <= start) - 1;
            let (open, shard) = self.open_shards()[at];
            if open != *start {
                self.split(shard, *start, now);
            }
        }
        for n in 0..starts.len() {
            let end = starts.get(n + 1).map_or(HashKey::MAX, |next| HashKey(next.0 - 1));
            while self.range_of(self.open_shards()[n].1).end < end {
                let (lower, upper) = (self.open_shards()[n].1, self.open_shards()[n + 1].1);
                self.merge(lower, upper, now);
            }
        }
    }

    /// The start of an open shard, if it is the wanted one up to rounding: a third in two is not two sixths, exactly.
    fn nearby_start(&self, start: HashKey) -> HashKey {
        let at = self.open_shards().partition_point(|(open, _)| *open <= start);
        let neighbours = self.open_shards()[at - 1..].iter().take(2).map(|(open, _)| *open);
        let nearest = neighbours.min_by_key(|open| open.0.abs_diff(start.0));
        nearest.filter(|open| open.0.abs_diff(start.0) <= ROUNDING).unwrap_or(start)
    }
}
