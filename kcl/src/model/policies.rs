//! Policies of an application: its start, the shares of its workers, its former streams, checkpoints, aggregates.

use std::time::{Duration, SystemTime};

use super::id::StreamId;

/// Start of an application in shards that nobody has processed yet. Ignored where a checkpoint exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(alias = "InitialPositionInStream")]
#[doc(alias = "InitialPositionInStreamExtended")]
#[non_exhaustive]
pub enum InitialPosition {
    /// At the oldest record that the stream retains.
    TrimHorizon,
    /// After the newest record at the time of the first start.
    ///
    /// The time at which a worker first takes a shard is kept in the lease until there is a checkpoint, so nothing that
    /// comes after it is lost if that worker fails or dies; no shard is taken before all have leases. It is the
    /// service's time. Reading starts again from 5 s before it, as the service's own clocks differ, so slightly older
    /// records may be delivered. (Java asks for the newest record again; it leaves the noted time alone.)
    ///
    /// It concerns the shards of the first start. Those that follow are read from their oldest retained record, even if
    /// the stream has forgotten their parents. (A leader of Java starts such shards at LATEST.)
    #[default]
    Latest,
    /// At the first record that arrived at this time or later.
    ///
    /// It concerns the shards that took records then; those that follow are read from their oldest retained record. A
    /// time more than an hour ahead of the machine's clock is refused when the worker is built. One that the service
    /// considers future is waited for: each try is an [`Event::ReadFailed`](crate::Event::ReadFailed).
    AtTimestamp(SystemTime),
}

/// Measure by which a leader shares the leases among the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(alias = "leaseAssignmentStrategy")]
#[non_exhaustive]
pub enum Assignment {
    /// The same number of leases for each worker.
    #[default]
    #[doc(alias = "LEASE_COUNT_BASED")]
    LeaseCount,
    /// The same use of CPU for each worker, where it can be measured (containers on Kubernetes or ECS, EC2 instances),
    /// else the same throughput. Leases move once a minute at most, and only beyond 10 % from the average.
    #[doc(alias = "WORKER_UTILIZATION_AWARE")]
    Utilization,
}

/// Treatment of what a producer wrote twice, after a lost answer or a split under an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Copies {
    /// Each is delivered.
    #[default]
    Deliver,
    /// Of records with a [number](kpl::RecordNumber), one whose number was delivered before, in this shard or a parent, is left out.
    ///
    /// Numbers are kept with the checkpoint, in an attribute of the lease that Java leaves alone and of at most 1 KB, so that
    /// handoffs, restarts and reshardings do not matter; records behind the checkpoint are delivered again after a failure. A
    /// checkpoint of a Java worker, or of one without this setting, or a reset, forgets them. What may be a copy of a record that is
    /// not known any more is delivered, and counted in the metric `RecordsUndecided`.
    Drop,
}

/// Renewal of the leases that a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Renewals {
    /// One write renews all leases of a worker, three times in a [lease duration](crate::WorkerBuilder::lease_duration),
    /// while all workers of the fleet are built with this setting, its migration state is `CLIENT_VERSION_3X`, and all its
    /// items are in one table. Otherwise, with a worker of Java or of [`EachLease`](Self::EachLease), as with that.
    ///
    /// The counter of a lease then stands still while nothing is checkpointed, which is no sign of death.
    #[default]
    Automatic,
    /// A write for each lease, three times in a lease duration, as in Java.
    ///
    /// Leases of a worker are renewed at common moments, up to 25 by one request (`BatchExecuteStatement`), each under its
    /// own condition. That needs the permission `dynamodb:PartiQLUpdate`; without it each lease takes a request. What is
    /// written, and what DynamoDB bills, is the same.
    EachLease,
}

/// Maximum of a setting: longer ones count as this one, so that no time overflows.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Treatment of the leases of streams that are no longer listed, by the leader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[doc(alias = "FormerStreamsLeasesDeletionStrategy")]
#[non_exhaustive]
pub enum FormerStreams {
    /// Keeps them, with their checkpoints. Their shards are processed: while a list is rolled out, workers disagree.
    #[default]
    #[doc(alias = "NO_STREAMS_LEASES_DELETION")]
    Keep,
    /// Deletes them when the stream has not been listed for this long, by the leader's clock since it leads; at once if
    /// it does not exist. Its shards are no longer processed; listed again, it starts anew. The time should outlast a roll-out.
    #[doc(alias = "FORMER_STREAMS_AUTO_DETECTION_DEFERRED_DELETION")]
    DeleteAfter(Duration),
    /// Like [`DeleteAfter`](Self::DeleteAfter), but only for streams that are named here; others are left.
    #[doc(alias = "PROVIDED_STREAMS_DEFERRED_DELETION")]
    DeleteNamed {
        /// The streams whose leases may go.
        streams: Vec<StreamId>,
        /// Time since they were last listed.
        after: Duration,
    },
}

/// Interval of the worker's own checkpoints: by records or by time, whichever ends first. Records are processed
/// meanwhile. What is processed and not covered is also stored before a processor is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointEvery {
    /// User records of a shard. Default 10,000, at least 1. Counted at the end of each batch, by closures at each record.
    pub records: u32,
    /// Time since the oldest uncovered record was processed. Default 5 s; best effort. `Duration::MAX`: by count alone.
    pub interval: Duration,
}

impl CheckpointEvery {
    /// After this number of records or this time.
    pub const fn new(records: u32, interval: Duration) -> Self {
        Self { records, interval }
    }
}

impl Default for CheckpointEvery {
    fn default() -> Self {
        Self { records: 10_000, interval: Duration::from_secs(5) }
    }
}

/// Treatment of aggregates of the Kinesis Producer Library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Deaggregation {
    /// Delivers user records. An aggregate with a user record of another shard, by its hash key, is dropped whole, as
    /// Java does, with [`Event::AggregateOfOtherShard`](crate::Event::AggregateOfOtherShard): the KPL sends it again.
    #[default]
    DropForeign,
    /// Delivers all user records, for producers that ignore shards. A KPL may cause duplicates across a resharding.
    KeepForeign,
    /// Delivers aggregates as stored, each at its last user record's position; whole if covered only in part.
    Off,
}
