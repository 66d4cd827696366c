//! Log lines of events, and their levels.

use tracing::{debug, error, info, warn};

use super::Event;

impl Event {
    pub(super) fn log(&self) {
        match self {
            Self::Started { worker_id } => info!(%worker_id, "worker started"),
            Self::LeaderGained => info!("worker leads the fleet"),
            Self::LeaderLost => info!("worker no longer leads the fleet"),
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
            Self::ReadFailed { shard, error, throttled: false } => warn!(%shard, error, "read failed"),
            Self::ConsumerRegistered { stream_id, consumer_arn } => {
                info!(%stream_id, consumer_arn, "consumer registered")
            }
            Self::FanOutRefused { shard, error } => warn!(%shard, error, "enhanced fan-out refused, polling"),
            Self::ShardTrimmed { shard } => error!(%shard, "shard left the stream's retention before its end was read"),
            Self::AggregateOfOtherShard { shard, sequence_number, records } => {
                info!(%shard, %sequence_number, records, "aggregate of another shard discarded, its producer sends it again");
            }
            Self::AggregateMalformed { shard, sequence_number, records, reason } => {
                error!(%shard, %sequence_number, records, reason, "damaged aggregate: records delivered under its own key");
            }
            Self::LeaseTableFailed { error } => warn!(error, "lease table call failed"),
            Self::ShardSyncFailed { stream_id, error } => warn!(%stream_id, error, "shard sync failed"),
            Self::HoleFound { stream_id, hole } => {
                warn!(%stream_id, %hole, "no lease for a part of the hash key space")
            }
            Self::StreamUnavailable { stream, error } => warn!(stream, error, "stream cannot be read now"),
            Self::StreamNotListed { stream_id } => warn!(%stream_id, "leases of a stream that is not listed"),
            Self::FormerStreamDeleted { stream_id, shards } => info!(%stream_id, ?shards, "former stream deleted"),
            Self::ClockWrong { ahead, behind } => warn!(?ahead, ?behind, "the machine's clock is wrong"),
            Self::MigratedToOneTable => info!("the fleet keeps everything in the lease table now"),
            Self::LeasesMalformed { keys } => error!(?keys, "items of the lease table cannot be read"),
        }
    }
}
