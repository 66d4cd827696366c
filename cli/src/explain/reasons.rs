//! Why a shard makes no progress, from two looks at its fleet and one at its stream. Pure.

use std::time::Duration;

use kcl::Checkpoint;
use serde::Serialize;

use crate::{
    fleet::{
        lag::Lag,
        view::{FleetView, LeaseView, WorkerView},
    },
    text,
};

/// A sentence, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    pub(super) sentence: String,
    pub(super) evidence: String,
}

/// Answers of the stream about the shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct StreamEvidence {
    /// False: the stream does not list it. None: the stream is not known, or may not be listed.
    pub(super) is_listed: Option<bool>,
    pub(super) parents: Vec<String>,
    pub(super) retention: Option<Duration>,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) before: &'a FleetView,
    pub(super) now: &'a FleetView,
    /// Time between the two looks.
    pub(super) watched: Duration,
    pub(super) shard: &'a str,
    pub(super) stream: StreamEvidence,
}

/// Part of the retention after which unread data are about to be lost.
const NEARLY_EXPIRED: f64 = 0.9;
/// Time within which a living owner renews its lease: 4 s by default, 3.3 s in Java, and a slow write.
const RENEWAL: Duration = Duration::from_secs(5);
/// Lag of a shard that is read to its tip: a read each second, and the time to process it.
const TIP: Duration = Duration::from_secs(2);
/// Lag from which on a checkpoint that stands still is a sign of trouble.
const MIN_JUDGED_LAG: Duration = Duration::from_secs(10);

fn reason(sentence: impl Into<String>, evidence: impl Into<String>) -> Reason {
    Reason { sentence: sentence.into(), evidence: evidence.into() }
}

/// The reasons, the root of all first. Never empty.
pub(super) fn reasons(evidence: &Evidence<'_>) -> Vec<Reason> {
    let Some(lease) = find(evidence.now, evidence.shard) else { return without_lease(evidence) };
    let owner = lease.owner.as_deref().unwrap_or("-");
    if lease.is_ended() {
        let sentence = format!("{} is processed to its end", evidence.shard);
        return vec![reason(sentence, "its checkpoint is SHARD_END")];
    }
    if let Some(parent) = unfinished_ancestor(evidence.now, lease) {
        let sentence = format!("it waits until its ancestor {} is processed to the end", parent.shard_id);
        let at = format!(
            "the lease of {} is at {} with owner {}",
            parent.shard_id,
            parent.checkpoint,
            parent.owner.as_deref().unwrap_or("-")
        );
        let inner = Evidence { shard: &parent.shard_id, stream: StreamEvidence::default(), ..*evidence };
        let mut reasons = vec![reason(sentence, at)];
        reasons.extend(reasons_of_lease(&inner, parent));
        return reasons;
    }
    let mut reasons = reasons_of_lease(evidence, lease);
    if evidence.stream.is_listed == Some(false) {
        reasons.insert(
            0,
            reason(
                "the stream does not have it any more",
                format!("ListShards does not name it, {owner} owns its lease"),
            ),
        );
    }
    reasons
}

pub(super) fn find<'a>(view: &'a FleetView, shard: &str) -> Option<&'a LeaseView> {
    view.leases.iter().find(|lease| lease.key == shard || lease.shard_id == shard)
}

/// The eldest ancestor that has a lease and is not ended.
fn unfinished_ancestor<'a>(view: &'a FleetView, lease: &LeaseView) -> Option<&'a LeaseView> {
    let mut found = None;
    let mut to_visit = vec![lease.clone()];
    let mut visited = Vec::new();
    while let Some(lease) = to_visit.pop() {
        for parent in &lease.parents {
            let of_same_stream = |it: &&LeaseView| it.shard_id == *parent && it.stream == lease.stream;
            let Some(parent) = view.leases.iter().find(of_same_stream) else { continue };
            if visited.contains(&parent.key) {
                continue;
            }
            visited.push(parent.key.clone());
            if !parent.is_ended() {
                found = Some(parent);
            }
            to_visit.push(parent.clone());
        }
    }
    found
}

fn without_lease(evidence: &Evidence<'_>) -> Vec<Reason> {
    let Evidence { now, shard, stream, .. } = evidence;
    if stream.is_listed == Some(false) {
        return vec![reason(format!("there is no {shard}"), "neither the lease table nor the stream names it")];
    }
    let parents: Vec<&LeaseView> = stream.parents.iter().filter_map(|parent| find(now, parent)).collect();
    if let Some(parent) = parents.iter().find(|parent| !parent.is_ended()) {
        let sentence =
            format!("it has no lease yet: that is created when its parent {} is processed to the end", parent.shard_id);
        return vec![reason(
            sentence,
            format!("the parent is at {} with owner {}", parent.checkpoint, parent.owner.as_deref().unwrap_or("-")),
        )];
    }
    let sentence =
        "it has no lease although no parent is in its way: a hole, which the leader closes at its next audit";
    let mut reasons = vec![reason(sentence, format!("no item of table {} is its lease", now.application))];
    reasons.extend(leaderless(now));
    reasons
}

/// Fault of the leader, if it has one.
fn leaderless(view: &FleetView) -> Option<Reason> {
    let Some(leader) = &view.leader else {
        let nobody = view.alive() == 0;
        let sentence = if nobody {
            "no worker runs"
        } else {
            "no worker leads, so leases are neither created nor given to workers"
        };
        return Some(reason(sentence, "no leader's lock, or a released one"));
    };
    let worker = view.worker(leader)?;
    let age = text::duration(Duration::from_secs(worker.age_seconds?));
    worker.is_stale.then(|| {
        reason(format!("the leader {leader} is dead"), format!("its last report was {age} ago, and it holds the lock"))
    })
}

fn reasons_of_lease(evidence: &Evidence<'_>, lease: &LeaseView) -> Vec<Reason> {
    let now = evidence.now;
    let Some(owner) = &lease.owner else {
        let mut reasons =
            vec![reason("no worker owns it", format!("its lease has no owner, {} workers are alive", now.alive()))];
        reasons.extend(leaderless(now));
        return reasons;
    };
    let watched = text::duration(evidence.watched);
    let before = find(evidence.before, evidence.shard);
    if let Some(former) = before.and_then(|before| before.owner.as_deref()).filter(|former| former != owner) {
        let sentence = format!("{owner} has taken it from {former} a moment ago");
        return vec![reason(sentence, format!("the owner changed within {watched}: look again"))];
    }
    let mut reasons = Vec::new();
    let is_written = before.is_some_and(|before| before.counter != lease.counter);
    let is_judged = evidence.watched >= RENEWAL;
    match now.worker(owner) {
        Some(worker) if worker.is_stale && !is_written => {
            reasons.push(dead(owner, worker, &watched, is_judged));
            reasons.extend(leaderless(now));
            return reasons;
        }
        _ if !is_written && is_judged && !now.by_heartbeat && before.is_some() => {
            reasons.push(reason(
                format!("its owner {owner} does not renew the lease: it hangs or cannot reach DynamoDB, or has died a moment ago"),
                format!("the counter stands at {} for {watched}", lease.counter),
            ));
        }
        _ => {}
    }
    if let Some(next) = &lease.next_owner {
        reasons.push(reason(
            format!("it is being handed over from {owner} to {next}"),
            "checkpointOwner is set; at most 30 s by default, until the owner's call returns and is checkpointed",
        ));
    }
    reasons.extend(progress(evidence, lease, owner, before));
    reasons
}

/// An owner that does not report, and whose lease was not written while it was watched.
fn dead(owner: &str, worker: &WorkerView, watched: &str, is_judged: bool) -> Reason {
    let since = worker.age_seconds.map_or("it does not report at all".to_owned(), |age| {
        format!("its last report was {} ago", text::duration(Duration::from_secs(age)))
    });
    if is_judged {
        return reason(
            format!("its owner {owner} is dead"),
            format!("{since}, the lease was not written within {watched}"),
        );
    }
    let renewal = text::duration(RENEWAL);
    reason(
        format!("its owner {owner} is dead, or lives and cannot report"),
        format!("{since}; the lease was watched for {watched}, and a living owner may take {renewal} to renew it"),
    )
}

fn progress(evidence: &Evidence<'_>, lease: &LeaseView, owner: &str, before: Option<&LeaseView>) -> Vec<Reason> {
    let watched = text::duration(evidence.watched);
    let moved = before.is_some_and(|before| before.position != lease.position);
    let mut reasons = Vec::new();
    match &lease.lag {
        Some(Lag::Millis(millis)) => {
            let lag = Duration::from_millis(*millis);
            let age = text::duration(lag);
            if let Some(retention) =
                evidence.stream.retention.filter(|it| lag.as_secs_f64() > it.as_secs_f64() * NEARLY_EXPIRED)
            {
                let left = text::duration(retention.saturating_sub(lag));
                reasons.push(reason(
                    format!("its data expire unread in {left}, or have begun to"),
                    format!(
                        "the oldest record that is not processed is {age} old, the stream retains {}",
                        text::duration(retention)
                    ),
                ));
            }
            if lag < TIP {
                reasons.push(reason("it is at the tip: there is nothing more to process", format!("the lag is {age}")));
            } else if moved {
                reasons.push(reason(
                    format!("{owner} makes progress and is {age} behind"),
                    format!("the checkpoint moved within {watched}, to {}", lease.checkpoint),
                ));
            } else if lag < evidence.watched.max(MIN_JUDGED_LAG) {
                reasons.push(reason(
                    format!(
                        "{owner} is {age} behind, which is too young to be judged: look again, or watch it for longer"
                    ),
                    format!("the checkpoint stands at {} for {watched}", lease.checkpoint),
                ));
            } else {
                reasons.push(reason(
                    format!("{owner} holds the lease and does not checkpoint: its processor hangs, fails again and again, or checkpoints rarely"),
                    format!("the checkpoint stands at {} for {watched}, the oldest record behind it is {age} old", lease.checkpoint),
                ));
            }
        }
        Some(Lag::Unknown(why)) if why.contains("throttled") => {
            reasons.push(reason(
                "its reads are throttled: more readers share the shard's five reads a second than it has room for",
                why,
            ));
        }
        Some(Lag::Unknown(why)) => reasons.push(reason("its lag is not known", why)),
        None if moved => {
            reasons.push(reason(format!("{owner} makes progress"), format!("the checkpoint moved within {watched}")))
        }
        None => {}
    }
    if let (Some(pending), false) = (&lease.pending_checkpoint, matches!(lease.position, Checkpoint::ShardEnd)) {
        reasons.push(reason("a checkpoint is prepared and not committed", format!("pendingCheckpoint is {pending}")));
    }
    if reasons.is_empty() {
        reasons.push(reason(
            format!("nothing hinders {owner} that can be seen from outside"),
            format!("watched for {watched}"),
        ));
    }
    reasons
}

#[cfg(test)]
mod tests;
