//! Load of shards and partition keys, and the split that would even it out. Pure.

use std::collections::HashMap;

use kpl::{HashKey, HashKeyRange};
use serde::Serialize;

/// Partition keys that are told apart in a shard; the load of further ones counts for the shard only.
const MAX_KEYS: usize = 100_000;
/// Partition keys that are reported of a shard.
const REPORTED_KEYS: usize = 5;
/// Part of a shard's load that a split must leave on its larger side at most, to be worth it.
const WORTHWHILE: f64 = 0.8;

/// Load of a shard by a sample.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    range: HashKeyRange,
    bytes: u64,
    records: u64,
    user_records: u64,
    keys: HashMap<String, KeyLoad>,
}

#[derive(Debug, Clone, Copy)]
struct KeyLoad {
    hash_key: HashKey,
    bytes: u64,
    records: u64,
}

/// Load of a shard.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardLoad {
    pub(super) shard_id: String,
    pub(super) bytes_per_second: f64,
    pub(super) records_per_second: f64,
    pub(super) user_records_per_second: f64,
    /// Of what a shard accepts, by bytes or Kinesis records, whichever is more.
    pub(super) percent_of_limit: f64,
    pub(super) keys: Vec<HotKey>,
    pub(super) split: Option<Split>,
}

/// One of the most loaded partition keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HotKey {
    pub(super) partition_key: String,
    pub(super) percent_of_shard: f64,
    pub(super) records_per_second: f64,
}

/// A split of the shard.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Split {
    /// First hash key of the upper child.
    pub(super) at: String,
    /// Part of the load that the lower child gets.
    pub(super) lower_percent: f64,
}

/// Bytes and Kinesis records that a shard accepts in a second.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const SHARD_BYTES: f64 = 1_048_576.0;
const SHARD_RECORDS: f64 = 1_000.0;

impl Sample {
    pub(super) fn new(range: HashKeyRange) -> Self {
        Self { range, bytes: 0, records: 0, user_records: 0, keys: HashMap::new() }
    }

    /// Counts a Kinesis record.
    pub(super) fn record(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }

    /// Counts a user record of it.
    pub(super) fn user_record(&mut self, partition_key: &str, hash_key: HashKey, bytes: usize) {
        self.user_records += 1;
        if let Some(load) = self.keys.get_mut(partition_key) {
            load.bytes += bytes as u64;
            load.records += 1;
        } else if self.keys.len() < MAX_KEYS {
            self.keys.insert(partition_key.to_owned(), KeyLoad { hash_key, bytes: bytes as u64, records: 1 });
        }
    }

    pub(super) fn load(&self, shard_id: &str, seconds: f64) -> ShardLoad {
        let (bytes, records) = (self.bytes as f64 / seconds, self.records as f64 / seconds);
        let all: u64 = self.keys.values().map(|load| load.bytes).sum();
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_by(|a, b| b.1.bytes.cmp(&a.1.bytes).then_with(|| a.0.cmp(b.0)));
        let hot = |(key, load): &(&String, &KeyLoad)| HotKey {
            partition_key: (*key).clone(),
            percent_of_shard: percent(load.bytes, all),
            records_per_second: load.records as f64 / seconds,
        };
        ShardLoad {
            shard_id: shard_id.to_owned(),
            bytes_per_second: bytes,
            records_per_second: records,
            user_records_per_second: self.user_records as f64 / seconds,
            percent_of_limit: (bytes / SHARD_BYTES).max(records / SHARD_RECORDS) * 100.0,
            keys: keys.iter().take(REPORTED_KEYS).map(hot).collect(),
            split: self.split(all),
        }
    }

    /// The split after which both sides have most nearly the same load; None if one side would still have most of it.
    fn split(&self, all: u64) -> Option<Split> {
        let mut loads: Vec<&KeyLoad> = self
            .keys
            .values()
            .filter(|load| load.hash_key > self.range.start && self.range.contains(load.hash_key))
            .collect();
        loads.sort_by_key(|load| load.hash_key);
        let mut above: u64 = loads.iter().map(|load| load.bytes).sum();
        let mut best: Option<(u64, HashKey)> = None;
        for load in loads {
            // The key itself belongs to the upper side.
            let larger = above.max(all - above);
            if best.is_none_or(|(so_far, _)| larger < so_far) {
                best = Some((larger, load.hash_key));
            }
            above -= load.bytes;
        }
        let (_, at) = best.filter(|(larger, _)| (*larger as f64) <= all as f64 * WORTHWHILE)?;
        let below: u64 = self.keys.values().filter(|load| load.hash_key < at).map(|load| load.bytes).sum();
        Some(Split { at: at.to_string(), lower_percent: percent(below, all) })
    }
}

fn percent(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(loads: &[(&str, u128, usize)]) -> Sample {
        let mut sample = Sample::new(HashKeyRange { start: HashKey(0), end: HashKey(99) });
        for (key, hash_key, bytes) in loads {
            sample.record(*bytes);
            sample.user_record(key, HashKey(*hash_key), *bytes);
        }
        sample
    }

    #[test]
    fn splits_where_both_sides_have_the_same_load() {
        let load = sample(&[("a", 10, 100), ("b", 40, 200), ("c", 60, 200), ("d", 90, 100)]).load("s", 2.0);

        assert_eq!(load.split, Some(Split { at: "60".into(), lower_percent: 50.0 }));
        assert_eq!((load.bytes_per_second, load.user_records_per_second), (300.0, 2.0));
        assert_eq!(load.keys[0].partition_key, "b");
    }

    #[test]
    fn a_single_hot_key_is_not_helped_by_a_split() {
        let load = sample(&[("hot", 50, 900), ("cold", 10, 50), ("mild", 90, 50)]).load("s", 1.0);

        assert_eq!(load.split, None);
        assert_eq!((load.keys[0].partition_key.as_str(), load.keys[0].percent_of_shard), ("hot", 90.0));
        assert_eq!(sample(&[]).load("s", 1.0).split, None);
    }

    #[test]
    fn a_split_never_begins_at_the_first_key_of_the_shard() {
        assert_eq!(sample(&[("a", 0, 10), ("b", 0, 10)]).load("s", 1.0).split, None);
        assert_eq!(sample(&[("a", 0, 10), ("b", 1, 10)]).load("s", 1.0).split.unwrap().at, "1");
    }

    #[test]
    fn many_small_records_fill_a_shard_as_many_bytes_do() {
        let mut many = Sample::new(HashKeyRange::FULL);
        (0..500).for_each(|_| many.record(10));

        assert_eq!(many.load("s", 1.0).percent_of_limit, 50.0);
    }
}
