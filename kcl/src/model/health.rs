//! The health of a worker, for probes and for people.

use std::fmt;

use serde::Serialize;

use super::shard::{ShardPhase, Stall};

/// The health of a worker at one moment. Serialises as JSON for a probe's answer; durations are in milliseconds.
///
/// A shard that makes no progress changes neither [`live`](Self::live) nor [`ready`](Self::ready): a new process would
/// meet the same record, limit or parent. [`ShardHealth::stall`] says what it waits for, and
/// [`Event::ShardStalled`](crate::Event::ShardStalled) reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Id of the worker.
    pub worker_id: String,
    /// False once the worker has ended, and while its own tasks do not come to run: a new process would mend that.
    pub live: bool,
    /// True while the worker has joined the fleet, does not stop, reaches its lease table, knows who leads, and is refused no
    /// call that it needs.
    pub ready: bool,
    /// Reasons why it is not live or not ready; empty if it is both.
    pub problems: Vec<HealthProblem>,
    /// Id of the worker that leads the fleet, when last seen. None of a replay.
    pub leader: Option<String>,
    /// Shards whose leases the worker holds, by stream and id.
    pub shards: Vec<ShardHealth>,
}

impl Health {
    /// Shards that have made no progress for [`WorkerBuilder::warn_after`](crate::WorkerBuilder::warn_after).
    pub fn stalled(&self) -> impl Iterator<Item = &ShardHealth> {
        self.shards.iter().filter(|shard| shard.stall.is_some())
    }
}

/// Reason why a worker is not live or not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthProblem {
    /// The worker has ended. Not live.
    #[non_exhaustive]
    Ended {
        /// Error by which it ended by itself; None after a stop in good order.
        error: Option<String>,
    },
    /// The worker's own tasks have not come to run, perhaps because processors block the runtime's threads. Not live.
    #[non_exhaustive]
    TasksStandStill {
        /// Time since they did.
        for_millis: u64,
    },
    /// The worker starts, and has not joined the fleet yet.
    Starting,
    /// The worker was asked to stop.
    Stopping,
    /// Calls to the lease table have failed, or not been answered, for a lease duration.
    #[non_exhaustive]
    LeaseTableFailing {
        /// Time since all went well.
        for_millis: u64,
        /// The last error; None if calls are not answered at all.
        error: Option<String>,
    },
    /// For a lease duration nobody has led the fleet, or it was not known who did: no lease is given away.
    LeaderUnknown,
    /// Since its join the worker has not listed the shards as the leader, nor seen that another worker leads. At a start this
    /// lasts for a moment.
    ShardsNotListed,
    /// A call that the worker needs is refused for its credentials or permissions, or shards cannot be listed for a minute. It
    /// has not succeeded since, for any shard. Forgotten five minutes after the last try, one minute for the lease table.
    #[non_exhaustive]
    CallFailing {
        /// IAM action, for example `kinesis:ListShards`.
        action: String,
        /// Stream, by the name or ARN that it was given by, or table.
        resource: String,
        /// Time since the first of the failures in a row.
        for_millis: u64,
        /// The last error.
        error: String,
    },
}

impl HealthProblem {
    /// True if a worker with this problem is not live.
    pub fn ends_life(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::TasksStandStill { .. })
    }
}

impl fmt::Display for HealthProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { error: None } => f.write_str("the worker has stopped"),
            Self::Ended { error: Some(error) } => write!(f, "the worker has ended: {error}"),
            Self::TasksStandStill { for_millis } => {
                write!(f, "the worker's tasks have not run for {} s", for_millis / 1000)
            }
            Self::Starting => f.write_str("the worker has not joined the fleet yet"),
            Self::Stopping => f.write_str("the worker is stopping"),
            Self::LeaseTableFailing { for_millis, error: Some(error) } => {
                write!(f, "calls to the lease table have failed for {} s: {error}", for_millis / 1000)
            }
            Self::LeaseTableFailing { for_millis, error: None } => {
                write!(f, "the lease table has not answered for {} s", for_millis / 1000)
            }
            Self::LeaderUnknown => f.write_str("it is not known who leads the fleet"),
            Self::ShardsNotListed => f.write_str("the shards have not been listed yet"),
            Self::CallFailing { action, resource, for_millis, error } => {
                write!(f, "{action} on {resource} has failed for {} s: {error}", for_millis / 1000)
            }
        }
    }
}

/// The health of a shard whose lease the worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShardHealth {
    /// Id of its stream, as in the lease table.
    pub stream: String,
    /// Id of the shard.
    pub shard_id: String,
    /// Phase of its life.
    pub phase: ShardPhase,
    /// The last checkpoint that the worker knows to be stored.
    pub checkpoint: String,
    /// Lag behind the end of the shard, as in the metric MillisBehindLatest: it grows while a batch is in hand or reads
    /// fail. None before the first answer.
    pub behind_latest_millis: Option<u64>,
    /// Failures of processors in a row.
    pub failures: u32,
    /// Time since the shard last made progress: entered a phase, had a read answered, or a processor's call returned.
    pub without_progress_millis: u64,
    /// Reason why it makes no progress, once that lasts for
    /// [`WorkerBuilder::warn_after`](crate::WorkerBuilder::warn_after).
    pub stall: Option<Stall>,
}
