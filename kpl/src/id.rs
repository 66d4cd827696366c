//! Shard ids and sequence numbers. Cheap to clone (shared text): every user record of an aggregate carries them.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use crate::shared_text::SharedText;

/// Identifies a shard within its stream, for example `shardId-000000000003`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(Arc<str>);

impl ShardId {
    /// Takes the id as Kinesis writes it.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as Kinesis writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for ShardId {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

impl AsRef<str> for ShardId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Sequence number of a Kinesis record in its shard: a decimal number, today of 56 digits, ordered numerically. Numbers grow
/// within a shard, and a child shard's are greater than its parents'.
///
/// The number of a record that was read shares an allocation with others, as [`SharedText`] says.
#[derive(Debug, Clone)]
pub struct SequenceNumber(SharedText);

/// A text that is not a decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a sequence number: decimal digits expected")]
pub struct ParseSequenceNumberError {
    text: String,
}

impl SequenceNumber {
    /// The digits as Kinesis wrote them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if `text` is a sequence number. Allocates nothing, unlike its [parsing](FromStr).
    pub fn is_valid(text: &str) -> bool {
        // Each record read has one. Without an early end the compiler looks at many digits at a time.
        !text.is_empty() && text.bytes().fold(true, |so_far, byte| so_far & byte.is_ascii_digit())
    }

    fn significant(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl FromStr for SequenceNumber {
    type Err = ParseSequenceNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !Self::is_valid(text) {
            return Err(ParseSequenceNumberError { text: text.to_owned() });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<SharedText> for SequenceNumber {
    type Error = ParseSequenceNumberError;

    /// Without a copy.
    fn try_from(text: SharedText) -> Result<Self, Self::Error> {
        if Self::is_valid(&text) { Ok(Self(text)) } else { Err(ParseSequenceNumberError { text: text.to_string() }) }
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.significant(), other.significant());
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SequenceNumber {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SequenceNumber {}

impl std::hash::Hash for SequenceNumber {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> SequenceNumber {
        text.parse().unwrap()
    }

    #[test]
    fn sequence_numbers_compare_as_numbers_not_as_text() {
        assert!(number("9") < number("10"));
        assert!(
            number("49590338271490256608559692538361571095921575989136588898")
                < number("49590338271490256608559692538361571095921575989136588899")
        );
    }

    #[test]
    fn leading_zeros_do_not_make_a_number_greater() {
        assert_eq!(number("007"), number("7"));
        assert!(number("007") < number("10"));
    }

    #[test]
    fn only_decimal_digits_are_a_sequence_number() {
        for text in ["", "TRIM_HORIZON", "-1", "1.0", "0x1f", " 1", "١"] {
            assert!(
                !SequenceNumber::is_valid(text) && text.parse::<SequenceNumber>().is_err(),
                "{text:?} was accepted"
            );
        }
    }

    proptest! {
        #[test]
        fn order_agrees_with_integers(a: u128, b: u128) {
            prop_assert_eq!(number(&a.to_string()).cmp(&number(&b.to_string())), a.cmp(&b));
        }
    }
}
