//! Numbers, sizes, durations and times as people read them.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use aws_smithy_types::{DateTime, date_time::Format};

/// A number with its thousands separated: `1,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 record`, `2 records`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A size in bytes, KiB, MiB or GiB.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", size as f64 / *unit as f64),
        None => format!("{size} B"),
    }
}

/// A duration in its two largest units: `2 h 10 min`, `1.5 s`, `20 ms`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let pair = |large: u64, name: &str, small: u64, small_name: &str| match small {
        0 => format!("{large} {name}"),
        small => format!("{large} {name} {small} {small_name}"),
    };
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// A time as RFC 3339 has it, in UTC and to the millisecond.
pub(crate) fn time(time: SystemTime) -> String {
    let millis = DateTime::from(time).to_millis().unwrap_or(0);
    let text = DateTime::from_millis(millis).fmt(Format::DateTime);
    text.unwrap_or_else(|_| "an impossible time".to_owned())
}

/// Text that a terminal shows as it is: control characters are escaped, and bytes that are no UTF-8 replaced.
pub(crate) fn printable(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len());
    let Ok(()) = print::<Infallible>(data, |part| {
        text.push_str(part);
        Ok(())
    });
    text
}

/// Passes on text with its control characters escaped, in parts, so that large data are not held twice.
pub(crate) fn print<E>(data: &[u8], mut write: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let is_escaped = |c: char| c.is_control() && c != '\t';
    for part in data.utf8_chunks() {
        for piece in part.valid().split_inclusive(is_escaped) {
            let last = piece.char_indices().next_back().filter(|(_, c)| is_escaped(*c));
            write(&piece[..last.map_or(piece.len(), |(at, _)| at)])?;
            if let Some((_, c)) = last {
                write(&c.escape_default().to_string())?;
            }
        }
        if !part.invalid().is_empty() {
            write("\u{fffd}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_sizes_and_durations_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 2].map(|number| counted(number, "shard")), ["1 shard", "2 shards"]);
        assert_eq!([0, 1_023, 1_024, 5 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]);
        let millis = [20, 1_500, 60_000, 61_000, 7_800_000, 90_000_000];
        let expected = ["20 ms", "1.5 s", "1 min", "1 min 1 s", "2 h 10 min", "1 d 1 h"];
        assert_eq!(millis.map(|millis| duration(Duration::from_millis(millis))), expected);
    }

    #[test]
    fn escapes_what_would_drive_a_terminal() {
        assert_eq!(printable(b"red \x1b[31m\n\xff\ttab"), "red \\u{1b}[31m\\n\u{fffd}\ttab");
    }

    #[test]
    fn writes_times_to_the_millisecond() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);

        assert_eq!(time(at), "2023-11-14T22:13:20.123Z");
    }
}
