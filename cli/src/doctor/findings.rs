//! Findings about a fleet, from what is known of it. Pure.

use std::{collections::HashSet, time::Duration};

use serde::Serialize;

use crate::{
    fleet::{
        lag::Lag,
        view::{FleetView, Layout, LeaseView},
    },
    reading::shards::Shard,
    text,
};

/// Weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Good to know.
    Note,
    /// Works, but not as well as it should, or not for long.
    Warning,
    /// Records are not processed, or are being lost.
    Critical,
}

/// Something that was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) what: String,
    pub(super) advice: String,
}

/// Facts about the lease table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TableFacts {
    pub(super) has_index: bool,
    /// Write units of a provisioned table; None: on demand.
    pub(super) write_units: Option<u64>,
    pub(super) is_protected: bool,
}

/// Facts about the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamFacts {
    pub(super) retention: Duration,
    pub(super) consumers: Vec<String>,
    pub(super) shards: Vec<Shard>,
    pub(super) open: HashSet<String>,
}

/// Everything that is known. What is None could not be found out.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) view: &'a FleetView,
    pub(super) table: Option<TableFacts>,
    pub(super) stream: Option<StreamFacts>,
    /// Actions that the caller is denied.
    pub(super) denied: Vec<(&'static str, String)>,
    pub(super) clock_ahead_millis: Option<i64>,
}

/// Difference of clocks from which on it is reported.
const CLOCK: i64 = 5_000;
/// Renewals of a lease, or heartbeats of a worker, in a second. Source: KCL `failoverTimeMillis`, of which a third is the interval.
const RENEWALS: f64 = 1.0 / 3.308;

fn finding(severity: Severity, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { severity, what: what.into(), advice: advice.into() }
}

/// The findings, the worst first.
pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (action, resource) in &evidence.denied {
        let advice = format!("allow {action} on {resource}, if the fleet has the same policy as this caller");
        found.push(finding(Severity::Warning, format!("{action} is denied to this caller"), advice));
    }
    found.extend(evidence.clock_ahead_millis.and_then(clock));
    found.extend(of_workers(evidence.view));
    found.extend(evidence.table.as_ref().map(|table| of_table(evidence.view, table)).into_iter().flatten());
    found.extend(of_layout(evidence.view));
    found.extend(of_leases(evidence.view));
    if let Some(stream) = &evidence.stream {
        found.extend(of_retention(evidence.view, stream.retention));
        found.extend(of_lineage(evidence.view, stream));
        found.extend(of_consumers(evidence.view, stream));
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

fn clock(ahead_millis: i64) -> Option<Finding> {
    let by = text::duration(Duration::from_millis(ahead_millis.unsigned_abs()));
    let way = if ahead_millis > 0 { "behind" } else { "ahead of" };
    (ahead_millis.abs() > CLOCK).then(|| {
        let what = format!("this machine's clock is {by} {way} the services'");
        finding(Severity::Warning, what, "set it by NTP; a Java worker whose clock is off by a minute gets no leases")
    })
}

fn of_workers(view: &FleetView) -> Vec<Finding> {
    let mut found = Vec::new();
    if view.alive() == 0 && !view.leases.is_empty() {
        found.push(finding(Severity::Critical, "no worker is alive", "start workers"));
    }
    for worker in view.workers.iter().filter(|worker| worker.is_stale) {
        let age = worker
            .age_seconds
            .map_or("never".to_owned(), |age| format!("{} ago", text::duration(Duration::from_secs(age))));
        let what = format!(
            "worker {} is stale: it reported {age} and has {}",
            worker.id,
            text::counted(worker.leases as u64, "lease")
        );
        let severity = if worker.leases > 0 { Severity::Warning } else { Severity::Note };
        found.push(finding(
            severity,
            what,
            "its leases expire and its item is deleted by the leader; kds cleanup deletes it now",
        ));
    }
    if view.layout == Layout::LeasesAlone || view.alive() == 0 {
        return found;
    }
    let leader = view.leader.as_deref().and_then(|leader| view.worker(leader));
    if view.leader.is_none() || leader.is_some_and(|leader| leader.is_stale) {
        let what =
            view.leader.as_ref().map_or("no worker leads".to_owned(), |leader| format!("the leader {leader} is dead"));
        found.push(finding(
            Severity::Critical,
            what,
            "another takes over within seconds, with Java up to 2 min; if none does, look at the workers' logs",
        ));
    }
    found
}

fn of_table(view: &FleetView, table: &TableFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if !table.has_index && view.layout != Layout::LeasesAlone {
        let advice = "allow dynamodb:UpdateTable, by which a starting worker creates it, or create it";
        found.push(finding(Severity::Warning, "the index LeaseOwnerToLeaseKeyIndex is missing", advice));
    }
    let renewed = if view.by_heartbeat { view.workers.len() } else { view.leases.len() };
    let needed = renewed as f64 * RENEWALS;
    if let Some(units) = table.write_units.filter(|units| (*units as f64) < needed) {
        let what = format!("the table is provisioned for {units} writes a second, and renewals alone take {needed:.0}");
        found.push(finding(Severity::Critical, what, "raise it, or make the table on demand"));
    }
    if !table.is_protected {
        found.push(finding(
            Severity::Note,
            "the table is not protected against deletion",
            "enable its deletion protection",
        ));
    }
    found
}

fn of_layout(view: &FleetView) -> Vec<Finding> {
    let mut found = Vec::new();
    match view.version.as_deref() {
        None | Some("CLIENT_VERSION_3X") => {}
        Some(state) => {
            let what = format!("the migration from KCL 2.x is in the state {state}");
            found.push(finding(
                Severity::Warning,
                what,
                "it ends once all workers run 3.x; a worker of 2.x that still owns leases holds it up",
            ));
        }
    }
    if view.layout == Layout::ThreeTables {
        let advice = "with all workers on KCL 3.5 or kcl, migrate to one table: it costs less";
        found.push(finding(Severity::Note, "the fleet is in the three tables of KCL 3.0 to 3.4", advice));
    }
    for key in &view.unreadable {
        found.push(finding(
            Severity::Critical,
            format!("item {key} claims to be a lease and cannot be read"),
            "repair or delete it",
        ));
    }
    found
}

fn of_leases(view: &FleetView) -> Vec<Finding> {
    let mut found = Vec::new();
    let open = || view.leases.iter().filter(|lease| !lease.is_ended());
    let unowned: Vec<_> = open().filter(|lease| lease.owner.is_none()).map(LeaseView::name).collect();
    if !unowned.is_empty() && view.alive() > 0 {
        let what = format!("{} without an owner: {}", text::counted(unowned.len() as u64, "lease"), few(&unowned));
        found.push(finding(
            Severity::Warning,
            what,
            "kds explain APP SHARD says why; parents that are not processed hold their children back",
        ));
    }
    let dead: Vec<_> = open()
        .filter(|lease| {
            lease.owner.as_ref().is_some_and(|owner| view.worker(owner).is_some_and(|worker| worker.is_stale))
        })
        .map(LeaseView::name)
        .collect();
    if !dead.is_empty() {
        let what = format!("{} of dead workers: {}", text::counted(dead.len() as u64, "lease"), few(&dead));
        found.push(finding(
            Severity::Critical,
            what,
            "they expire and move to living workers; if not, no worker leads",
        ));
    }
    found
}

fn of_retention(view: &FleetView, retention: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    for lease in &view.leases {
        let Some(Lag::Millis(millis)) = lease.lag else { continue };
        let (lag, left) = (Duration::from_millis(millis), retention.saturating_sub(Duration::from_millis(millis)));
        let severity = match lag.as_secs_f64() / retention.as_secs_f64().max(1.0) {
            ..0.5 => continue,
            0.5..0.9 => Severity::Warning,
            _ => Severity::Critical,
        };
        let what = format!("data of {} expire unread in {}", lease.name(), text::duration(left));
        let advice = format!("its lag is {}: lengthen the retention, then see kds explain", text::duration(lag));
        found.push(finding(severity, what, advice));
    }
    found
}

fn of_lineage(view: &FleetView, stream: &StreamFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    // The table of an application of several streams is judged by the leases of each shard only.
    if view.leases.iter().any(|lease| lease.stream.is_some()) || view.leases.is_empty() {
        return found;
    }
    let lease = |id: &str| view.leases.iter().find(|lease| lease.shard_id == id);
    for shard in stream.shards.iter().filter(|shard| stream.open.contains(shard.id.as_str())) {
        let waits = || shard.parents.iter().any(|parent| is_on_the_way(parent.as_str(), &lease, stream));
        if lease(shard.id.as_str()).is_none() && !waits() {
            let what = format!("open shard {} has no lease, and no parent is being processed", shard.id);
            found.push(finding(
                Severity::Critical,
                what,
                "its leader creates it at the next audit, after 2 min at most; if not, look at its log",
            ));
        }
    }
    let listed: HashSet<&str> = stream.shards.iter().map(|shard| shard.id.as_str()).collect();
    let orphans: Vec<_> =
        view.leases.iter().filter(|it| !listed.contains(it.shard_id.as_str())).map(LeaseView::name).collect();
    if !orphans.is_empty() {
        let what = format!(
            "{} of shards that the stream has forgotten: {}",
            text::counted(orphans.len() as u64, "lease"),
            few(&orphans)
        );
        found.push(finding(Severity::Note, what, "the leader deletes them; kds cleanup deletes ended ones now"));
    }
    found.extend(overlaps(view));
    found
}

/// Returns whether a shard, or one before it, has a lease that is not ended: then its children get leases later.
fn is_on_the_way<'a>(id: &str, lease: &impl Fn(&str) -> Option<&'a LeaseView>, stream: &StreamFacts) -> bool {
    let mut to_visit = vec![id.to_owned()];
    let mut visited = HashSet::new();
    while let Some(id) = to_visit.pop() {
        if !visited.insert(id.clone()) {
            continue;
        }
        if lease(&id).is_some_and(|lease| !lease.is_ended()) {
            return true;
        }
        let shard = stream.shards.iter().find(|shard| shard.id.as_str() == id);
        to_visit.extend(shard.iter().flat_map(|shard| &shard.parents).map(ToString::to_string));
    }
    false
}

/// Leases that would process the same hash keys at the same time.
fn overlaps(view: &FleetView) -> Vec<Finding> {
    let is_child = |a: &LeaseView, b: &LeaseView| a.parents.contains(&b.shard_id) || b.parents.contains(&a.shard_id);
    let mut ranges: Vec<_> =
        view.leases.iter().filter(|it| !it.is_ended()).filter_map(|it| Some((it.range?, it))).collect();
    ranges.sort_by_key(|(range, _)| range.start);
    let pairs = ranges.windows(2).filter(|pair| pair[0].0.end >= pair[1].0.start && !is_child(pair[0].1, pair[1].1));
    pairs
        .map(|pair| {
            let what = format!("{} and {} share hash keys", pair[0].1.name(), pair[1].1.name());
            finding(
                Severity::Note,
                what,
                "the one before must end before the one after begins; kds explain says whether it waits",
            )
        })
        .collect()
}

fn of_consumers(view: &FleetView, stream: &StreamFacts) -> Vec<Finding> {
    let others = stream.consumers.iter().filter(|consumer| **consumer != view.application);
    let what = |consumer: &String| {
        format!("fan-out consumer {consumer} is registered, under another name than the application's")
    };
    let advice = "deregister it if nobody uses it: each shard is billed by the hour for it";
    others.map(|consumer| finding(Severity::Note, what(consumer), advice)).collect()
}

/// The first names of a list.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests;
