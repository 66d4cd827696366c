//! The question before a command writes.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use crate::failure::Failure;

/// Consent to a plan, as each command has it that writes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Shows the plan on stderr and asks, unless `yes` is given. Fails if the answer is no, or if nobody can be asked.
pub(crate) fn confirm(plan: &str, yes: bool) -> Result<(), Failure> {
    eprint!("{plan}");
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new("nothing was changed, since nobody can be asked here", "pass --yes"));
    }
    eprint!("Go on? [y/N] ");
    let (mut answer, mut stderr) = (String::new(), io::stderr());
    let _ = stderr.flush(); // a question that cannot be shown is answered no
    let read = io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) => Ok(()),
        _ => Err(Failure::new("nothing was changed", "answer y, or pass --yes")),
    }
}
