//! A handle to a lease's keeper.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_sdk_dynamodb::types::TransactWriteItem;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{CheckpointError, TransactionError},
    model::{Checkpoint, CheckpointWrite, Lease, Position},
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
    /// A checkpoint, and items of the application's in one transaction with it.
    Transact {
        write: CheckpointWrite,
        items: Vec<TransactWriteItem>,
        retired: CancellationToken,
        reply: oneshot::Sender<Result<(), TransactionError>>,
    },
    Look(oneshot::Sender<Lease>),
    GiveUp(oneshot::Sender<bool>),
}

impl Command {
    /// Position of a checkpoint that may be stored with one further on: none at the end of the shard, which stays last, and
    /// none of a processor that has failed.
    fn position(&self) -> Option<&Position> {
        match self {
            Self::Checkpoint {
                write: CheckpointWrite::Commit { checkpoint: Checkpoint::At(at), .. }, retired, ..
            } => Some(at).filter(|_| !retired.is_cancelled()),
            _ => None,
        }
    }
}

/// Commands in the order in which the keeper performs them: that of their arrival, but that of checkpoints which follow
/// each other the furthest is first. Those before it are stored with it then, and take no write of their own; if it fails,
/// each is tried by itself. They all come before those that arrive meanwhile, however far: no checkpoint waits for ever.
#[derive(Debug)]
pub(super) struct Commands {
    arriving: mpsc::Receiver<Command>,
    /// Taken from there all at once, so no more than have room there.
    waiting: VecDeque<Command>,
    /// The first of them that a checkpoint further on went ahead of, and that come before all others now.
    overtaken: usize,
}

impl Commands {
    /// The next command; None once all handles are gone. Cancellation: safe.
    pub(super) async fn recv(&mut self) -> Option<Command> {
        if self.waiting.is_empty() {
            self.waiting.push_back(self.arriving.recv().await?);
        }
        while self.waiting.len() < COMMANDS
            && let Ok(command) = self.arriving.try_recv()
        {
            self.waiting.push_back(command);
        }
        let next = if self.overtaken == 0 { self.waiting.len() } else { self.overtaken };
        let positions = self.waiting.iter().take(next).map_while(Command::position).enumerate();
        let furthest = positions.max_by_key(|(_, position)| *position).map_or(0, |(at, _)| at);
        self.overtaken = if self.overtaken == 0 { furthest } else { self.overtaken - 1 };
        self.waiting.remove(furthest)
    }
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
    /// Ends when the worker drops every lease.
    tenure: CancellationToken,
}

impl LeaseHandle {
    /// A handle to a lease that is held until `tenure` ends, and what its keeper needs to answer it.
    pub(super) fn new(tenure: CancellationToken) -> (Self, watch::Sender<LeaseState>, Commands) {
        let (commands, arriving) = mpsc::channel(COMMANDS);
        let (sender, state) = watch::channel(LeaseState::Held);
        let (delivered, retired) = (Arc::default(), CancellationToken::new());
        let received = Commands { arriving, waiting: VecDeque::new(), overtaken: 0 };
        (Self { commands, state, delivered, retired, tenure }, sender, received)
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

    /// True if the worker has dropped every lease, perhaps before the keeper of this one has seen it.
    pub(crate) fn is_dropped(&self) -> bool {
        self.tenure.is_cancelled()
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

    pub(crate) async fn transact(
        &self,
        write: CheckpointWrite,
        items: Vec<TransactWriteItem>,
    ) -> Result<(), TransactionError> {
        let retired = self.retired.clone();
        let stored = self.ask(|reply| Command::Transact { write, items, retired, reply }).await;
        stored.unwrap_or(Err(CheckpointError::LeaseLost.into()))
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::model::PendingCheckpoint;

    fn at(number: u32) -> Checkpoint {
        Checkpoint::At(Position::new(number.to_string().parse().unwrap(), 0))
    }

    fn prepare(number: u32) -> CheckpointWrite {
        CheckpointWrite::Prepare(PendingCheckpoint { checkpoint: at(number), state: None })
    }

    /// Queues these, each by a caller of its own.
    fn queue(handle: &LeaseHandle, writes: impl IntoIterator<Item = CheckpointWrite>) {
        for write in writes {
            // Its caller stops waiting.
            assert!(handle.checkpoint(write).now_or_never().is_none());
        }
    }

    fn next(commands: &mut Commands) -> Option<CheckpointWrite> {
        match commands.recv().now_or_never() {
            Some(Some(Command::Checkpoint { write, .. })) => Some(write),
            _ => None,
        }
    }

    fn performed(commands: &mut Commands) -> Vec<CheckpointWrite> {
        std::iter::from_fn(|| next(commands)).collect()
    }

    #[tokio::test]
    async fn performs_the_furthest_of_the_waiting_checkpoints_first() {
        let (handle, _state, mut commands) = LeaseHandle::new(CancellationToken::new());
        queue(&handle, [5, 9, 7].map(|number| CheckpointWrite::commit(at(number))));

        assert_eq!(performed(&mut commands), [9, 5, 7].map(|number| CheckpointWrite::commit(at(number))));
    }

    #[tokio::test]
    async fn a_waiting_checkpoint_is_performed_although_further_ones_keep_arriving() {
        let (handle, _state, mut commands) = LeaseHandle::new(CancellationToken::new());
        let commit = |number| CheckpointWrite::commit(at(number));
        queue(&handle, [commit(5), commit(6)]);
        let mut order = Vec::new();
        for further in 7..12 {
            queue(&handle, [commit(further)]);
            order.extend(next(&mut commands));
        }

        assert_eq!(order, [commit(7), commit(6), commit(5), commit(10), commit(9)]);
    }

    #[tokio::test]
    async fn a_prepared_checkpoint_and_the_end_of_the_shard_keep_their_places() {
        let (handle, _state, mut commands) = LeaseHandle::new(CancellationToken::new());
        let commit = |number| CheckpointWrite::commit(at(number));
        let end = CheckpointWrite::commit(Checkpoint::ShardEnd);
        queue(&handle, [commit(5), prepare(8), commit(6), commit(7), end.clone()]);

        assert_eq!(performed(&mut commands), [commit(5), prepare(8), commit(7), commit(6), end]);
    }

    #[tokio::test]
    async fn a_checkpoint_of_a_failed_processor_goes_ahead_of_none() {
        let (handle, _state, mut commands) = LeaseHandle::new(CancellationToken::new());
        let failed = handle.for_processor();
        queue(&handle, [CheckpointWrite::commit(at(5))]);
        queue(&failed, [CheckpointWrite::commit(at(9))]);
        failed.retire();

        assert_eq!(performed(&mut commands), [5, 9].map(|number| CheckpointWrite::commit(at(number))));
    }
}
