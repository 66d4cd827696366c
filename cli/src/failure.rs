//! A failed command: one line that says what failed, where, and what to do.

use std::fmt;

/// Exit code of a command that failed, or did only a part of its work.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a command line that cannot be understood. Source: clap.
pub(crate) const USAGE: u8 = 2;

/// Error of a command. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// A failure with exit code 1: `what` happened, and what to `do` about it.
    pub(crate) fn new(what: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { text: one_line(&format!("{what}: {advice}")), code: FAILED }
    }

    /// Arguments that contradict each other, with exit code 2.
    pub(crate) fn usage(what: impl fmt::Display, advice: impl fmt::Display) -> Self {
        Self { code: USAGE, ..Self::new(what, advice) }
    }

    /// A reader of stdout that went away: nothing is printed, and nothing failed.
    pub(crate) fn reader_gone() -> Self {
        Self { text: String::new(), code: 0 }
    }

    /// An exit code that the output explains already.
    pub(crate) fn silent(code: u8) -> Self {
        Self { text: String::new(), code }
    }

    /// Exit code of the process.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// A text without line breaks and control characters.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_control()).map(str::trim).filter(|part| !part.is_empty()).collect();
    words.join(" ")
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_in_one_line_whatever_the_service_answers() {
        let failure = Failure::new("the service\r\nanswered\n\tbad", "try\n again");

        assert_eq!(failure.to_string(), "the service answered bad: try again");
        assert_eq!((failure.code(), Failure::usage("a", "b").code(), Failure::reader_gone().code()), (1, 2, 0));
    }
}
