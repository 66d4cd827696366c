//! A handle to a lease's keeper.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    error::CheckpointError,
    model::{CheckpointWrite, Lease},
};

/// Commands that may wait for the keeper: checkpoints of one shard, which its processor awaits one by one.
const COMMANDS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// Process the shard.
    Held,
    /// Finish what is under way and give the lease up.
    HandoffRequested,
    /// Stop: somebody else has the lease, or may have it.
    Lost,
}

#[derive(Debug)]
pub(super) enum Command {
    Checkpoint {
        write: CheckpointWrite,
        retired: CancellationToken,
        reply: oneshot::Sender<Result<(), CheckpointError>>,
    },
    Look(oneshot::Sender<Lease>),
    GiveUp(oneshot::Sender<bool>),
}

/// Talks to a lease's keeper. When the last handle is gone, the keeper ends and lets the lease expire.
#[derive(Debug, Clone)]
pub(crate) struct LeaseHandle {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<LeaseState>,
    /// Bytes delivered since the last renewal.
    pub(super) delivered: Arc<AtomicU64>,
    /// Cancelled when the processor that the handle was made for has failed: it stores nothing any more.
    retired: CancellationToken,
}

impl LeaseHandle {
    /// A handle to a lease that is held, and what its keeper needs to answer it.
    pub(super) fn new() -> (Self, watch::Sender<LeaseState>, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (sender, state) = watch::channel(LeaseState::Held);
        let (delivered, retired) = (Arc::default(), CancellationToken::new());
        (Self { commands, state, delivered, retired }, sender, receiver)
    }

    /// Asks the keeper; None if it is gone.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// A handle for one processor, which can be retired.
    pub(crate) fn for_processor(&self) -> Self {
        Self { retired: CancellationToken::new(), ..self.clone() }
    }

    /// Ends the handle and its clones, but not the lease.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
    }

    /// Fails if the handle can store nothing.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        match self.retired.is_cancelled() {
            _ if *self.state.borrow() == LeaseState::Lost => Err(CheckpointError::LeaseLost),
            true => Err(CheckpointError::ProcessorFailed),
            false => Ok(()),
        }
    }

    /// The lease as the table has it, with every checkpoint stored so far, whoever waited for it; None if it is lost.
    pub(crate) async fn lease(&self) -> Option<Lease> {
        self.ask(Command::Look).await
    }

    pub(crate) fn count_delivered(&self, bytes: u64) {
        self.delivered.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) async fn checkpoint(&self, write: CheckpointWrite) -> Result<(), CheckpointError> {
        let retired = self.retired.clone();
        let stored = self.ask(|reply| Command::Checkpoint { write, retired, reply }).await;
        stored.unwrap_or(Err(CheckpointError::LeaseLost))
    }

    /// Passes the lease on to its new owner, or to nobody. False: it was lost before, or the table did not answer in time.
    pub(crate) async fn give_up(&self) -> bool {
        self.ask(Command::GiveUp).await.unwrap_or(false)
    }

    /// Resolves when the lease is lost or given up, or the handle is retired.
    pub(crate) async fn lost(&self) {
        let mut state = self.state.clone();
        let lost = state.wait_for(|state| *state == LeaseState::Lost);
        let _ = self.retired.run_until_cancelled(lost).await; // keeper gone: lost
    }

    /// Resolves when the lease must be given up or is lost.
    pub(crate) async fn no_longer_held(&self) -> LeaseState {
        self.state.clone().wait_for(|state| *state != LeaseState::Held).await.map_or(LeaseState::Lost, |state| *state)
    }
}
