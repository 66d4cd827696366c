//! A lease without a table, for tests of processors: takes checkpoints until it is lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64};

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{COMMANDS, Command, LeaseHandle, LeaseState};
use crate::{error::CheckpointError, lease::Lease};

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
        let (commands, mut receiver) = mpsc::channel(COMMANDS);
        let (state, observer) = watch::channel(LeaseState::Held);
        let lease = Arc::new(Mutex::new(lease));
        let (stored, held) = (Arc::clone(&lease), state.clone());
        let task = tokio::spawn(async move {
            while let Some(command) = receiver.recv().await {
                match command {
                    Command::Checkpoint { write, reply } => {
                        let is_held = *held.borrow() != LeaseState::Lost;
                        if is_held {
                            write.apply(&mut lock(&stored));
                        }
                        let _ = reply.send(if is_held { Ok(()) } else { Err(CheckpointError::LeaseLost) }); // gone
                    }
                    Command::GiveUp { reply } => {
                        held.send_replace(LeaseState::Lost);
                        let _ = reply.send(()); // caller stopped waiting
                    }
                }
            }
        });
        let handle = Self { commands, state: observer, delivered: Arc::new(AtomicU64::new(0)) };
        (handle, Detached { lease, state, _task: AbortOnDropHandle::new(task) })
    }
}

impl Detached {
    /// The lease as it stands.
    pub(crate) fn lease(&self) -> Lease {
        lock(&self.lease).clone()
    }

    /// Takes the lease away.
    pub(crate) fn lose(&self) {
        self.state.send_replace(LeaseState::Lost);
    }
}

fn lock(lease: &Mutex<Lease>) -> MutexGuard<'_, Lease> {
    lease.lock().unwrap_or_else(PoisonError::into_inner)
}
