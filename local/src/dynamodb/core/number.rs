//! Numbers as DynamoDB has them: decimal, 38 digits, from 1E-130 to just below 1E+126. Pure.
//!
//! docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html

use std::cmp::Ordering;
use std::fmt;

use super::error::Error;

/// Maximum number of significant digits.
const MAX_DIGITS: i32 = 38;
/// Exponents of ten of the first digit.
const MIN_MAGNITUDE: i32 = -130;
const MAX_MAGNITUDE: i32 = 125;

/// A number: `mantissa` x 10 ^ `exponent`. The mantissa has at most 38 digits and does not end in a zero, so that equal
/// numbers are equal fields. Zero has exponent zero and is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Number {
    is_negative: bool,
    mantissa: u128,
    exponent: i32,
}

impl Number {
    pub(super) const ZERO: Self = Self { is_negative: false, mantissa: 0, exponent: 0 };

    /// Reads `-12.5`, `1e3`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let not_numeric = || {
            let problem = if text.is_empty() { "" } else { ": " };
            Error::validation(format!("The parameter cannot be converted to a numeric value{problem}{text}"))
        };
        let (is_negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, exponent) = match rest.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i64>().map_err(|_| not_numeric())?),
            None => (rest, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty()
            || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
        {
            return Err(not_numeric());
        }
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
        let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        let dropped = i64::try_from(digits.len() - significant).unwrap_or(i64::MAX);
        let fraction = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        let exponent = exponent.saturating_sub(fraction).saturating_add(dropped);
        let mut mantissa: u128 = 0;
        for digit in &digits[..significant] {
            let next = mantissa.checked_mul(10).and_then(|tens| tens.checked_add(u128::from(digit - b'0')));
            mantissa = next.ok_or_else(too_precise)?;
        }
        let exponent = exponent.clamp(i64::from(i32::MIN / 4), i64::from(i32::MAX / 4));
        Self::checked(is_negative, mantissa, i32::try_from(exponent).unwrap_or(i32::MAX / 4))
    }

    pub(super) fn add(self, other: Self) -> Result<Self, Error> {
        if self.mantissa == 0 || other.mantissa == 0 {
            return Ok(if self.mantissa == 0 { other } else { self });
        }
        let exponent = self.exponent.min(other.exponent);
        let (a, b) = (self.at_exponent(exponent)?, other.at_exponent(exponent)?);
        if self.is_negative == other.is_negative {
            return Self::checked(self.is_negative, a.checked_add(b).ok_or_else(too_precise)?, exponent);
        }
        let is_negative = if a >= b { self.is_negative } else { other.is_negative };
        Self::checked(is_negative, a.abs_diff(b), exponent)
    }

    pub(super) fn subtract(self, other: Self) -> Result<Self, Error> {
        self.add(if other.mantissa == 0 { other } else { Self { is_negative: !other.is_negative, ..other } })
    }

    /// Stored size in bytes: a byte for two digits, one more, and one for a sign.
    /// docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    pub(super) fn size(self) -> usize {
        let digits = usize::try_from(self.digits()).unwrap_or(0);
        if self.mantissa == 0 { 1 } else { digits.div_ceil(2) + 1 + usize::from(self.is_negative) }
    }

    fn digits(self) -> i32 {
        self.mantissa.checked_ilog10().map_or(0, |log| log as i32 + 1)
    }

    /// Exponent of ten of the first digit.
    fn magnitude(self) -> i32 {
        self.digits() + self.exponent - 1
    }

    /// The mantissa for a smaller exponent.
    fn at_exponent(self, exponent: i32) -> Result<u128, Error> {
        let power = u32::try_from(self.exponent - exponent).ok().and_then(|shift| 10_u128.checked_pow(shift));
        power.and_then(|power| self.mantissa.checked_mul(power)).ok_or_else(too_precise)
    }

    /// In normal form, and within the limits.
    fn checked(is_negative: bool, mut mantissa: u128, mut exponent: i32) -> Result<Self, Error> {
        if mantissa == 0 {
            return Ok(Self::ZERO);
        }
        while mantissa.is_multiple_of(10) {
            mantissa /= 10;
            exponent += 1;
        }
        let number = Self { is_negative, mantissa, exponent };
        if number.digits() > MAX_DIGITS {
            return Err(too_precise());
        }
        let range = |which: &str, size: &str| {
            let message =
                format!("Number {which}. Attempting to store a number with magnitude {size} than supported range");
            Err(Error::validation(message))
        };
        match number.magnitude() {
            magnitude if magnitude > MAX_MAGNITUDE => range("overflow", "larger"),
            magnitude if magnitude < MIN_MAGNITUDE => range("underflow", "smaller"),
            _ => Ok(number),
        }
    }

    fn cmp_absolute(self, other: Self) -> Ordering {
        let scaled = |number: Self| number.mantissa * 10_u128.pow((MAX_DIGITS - number.digits()).unsigned_abs());
        self.magnitude().cmp(&other.magnitude()).then_with(|| scaled(self).cmp(&scaled(other)))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| i32::from(number.mantissa != 0) * if number.is_negative { -1 } else { 1 };
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => self.cmp_absolute(*other),
            _ => other.cmp_absolute(*self),
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Plain digits, without an exponent.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        let digits = self.mantissa.to_string();
        let scale = self.exponent.unsigned_abs() as usize;
        if self.exponent >= 0 {
            write!(f, "{sign}{digits}{}", "0".repeat(scale))
        } else if digits.len() > scale {
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            write!(f, "{sign}{whole}.{fraction}")
        } else {
            write!(f, "{sign}0.{}{digits}", "0".repeat(scale - digits.len()))
        }
    }
}

fn too_precise() -> Error {
    Error::validation("Attempting to store more than 38 significant digits in a Number")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn numbers_have_one_form() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("+007", "7"),
            ("1e3", "1000"),
            ("120E-3", "0.12"),
            ("-.5", "-0.5"),
            ("12.50", "12.5"),
            ("1E-5", "0.00001"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ] {
            assert_eq!(number(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_number_or_too_large_is_refused() {
        for text in ["", "-", ".", "a", "1e", "0x1", "1.2.3", "NaN", "1 ", "+-1"] {
            assert!(Number::parse(text).is_err(), "{text}");
        }
        assert!(Number::parse("999999999999999999999999999999999999991").is_err(), "39 digits");
        assert!(Number::parse("1e126").is_err());
        assert!(Number::parse("9.99e125").is_ok());
        assert!(Number::parse("1e-131").is_err());
        assert!(Number::parse("1e-130").is_ok());
        assert!(Number::parse("1e99999999999999999999").is_err());
        assert!(number("1e100").add(number("1")).is_err(), "101 digits");
    }

    #[test]
    fn numbers_beyond_machine_integers_add_and_compare() {
        let large = "340282366920938463463374607431768211";
        assert_eq!(number(large).add(number("1")).unwrap().to_string(), "340282366920938463463374607431768212");
        assert_eq!(number("0.1").add(number("0.2")).unwrap(), number("0.3"));
        assert_eq!(number("1e20").subtract(number("1e20")).unwrap(), Number::ZERO);
        assert!(number("-1e10") < number("-9") && number("-9") < Number::ZERO && number("0.01") < number("2e-2"));
    }

    proptest! {
        #[test]
        fn small_numbers_are_as_the_machine_has_them(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let (x, y) = (number(&a.to_string()), number(&b.to_string()));
            prop_assert_eq!(x.add(y).unwrap().to_string(), (a + b).to_string());
            prop_assert_eq!(x.subtract(y).unwrap().to_string(), (a - b).to_string());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn what_is_shown_is_read_again(text in "-?[0-9]{1,20}(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?") {
            let read = number(&text);
            prop_assert_eq!(number(&read.to_string()), read);
        }
    }
}
