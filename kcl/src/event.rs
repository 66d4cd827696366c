//! Events of a worker, for programs. The same facts are logged.

use std::{
    fmt,
    mem::discriminant,
    sync::{Arc, Mutex},
    time::Duration,
};

use kpl::{
    HashKeyRange, SequenceNumber, ShardId,
    compressed::FrameError,
    repeats::{Logged, Repeats, line},
};
use tracing::{debug, error, info, warn};

use crate::{
    contained::{Contained, contained_now},
    locked::locked,
    model::{Position, Stall, StreamId, StreamShard, WorkerId},
    time::now,
};

/// Something that happened in a worker.
///
/// ```no_run
/// use kcl::{Event, WorkerBuilder};
///
/// fn with_alarm(builder: WorkerBuilder) -> WorkerBuilder {
///     builder.on_event(|event| match event {
///         Event::ShardStopped { shard, .. } => eprintln!("{shard} stands still until somebody looks at it"),
///         Event::RecordsSkipped { shard, .. } => eprintln!("{shard} has lost records by its error policy"),
///         _ => {} // logged, like these
///     })
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum Event {
    /// The worker joined the fleet.
    #[non_exhaustive]
    Started { worker_id: WorkerId },
    /// The worker became the fleet's leader.
    LeaderGained,
    /// The worker is no longer the leader.
    LeaderLost,
    /// The worker, as leader, decided how the fleet renews leases: see [`Renewals`](crate::Renewals).
    #[non_exhaustive]
    RenewalsChanged {
        /// True if one heartbeat renews all leases of a worker from now on, false if each lease is renewed again.
        by_heartbeat: bool,
    },
    /// The worker, as leader, takes the leases of a worker whose heartbeats stopped.
    #[non_exhaustive]
    WorkerFenced { worker_id: WorkerId },
    /// The worker's heartbeat was refused: a leader gave its leases away, or its item was deleted. It drops all leases,
    /// and takes those again that still name it.
    HeartbeatRefused,
    /// The worker's machine was suspended for a lease duration or longer while heartbeats renewed its leases, or its clock
    /// was set forward by as much. It drops all leases, and takes those again that still name it.
    WorkerSuspended,
    /// The worker, as leader, created missing leases.
    #[non_exhaustive]
    LeasesCreated { stream_id: StreamId, shards: Vec<ShardId> },
    /// The worker, as leader, deleted leases of ended shards.
    #[non_exhaustive]
    LeasesCleanedUp { stream_id: StreamId, shards: Vec<ShardId> },
    /// The worker took a lease and starts to process its shard.
    #[non_exhaustive]
    LeaseTaken { shard: StreamShard },
    /// The leader asked the worker to hand a lease over.
    #[non_exhaustive]
    HandoffRequested { shard: StreamShard },
    /// The worker gave a lease up: handed it over, or released it while stopping.
    #[non_exhaustive]
    LeaseReleased { shard: StreamShard },
    /// Another worker took a lease, or it was not renewed in time, or given up without an answer of the lease table.
    #[non_exhaustive]
    LeaseLost { shard: StreamShard },
    /// A shard was processed to its end, and its children have leases. In a [replay](crate::WorkerBuilder::replay) also a
    /// shard that is past the window, without children.
    #[non_exhaustive]
    ShardEnded {
        shard: StreamShard,
        /// Shards that follow it.
        children: Vec<ShardId>,
    },
    /// A record processor failed or panicked. Processing starts again from the last checkpoint.
    #[non_exhaustive]
    ProcessorFailed {
        shard: StreamShard,
        error: String,
        /// Pause before the next attempt; None if the lease is given up, and its next owner goes on.
        retry_in: Option<Duration>,
    },
    /// The [`ErrorPolicy`](crate::ErrorPolicy) skipped records. Until checkpointed, another worker may process them.
    #[non_exhaustive]
    RecordsSkipped {
        shard: StreamShard,
        records: usize,
        first: Position,
        last: Position,
        /// True if the dead-letter hook accepted them.
        dead_lettered: bool,
        error: String,
    },
    /// The [`ErrorPolicy`](crate::ErrorPolicy) stopped a shard. Its lease is kept until a stop or a handoff.
    #[non_exhaustive]
    ShardStopped {
        shard: StreamShard,
        /// Position of the first record of the failed batch.
        at: Position,
        error: String,
    },
    /// A call of the processor exceeds [`warn_after`](crate::WorkerBuilder::warn_after). Emitted again when that doubles.
    #[non_exhaustive]
    ProcessorSlow { shard: StreamShard, running_for: Duration },
    /// A shard makes no progress for [`warn_after`](crate::WorkerBuilder::warn_after). Emitted again for a new reason.
    #[non_exhaustive]
    ShardStalled { shard: StreamShard, stall: Stall, lasts: Duration },
    /// A read of a shard failed; it is retried.
    #[non_exhaustive]
    ReadFailed {
        shard: StreamShard,
        error: String,
        /// True if a limit of the shard was the reason.
        throttled: bool,
    },
    /// The application's consumer for enhanced fan-out was registered.
    #[non_exhaustive]
    ConsumerRegistered { stream_id: StreamId, consumer_arn: String },
    /// Enhanced fan-out was refused; the shard is polled for now.
    #[non_exhaustive]
    FanOutRefused { shard: StreamShard, error: String },
    /// A closed shard left the stream's retention before its end was read: records are lost; its children are read.
    #[non_exhaustive]
    ShardTrimmed { shard: StreamShard },
    /// A shard ended without naming the shards that follow it, as some emulators do and the service does not. They are
    /// listed. Emitted once for each stream.
    #[non_exhaustive]
    ChildShardsOmitted { stream_id: StreamId },
    /// An aggregate was discarded because it belongs to another shard, as after a split; its producer sends the records again.
    #[non_exhaustive]
    AggregateOfOtherShard { shard: StreamShard, sequence_number: SequenceNumber, records: usize },
    /// An aggregate with unreadable keys: those records are delivered with its own partition key; no data is lost.
    #[non_exhaustive]
    AggregateMalformed {
        shard: StreamShard,
        sequence_number: SequenceNumber,
        /// Number of user records without readable keys.
        records: usize,
        /// Damage of the first of them.
        reason: String,
    },
    /// A compressed record cannot be opened: it is delivered as it is stored, under its own partition key. A dictionary
    /// or a higher limit is given to the worker by [`frames`](crate::WorkerBuilder::frames).
    #[non_exhaustive]
    FrameUnopened { shard: StreamShard, sequence_number: SequenceNumber, error: FrameError },
    /// A call to the lease table failed; it is retried.
    #[non_exhaustive]
    LeaseTableFailed { error: String },
    /// Shards could not be listed, or the list contradicts itself; it is retried.
    #[non_exhaustive]
    ShardSyncFailed { stream_id: StreamId, error: String },
    /// The leader repeatedly sees no lease for a part of a stream's hash key space: its records are not processed. The
    /// stream's shards are listed and missing leases created.
    #[non_exhaustive]
    HoleFound {
        stream_id: StreamId,
        /// First part without a lease.
        hole: HashKeyRange,
    },
    /// A listed stream does not exist or was refused; it is retried. Or the leader found leases of a stream that was
    /// deleted, or created again; they stay. With one stream only at the start, while Kinesis throttles or fails.
    #[non_exhaustive]
    StreamUnavailable {
        /// Name or ARN in the list; the [`StreamId`] if there are leases of it.
        stream: String,
        error: String,
    },
    /// There are leases of a stream that this worker's list lacks; its shards are processed nevertheless.
    #[non_exhaustive]
    StreamNotListed { stream_id: StreamId },
    /// The leader deleted the leases of a stream that is no longer listed, by [`FormerStreams`](crate::FormerStreams).
    #[non_exhaustive]
    FormerStreamDeleted { stream_id: StreamId, shards: Vec<ShardId> },
    /// The machine's clock is over 10 s off the services' time, which is used instead. Emitted again after it was right.
    #[non_exhaustive]
    ClockWrong {
        /// Time by which it is ahead; zero if it is behind.
        ahead: Duration,
        /// Time by which it is behind; zero if it is ahead.
        behind: Duration,
    },
    /// The worker, as leader, took a step of the migration from the tables of KCL 3.0 to 3.4 to the lease table.
    #[non_exhaustive]
    TableMigrationChanged {
        /// Status from now on, for example `TABLE_MIGRATION_STATUS_DEPLOYED`; `none` if the first was taken back.
        status: String,
    },
    /// The fleet has left the tables of KCL 3.0 to 3.4: leader and workers are in the lease table now.
    MigratedToOneTable,
    /// The worker is to take over an application of KCL 1.x or 2.x, and waits for its end. Emitted at first, then for signs of
    /// life, once a minute at most.
    #[non_exhaustive]
    AdoptionWaits {
        /// Sign of life that began the wait anew.
        sign: String,
        /// Time to wait from now on if nothing moves any more.
        remaining: Duration,
    },
    /// While the worker took over an application of KCL 1.x or 2.x, somebody else wrote a lease: an old worker, which keeps it, or
    /// another that takes over. The wait begins anew.
    #[non_exhaustive]
    AdoptionStopped {
        /// The write, as a sentence.
        sign: String,
    },
    /// The worker took over an application of KCL 1.x or 2.x.
    #[non_exhaustive]
    Adopted {
        /// Number of its leases, those of ended shards included.
        leases: usize,
    },
    /// Items of the lease table claim to be leases of this application and cannot be read; they are left alone.
    #[non_exhaustive]
    LeasesMalformed { keys: Vec<String> },
}

impl Event {
    /// The shard that the event is about, if it is about one.
    pub fn shard(&self) -> Option<&StreamShard> {
        match self {
            Self::LeaseTaken { shard, .. }
            | Self::HandoffRequested { shard, .. }
            | Self::LeaseReleased { shard, .. }
            | Self::LeaseLost { shard, .. }
            | Self::ShardEnded { shard, .. }
            | Self::ProcessorFailed { shard, .. }
            | Self::RecordsSkipped { shard, .. }
            | Self::ShardStopped { shard, .. }
            | Self::ProcessorSlow { shard, .. }
            | Self::ShardStalled { shard, .. }
            | Self::ReadFailed { shard, .. }
            | Self::FanOutRefused { shard, .. }
            | Self::ShardTrimmed { shard, .. }
            | Self::AggregateOfOtherShard { shard, .. }
            | Self::AggregateMalformed { shard, .. }
            | Self::FrameUnopened { shard, .. } => Some(shard),
            _ => None,
        }
    }

    /// The line of the log, for those that each try repeats.
    fn repeating_line(&self) -> Option<u64> {
        let (subject, error) = match self {
            Self::ReadFailed { shard, error, throttled: false } => (shard.to_string(), error.as_str()),
            Self::LeaseTableFailed { error } => (String::new(), error.as_str()),
            Self::ShardSyncFailed { stream_id, error } => (stream_id.to_string(), error.as_str()),
            Self::HoleFound { stream_id, hole } => (format!("{stream_id} {hole}"), ""),
            Self::StreamUnavailable { stream, error } => (stream.clone(), error.as_str()),
            _ => return None,
        };
        Some(line(discriminant(self), &subject, error))
    }

    fn log(&self, repeated: Option<&str>) {
        match self {
            Self::Started { worker_id } => info!(%worker_id, "worker started"),
            Self::LeaderGained => info!("worker leads the fleet"),
            Self::LeaderLost => info!("worker no longer leads the fleet"),
            Self::RenewalsChanged { by_heartbeat } => info!(by_heartbeat, "renewal of leases changed"),
            Self::WorkerFenced { worker_id } => info!(%worker_id, "worker is silent, its leases are taken"),
            Self::HeartbeatRefused => warn!("heartbeat refused, leases dropped"),
            Self::WorkerSuspended => warn!("the machine was suspended or its clock set forward, leases dropped"),
            Self::LeasesCreated { stream_id, shards } => info!(%stream_id, ?shards, "leases created"),
            Self::LeasesCleanedUp { stream_id, shards } => info!(%stream_id, ?shards, "ended leases deleted"),
            Self::LeaseTaken { shard } => info!(%shard, "lease taken"),
            Self::HandoffRequested { shard } => info!(%shard, "handing lease over"),
            Self::LeaseReleased { shard } => info!(%shard, "lease released"),
            Self::LeaseLost { shard } => warn!(%shard, "lease lost"),
            Self::ShardEnded { shard, children } => info!(%shard, ?children, "shard ended"),
            Self::ProcessorFailed { shard, error, retry_in } => {
                error!(%shard, error, ?retry_in, "record processor failed, starting again from the last checkpoint");
            }
            Self::RecordsSkipped { shard, records, first, last, dead_lettered, error } => {
                error!(%shard, records, %first, %last, dead_lettered, error, "records skipped after failures");
            }
            Self::ShardStopped { shard, at, error } => error!(%shard, %at, error, "shard stopped after failures"),
            Self::ProcessorSlow { shard, running_for } => warn!(%shard, ?running_for, "record processor is slow"),
            Self::ShardStalled { shard, stall, lasts } => warn!(%shard, ?stall, ?lasts, "shard makes no progress"),
            Self::ReadFailed { shard, error, throttled: true } => debug!(%shard, error, "read throttled"),
            Self::ReadFailed { shard, error, throttled: false } => warn!(%shard, error, repeated, "read failed"),
            Self::ConsumerRegistered { stream_id, consumer_arn } => {
                info!(%stream_id, consumer_arn, "consumer registered")
            }
            Self::FanOutRefused { shard, error } => warn!(%shard, error, "enhanced fan-out refused, polling"),
            Self::ShardTrimmed { shard } => error!(%shard, "shard left the stream's retention before its end was read"),
            Self::ChildShardsOmitted { stream_id } => {
                warn!(%stream_id, "this emulator ends shards without ChildShards: the shards that follow are listed");
            }
            Self::AggregateOfOtherShard { shard, sequence_number, records } => {
                info!(%shard, %sequence_number, records, "aggregate of another shard discarded, its producer sends it again");
            }
            Self::AggregateMalformed { shard, sequence_number, records, reason } => {
                error!(%shard, %sequence_number, records, reason, "damaged aggregate: records delivered under its own key");
            }
            Self::FrameUnopened { shard, sequence_number, error } => {
                error!(%shard, %sequence_number, %error, "compressed record cannot be opened: delivered as it is stored");
            }
            Self::LeaseTableFailed { error } => warn!(error, repeated, "lease table call failed"),
            Self::ShardSyncFailed { stream_id, error } => warn!(%stream_id, error, repeated, "shard sync failed"),
            Self::HoleFound { stream_id, hole } => {
                warn!(%stream_id, %hole, repeated, "no lease for a part of the hash keys")
            }
            Self::StreamUnavailable { stream, error } => warn!(stream, error, repeated, "stream cannot be read now"),
            Self::StreamNotListed { stream_id } => warn!(%stream_id, "leases of a stream that is not listed"),
            Self::FormerStreamDeleted { stream_id, shards } => info!(%stream_id, ?shards, "former stream deleted"),
            Self::ClockWrong { ahead, behind } => warn!(?ahead, ?behind, "the machine's clock is wrong"),
            Self::TableMigrationChanged { status } => info!(status, "migration to one table went on"),
            Self::MigratedToOneTable => info!("the fleet keeps everything in the lease table now"),
            Self::AdoptionWaits { sign, remaining } => info!(sign, ?remaining, "waiting for the end of the old fleet"),
            Self::AdoptionStopped { sign } => warn!(sign, "the old fleet is not at its end, it is not taken over"),
            Self::Adopted { leases } => info!(leases, "application taken over from KCL 1.x or 2.x"),
            Self::LeasesMalformed { keys } => error!(?keys, "items of the lease table cannot be read"),
        }
    }
}

type Handler = Arc<dyn Fn(&Event) + Send + Sync>;

/// Receivers of all events: the log, without most repetitions, and the application's handler if it has one.
#[derive(Default)]
pub(crate) struct Events {
    handler: Option<Handler>,
    // Protects the memory for the length of one look.
    repeats: Mutex<Repeats>,
}

impl Clone for Events {
    /// For another worker, whose lines are first lines.
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), repeats: Mutex::default() }
    }
}

impl Events {
    pub(crate) fn to(handler: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let handler = Contained::new(handler);
        Self { handler: Some(Arc::new(move |event| handler(event))), repeats: Mutex::default() }
    }

    pub(crate) fn emit(&self, event: Event) {
        let logged = event.repeating_line().map_or(Some(Logged::ONCE), |line| locked(&self.repeats).note(line, now()));
        if let Some(logged) = logged {
            event.log(logged.repeated().as_deref());
        }
        if let Some(handler) = &self.handler
            && let Err(error) = contained_now(|| handler(&event))
        {
            error!(error, "event handler failed");
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// An error with its causes, for one line of text. It may be the application's, and panic.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let text = || {
        let (mut text, mut source) = (error.to_string(), error.source());
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        text
    };
    contained_now(text).unwrap_or_else(|_| "(the error panicked when it was asked for its text)".to_owned())
}
