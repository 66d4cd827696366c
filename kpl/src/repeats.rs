//! Lines of the log that repeat: which of them are logged, with the number of those in between. Pure.
//!
//! For both libraries; not part of their interface.
//!
//! (A) The first line is logged, and the first after each of `PAUSES`, the last of which repeats.
//! (B) A line that was silent for `FORGOTTEN` is a first line again.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
    time::{Duration, Instant},
};

/// Minimum times from one logged line to the next, while others like it are left out.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(1_800), Duration::from_secs(7_200)];
/// Longer than any pause of a loop between two tries.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Maximum different lines that are remembered; beyond, the one that was silent for longest is forgotten.
const MAX_LINES: usize = 1_024;

/// The same for lines that say the same thing about the same subject. The id of a failed request, in an SDK error's text, is
/// new each time: the text counts up to there.
pub fn line(kind: impl Hash, subject: &str, error: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, subject, error.split("request_id").next()).hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug)]
struct Seen {
    first: Instant,
    last: Instant,
    times: u64,
    /// Time of the last logged line, and how many were logged.
    logged: (Instant, usize),
}

/// Memory of the lines of one log.
#[derive(Debug, Default)]
pub struct Repeats {
    lines: HashMap<u64, Seen>,
}

/// A line to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    times: u64,
    within: Duration,
}

impl Logged {
    /// A line that is not repeated.
    pub const ONCE: Self = Self { times: 1, within: Duration::ZERO };

    /// Number of times that the line came, this one included, and since when; None for the first.
    pub fn repeated(self) -> Option<String> {
        (self.times > 1).then(|| format!("{} times in {} s", self.times, self.within.as_secs()))
    }
}

impl Repeats {
    /// Takes a line in. None: it is left out.
    pub fn note(&mut self, line: u64, now: Instant) -> Option<Logged> {
        let Some(seen) = self.lines.get_mut(&line).filter(|seen| now.saturating_duration_since(seen.last) < FORGOTTEN)
        else {
            self.make_room();
            self.lines.insert(line, Seen { first: now, last: now, times: 1, logged: (now, 0) });
            return Some(Logged::ONCE);
        };
        (seen.last, seen.times) = (now, seen.times + 1);
        let (logged_at, step) = seen.logged;
        if now.saturating_duration_since(logged_at) < PAUSES[step] {
            return None;
        }
        seen.logged = (now, (step + 1).min(PAUSES.len() - 1));
        Some(Logged { times: seen.times, within: now.saturating_duration_since(seen.first) })
    }

    fn make_room(&mut self) {
        if self.lines.len() >= MAX_LINES
            && let Some(&oldest) = self.lines.iter().min_by_key(|(_, seen)| seen.last).map(|(line, _)| line)
        {
            self.lines.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For `Repeats`, which takes times and asks no clock; an Instant has no other beginning.
    fn some_time() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Seconds and counts of the logged lines of one that comes each second.
    fn logged(seconds: u64) -> Vec<(u64, u64)> {
        let (start, mut repeats) = (some_time(), Repeats::default());
        let note = |second| Some((second, repeats.note(7, start + Duration::from_secs(second))?.times));
        (0..seconds).filter_map(note).collect()
    }

    #[test]
    fn a_line_that_repeats_is_logged_at_growing_intervals_with_its_count() {
        assert_eq!(logged(20_000), [(0, 1), (60, 61), (360, 361), (2_160, 2_161), (9_360, 9_361), (16_560, 16_561)]);
    }

    #[test]
    fn a_line_that_was_silent_for_long_is_logged_as_a_first() {
        let (start, mut repeats) = (some_time(), Repeats::default());
        assert_eq!(repeats.note(7, start), Some(Logged::ONCE));
        assert_eq!(repeats.note(7, start + Duration::from_secs(59)), None);
        let again = repeats.note(7, start + Duration::from_secs(61)).expect("it is logged");
        assert_eq!(again.repeated().as_deref(), Some("3 times in 61 s"));

        let later = start + Duration::from_secs(61) + FORGOTTEN;
        assert_eq!(repeats.note(7, later), Some(Logged::ONCE));
        assert_eq!(Logged::ONCE.repeated(), None);
    }

    #[test]
    fn lines_are_the_same_but_for_the_request_that_failed() {
        let denied = |id| format!(r#"Error {{ code: "AccessDenied", aws_request_id: "{id}" }}"#);
        assert_eq!(line(1, "orders", &denied("a")), line(1, "orders", &denied("b")));
        assert_ne!(line(1, "orders", &denied("a")), line(2, "orders", &denied("a")));
        assert_ne!(line(1, "orders", "a"), line(1, "payments", "a"));
        assert_ne!(line(1, "orders", "a"), line(1, "orders", "b"));
    }

    #[test]
    fn the_number_of_remembered_lines_is_bounded() {
        let (start, mut repeats) = (some_time(), Repeats::default());
        for number in 0..=MAX_LINES as u64 {
            assert_eq!(repeats.note(number, start + Duration::from_millis(number)), Some(Logged::ONCE));
        }
        assert_eq!(repeats.lines.len(), MAX_LINES);
        assert!(!repeats.lines.contains_key(&0), "the oldest is forgotten");
    }
}
