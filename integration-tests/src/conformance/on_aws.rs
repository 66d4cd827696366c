//! `conformance --aws`: the checks against the service itself, behind the care of [`service`].
//!
//! A run shows place, plan and cost, has account and region typed back, performs the checks under a guard, and deletes
//! what it made: after each check, and at the end, also at Ctrl-C, SIGTERM, the cap, or a check that panicked.

mod findings;
mod performing;
mod plan;

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use aws_types::SdkConfig;

use self::findings::Findings;
use self::performing::Run;
use self::plan::Plan;
use super::check::{Check, Needs};
use crate::service::{self, CLEAN_UP_TIME, Clients, Guard, Place, Prefix};

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Profile of the AWS configuration. None: that of the environment.
    pub profile: Option<String>,
    /// Region. None: that of the environment or profile.
    pub region: Option<String>,
    /// Account and region, `ACCOUNT/REGION`. None: asked for at the terminal.
    pub confirm: Option<String>,
    /// Maximum number of stream hours. None: half as many again as are planned.
    pub max_stream_hours: Option<u64>,
    /// Checks at a time, 1 at least.
    pub side_by_side: usize,
    /// Parts of the names of the checks to perform. None: all.
    pub only: Vec<String>,
    /// File for the report, beside standard output.
    pub report: Option<PathBuf>,
}

/// End of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All checks were performed, and the service is as `kinesis-local`.
    Agrees,
    /// All checks were performed, and the service differs.
    Differs,
    /// Checks were not performed, or something is left.
    Incomplete,
}

/// Performs the checks that do not need virtual time on the service that the environment leads to.
///
/// # Errors
/// AWS cannot be used, the run is not confirmed, or the report cannot be written. Before the confirmation nothing is made;
/// after it, what was made is deleted first.
pub async fn on_aws(options: &Options) -> anyhow::Result<Ending> {
    let (checks, left_out) = chosen(super::checks(), &options.only);
    ensure!(!checks.is_empty(), "no check is named like {:?}", options.only);
    let prefix = Prefix::random();
    let (config, place) = locate(options, &prefix).await?;
    let plan = Plan::rehearse(checks.clone())?;
    let cap = options.max_stream_hours.unwrap_or(plan.hours() + plan.hours() / 2);
    println!("{}", plan.announcement(&place, &prefix, cap, options.side_by_side));
    service::require_consent(&place, options.confirm.as_deref())?;

    let stop = service::stop_signal()?;
    let guard = Guard::new(prefix, cap);
    let run = Run::new(&config, &guard, options.side_by_side);
    let (outcomes, stopped) = run.perform(&checks, &stop).await;
    eprintln!("{} of {} checks performed{stopped}; cleaning up", outcomes.iter().flatten().count(), checks.len());
    let cleaned = service::clean_up(&run.patient, guard.prefix(), CLEAN_UP_TIME).await;

    let findings = Findings::new(&checks, &outcomes, left_out);
    let report = findings.to_markdown(&place);
    println!("\n{report}");
    println!("{cleaned}; {} stream hours of {cap}", guard.hours());
    if !cleaned.is_complete() {
        println!("delete what is left with: conformance --clean-up {}", guard.prefix());
    }
    println!("{findings}");
    if let Some(path) = &options.report {
        std::fs::write(path, report).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(match (findings.is_complete() && cleaned.is_complete(), findings.agrees()) {
        (false, _) => Ending::Incomplete,
        (true, false) => Ending::Differs,
        (true, true) => Ending::Agrees,
    })
}

/// Deletes what an earlier run left.
///
/// # Errors
/// AWS cannot be used, or the deletion is not confirmed.
pub async fn delete_leftovers(options: &Options, prefix: &Prefix) -> anyhow::Result<Ending> {
    let (config, place) = locate(options, prefix).await?;
    let clients = Clients::patient(&config, &Guard::new(prefix.clone(), 0));
    let left = service::leftovers(&clients, prefix).await.map_err(anyhow::Error::msg)?;
    println!("place     {place}\ndeletes   {} things whose names begin with {prefix}", left.len());
    left.iter().for_each(|thing| println!("          {thing}"));
    service::require_consent(&place, options.confirm.as_deref())?;
    let cleaned = service::clean_up(&clients, prefix, CLEAN_UP_TIME).await;
    println!("{cleaned}");
    Ok(if cleaned.is_complete() { Ending::Agrees } else { Ending::Incomplete })
}

async fn locate(options: &Options, prefix: &Prefix) -> anyhow::Result<(SdkConfig, Place)> {
    let config = service::config(options.profile.as_deref(), options.region.as_deref()).await?;
    let clients = Clients::patient(&config, &Guard::new(prefix.clone(), 0));
    let place = Box::pin(service::find(&config, &clients, prefix)).await?;
    Ok((config, place))
}

/// Checks whose names contain one of the texts, or all, and the number of those that need virtual time.
fn chosen(checks: Vec<Check>, only: &[String]) -> (Vec<Check>, usize) {
    let is_chosen = |check: &Check| only.is_empty() || only.iter().any(|part| check.name.contains(part));
    let checks: Vec<_> = checks.into_iter().filter(is_chosen).collect();
    let (left_out, performed): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|check| check.needs == Needs::VirtualTime);
    (performed, left_out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_chosen_by_parts_of_their_names() {
        let (all, left_out) = chosen(crate::conformance::checks(), &[]);
        let (some, _) = chosen(crate::conformance::checks(), &["a_token".to_owned(), "a_split_closes".to_owned()]);

        assert_eq!(all.len() + left_out, crate::conformance::checks().len());
        assert!(left_out > 5);
        assert!(
            some.len() > 3 && some.iter().all(|check| check.name.contains("a_token") || check.name.contains("split"))
        );
    }
}
