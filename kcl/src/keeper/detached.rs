//! A lease without a table, for tests of processors: takes checkpoints until it is lost.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::TransactWriteItem;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::handle::{Command, LeaseHandle, LeaseState};
use crate::{
    error::{CheckpointError, TransactionError},
    locked::locked,
    model::{Checkpoint, CheckpointWrite, Lease},
    table::dynamodb::transactions::check,
};

/// The other end of a handle without a keeper.
#[derive(Debug)]
pub(crate) struct Detached {
    /// Changed by one checkpoint at a time.
    lease: Arc<Mutex<Lease>>,
    /// Items of transactions, in order; locked for a line.
    items: Arc<Mutex<Vec<TransactWriteItem>>>,
    state: watch::Sender<LeaseState>,
    _task: AbortOnDropHandle<()>,
}

impl LeaseHandle {
    /// A handle to a lease that only this process knows of. Spawns a task, which ends with the second value.
    pub(crate) fn detached(lease: Lease) -> (Self, Detached) {
        let (handle, state, mut commands) = Self::new(CancellationToken::new());
        let lease = Arc::new(Mutex::new(lease));
        let items = Arc::<Mutex<Vec<TransactWriteItem>>>::default();
        let (stored, written, held) = (Arc::clone(&lease), Arc::clone(&items), state.clone());
        let task = tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let check = |retired: &CancellationToken| match retired.is_cancelled() {
                    _ if *held.borrow() == LeaseState::Lost => Err(CheckpointError::LeaseLost),
                    true => Err(CheckpointError::ProcessorFailed),
                    false => Ok(()),
                };
                match command {
                    Command::Checkpoint { write, retired, reply } => {
                        let result = check(&retired).map(|()| store(&write, &mut locked(&stored)));
                        let _ = reply.send(result.map(drop)); // caller stopped waiting
                    }
                    Command::Transact { write, items, retired, reply } => {
                        let result = check(&retired).map_err(TransactionError::from);
                        let result = result.and_then(|()| transact(&write, &items, &mut locked(&stored)));
                        if result.is_ok() {
                            locked(&written).extend(items);
                        }
                        let _ = reply.send(result); // caller stopped waiting
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
        (handle, Detached { lease, items, state, _task: AbortOnDropHandle::new(task) })
    }
}

/// Changes the lease unless it has the checkpoint. True: it had not.
fn store(write: &CheckpointWrite, lease: &mut Lease) -> bool {
    let is_news = !write.is_done_in(lease);
    if is_news {
        write.apply(lease);
    }
    is_news
}

fn transact(write: &CheckpointWrite, items: &[TransactWriteItem], lease: &mut Lease) -> Result<(), TransactionError> {
    check(items, |_| false)?;
    if store(write, lease) { Ok(()) } else { Err(TransactionError::AlreadyStored) }
}

impl Detached {
    pub(crate) fn items(&self) -> Vec<TransactWriteItem> {
        locked(&self.items).clone()
    }

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
