//! A write of progress into a lease.

use kpl::ShardId;

use super::{
    checkpoint::{Checkpoint, PendingCheckpoint},
    lease::Lease,
};

/// A write of progress, or of what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckpointWrite {
    /// A new checkpoint, at the end of a shard with its child shards. A pending one ends.
    Commit { checkpoint: Checkpoint, children: Vec<ShardId> },
    /// A pending checkpoint; the stored one stays.
    Prepare(PendingCheckpoint),
    /// Another checkpoint, before or after the stored one, from which whoever takes the lease next starts; at the end of a
    /// shard with its child shards. A pending one ends, and so does every ownership.
    Reset { checkpoint: Checkpoint, children: Vec<ShardId> },
    /// Time that the checkpoint LATEST stands for, in milliseconds since 1970.
    ResolveLatest { as_of_millis: u64 },
}

impl CheckpointWrite {
    pub(crate) fn commit(checkpoint: Checkpoint) -> Self {
        Self::Commit { checkpoint, children: Vec::new() }
    }

    /// Changes a lease as the table does, but for the counter.
    pub(crate) fn apply(&self, lease: &mut Lease) {
        if let Self::Reset { .. } = self {
            (lease.owner, lease.checkpoint_owner) = (None, None);
        }
        match self {
            Self::Commit { checkpoint, children } | Self::Reset { checkpoint, children } => {
                lease.checkpoint = checkpoint.clone();
                lease.owner_switches = 0;
                lease.pending = None;
                lease.latest_as_of_millis = None;
                if !children.is_empty() {
                    lease.children.clone_from(children);
                }
            }
            Self::Prepare(pending) => lease.pending = Some(pending.clone()),
            Self::ResolveLatest { as_of_millis } => lease.latest_as_of_millis = Some(*as_of_millis),
        }
    }

    /// Whether the lease holds this, or more: a checkpoint never moves back.
    pub(crate) fn is_done_in(&self, lease: &Lease) -> bool {
        match self {
            Self::Commit { checkpoint, .. } => *checkpoint <= lease.checkpoint,
            Self::Reset { checkpoint, .. } => {
                *checkpoint == lease.checkpoint && lease.pending.is_none() && lease.actual_owner().is_none()
            }
            Self::Prepare(pending) => lease.pending.as_ref() == Some(pending),
            Self::ResolveLatest { .. } => lease.latest_as_of_millis.is_some() || lease.checkpoint != Checkpoint::Latest,
        }
    }
}
