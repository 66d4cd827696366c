//! The commands of `kds` that only read, on fleets that live.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::STREAM;
use super::peers::Peers;
use super::served::Served;

/// Maximum time of a command.
const PATIENCE: Duration = Duration::from_secs(60);
/// Exit code of a doctor who has critical findings.
const CRITICAL: i32 = 4;

/// A fleet as it is known to be.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) application: &'static str,
    /// Name of its layout.
    pub(super) layout: &'static str,
    /// None in a layout without leaders.
    pub(super) leader: Option<String>,
    /// Workers that live.
    pub(super) workers: BTreeSet<String>,
    /// Open leases, all owned.
    pub(super) leases: usize,
    /// All leases have a sequence number as their checkpoint.
    pub(super) is_processed: bool,
}

/// Looks at a fleet by `kds fleet`, `kds doctor` and `kds explain`; returns a line for the report.
///
/// # Errors
/// One of them fails, or says something else than what is known.
pub(super) async fn look(peers: &Peers, served: &Served, known: &Known) -> anyhow::Result<String> {
    let application = known.application;
    let (_, fleet) = run(peers, served, &["fleet", application, "--stream", STREAM, "--json"]).await?;
    is_known(&fleet, known).with_context(|| format!("kds fleet: {fleet}"))?;
    let (code, doctor) = run(peers, served, &["doctor", application, STREAM, "--json"]).await?;
    let criticals = texts(&doctor["findings"], "severity").filter(|it| *it == "critical").count();
    ensure!(code != CRITICAL && criticals == 0, "kds doctor finds a living fleet ill: {doctor}");
    let lease = fleet["leases"].as_array().and_then(|leases| leases.iter().find(|lease| lease["owner"].is_string()));
    let lease = lease.context("no lease has an owner")?;
    let shard = lease["shardId"].as_str().context("a lease has a shard")?;
    let explain = ["explain", application, shard, "--stream", STREAM, "--for", "4s", "--json"];
    let (_, explained) = run(peers, served, &explain).await?;
    let reasons: Vec<&str> = texts(&explained["reasons"], "sentence").collect();
    ensure!(!reasons.is_empty(), "kds explain says nothing: {explained}");
    let denials =
        ["no worker owns", "no worker runs", "no worker leads", "is dead", "there is no lease", "does not renew"];
    let denied = reasons.iter().any(|reason| denials.iter().any(|denial| reason.contains(denial)));
    ensure!(!denied, "kds explain takes a living fleet for dead: {explained}");
    let (workers, leases) = (known.workers.len(), known.leases);
    Ok(format!("kds reads {}, {workers} workers, {leases} leases; explains {shard}: {}", known.layout, reasons[0]))
}

fn is_known(fleet: &Value, known: &Known) -> anyhow::Result<()> {
    ensure!(fleet["layout"] == known.layout, "the layout is {}", known.layout);
    ensure!(fleet["leader"].as_str() == known.leader.as_deref(), "{:?} leads", known.leader);
    let workers = fleet["workers"].as_array().context("there are workers")?;
    let alive = workers.iter().filter(|worker| worker["isStale"] == false).filter_map(|worker| worker["id"].as_str());
    let alive: BTreeSet<String> = alive.map(str::to_owned).collect();
    ensure!(alive == known.workers, "{:?} live", known.workers);
    let leases = fleet["leases"].as_array().context("there are leases")?;
    let open: Vec<&Value> = leases.iter().filter(|lease| lease["checkpoint"] != "SHARD_END").collect();
    ensure!(open.len() == known.leases, "{} leases are open", known.leases);
    for lease in open {
        let owner = lease["owner"].as_str().context("a lease has no owner")?;
        ensure!(known.workers.contains(owner), "{owner} owns a lease");
        let checkpoint = lease["checkpoint"].as_str().context("a lease has no position")?;
        let is_processed = checkpoint.starts_with(|c: char| c.is_ascii_digit());
        ensure!(is_processed || !known.is_processed, "a shard is at {checkpoint}");
        ensure!(lease["lagMillis"].is_u64(), "a lease has no lag");
    }
    Ok(())
}

fn texts<'a>(list: &'a Value, field: &'a str) -> impl Iterator<Item = &'a str> {
    list.as_array().into_iter().flatten().filter_map(move |it| it[field].as_str())
}

/// Exit code and output of a command.
async fn run(peers: &Peers, served: &Served, arguments: &[&str]) -> anyhow::Result<(i32, Value)> {
    let mut command = Command::new(peers.binary("kds"));
    command.args(arguments).envs(served.environment().iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.context("kds does not end")?;
    let output = output.context("kds cannot be started")?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout);
    let value = value.with_context(|| format!("kds {} says {error}", arguments.join(" ")))?;
    ensure!(error.is_empty(), "kds {} complains: {error}", arguments.join(" "));
    Ok((output.status.code().unwrap_or(-1), value))
}
