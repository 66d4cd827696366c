//! Hash keys: the 128-bit space that a stream's shards divide among them.

use std::{fmt, str::FromStr};

use md5::{Digest as _, Md5};

use crate::digest::digest_each;

/// A point of the hash key space, 0 to 2^128 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey(pub u128);

impl HashKey {
    /// Minimum hash key.
    pub const MIN: Self = Self(0);
    /// Maximum hash key, 2^128 - 1.
    pub const MAX: Self = Self(u128::MAX);

    /// The hash key that Kinesis derives from a partition key: MD5 of its UTF-8 bytes, read as a big-endian integer.
    pub fn of_partition_key(partition_key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(partition_key).into()))
    }

    /// Hash keys of the first partition keys, eight side by side; takes no others.
    pub(crate) fn of_each_partition_key<'a>(
        partition_keys: impl Iterator<Item = &'a str>,
    ) -> impl ExactSizeIterator<Item = Self> {
        digest_each(partition_keys.map(str::as_bytes)).map(|digest| Self(u128::from_be_bytes(digest)))
    }
}

/// A text that is not a decimal integer of 0 to 2^128 - 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a hash key: a decimal integer from 0 to 2^128 - 1 expected")]
pub struct ParseHashKeyError {
    text: String,
}

impl FromStr for HashKey {
    type Err = ParseHashKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(key) if digits => Ok(Self(key)),
            _ => Err(ParseHashKeyError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A shard's part of the hash key space; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashKeyRange {
    /// First hash key of the range.
    pub start: HashKey,
    /// Last hash key of the range.
    pub end: HashKey,
}

impl HashKeyRange {
    /// The whole hash key space.
    pub const FULL: Self = Self { start: HashKey::MIN, end: HashKey::MAX };

    /// Returns whether `key` falls into this range.
    pub fn contains(&self, key: HashKey) -> bool {
        (self.start..=self.end).contains(&key)
    }
}

impl fmt::Display for HashKeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_keys_hash_as_the_service_does() {
        // Computed by other MD5 implementations.
        for (partition_key, hash_key) in [
            ("a", 16955237001963240173058271559858726497),
            ("abcd", 301716283811389038011477436469853762335),
            ("alpha", 58606826522850340945736240254012750329),
            ("beta", 202685418872336884493770735918403116178),
            ("0", 276215275525073243129443018166533317850),
            ("\u{e9}\u{4e16}", 206116374402339762050219459786325502907),
            ("dup", 19435386884216731832111141375585750260),
        ] {
            assert_eq!(HashKey::of_partition_key(partition_key), HashKey(hash_key), "{partition_key}");
        }
    }

    #[test]
    fn hash_keys_parse_from_zero_to_the_last_of_the_space() {
        assert_eq!("0".parse(), Ok(HashKey::MIN));
        assert_eq!("340282366920938463463374607431768211455".parse(), Ok(HashKey::MAX));
        for text in ["", "-1", "+1", "1e3", "340282366920938463463374607431768211456"] {
            assert!(text.parse::<HashKey>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn both_ends_belong_to_a_range() {
        let range = HashKeyRange { start: HashKey(10), end: HashKey(20) };

        assert!(range.contains(HashKey(10)) && range.contains(HashKey(20)));
        assert!(!range.contains(HashKey(9)) && !range.contains(HashKey(21)));
        assert!(HashKeyRange::FULL.contains(HashKey::MAX));
    }
}
