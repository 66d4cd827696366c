//! The roster of the children: which shard has which, how they fare, and when another may be started.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{counter, gauge};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

/// Pause between two starts after failures, of all shards together: at most five a second.
const RESPAWN_PAUSE: Duration = Duration::from_millis(200);
/// Maximum number of shards that are remembered. Those that ended in good order are forgotten at once.
const MAX_SHARDS: usize = 10_000;

/// State of a shard's child.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ChildStatus {
    /// Process id, while it runs.
    pub(crate) pid: Option<u32>,
    /// Children that failed since one last had a batch processed.
    pub(crate) failures: u32,
    /// The last failure among these.
    pub(crate) last_failure: Option<String>,
    /// The last child failed, and none has answered since.
    pub(crate) is_failing: bool,
}

#[derive(Debug, Default)]
struct Shards {
    by_id: BTreeMap<String, ChildStatus>,
    next_respawn: Option<Instant>,
}

/// State of all children. Locked for a few lines.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<Shards>);

impl Roster {
    fn locked(&self) -> MutexGuard<'_, Shards> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a shard to have a child started: at once unless its last one failed.
    pub(crate) async fn turn(&self, shard_id: &str) {
        let turn = self.locked().reserve(shard_id, Instant::now());
        if let Some(turn) = turn {
            sleep_until(turn).await;
        }
    }

    pub(crate) fn started(&self, shard_id: &str, pid: u32) {
        counter!("kcl_multilang_children_started").increment(1);
        gauge!("kcl_multilang_children_running").increment(1);
        self.change(shard_id, |status| status.pid = Some(pid));
    }

    /// A child answered an action; `has_records`: it has had records.
    pub(crate) fn answered(&self, shard_id: &str, has_records: bool) {
        let mut shards = self.locked();
        let Some(status) = shards.by_id.get_mut(shard_id) else { return };
        status.is_failing = false;
        if has_records {
            (status.failures, status.last_failure) = (0, None);
        }
    }

    pub(crate) fn failed(&self, shard_id: &str, error: &str) {
        counter!("kcl_multilang_children_failed").increment(1);
        self.change(shard_id, |status| {
            if status.pid.take().is_some() {
                gauge!("kcl_multilang_children_running").decrement(1);
            }
            status.failures = status.failures.saturating_add(1);
            (status.last_failure, status.is_failing) = (Some(error.to_owned()), true);
        });
    }

    /// A child ended in good order.
    pub(crate) fn ended(&self, shard_id: &str) {
        gauge!("kcl_multilang_children_running").decrement(1);
        self.locked().by_id.remove(shard_id);
    }

    /// States of all shards that have a child, or had one that failed.
    pub(crate) fn all(&self) -> BTreeMap<String, ChildStatus> {
        self.locked().by_id.clone()
    }

    fn change(&self, shard_id: &str, change: impl FnOnce(&mut ChildStatus)) {
        let mut shards = self.locked();
        if shards.by_id.len() >= MAX_SHARDS {
            shards.by_id.retain(|id, status| status.pid.is_some() || id == shard_id);
        }
        change(shards.by_id.entry(shard_id.to_owned()).or_default());
    }
}

impl Shards {
    fn reserve(&mut self, shard_id: &str, now: Instant) -> Option<Instant> {
        self.by_id.get(shard_id).filter(|status| status.failures > 0)?;
        let turn = self.next_respawn.map_or(now, |next| next.max(now));
        self.next_respawn = Some(turn + RESPAWN_PAUSE);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn respawns_are_five_a_second_over_all_shards() {
        let roster = Roster::default();
        let begun = Instant::now();
        for shard in 0..20 {
            roster.turn(&shard.to_string()).await;
            roster.started(&shard.to_string(), 1);
            roster.failed(&shard.to_string(), "it ended");
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "first starts have no turn");

        for shard in 0..20 {
            roster.turn(&shard.to_string()).await;
        }

        assert_eq!(begun.elapsed(), RESPAWN_PAUSE * 19);
    }

    #[test]
    fn failures_count_until_records_are_processed() {
        let roster = Roster::default();
        for _ in 0..3 {
            roster.started("a", 7);
            roster.failed("a", "it ended");
        }
        roster.started("a", 8);
        let failing = roster.all()["a"].clone();
        assert_eq!((failing.pid, failing.failures, failing.is_failing), (Some(8), 3, true));

        roster.answered("a", false);
        let initialized = roster.all()["a"].clone();
        assert_eq!((initialized.failures, initialized.is_failing), (3, false));

        roster.answered("a", true);
        assert_eq!(roster.all()["a"].failures, 0);
        roster.ended("a");
        assert!(roster.all().is_empty());
    }
}
