//! A lease as the models of the protocol explore it: the parts that they share with each other and with the real logic.

use crate::{
    logic::shard::Refusal,
    model::{Checkpoint, Lease, WorkerId},
};

/// A worker's write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write {
    Renewal,
    Checkpoint(u8),
}

impl Write {
    /// True if it is still to be done after a refusal, which showed the checkpoint that is stored.
    pub(super) fn is_left(self, refusal: &Refusal, stored: u8) -> bool {
        match self {
            Self::Checkpoint(to) => to > stored,
            Self::Renewal => matches!(refusal, Refusal::Handoff(_)),
        }
    }

    /// True if the table takes it from a worker, by its conditions.
    pub(super) fn is_accepted(self, knows_counter: bool, knows_of_handoff: bool) -> bool {
        knows_counter && (knows_of_handoff || matches!(self, Self::Checkpoint(_)))
    }
}

pub(super) fn worker_id(id: u8) -> WorkerId {
    WorkerId::new(id.to_string())
}

/// The lease as the real logic sees it.
pub(super) fn lease(owner: Option<u8>, checkpoint_owner: Option<u8>, instance: Option<u8>, counter: u64) -> Lease {
    let (owner, checkpoint_owner) = (owner.map(worker_id), checkpoint_owner.map(worker_id));
    let instance = instance.map(|instance| instance.to_string().into());
    let lease = Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon);
    Lease { owner, checkpoint_owner, instance, counter, ..lease }
}
