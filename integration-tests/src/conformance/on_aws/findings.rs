//! [`Findings`]: where the service and `kinesis-local` differ, as Markdown for an issue.

use std::fmt::{self, Display};

use crate::conformance::check::Check;
use crate::conformance::expect::{Failure, Outcome};
use crate::conformance::guesses::GUESSES;
use crate::service::Place;

/// Account in reports, which are public: that of the service's documentation.
const SOME_ACCOUNT: &str = "123456789012";

/// Result of a run.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    agreeing: usize,
    differences: Vec<(&'a Check, &'a Failure)>,
    not_performed: Vec<&'a Check>,
    left_out: usize,
}

impl<'a> Findings<'a> {
    pub(super) fn new(checks: &'a [Check], outcomes: &'a [Option<Outcome>], left_out: usize) -> Self {
        let mut findings = Self { agreeing: 0, differences: Vec::new(), not_performed: Vec::new(), left_out };
        for (check, outcome) in checks.iter().zip(outcomes) {
            match outcome {
                Some(Ok(())) => findings.agreeing += 1,
                Some(Err(failure)) => findings.differences.push((check, failure)),
                None => findings.not_performed.push(check),
            }
        }
        findings
    }

    /// True if no check differs.
    pub(super) fn agrees(&self) -> bool {
        self.differences.is_empty()
    }

    /// True if all checks were performed.
    pub(super) fn is_complete(&self) -> bool {
        self.not_performed.is_empty()
    }

    /// The report, without the account.
    pub(super) fn to_markdown(&self, place: &Place) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let mut lines = vec![
            format!("### kinesis-local {version} and the service in {}", place.region()),
            String::new(),
            format!("{self}."),
        ];
        if !self.differences.is_empty() {
            let head = ["", "| check | expected by kinesis-local | seen | source |", "|---|---|---|---|"];
            lines.extend(head.map(str::to_owned));
            lines.extend(self.differences.iter().map(|(check, failure)| row(check, failure, place)));
        }
        if !self.not_performed.is_empty() {
            let names: Vec<_> = self.not_performed.iter().map(|check| format!("`{}`", check.name)).collect();
            lines.extend([String::new(), format!("Not performed: {}.", names.join(", "))]);
        }
        lines.join("\n") + "\n"
    }
}

impl Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} checks agree, {} differ, {} were not performed, {} need virtual time and are left out",
            self.agreeing,
            self.differences.len(),
            self.not_performed.len(),
            self.left_out
        )
    }
}

/// A difference as a row of the table.
fn row(check: &Check, failure: &Failure, place: &Place) -> String {
    let guess = GUESSES.iter().find(|guess| guess.check == check.name);
    let guess = guess.map(|guess| format!(" (guess: {})", guess.name)).unwrap_or_default();
    let expected = failure.wanted().map_or_else(|| check.name.replace('_', " "), ToOwned::to_owned);
    let cell = |text: &str| text.replace(place.account(), SOME_ACCOUNT).replace('|', "\\|").replace('\n', " ");
    let (expected, seen, source) = (cell(&expected), cell(&failure.to_string()), cell(check.source));
    format!("| `{}`{guess} | {expected} | {seen} | {source} |", check.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::expect::equal;

    fn checks(names: &[&str]) -> Vec<Check> {
        let all = crate::conformance::checks();
        names.iter().map(|name| *all.iter().find(|check| check.name == *name).unwrap()).collect()
    }

    #[test]
    fn a_report_shows_check_expectation_and_answer_but_no_account() {
        let checks = checks(&["a_new_stream_becomes_active", "ranges_of_shards_are_equally_long", "data_may_be_empty"]);
        let differs = equal("ARN", "arn:aws:kinesis:eu-west-1:987654321098:stream/a|b", "x");
        let outcomes = [Some(Ok(())), Some(differs), None];

        let findings = Findings::new(&checks, &outcomes, 13);
        let report = findings.to_markdown(&Place::new("987654321098", "eu-west-1"));

        assert!((findings.agrees(), findings.is_complete()) == (false, false));
        assert!(report.contains("1 checks agree, 1 differ, 1 were not performed, 13 need virtual time"), "{report}");
        let row = "| `ranges_of_shards_are_equally_long` (guess: ranges of a new stream) | ARN: \"x\" | ARN: got \
                   \"arn:aws:kinesis:eu-west-1:123456789012:stream/a\\|b\", want \"x\" (findings.rs:";
        assert!(report.contains(row), "{report}");
        assert!(report.contains("Not performed: `data_may_be_empty`."), "{report}");
        assert!(!report.contains("987654321098"), "{report}");
    }
}
