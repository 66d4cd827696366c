//! Events of a producer, for the application and the log; and a snapshot of its load.

use std::{
    mem::discriminant,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use tracing::{debug, error, field::display as shown, info, warn};

use crate::{
    config::Aggregation,
    id::ShardId,
    locked::locked,
    repeats::{Logged, Repeats, line},
    stream::Stream,
};

/// Load of a producer at some instant, all streams together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Number of user records that are accepted and not resolved.
    pub outstanding_records: usize,
    /// Bytes, data and partition keys, of these records.
    pub outstanding_bytes: usize,
    /// Age of the oldest of them, too great by at most 10 ms, or one part in 64 in a backlog. `None` without records.
    pub oldest_record_age: Option<Duration>,
}

/// A fact about one stream of a producer. The same is logged through `tracing`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum Event {
    /// The open shards were listed, for the first time or with changes.
    #[non_exhaustive]
    ShardMapUpdated { stream: Stream, open_shards: usize },
    /// The shards could not be listed. The last known shard map stays in use, or records are sent unaggregated. Emitted once,
    /// until a listing succeeds.
    #[non_exhaustive]
    ShardMapUnavailable {
        stream: Stream,
        code: Arc<str>,
        message: Arc<str>,
        /// Time to the next listing.
        retry_in: Duration,
    },
    /// The stream could not be described, and is treated as one that places records by their keys, with the default limit of
    /// a record if access is denied. Emitted once, until a description succeeds.
    #[non_exhaustive]
    StreamNotDescribed { stream: Stream, code: Arc<str>, message: Arc<str> },
    /// The stream places records by itself (record distribution strategy `AUTO`): partition keys decide neither shard nor
    /// order, and records are not aggregated, because a KCL would discard the aggregates.
    #[non_exhaustive]
    PartitionKeysIgnored {
        stream: Stream,
        /// The setting that has no effect.
        aggregation: Aggregation,
    },
    /// A setting has less or no effect because of another one. Emitted when the producer is built.
    #[non_exhaustive]
    SettingDefeated {
        stream: Stream,
        /// The builder's method.
        setting: &'static str,
        reason: &'static str,
    },
    /// A PutRecords call failed as a whole.
    #[non_exhaustive]
    CallFailed { stream: Stream, kinesis_records: usize, code: Arc<str>, message: Arc<str> },
    /// One Kinesis record of a PutRecords call failed.
    #[non_exhaustive]
    EntryFailed {
        stream: Stream,
        /// The predicted shard, if the shards are known.
        shard_id: Option<ShardId>,
        user_records: usize,
        code: Arc<str>,
        message: Arc<str>,
    },
    /// An aggregate was stored in a shard that is not known to own all of its records, and is sent again.
    #[non_exhaustive]
    WrongShard {
        stream: Stream,
        predicted: ShardId,
        /// The shard that stored it.
        actual: ShardId,
        user_records: usize,
    },
    /// User records reached their `record_ttl`.
    #[non_exhaustive]
    RecordsExpired { stream: Stream, user_records: usize },
}

impl Event {
    /// The stream that it is about.
    pub fn stream(&self) -> &Stream {
        match self {
            Self::ShardMapUpdated { stream, .. }
            | Self::ShardMapUnavailable { stream, .. }
            | Self::StreamNotDescribed { stream, .. }
            | Self::PartitionKeysIgnored { stream, .. }
            | Self::SettingDefeated { stream, .. }
            | Self::CallFailed { stream, .. }
            | Self::EntryFailed { stream, .. }
            | Self::WrongShard { stream, .. }
            | Self::RecordsExpired { stream, .. } => stream,
        }
    }

    /// The line of the log, for those that each try of a call repeats.
    fn repeating_line(&self) -> Option<u64> {
        match self {
            Self::ShardMapUnavailable { code, message, .. }
            | Self::StreamNotDescribed { code, message, .. }
            | Self::CallFailed { code, message, .. } => {
                let subject = format!("{} {code}", self.stream());
                Some(line(discriminant(self), &subject, message))
            }
            _ => None,
        }
    }

    fn log(&self, repeated: Option<&str>) {
        let stream = self.stream();
        match self {
            Self::ShardMapUpdated { open_shards, .. } => info!(%stream, open_shards, "shard map updated"),
            Self::ShardMapUnavailable { code, message, retry_in, .. } => {
                warn!(
                    %stream, %code, %message, ?retry_in, repeated,
                    "shards cannot be listed, records may be sent unaggregated"
                );
            }
            Self::StreamNotDescribed { code, message, .. } => {
                warn!(%stream, %code, %message, repeated, "stream cannot be described, default settings assumed");
            }
            Self::PartitionKeysIgnored { aggregation: Aggregation::Off, .. } => {
                info!(%stream, "stream ignores partition keys");
            }
            Self::PartitionKeysIgnored { .. } => warn!(%stream, "stream ignores partition keys, aggregation is off"),
            Self::SettingDefeated { setting, reason, .. } => warn!(%stream, setting, reason, "setting defeated"),
            Self::CallFailed { kinesis_records, code, message, .. } => {
                warn!(%stream, kinesis_records, %code, %message, repeated, "put records failed");
            }
            Self::EntryFailed { shard_id, user_records, code, message, .. } => {
                let shard_id = shard_id.as_ref().map(shown);
                debug!(%stream, shard_id, user_records, %code, %message, "kinesis record failed");
            }
            Self::WrongShard { predicted, actual, user_records, .. } => {
                debug!(%stream, %predicted, %actual, user_records, "aggregate stored in another shard");
            }
            Self::RecordsExpired { user_records, .. } => error!(%stream, user_records, "records expired"),
        }
    }
}

type Hook = Arc<dyn Fn(&Event) + Send + Sync>;

/// Receiver of all events: the log, without most repetitions, and the application's hook.
#[derive(Clone, Default)]
pub(crate) struct Events {
    hook: Option<Hook>,
    // Protects the memory for the length of one look.
    repeats: Arc<Mutex<Repeats>>,
}

impl Events {
    pub(crate) fn to(hook: Hook) -> Self {
        Self { hook: Some(hook), repeats: Arc::default() }
    }

    /// Logs an event and calls the hook, whose panic is logged and contained.
    pub(crate) fn emit(&self, event: &Event) {
        let logged = event
            .repeating_line()
            .map_or(Some(Logged::ONCE), |line| locked(&self.repeats).note(line, Instant::now().into_std()));
        if let Some(logged) = logged {
            event.log(logged.repeated().as_deref());
        }
        if let Some(hook) = &self.hook
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(event)))
        {
            error!(?event, "event hook panicked");
            // Its payload may panic, too, when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic))).map_err(std::mem::forget);
        }
    }
}
