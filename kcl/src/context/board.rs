//! The shards of one worker, and what they are doing right now.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    locked::locked,
    logic::{health::millis, shard::stall::Activity},
    metrics::shard::LagRecorder,
    model::{Checkpoint, LeaseKey, ShardHealth, ShardPhase, ShardStatus, Stall, StreamShard},
    time::now,
};

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) status: ShardStatus,
    pub(crate) activity: Activity,
    lag: LagRecorder,
    /// Maximum lag since the last look at all shards.
    peak: Option<Duration>,
}

impl Entry {
    fn stall(&self, now: Instant, patience: Duration) -> Option<Stall> {
        self.activity.stall(self.status.phase, self.status.failures, now, patience)
    }

    fn record_lag(&mut self, now: Instant) {
        if let Some(lag) = self.activity.lag(self.status.phase, now) {
            self.lag.record(lag);
            self.peak = self.peak.max(Some(lag));
        }
    }

    fn status(&self, now: Instant, stall: Option<Stall>) -> ShardStatus {
        let in_hand =
            self.activity.in_hand.map(|(behind, at)| behind.saturating_add(now.saturating_duration_since(at)));
        ShardStatus { stall, behind_latest: in_hand.or(self.status.behind_latest), ..self.status.clone() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Changed by each shard's task, a line at a time.
    shards: Mutex<BTreeMap<LeaseKey, Entry>>,
}

impl Board {
    pub(crate) fn all(&self, now: Instant, patience: Duration) -> Vec<ShardStatus> {
        let status = |entry: &Entry| entry.status(now, entry.stall(now, patience));
        locked(&self.shards).values().map(status).collect()
    }

    pub(crate) fn health(&self, now: Instant, patience: Duration) -> Vec<ShardHealth> {
        let health = |entry: &Entry| {
            let ShardStatus { shard, phase, checkpoint, behind_latest, failures, stall } =
                entry.status(now, entry.stall(now, patience));
            let behind_latest = entry.activity.lag(phase, now).or(behind_latest);
            ShardHealth {
                stream: shard.stream_id.to_string(),
                shard_id: shard.shard_id.to_string(),
                phase,
                checkpoint: checkpoint.to_string(),
                behind_latest_millis: behind_latest.map(millis),
                failures,
                without_progress_millis: millis(now.saturating_duration_since(entry.activity.stands_since())),
                stall,
            }
        };
        locked(&self.shards).values().map(health).collect()
    }

    /// Those that make no progress, and since when.
    pub(crate) fn stalled(&self, now: Instant, patience: Duration) -> Vec<(LeaseKey, ShardStatus, Duration)> {
        let shards = locked(&self.shards);
        let stalled = shards.iter().filter_map(|(key, entry)| {
            let stall = entry.stall(now, patience)?;
            let stands = now.saturating_duration_since(entry.activity.stands_since());
            Some((key.clone(), entry.status(now, Some(stall)), stands))
        });
        stalled.collect()
    }

    pub(crate) fn len(&self) -> usize {
        locked(&self.shards).len()
    }

    /// Records how far each is behind by now. Returns the maximum since the last call; None if none is known.
    pub(crate) fn record_lags(&self, now: Instant) -> Option<Duration> {
        let peak = |entry: &mut Entry| {
            entry.record_lag(now);
            entry.peak.take()
        };
        locked(&self.shards).values_mut().filter_map(peak).max()
    }

    /// Records the lag of a shard.
    pub(crate) fn record_lag(&self, key: &LeaseKey) {
        self.change(key, |entry| entry.record_lag(now()));
    }

    pub(crate) fn add(&self, key: LeaseKey, shard: StreamShard, checkpoint: Checkpoint, lag: LagRecorder) {
        let phase = ShardPhase::WaitingForParents;
        let status = ShardStatus { shard, phase, checkpoint, behind_latest: None, failures: 0, stall: None };
        locked(&self.shards).insert(key, Entry { status, activity: Activity::beginning(now()), lag, peak: None });
    }

    pub(crate) fn change(&self, key: &LeaseKey, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = locked(&self.shards).get_mut(key) {
            change(entry);
        }
    }

    pub(crate) fn enter(&self, key: &LeaseKey, phase: ShardPhase) {
        self.change(key, |entry| {
            (entry.activity.moved, entry.status.phase) = (now(), phase);
            if phase == ShardPhase::Ended {
                entry.lag.end();
            }
        });
    }

    pub(crate) fn remove(&self, key: &LeaseKey) {
        if let Some(entry) = locked(&self.shards).remove(key) {
            entry.lag.end();
        }
    }
}
