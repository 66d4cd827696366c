//! Numbers of user records, by which a consumer recognises what their producer wrote twice.

use std::{fmt, num::NonZero};

/// Number of a user record in a series of its producer's: it keeps the number when it is sent again, in whatever company. No two
/// records have the same.
///
/// A producer has one series for each shard, more while it is busy and after a resharding, and new ones after each start. The id
/// of a series is drawn at random, from 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber {
    series: NonZero<u64>,
    number: u64,
}

/// Bytes of the text form.
pub(crate) const TEXT_LEN: usize = 32;

impl RecordNumber {
    /// The number in a series.
    pub fn new(series: NonZero<u64>, number: u64) -> Self {
        Self { series, number }
    }

    /// Id of the series.
    pub fn series(&self) -> NonZero<u64> {
        self.series
    }

    /// Place in the series, from 0. The order is that in which the producer sent the records first, with gaps.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The number `distance` behind this one; `None` beyond the last one of a series.
    pub(crate) fn after(self, distance: u64) -> Option<Self> {
        Some(Self { number: self.number.checked_add(distance)?, ..self })
    }

    /// Series and number, each as 16 lower-case hexadecimal digits.
    pub(crate) fn text(self) -> [u8; TEXT_LEN] {
        let value = u128::from(self.series.get()) << 64 | u128::from(self.number);
        std::array::from_fn(|at| b"0123456789abcdef"[(value >> (4 * (TEXT_LEN - 1 - at))) as usize & 0xf])
    }

    pub(crate) fn of_text(text: &[u8]) -> Option<Self> {
        let is_text = text.len() == TEXT_LEN && text.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let digits = str::from_utf8(text).ok().filter(|_| is_text)?;
        let value = u128::from_str_radix(digits, 16).ok()?;
        Some(Self { series: NonZero::new((value >> 64) as u64)?, number: value as u64 })
    }
}

impl fmt::Display for RecordNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.series, self.number)
    }
}

impl fmt::Debug for RecordNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordNumber({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_are_no_number_are_refused() {
        let number = RecordNumber::new(NonZero::<u64>::MIN, 255);
        assert_eq!(number.text(), *b"000000000000000100000000000000ff");
        let upper = number.text().to_ascii_uppercase();
        let (longer, no_series) = ([&number.text()[..], b"0"].concat(), [b'0'; TEXT_LEN]);
        let signed = b"+0000000000000100000000000000000";
        for text in [&b""[..], &number.text()[1..], &upper, &longer, &no_series, signed, &[0xff; TEXT_LEN]] {
            assert_eq!(RecordNumber::of_text(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(series in 1_u64.., number in any::<u64>()) {
            let number = RecordNumber::new(NonZero::new(series).expect("not zero"), number);
            prop_assert_eq!(RecordNumber::of_text(&number.text()), Some(number));
        }
    }
}
