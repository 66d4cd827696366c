//! [`run`]: the table against one peer; [`Report`]: what came of it, held against the peer's list.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use futures::StreamExt;
use futures::stream;
use tokio::time::timeout;

use super::check::Check;
use super::context::{Context, Pace, within};
use super::divergences::Divergences;
use super::expect::{Failure, Outcome};
use super::peer::Peer;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// As the service.
    Passed,
    /// Not as the service, and listed.
    Diverges,
    /// Not as the service, and not listed.
    Failed,
    /// Listed, but as the service.
    Vanished,
}

/// A check and what it came to, in words.
#[derive(Clone, Debug)]
struct Line {
    check: Check,
    verdict: Verdict,
    text: String,
}

/// Result of the whole table.
#[derive(Clone, Debug)]
pub struct Report {
    lines: Vec<Line>,
    /// Number of checks that need what the peer does not have.
    left_out: usize,
    /// Checks that would stop the peer, with the reason.
    fatal: Vec<(&'static str, String)>,
    /// Names of the list that stand for no check that was run.
    unknown: Vec<String>,
}

/// Runs the checks that the peer has what is needed for, each on the peer that `peer` gives for it: `side_by_side` at a
/// time, and those that need the peer for themselves one by one after them.
///
/// # Cancellation
/// Dropping the future leaves streams and tables behind at the peer.
pub async fn run(
    checks: &[Check],
    peer: impl AsyncFn() -> Peer,
    side_by_side: usize,
    divergences: &Divergences,
) -> Report {
    let offered = peer().await;
    let (offers, left_out): (Vec<&Check>, Vec<_>) = checks.iter().partition(|check| offered.offers(check.needs));
    let (fatal, runnable): (Vec<&Check>, Vec<_>) =
        offers.iter().copied().partition(|check| divergences.is_fatal(check.name));
    let fatal =
        fatal.iter().filter_map(|check| Some((check.name, divergences.reason(check.name)?.to_owned()))).collect();
    let (alone, together): (Vec<_>, Vec<_>) =
        runnable.iter().enumerate().partition(|(_, check)| check.needs.is_alone());
    let mut outcomes = Vec::with_capacity(runnable.len());
    for (checks, side_by_side) in [(together, side_by_side), (alone, 1)] {
        let performed = stream::iter(checks).map(async |(n, check)| {
            let peer = peer().await;
            let pace = if peer.has_virtual_time() { Pace::VIRTUAL } else { Pace::EMULATOR };
            (n, perform(check, peer, Context { beginning: String::new(), pace }).await)
        });
        outcomes.extend(performed.buffer_unordered(side_by_side).collect::<Vec<_>>().await);
    }
    outcomes.sort_unstable_by_key(|(n, _)| *n);
    let lines = runnable.iter().zip(outcomes);
    let lines = lines.map(|(check, (_, outcome))| judge(check, outcome, divergences.reason(check.name))).collect();
    let names: BTreeSet<_> = offers.iter().map(|check| check.name).collect();
    let unknown = divergences.names().filter(|name| !names.contains(name)).map(str::to_owned).collect();
    Report { lines, left_out: left_out.len(), fatal, unknown }
}

/// Runs a check in its surroundings.
pub(super) async fn perform(check: &Check, peer: Peer, context: Context) -> Outcome {
    let longest = context.pace.check;
    let late = || Failure::new(format!("no result within {longest:?}"));
    within(context, timeout(longest, (check.run)(peer))).await.unwrap_or_else(|_| Err(late()))
}

fn judge(check: &Check, outcome: Outcome, reason: Option<&str>) -> Line {
    let (verdict, text) = match (outcome, reason) {
        (Ok(()), None) => (Verdict::Passed, String::new()),
        (Ok(()), Some(reason)) => (Verdict::Vanished, format!("listed, but as the service: {reason}")),
        (Err(failure), Some(reason)) => (Verdict::Diverges, format!("{reason} [{failure}]")),
        (Err(failure), None) => (Verdict::Failed, format!("{failure}; see {}", check.source)),
    };
    Line { check: *check, verdict, text }
}

impl Report {
    /// True if every check came to what is wanted or listed.
    pub fn is_clean(&self) -> bool {
        let is_clean = |line: &Line| matches!(line.verdict, Verdict::Passed | Verdict::Diverges);
        self.unknown.is_empty() && self.lines.iter().all(is_clean)
    }

    /// Number of checks that passed as on the service.
    pub fn passed(&self) -> usize {
        self.count(Verdict::Passed)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict == verdict).count()
    }
}

/// Every check on a line, those that matter most at the end.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by_key(|line| line.verdict);
        for line in lines {
            let verdict = match line.verdict {
                Verdict::Passed => "ok      ",
                Verdict::Diverges => "diverges",
                Verdict::Failed => "FAILED  ",
                Verdict::Vanished => "VANISHED",
            };
            let colon = if line.text.is_empty() { "" } else { ": " };
            writeln!(f, "{verdict} {}{colon}{}", line.check.name, line.text)?;
        }
        for (name, reason) in &self.fatal {
            writeln!(f, "not run  {name}: {reason}")?;
        }
        for name in &self.unknown {
            writeln!(f, "UNKNOWN  {name}: listed, but not among the checks that were run")?;
        }
        let [passed, diverge, failed, vanished] =
            [Verdict::Passed, Verdict::Diverges, Verdict::Failed, Verdict::Vanished].map(|verdict| self.count(verdict));
        write!(
            f,
            "{passed} as the service, {diverge} known divergences, {failed} failed, {vanished} vanished, {} unknown \
             names, {} not run, {} left out",
            self.unknown.len(),
            self.fatal.len(),
            self.left_out
        )
    }
}
