//! Sequence numbers: 56 decimal digits that start with 49, like the service's.
//!
//! (A) Within a shard they strictly grow; (B) every number of a child shard is above every number of its parents;
//! (C) no two records of an account share one; (D) consecutive records never have consecutive numbers.
//! The layout is ours: the service documents none, and clients must only compare.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

use crate::timestamp::Millis;

const PREFIX: &str = "49";
const FIELD: usize = 18;
const FIELD_LIMIT: u64 = 10_u64.pow(18);
const LENGTH: usize = PREFIX.len() + 3 * FIELD;

/// Distance of two records in the last field: see (D).
const STEP: u64 = 1 << 4;

/// The shard's part of a sequence number: unique and growing within the account, derived from the time of its creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Era(u64);

/// Gives out eras. Clones never give out the same, so that no stream takes the numbers of another for its own, even of one
/// that had its name a moment ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Eras(Arc<AtomicU64>);

impl Eras {
    /// The era of a shard that opens `now`, after all the shards before it.
    pub(super) fn next(&self, now: Millis) -> Era {
        // Room for 100,000 shards in a millisecond, and 18 digits until the year 2286.
        let after = |last: u64| now.0.saturating_mul(100_000).max(last + 1);
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
        Era(after(last.unwrap_or_else(|last| last)))
    }
}

/// A position in a shard. The fields compare in this order, as the decimal numbers do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SequenceNumber {
    era: Era,
    arrival: Millis,
    index: u64,
}

impl SequenceNumber {
    /// The StartingSequenceNumber of a shard.
    pub(super) fn first(era: Era, opened: Millis) -> Self {
        Self { era, arrival: opened, index: 0 }
    }

    /// The lowest position of records that arrive at `time` or later.
    pub(super) fn at_time(era: Era, time: Millis) -> Self {
        Self { era, arrival: Millis(time.0.min(FIELD_LIMIT - 1)), index: 0 }
    }

    /// The number of the record after this one. A clock that went back does not take the numbers with it.
    pub(super) fn next(self, now: Millis) -> Self {
        Self { era: self.era, arrival: now.max(self.arrival), index: self.index + STEP }
    }

    /// The EndingSequenceNumber of a shard whose last number is this: above it, and no record's.
    pub(super) fn ending(self, now: Millis) -> Self {
        Self { era: self.era, arrival: now.max(self.arrival), index: self.index + 1 }
    }

    /// The lowest position above this number.
    pub(super) fn successor(self) -> Self {
        Self { index: self.index + 1, ..self }
    }

    pub(super) fn era(&self) -> Era {
        self.era
    }

    pub(super) fn arrival(&self) -> Millis {
        self.arrival
    }

    /// The three fields, for an iterator.
    pub(super) fn to_parts(self) -> [u64; 3] {
        [self.era.0, self.arrival.0, self.index]
    }

    pub(super) fn from_parts([era, arrival, index]: [u64; 3]) -> Self {
        Self { era: Era(era), arrival: Millis(arrival), index }
    }

    /// Reads a number of this layout; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        if text.len() != LENGTH || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let field = |n: usize| digits[n * FIELD..(n + 1) * FIELD].parse().ok();
        Some(Self::from_parts([field(0)?, field(1)?, field(2)?]))
    }

    fn write<'b>(&self, buffer: &'b mut [u8; LENGTH]) -> &'b str {
        buffer[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        for (field, mut value) in buffer[PREFIX.len()..].chunks_exact_mut(FIELD).zip(self.to_parts()) {
            for digit in field.iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        std::str::from_utf8(buffer).expect("decimal digits are text")
    }
}

impl std::fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.write(&mut [0; LENGTH]))
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; LENGTH]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_763_616_000_123);

    #[test]
    fn has_56_digits_and_survives_its_text() {
        let number = SequenceNumber::first(Eras::default().next(NOW), NOW).next(NOW);

        let text = number.to_string();

        assert_eq!(text.len(), 56);
        assert!(text.starts_with("49"), "{text}");
        assert_eq!(SequenceNumber::parse(&text), Some(number));
    }

    #[test]
    fn grows_with_every_record_even_when_the_clock_goes_back() {
        let mut last = SequenceNumber::first(Eras::default().next(NOW), NOW);
        for step in [0, 5, 0, 17] {
            let next = last.next(Millis(NOW.0 - step));
            assert!(next.to_string() > last.successor().to_string());
            last = next;
        }
    }

    #[test]
    fn a_child_starts_above_the_end_of_its_parent() {
        let eras = Eras::default();
        let ending = SequenceNumber::first(eras.next(NOW), NOW).next(NOW).ending(NOW);

        let child = SequenceNumber::first(eras.clone().next(NOW), NOW);

        assert!(child > ending);
        assert!(child.to_string() > ending.to_string());
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for text in ["", "49", "0", "latest", &"9".repeat(56), &format!("49{}", "x".repeat(54)), &"4".repeat(57)] {
            assert_eq!(SequenceNumber::parse(text), None, "{text}");
        }
    }
}
