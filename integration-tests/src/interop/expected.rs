//! The records that are put, and how what was read compares to them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use kpl::{HashKey, UserRecord};
use md5::{Digest as _, Md5};

use super::told::Read;

/// Records of keys, one of four with an explicit hash key; number `id` is the same in every run.
pub(super) fn record(id: u64) -> UserRecord {
    let mut rng = fastrand::Rng::with_seed(id);
    let key = match rng.u8(..8) {
        0 => format!("schlüssel-{}", rng.u16(..200)),
        1 => id.to_string(),
        _ => format!("key-{}", rng.u16(..500)),
    };
    let mut data = id.to_be_bytes().to_vec();
    data.extend((0..rng.usize(..200)).map(|_| rng.u8(..)));
    let record = UserRecord::new(key, data);
    if rng.u8(..4) == 0 { record.with_explicit_hash_key(HashKey(rng.u128(..))) } else { record }
}

/// Report of a reader on a record.
pub(super) fn read(partition_key: &str, data: &[u8], hash_key: Option<HashKey>, aggregated: bool) -> Read {
    let id = data.first_chunk().map_or(u64::MAX, |id| u64::from_be_bytes(*id));
    let digest = Md5::new().chain_update(partition_key).chain_update([0]).chain_update(data).finalize();
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Read { id, digest, hash_key: hash_key.map(|key| key.to_string()).unwrap_or_default(), aggregated }
}

/// Records that were stored, and what they must be when they are read.
#[derive(Debug, Clone, Default)]
pub struct Expected(HashMap<u64, Read>);

impl Expected {
    /// The records of these numbers.
    pub fn of(ids: impl Iterator<Item = u64>) -> Self {
        let one = |id| {
            let record = record(id);
            (id, read(record.partition_key(), record.data(), record.explicit_hash_key(), true))
        };
        Self(ids.map(one).collect())
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares what was read.
    pub fn compare<'a>(&self, reads: impl Iterator<Item = &'a Read>) -> Comparison {
        let mut comparison = Comparison::default();
        let mut seen = HashSet::new();
        for read in reads {
            let same = self.0.get(&read.id).is_some_and(|expected| {
                // Of a record that is not aggregated, Kinesis forgets the explicit hash key.
                let hash_key = read.hash_key == expected.hash_key || (!read.aggregated && read.hash_key.is_empty());
                read.digest == expected.digest && hash_key
            });
            if !same {
                comparison.altered.push(read.id);
            } else if seen.insert(read.id) {
                comparison.delivered += 1;
                comparison.aggregated += usize::from(read.aggregated);
            } else {
                comparison.duplicates += 1;
            }
        }
        comparison.lost = self.0.keys().filter(|id| !seen.contains(id)).copied().collect();
        comparison.lost.sort_unstable();
        comparison
    }
}

/// Comparison of the records read with the records put.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Different records delivered as they were put.
    pub delivered: usize,
    /// Number of these that came in aggregates.
    pub aggregated: usize,
    /// Deliveries of records that had been delivered before.
    pub duplicates: usize,
    /// Numbers of records that were not delivered.
    pub lost: Vec<u64>,
    /// Numbers of records that nobody put, or that are not as they were put.
    pub altered: Vec<u64>,
}

impl Comparison {
    /// True if each record was delivered as it was put.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.altered.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, aggregated, duplicates, lost, altered } = self;
        write!(f, "delivered {delivered} (aggregated {aggregated}), duplicates {duplicates}")?;
        write!(f, ", lost {}, altered {}", lost.len(), altered.len())?;
        for (what, ids) in [("lost", lost), ("altered", altered)] {
            if !ids.is_empty() {
                write!(f, "; first {what}: {:?}", &ids[..ids.len().min(10)])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(id: u64) -> Read {
        let record = record(id);
        read(record.partition_key(), record.data(), record.explicit_hash_key(), true)
    }

    #[test]
    fn what_is_lost_altered_or_twice_is_told() {
        let altered = Read { digest: "0".to_owned(), ..read_of(2) };
        let reads = [read_of(0), read_of(0), read_of(1), altered, read_of(9)];

        let comparison = Expected::of(0..4).compare(reads.iter());

        assert_eq!((comparison.delivered, comparison.duplicates), (2, 1));
        assert_eq!(comparison.lost, [2, 3]);
        assert_eq!(comparison.altered, [2, 9]);
        assert!(!comparison.is_complete());
    }

    #[test]
    fn allows_only_plain_records_to_lack_an_explicit_hash_key() {
        let id = (0..).find(|id| record(*id).explicit_hash_key().is_some()).expect("one of four has one");
        let without = |aggregated| Read { hash_key: String::new(), aggregated, ..read_of(id) };
        let expected = Expected::of(id..=id);

        assert!(expected.compare([without(false)].iter()).is_complete());
        assert!(!expected.compare([without(true)].iter()).is_complete());
    }
}
