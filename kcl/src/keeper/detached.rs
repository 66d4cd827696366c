//! A lease without a table, for tests of processors: takes checkpoints until it is lost.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::handle::{Command, LeaseHandle, LeaseState};
use crate::{
    error::CheckpointError,
    locked::locked,
    model::{Checkpoint, Lease},
};

/// The other end of a handle without a keeper.
#[derive(Debug)]
pub(crate) struct Detached {
    /// Changed by one checkpoint at a time.
    lease: Arc<Mutex<Lease>>,
    state: watch::Sender<LeaseState>,
    _task: AbortOnDropHandle<()>,
}

impl LeaseHandle {
    /// A handle to a lease that only this process knows of. Spawns a task, which ends with the second value.
    pub(crate) fn detached(lease: Lease) -> (Self, Detached) {
        let (handle, state, mut commands) = Self::new(CancellationToken::new());
        let lease = Arc::new(Mutex::new(lease));
        let (stored, held) = (Arc::clone(&lease), state.clone());
        let task = tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                match command {
                    Command::Checkpoint { write, retired, reply } => {
                        let is_held = *held.borrow() != LeaseState::Lost;
                        let stored = &mut locked(&stored);
                        let _ = reply.send(match retired.is_cancelled() {
                            _ if !is_held => Err(CheckpointError::LeaseLost),
                            true => Err(CheckpointError::ProcessorFailed),
                            false if write.is_done_in(stored) => Ok(()),
                            false => {
                                write.apply(stored);
                                Ok(())
                            }
                        }); // caller stopped waiting
                    }
                    Command::Look(reply) => {
                        let _ = reply.send(locked(&stored).clone()); // caller stopped waiting
                    }
                    Command::GiveUp(reply) => {
                        held.send_replace(LeaseState::Lost);
                        let _ = reply.send(true); // caller stopped waiting
                    }
                }
            }
        });
        (handle, Detached { lease, state, _task: AbortOnDropHandle::new(task) })
    }
}

impl Detached {
    pub(crate) fn lease(&self) -> Lease {
        locked(&self.lease).clone()
    }

    /// The shard is processed to its end.
    pub(crate) fn end(&self) {
        locked(&self.lease).checkpoint = Checkpoint::ShardEnd;
    }

    pub(crate) fn lose(&self) {
        self.state.send_replace(LeaseState::Lost);
    }
}
