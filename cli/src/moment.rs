//! Times and positions as they are given on the command line. Pure.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use aws_smithy_types::{DateTime, date_time::Format};
use kpl::SequenceNumber;

/// Sequence numbers have 56 digits today; seconds or milliseconds since 1970 have fewer than this for long.
const MIN_SEQUENCE_DIGITS: usize = 20;
/// First number that is taken as milliseconds since 1970 rather than seconds.
const FIRST_MILLIS: u64 = 100_000_000_000;
const FORMS: &str =
    "an age such as 90s, 15m, 2h or 7d, an RFC 3339 time such as 2026-01-31T12:00:00Z, or seconds since 1970";

/// A time, or an age that becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Ago(Duration),
    At(SystemTime),
}

impl Moment {
    /// The time that is meant, seen from `now`.
    pub(crate) fn at(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Ago(age) => now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH),
            Self::At(time) => time,
        }
    }
}

/// A text that is no time or position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub(crate) struct ParseMomentError {
    expected: String,
}

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, ParseMomentError> {
        if text == "now" {
            return Ok(Self::Ago(Duration::ZERO));
        }
        let time = age(text).map(Self::Ago).or_else(|| since_1970(text).or_else(|| rfc_3339(text)).map(Self::At));
        time.ok_or_else(|| ParseMomentError { expected: FORMS.to_owned() })
    }
}

/// A duration such as `90s`, `15m`, `2h` or `7d`.
fn age(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// A duration of a second to an hour.
pub(crate) fn up_to_an_hour(text: &str) -> Result<Duration, String> {
    let time = age(text).filter(|time| (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(time));
    time.ok_or_else(|| "expected a time from 1s to 60m".to_owned())
}

fn since_1970(text: &str) -> Option<SystemTime> {
    let number: u64 = text.parse().ok().filter(|_| text.len() < MIN_SEQUENCE_DIGITS)?;
    let since = if number < FIRST_MILLIS { Duration::from_secs(number) } else { Duration::from_millis(number) };
    SystemTime::UNIX_EPOCH.checked_add(since)
}

fn rfc_3339(text: &str) -> Option<SystemTime> {
    let time = DateTime::from_str(text, Format::DateTimeWithOffset).ok();
    let time = time.or_else(|| DateTime::from_str(&format!("{text}Z"), Format::DateTime).ok());
    time.or_else(|| DateTime::from_str(&format!("{text}T00:00:00Z"), Format::DateTime).ok())?.try_into().ok()
}

/// Start of a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// The oldest record that the stream retains.
    Horizon,
    /// After the newest record.
    Latest,
    Moment(Moment),
    /// At the record with this number, or the next one.
    Sequence(SequenceNumber),
}

impl FromStr for Start {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, ParseMomentError> {
        match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "horizon" | "trim-horizon" => return Ok(Self::Horizon),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if text.len() >= MIN_SEQUENCE_DIGITS
            && let Ok(number) = text.parse()
        {
            return Ok(Self::Sequence(number));
        }
        let expected = ParseMomentError { expected: format!("horizon, latest, {FORMS}, or a sequence number") };
        text.parse().map(Self::Moment).map_err(|_| expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn understands_ages_and_times() {
        let now = epoch(1_000_000);
        for (text, seconds) in [
            ("now", 1_000_000),
            ("90s", 999_910),
            ("2h", 992_800),
            ("7d", 395_200),
            ("9999999d", 0),
            ("1700000000", 1_700_000_000),
            ("1700000000000", 1_700_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000),
            ("2023-11-14T22:13:20", 1_700_000_000),
            ("2023-11-14", 1_699_920_000),
        ] {
            assert_eq!(text.parse::<Moment>().map(|moment| moment.at(now)), Ok(epoch(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time_and_names_the_forms() {
        for text in ["", "h", "2 h", "yesterday", "-1", "1.5h", "2026-13-01", "99999999999999999999"] {
            let refused = text.parse::<Moment>().map_err(|error| error.to_string());
            assert!(refused.as_ref().is_err_and(|text| text.contains("RFC 3339")), "{text}: {refused:?}");
        }
    }

    #[test]
    fn accepts_intervals_of_a_second_to_an_hour() {
        assert_eq!(up_to_an_hour("6s"), Ok(Duration::from_secs(6)));
        assert!(["0s", "2h", "6"].into_iter().all(|text| up_to_an_hour(text).is_err()));
    }

    #[test]
    fn tells_sequence_numbers_from_times() {
        let number = "49590338271490256608559692538361571095921575989136588898";

        assert_eq!(number.parse(), Ok(Start::Sequence(number.parse().unwrap())));
        assert_eq!("1700000000".parse(), Ok(Start::Moment(Moment::At(epoch(1_700_000_000)))));
        assert_eq!(
            ["TRIM_HORIZON", "horizon", "latest"].map(str::parse),
            [Ok(Start::Horizon), Ok(Start::Horizon), Ok(Start::Latest)]
        );
    }
}
