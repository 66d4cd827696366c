//! A reset: its request, report and errors.

use kpl::ShardId;

use crate::{
    error::{BoxError, ConfigError, TableError, WorkerError},
    model::{Checkpoint, InitialPosition, StreamShard},
};

/// Target of [`WorkerBuilder::reset`](crate::WorkerBuilder::reset).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "give it to WorkerBuilder::reset"]
pub struct Reset {
    pub(super) position: InitialPosition,
    pub(super) stream: Option<String>,
    pub(super) shard: Option<ShardId>,
    pub(super) force: bool,
}

impl Reset {
    /// A position for all shards. A time must not lie in the future; one before the stream's retention is TRIM_HORIZON.
    pub fn to(position: InitialPosition) -> Self {
        Self { position, stream: None, shard: None, force: false }
    }

    /// Only this stream starts there, of an application of several: by its id, name or ARN.
    pub fn only_stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// Only this shard starts there, and the shards that follow it after a split or a merge: what was put into it, and
    /// what would have been put into it had it stayed open, is processed from the position on.
    pub fn only_shard(mut self, shard_id: impl Into<ShardId>) -> Self {
        self.shard = Some(shard_id.into());
        self
    }

    /// Resets although workers may live: they lose their leases, and their fleet starts at the position a moment later.
    /// Records in work meanwhile are processed twice.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }
}

/// Leases written by a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetReport {
    /// The leases, in the order of writing: oldest shards first.
    pub shards: Vec<ShardReset>,
}

/// A lease that was reset.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardReset {
    /// Shard of the lease.
    pub shard: StreamShard,
    /// The checkpoint when the reset was planned; None: there was no lease.
    pub before: Option<Checkpoint>,
    /// The checkpoint now.
    pub after: Checkpoint,
}

/// Error of a reset. Unless it is [`Partial`](Self::Partial), nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum ResetError {
    /// A setting of the builder is out of its bounds.
    #[error("the worker's settings are wrong")]
    Config(#[from] ConfigError),
    /// The time lies in the future.
    #[error("checkpoints cannot be reset to a time in the future")]
    InFuture,
    /// The application reads no such stream.
    #[error("stream {stream} is not listed")]
    #[non_exhaustive]
    UnknownStream { stream: String },
    /// Shard ids are the same in each stream: name the stream of the one shard by [`Reset::only_stream`].
    #[error("one shard was asked for and several streams are listed")]
    WhichStream,
    /// The stream has no such shard, or has forgotten it.
    #[error("the stream has no shard {shard_id}")]
    #[non_exhaustive]
    UnknownShard { shard_id: ShardId },
    /// Workers of the fleet live. Stop them, or force the reset.
    #[error("workers of the fleet are running: {sign}")]
    #[non_exhaustive]
    WorkersLive { sign: String },
    /// The stream's shards are unknown while it is being resharded. Try again.
    #[error("the listed shards do not cover the hash key space, a resharding may be under way")]
    Resharding,
    /// Items of the lease table claim to be leases and cannot be read, so it cannot be known what follows what.
    #[error("leases {keys:?} cannot be read")]
    #[non_exhaustive]
    Unreadable { keys: Vec<String> },
    /// The stream or the lease table cannot be used.
    #[error("stream or lease table cannot be used")]
    Worker(#[from] WorkerError),
    /// Some leases are reset and others not. Repeat the reset before workers start.
    #[error("{done} leases were reset, then it could not go on")]
    #[non_exhaustive]
    Partial {
        /// Leases that are reset.
        done: usize,
        source: BoxError,
    },
}

impl From<TableError> for ResetError {
    fn from(error: TableError) -> Self {
        Self::Worker(error.into())
    }
}
