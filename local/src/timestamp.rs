//! Points in time as the services show them: whole milliseconds since the Unix epoch.
//!
//! Pure: it never asks what time it is. See `clock.rs` for that.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch. On the wire: in JSON seconds, with the milliseconds as a fraction; in CBOR
/// milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct Millis(pub(crate) u64);

impl Millis {
    /// How long after `earlier` this is; zero when it is before.
    pub(crate) fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This time moved into the future.
    pub(crate) fn plus(self, by: Duration) -> Millis {
        Millis(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This time moved into the past, at most to the epoch.
    pub(crate) fn minus(self, by: Duration) -> Millis {
        Millis(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Seconds since the epoch with the milliseconds as a fraction. Never below the true value, so that a client that
    /// cuts off what is below a millisecond (as the Rust SDK does) keeps the millisecond.
    pub(crate) fn as_seconds(self) -> f64 {
        let nearest = self.0 as f64 / 1000.0;
        let millis = (nearest.fract() * 1000.0) as u64;
        if millis < self.0 % 1000 { nearest.next_up() } else { nearest }
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_f64(self.as_seconds())
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let millis = i64::deserialize(deserializer)?;
            return Ok(Millis(millis.try_into().unwrap_or_default()));
        }
        let seconds = f64::deserialize(deserializer)?;
        // A float cast saturates: what is before the epoch counts as the epoch.
        Ok(Millis((seconds * 1000.0).round() as u64))
    }
}

/// As the service writes times in its messages: `Thu Jan 22 01:22:02 UTC 2015`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (days, second) = ((self.0 / 1000) / 86_400, (self.0 / 1000) % 86_400);
        let (year, month, day) = civil_date(days);
        let weekday = WEEKDAYS[(days % 7) as usize];
        let month = MONTHS[month];
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
    }
}

/// Year, month (0 = January) and day of a day since 1970-01-01 in the Gregorian calendar.
fn civil_date(mut days: u64) -> (u64, usize, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years always have the same number of days; then at most 400 steps remain.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_dates_in_the_words_of_the_service() {
        assert_eq!(Millis(1_421_889_722_000).to_string(), "Thu Jan 22 01:22:02 UTC 2015");
        assert_eq!(Millis(0).to_string(), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(Millis(951_782_400_999).to_string(), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(Millis(4_107_542_399_000).to_string(), "Sun Feb 28 23:59:59 UTC 2100");
        assert_eq!(Millis(1_798_761_599_000).to_string(), "Thu Dec 31 23:59:59 UTC 2026");
    }

    #[test]
    fn cutting_off_keeps_every_millisecond() {
        for millis in (1_795_153_063_000..1_795_153_064_000).chain(0..1000).chain(4_102_444_800_000..4_102_444_801_000)
        {
            let seconds = Millis(millis).as_seconds();
            assert_eq!(seconds.trunc() as u64 * 1000 + (seconds.fract() * 1000.0) as u64, millis, "{seconds}");
        }
    }

    #[test]
    fn keeps_every_millisecond_on_the_wire() {
        for millis in [0, 1, 999, 1_459_799_926_480, 1_763_616_000_123, 9_999_999_999_999] {
            let json = serde_json::to_string(&Millis(millis)).unwrap();
            assert_eq!(serde_json::from_str::<Millis>(&json).unwrap(), Millis(millis), "{json}");
        }
        assert_eq!(serde_json::to_string(&Millis(1_763_616_000_500)).unwrap(), "1763616000.5");
        assert_eq!(serde_json::from_str::<Millis>("-5").unwrap(), Millis(0));
    }
}
