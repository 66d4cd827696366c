//! Hash keys: the place of a record in 0 to 2^128 - 1, and the ranges that shards own.

use md5::{Digest, Md5};
use serde::{Serialize, Serializer};

/// A number from 0 to 2^128 - 1, on the wire in decimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct HashKey(pub(super) u128);

impl HashKey {
    pub(super) const MAX: HashKey = HashKey(u128::MAX);

    /// The hash key of a partition key.
    pub(super) fn of_partition_key(key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(key.as_bytes()).into()))
    }

    /// True if the text has the form of a hash key in requests: decimal, no leading zeros, at most 39 digits.
    pub(super) fn is_well_formed(text: &str) -> bool {
        let digits = text.len() <= 39 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits && (text == "0" || !text.starts_with('0'))
    }

    /// The number; `None` when it is above 2^128 - 1 or no number.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !Self::is_well_formed(text) {
            return None;
        }
        text.parse().ok().map(Self)
    }
}

impl std::fmt::Display for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for HashKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The hash keys of one shard, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HashKeyRange {
    #[serde(rename = "StartingHashKey")]
    pub(super) start: HashKey,
    #[serde(rename = "EndingHashKey")]
    pub(super) end: HashKey,
}

impl HashKeyRange {
    /// `count` ranges of equal size that cover everything; the last takes what division leaves over.
    pub(super) fn uniform(count: u32) -> Vec<HashKeyRange> {
        let count = u128::from(count.max(1));
        // 2^128 / count; the dividend itself does not fit, and neither does the answer for one range.
        let size = if count == 1 { 0 } else { u128::MAX / count + u128::from(u128::MAX % count == count - 1) };
        (0..count)
            .map(|n| HashKeyRange {
                start: HashKey(n * size),
                end: if n + 1 == count { HashKey::MAX } else { HashKey((n + 1) * size - 1) },
            })
            .collect()
    }

    /// The part below `key` and the part from it on. The key lies within, and is not the first.
    pub(super) fn split_at(self, key: HashKey) -> (HashKeyRange, HashKeyRange) {
        (Self { start: self.start, end: HashKey(key.0 - 1) }, Self { start: key, end: self.end })
    }

    /// True if `next` starts right after the end of this.
    pub(super) fn is_followed_by(&self, next: &HashKeyRange) -> bool {
        self.end.0.checked_add(1) == Some(next.start.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_ranges_are_those_of_the_service() {
        let starts = |count| HashKeyRange::uniform(count).iter().map(|r| r.start.to_string()).collect::<Vec<_>>();

        assert_eq!(starts(1), ["0"]);
        assert_eq!(starts(2), ["0", "170141183460469231731687303715884105728"]);
        assert_eq!(
            starts(3),
            ["0", "113427455640312821154458202477256070485", "226854911280625642308916404954512140970"]
        );
    }

    #[test]
    fn uniform_ranges_cover_everything_once() {
        for count in [1, 2, 3, 4, 7, 100, 9_999] {
            let ranges = HashKeyRange::uniform(count);

            assert_eq!(ranges.len(), count as usize);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (HashKey(0), HashKey::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].is_followed_by(&pair[1])));
        }
    }

    #[test]
    fn a_partition_key_hashes_by_md5() {
        assert_eq!(HashKey::of_partition_key("").0, 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
        assert_eq!(HashKey::of_partition_key("a").0, 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    #[test]
    fn reads_decimal_numbers_up_to_the_limit() {
        assert_eq!(HashKey::parse("0"), Some(HashKey(0)));
        assert_eq!(HashKey::parse("340282366920938463463374607431768211455"), Some(HashKey::MAX));
        for text in ["340282366920938463463374607431768211456", "", "-1", "007", "0x1", " 1", "1e3"] {
            assert_eq!(HashKey::parse(text), None, "{text}");
        }
    }
}
