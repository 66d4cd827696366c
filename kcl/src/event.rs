//! Events of a worker, for programs; the same facts go to the log.

use std::{fmt, sync::Arc, time::Duration};

use kpl::{HashKeyRange, SequenceNumber, ShardId};
use tracing::{debug, error, info, warn};

use crate::{
    contained::{Contained, contained_now},
    model::{Position, Stall, StreamId, WorkerId},
};

/// Something that happened in a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The worker takes part in the fleet.
    Started {
        /// This worker.
        worker_id: WorkerId,
    },
    /// The worker became the fleet's leader.
    LeaderGained,
    /// The worker is no longer the leader.
    LeaderLost,
    /// As leader, the worker created leases for shards without.
    LeasesCreated {
        /// The shards' stream.
        stream_id: StreamId,
        /// Their shards.
        shards: Vec<ShardId>,
    },
    /// As leader, the worker deleted leases of shards that are processed to their end.
    LeasesCleanedUp {
        /// The shards' stream.
        stream_id: StreamId,
        /// Their shards.
        shards: Vec<ShardId>,
    },
    /// The worker holds a lease now and is about to process its shard.
    LeaseTaken {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
    },
    /// The leader asked the worker to hand a lease over.
    HandoffRequested {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
    },
    /// The worker gave a lease up of its own will: handed over, or released at its stop.
    LeaseReleased {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
    },
    /// The worker lost a lease to another worker, or could not renew it in time, or gave it up without an answer of the
    /// lease table: then it may have to expire.
    LeaseLost {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
    },
    /// A shard was processed to its end, and its children have leases. In a [replay](crate::WorkerBuilder::replay) also
    /// one that is past the window, without children.
    ShardEnded {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// The shards that follow it.
        children: Vec<ShardId>,
    },
    /// The record processor failed or panicked. Nothing is skipped: processing starts again from the last checkpoint.
    ProcessorFailed {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// Its error.
        error: String,
        /// When this worker tries again at the latest; None if the lease is given up, and the next owner goes on.
        retry_in: Option<Duration>,
    },
    /// Records were left out because the processor kept failing at them, as the [`ErrorPolicy`](crate::ErrorPolicy)
    /// demands. Until the next checkpoint covers them, another worker may come to them again.
    RecordsSkipped {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// How many.
        records: usize,
        /// The first of them.
        first: Position,
        /// The last of them.
        last: Position,
        /// Whether the application's dead-letter hook has taken them.
        dead_lettered: bool,
        /// Last error of the processor.
        error: String,
    },
    /// A shard is not processed any more because the processor kept failing, as the [`ErrorPolicy`](crate::ErrorPolicy)
    /// demands. The lease is kept until this worker stops or is asked for it.
    ShardStopped {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// Where: the first record of the batch.
        at: Position,
        /// Last error of the processor.
        error: String,
    },
    /// A call into a processor has not returned for long, see
    /// [`WorkerBuilder::warn_after`](crate::WorkerBuilder::warn_after). Told again each time that the time doubles.
    ProcessorSlow {
        /// The stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// How long it has been running.
        running_for: Duration,
    },
    /// A shard has made no progress for long, see [`WorkerBuilder::warn_after`](crate::WorkerBuilder::warn_after). Told
    /// once, and again when the reason changes.
    ShardStalled {
        /// The stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// Why.
        stall: Stall,
        /// How long it has lasted.
        lasts: Duration,
    },
    /// Reading a shard failed; it is tried again.
    ReadFailed {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// What failed.
        error: String,
        /// Whether the shard's limits were the reason.
        throttled: bool,
    },
    /// The application's consumer for enhanced fan-out did not exist and was registered.
    ConsumerRegistered {
        /// The stream that it reads.
        stream_id: StreamId,
        /// The consumer.
        consumer_arn: String,
    },
    /// Enhanced fan-out was refused; the shard is read by polling for now.
    FanOutRefused {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
        /// Why.
        error: String,
    },
    /// The stream forgot a closed shard, by its retention, before it was read to its end. What was not read is lost; the
    /// shards that follow are read.
    ShardTrimmed {
        /// The shard's stream.
        stream_id: StreamId,
        /// The shard.
        shard_id: ShardId,
    },
    /// An aggregate was discarded because it belongs to another shard, as after a split: its producer sends the records
    /// again.
    AggregateOfOtherShard {
        /// The stream it was read from.
        stream_id: StreamId,
        /// The shard it was read from.
        shard_id: ShardId,
        /// The aggregate.
        sequence_number: SequenceNumber,
        /// How many user records it holds.
        records: usize,
    },
    /// An aggregate is damaged: the keys of some user records cannot be read. These were delivered with the partition key
    /// of the aggregate itself; no data is lost.
    AggregateMalformed {
        /// The stream it was read from.
        stream_id: StreamId,
        /// The shard it was read from.
        shard_id: ShardId,
        /// The aggregate.
        sequence_number: SequenceNumber,
        /// How many of its user records have no readable keys.
        records: usize,
        /// What is wrong with the first of them.
        reason: String,
    },
    /// A call to the lease table failed; it is tried again.
    LeaseTableFailed {
        /// What failed.
        error: String,
    },
    /// Shards could not be listed, or the listing contradicts itself; it is tried again.
    ShardSyncFailed {
        /// The stream.
        stream_id: StreamId,
        /// What failed.
        error: String,
    },
    /// As leader, the worker sees no lease for a part of a stream's hash key space, again and again: records there are not
    /// processed. The stream's shards are listed, and leases created that are missing.
    HoleFound {
        /// The stream.
        stream_id: StreamId,
        /// The first part without a lease.
        hole: HashKeyRange,
    },
    /// A listed stream is not there, or was refused; it is tried again, and the others are read. Or, as leader, the worker
    /// found leases of a stream that was deleted, or deleted and created again; they are left alone. With one stream only
    /// at the start, while Kinesis throttles or fails.
    StreamUnavailable {
        /// The name or ARN by which it is listed; its [`StreamId`], if there are leases of it.
        stream: String,
        /// What failed.
        error: String,
    },
    /// There are leases of a stream that this worker's list lacks; its shards are processed in any case.
    StreamNotListed {
        /// The stream.
        stream_id: StreamId,
    },
    /// As leader, the worker deleted the leases of a stream that is no longer listed, as
    /// [`FormerStreams`](crate::FormerStreams) demands.
    FormerStreamDeleted {
        /// The stream.
        stream_id: StreamId,
        /// The shards that had leases.
        shards: Vec<ShardId>,
    },
    /// The machine's clock differs from the services' by more than 10 s. Nothing is decided by it: the worker goes by the
    /// services' time. Emitted once, and again if the clock was right meanwhile.
    ClockWrong {
        /// How far it is ahead; zero if it is behind.
        ahead: Duration,
        /// How far it is behind; zero if it is ahead.
        behind: Duration,
    },
    /// The fleet has left the tables of KCL 3.0 to 3.4: leader and workers are in the lease table now.
    MigratedToOneTable,
    /// Items of the lease table that claim to be leases of this application and cannot be read; they are left alone.
    LeasesMalformed {
        /// Their keys.
        keys: Vec<String>,
    },
}

impl Event {
    fn log(&self) {
        match self {
            Self::Started { worker_id } => info!(%worker_id, "worker started"),
            Self::LeaderGained => info!("worker leads the fleet"),
            Self::LeaderLost => info!("worker no longer leads the fleet"),
            Self::LeasesCreated { stream_id, shards } => info!(%stream_id, ?shards, "leases created"),
            Self::LeasesCleanedUp { stream_id, shards } => {
                info!(%stream_id, ?shards, "leases of ended shards deleted");
            }
            Self::LeaseTaken { shard_id, .. } => info!(%shard_id, "lease taken"),
            Self::HandoffRequested { shard_id, .. } => info!(%shard_id, "handing lease over"),
            Self::LeaseReleased { shard_id, .. } => info!(%shard_id, "lease released"),
            Self::LeaseLost { shard_id, .. } => warn!(%shard_id, "lease lost"),
            Self::ShardEnded { shard_id, children, .. } => info!(%shard_id, ?children, "shard ended"),
            Self::ProcessorFailed { shard_id, error, retry_in, .. } => {
                error!(%shard_id, error, ?retry_in, "record processor failed, starting again from the last checkpoint");
            }
            Self::RecordsSkipped { shard_id, records, first, last, dead_lettered, error, .. } => {
                error!(%shard_id, records, %first, %last, dead_lettered, error, "records skipped after failures");
            }
            Self::ShardStopped { shard_id, at, error, .. } => {
                error!(%shard_id, %at, error, "shard stopped after failures");
            }
            Self::ProcessorSlow { stream_id, shard_id, running_for } => {
                warn!(%stream_id, %shard_id, ?running_for, "record processor has not returned for long");
            }
            Self::ShardStalled { stream_id, shard_id, stall, lasts } => {
                warn!(%stream_id, %shard_id, ?stall, ?lasts, "shard makes no progress");
            }
            Self::ReadFailed { shard_id, error, throttled: true, .. } => debug!(%shard_id, error, "read throttled"),
            Self::ReadFailed { shard_id, error, .. } => warn!(%shard_id, error, "read failed"),
            Self::ConsumerRegistered { consumer_arn, .. } => {
                info!(consumer_arn, "consumer registered for enhanced fan-out")
            }
            Self::FanOutRefused { shard_id, error, .. } => warn!(%shard_id, error, "enhanced fan-out refused, polling"),
            Self::ShardTrimmed { shard_id, .. } => {
                error!(%shard_id, "shard left the stream's retention before it was read to its end");
            }
            Self::AggregateOfOtherShard { shard_id, sequence_number, records, .. } => {
                info!(%shard_id, %sequence_number, records, "aggregate of another shard discarded, its producer sends it again");
            }
            Self::AggregateMalformed { shard_id, sequence_number, records, reason, .. } => {
                error!(%shard_id, %sequence_number, records, reason, "damaged aggregate: records delivered under its own key");
            }
            Self::LeaseTableFailed { error } => warn!(error, "lease table call failed"),
            Self::ShardSyncFailed { stream_id, error } => warn!(%stream_id, error, "shard sync failed"),
            Self::HoleFound { stream_id, hole } => {
                warn!(%stream_id, %hole, "no lease for a part of the hash key space")
            }
            Self::StreamUnavailable { stream, error } => warn!(stream, error, "stream cannot be read now"),
            Self::StreamNotListed { stream_id } => warn!(%stream_id, "leases of a stream that is not listed"),
            Self::FormerStreamDeleted { stream_id, shards } => {
                info!(%stream_id, ?shards, "leases of a stream that is no longer listed deleted");
            }
            Self::ClockWrong { ahead, behind } => warn!(?ahead, ?behind, "the machine's clock is wrong"),
            Self::MigratedToOneTable => info!("the fleet keeps everything in the lease table now"),
            Self::LeasesMalformed { keys } => error!(?keys, "items of the lease table cannot be read"),
        }
    }
}

type Handler = Arc<dyn Fn(&Event) + Send + Sync>;

/// Where events go: the log, and the application's handler if it has one.
#[derive(Clone, Default)]
pub(crate) struct Events {
    handler: Option<Handler>,
}

impl Events {
    pub(crate) fn to(handler: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let handler = Contained::new(handler);
        Self { handler: Some(Arc::new(move |event| handler(event))) }
    }

    pub(crate) fn emit(&self, event: Event) {
        event.log();
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
    contained_now(|| chained(error))
        .unwrap_or_else(|_| "(the error panicked when it was asked for its text)".to_owned())
}

fn chained(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
