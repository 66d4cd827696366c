//! Points in time as the services show them: whole milliseconds since the Unix epoch.
//!
//! Pure: it never asks what time it is. See `clock.rs` for that.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch. On the wire: in JSON seconds, with the milliseconds as a fraction; in CBOR
/// milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct Millis(pub(crate) u64);

impl Millis {
    /// Time since `earlier`; zero if that is later.
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

    /// This time moved into the future, or into the past when negative.
    pub(crate) fn shifted(self, by_millis: i64) -> Millis {
        Millis(self.0.saturating_add_signed(by_millis))
    }

    /// Reads the time of a signature: `20261128T101500Z`.
    pub(crate) fn parse_signed(text: &str) -> Option<Millis> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let is_well_formed =
            |digits: &str, length| digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_well_formed(date, 8) || !is_well_formed(time, 6) {
            return None;
        }
        let number = |digits: &str| digits.parse::<u64>().ok();
        let days = days_since_epoch(number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?)?;
        let seconds = number(&time[..2])? * 3600 + number(&time[2..4])? * 60 + number(&time[4..])?;
        Some(Millis((days * 86_400 + seconds) * 1000))
    }

    /// As signatures show it: `20261128T101500Z`.
    pub(crate) fn as_signed(self) -> String {
        let Civil { year, month, day, hour, minute, second, .. } = Civil::of(self);
        format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", month + 1)
    }

    /// As the header `Date` shows it: `Sat, 28 Nov 2026 10:15:00 GMT`.
    pub(crate) fn as_http_date(self) -> String {
        let Civil { year, month, day, weekday, hour, minute, second } = Civil::of(self);
        let month = MONTHS[month];
        format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
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

impl From<Millis> for SystemTime {
    fn from(time: Millis) -> Self {
        SystemTime::UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

/// As the service writes times in its messages: `Thu Jan 22 01:22:02 UTC 2015`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, weekday, hour, minute, second } = Civil::of(*self);
        let month = MONTHS[month];
        write!(f, "{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time in the Gregorian calendar, UTC.
struct Civil {
    year: u64,
    /// From 0.
    month: usize,
    /// From 1.
    day: u64,
    weekday: &'static str,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    fn of(time: Millis) -> Self {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let (days, second) = ((time.0 / 1000) / 86_400, (time.0 / 1000) % 86_400);
        let (year, month, day) = civil_date(days);
        let weekday = WEEKDAYS[(days % 7) as usize];
        Self { year, month, day, weekday, hour: second / 3600, minute: second / 60 % 60, second: second % 60 }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_lengths(year: u64) -> [u64; 12] {
    [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Days from 1970-01-01 to a date, whose month counts from 1; `None` when there is no such date after 1970.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let lengths = month_lengths(year);
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    if year < 1970 || !(1..=*lengths.get(month)?).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    Some(years + lengths[..month].iter().sum::<u64>() + day - 1)
}

/// Year, month (0 = January) and day of a day since 1970-01-01 in the Gregorian calendar.
fn civil_date(mut days: u64) -> (u64, usize, u64) {
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
    let mut month = 0;
    for length in month_lengths(year) {
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
    fn reads_what_signatures_and_answers_show() {
        for millis in [0, 951_782_400_000, 1_421_889_722_000, 1_798_761_599_000, 4_107_542_399_000] {
            assert_eq!(Millis::parse_signed(&Millis(millis).as_signed()), Some(Millis(millis)));
        }
        assert_eq!(Millis(1_421_889_722_999).as_signed(), "20150122T012202Z");
        assert_eq!(Millis(1_421_889_722_999).as_http_date(), "Thu, 22 Jan 2015 01:22:02 GMT");
        for text in ["", "20150122", "20150122T012202", "20150229T000000Z", "20151301T000000Z", "2015+122T012202Z"] {
            assert_eq!(Millis::parse_signed(text), None, "{text}");
        }
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
