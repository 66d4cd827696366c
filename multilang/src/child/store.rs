//! Places where the checkpoints of a child are stored.

use std::sync::{Arc, Mutex, PoisonError};

use kcl::{Checkpoint, CheckpointError, Checkpointer, Position, TableError};
use tracing::warn;

use crate::{causes::with_causes, turns::Decision, wire::Refusal};

/// A place for checkpoints.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// The shard's lease.
    Lease(Checkpointer),
    /// A list, of a rehearsal.
    Rehearsal(Arc<Mutex<Vec<Position>>>),
}

impl Store {
    /// Carries a decision out; returns the error that the child is told.
    pub(crate) async fn carry_out(store: Option<&Self>, decision: Decision) -> Option<Refusal> {
        let (position, is_covering) = match decision {
            Decision::Refuse(refusal) => return Some(refusal),
            Decision::Accept | Decision::ShardEnd => return None,
            Decision::Store(position) => (position, false),
            Decision::Cover { position, .. } => (position, true),
        };
        match store {
            // Nothing was delivered to this child.
            None => Some(Refusal::IllegalArgument),
            Some(Self::Lease(checkpointer)) => store_in_lease(checkpointer, position, is_covering).await.err(),
            Some(Self::Rehearsal(list)) => {
                list.lock().unwrap_or_else(PoisonError::into_inner).push(position);
                None
            }
        }
    }
}

async fn store_in_lease(checkpointer: &Checkpointer, position: Position, is_covering: bool) -> Result<(), Refusal> {
    let position = match checkpointer.last() {
        Checkpoint::At(stored) if is_covering && stored > position => stored,
        _ => position,
    };
    checkpointer.checkpoint_position(position).await.map_err(|error| {
        warn!(error = with_causes(&error), "checkpoint refused");
        refusal(&error)
    })
}

/// Error by which the daemon for Java reports the same failure.
fn refusal(error: &CheckpointError) -> Refusal {
    match error {
        CheckpointError::LeaseLost | CheckpointError::ProcessorFailed => Refusal::Shutdown,
        CheckpointError::OutOfRange { .. } => Refusal::IllegalArgument,
        CheckpointError::Table(TableError::Throttled { .. }) => Refusal::Throttling,
        CheckpointError::Table(TableError::TableMissing { .. }) => Refusal::InvalidState,
        _ => Refusal::Dependency,
    }
}
