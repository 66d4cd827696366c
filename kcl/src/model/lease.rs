//! A lease: the item of the lease table with a shard's owner and progress.

use std::sync::Arc;

use bytes::Bytes;
use kpl::{HashKeyRange, ShardId};

use super::{
    checkpoint::{Checkpoint, PendingCheckpoint},
    id::{LeaseKey, StreamId, WorkerId},
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lease {
    pub(crate) key: LeaseKey,
    /// The stream of the shard, in applications of several streams.
    pub(crate) stream: Option<StreamId>,
    pub(crate) shard_id: ShardId,
    /// The owner or, during a handoff, the next one. None: unassigned.
    pub(crate) owner: Option<WorkerId>,
    /// During a handoff, the worker that still processes the shard and checkpoints.
    pub(crate) checkpoint_owner: Option<WorkerId>,
    /// The actual owner's run, known from its first renewal. Not Java's: meaningless if a Java worker is the owner.
    pub(crate) instance: Option<Arc<str>>,
    /// Grows with each renewal, checkpoint and change of owner: heartbeat and fencing token in one.
    pub(crate) counter: u64,
    /// Changes of owner since the last checkpoint. Informational.
    pub(crate) owner_switches: u64,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) pending: Option<PendingCheckpoint>,
    /// Numbers of the records delivered at or before a checkpoint, which is named in it. Not Java's.
    pub(crate) numbers: Option<Bytes>,
    /// Time of the last reset in milliseconds since 1970, of a reset that was later than any before; 0: none. Not Java's.
    pub(crate) epoch: u64,
    /// Time that LATEST stands for, in milliseconds since 1970. Java resolves LATEST at each start instead.
    pub(crate) latest_as_of_millis: Option<u64>,
    /// The shards that must be processed to their end before this one, as far as they have leases.
    pub(crate) parents: Vec<ShardId>,
    /// The shards that follow this one; known once it has ended.
    pub(crate) children: Vec<ShardId>,
    /// The shard's part of the hash key space, when known.
    pub(crate) hash_key_range: Option<HashKeyRange>,
    /// Delivered to the shard's processor, in KiB/s, when measured.
    pub(crate) throughput_kbps: Option<f64>,
}

impl Lease {
    /// A new lease without owner, for a shard that nobody has processed yet, of an application's only stream.
    pub(crate) fn unowned(shard_id: ShardId, checkpoint: Checkpoint) -> Self {
        Self {
            key: LeaseKey::of(None, &shard_id),
            stream: None,
            shard_id,
            owner: None,
            checkpoint_owner: None,
            instance: None,
            counter: 0,
            owner_switches: 0,
            checkpoint,
            pending: None,
            numbers: None,
            epoch: 0,
            latest_as_of_millis: None,
            parents: Vec::new(),
            children: Vec::new(),
            hash_key_range: None,
            throughput_kbps: None,
        }
    }

    /// Span of all log lines of the shard's processing.
    pub(crate) fn span(&self) -> tracing::Span {
        match &self.stream {
            Some(stream) => tracing::info_span!("kcl.shard", stream_id = %stream, shard_id = %self.shard_id),
            None => tracing::info_span!("kcl.shard", shard_id = %self.shard_id),
        }
    }

    /// Key of the lease of another shard of the same stream.
    pub(crate) fn sibling_key(&self, shard_id: &ShardId) -> LeaseKey {
        LeaseKey::of(self.stream.as_ref(), shard_id)
    }

    /// The worker that processes the shard now: during a handoff the old owner, otherwise the owner.
    pub(crate) fn actual_owner(&self) -> Option<&WorkerId> {
        self.checkpoint_owner.as_ref().or(self.owner.as_ref())
    }

    /// True if `other` is held by the same worker for the same one, if any, and by the same run of it.
    pub(crate) fn has_owners_of(&self, other: &Self) -> bool {
        (&self.owner, &self.checkpoint_owner, &self.instance)
            == (&other.owner, &other.checkpoint_owner, &other.instance)
    }

    pub(crate) fn in_handoff(&self) -> bool {
        self.checkpoint_owner.is_some()
    }

    /// True if Java's rule counts giving the lease to this worker as a switch of owners.
    pub(crate) fn counts_as_switch(&self, to: &WorkerId) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner != to) || self.checkpoint_owner.as_ref() == Some(to)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.checkpoint == Checkpoint::ShardEnd
    }
}

/// A write of progress, or of what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckpointWrite {
    /// A new checkpoint, at the end of a shard with its child shards, and the numbers of the records delivered by then. A pending
    /// one ends.
    Commit { checkpoint: Checkpoint, children: Vec<ShardId>, numbers: Option<Bytes> },
    /// A pending checkpoint; the stored one stays.
    Prepare(PendingCheckpoint),
    /// Any other checkpoint, with child shards at the end of a shard, in a new epoch. A pending one and every ownership end.
    Reset { checkpoint: Checkpoint, children: Vec<ShardId>, epoch: u64 },
    /// Time that the checkpoint LATEST stands for, in milliseconds since 1970.
    ResolveLatest { as_of_millis: u64 },
}

impl CheckpointWrite {
    #[cfg(test)]
    pub(crate) fn commit(checkpoint: Checkpoint) -> Self {
        Self::Commit { checkpoint, children: Vec::new(), numbers: None }
    }

    /// Changes a lease as the table does, but for the counter.
    pub(crate) fn apply(&self, lease: &mut Lease) {
        if let Self::Reset { epoch, .. } = self {
            (lease.owner, lease.checkpoint_owner, lease.epoch, lease.numbers) = (None, None, *epoch, None);
        }
        if let Self::Commit { numbers: Some(numbers), .. } = self {
            lease.numbers = Some(numbers.clone());
        }
        match self {
            Self::Commit { checkpoint, children, .. } | Self::Reset { checkpoint, children, .. } => {
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

    /// True if the lease holds this, or more: a checkpoint never moves back.
    pub(crate) fn is_done_in(&self, lease: &Lease) -> bool {
        match self {
            Self::Commit { checkpoint, .. } => *checkpoint <= lease.checkpoint,
            Self::Reset { checkpoint, epoch, .. } => {
                let is_free = lease.pending.is_none() && lease.actual_owner().is_none();
                *checkpoint == lease.checkpoint && *epoch == lease.epoch && is_free
            }
            Self::Prepare(pending) => lease.pending.as_ref() == Some(pending),
            Self::ResolveLatest { .. } => lease.latest_as_of_millis.is_some() || lease.checkpoint != Checkpoint::Latest,
        }
    }
}

/// Outcome of a conditional write. A lost race is an outcome, not an error.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a conflict means that somebody else wrote first"]
pub(crate) enum Conditional {
    Applied,
    /// The item was not as expected and is unchanged; here it is as it stands now, None if it does not exist.
    Conflict(Option<Box<Lease>>),
}

impl Conditional {
    /// Outcome of a write whose refusal does not show the item.
    pub(crate) fn without_item(applied: bool) -> Self {
        if applied { Self::Applied } else { Self::Conflict(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Conditional {
        pub(crate) fn is_applied(&self) -> bool {
            matches!(self, Self::Applied)
        }
    }
}
