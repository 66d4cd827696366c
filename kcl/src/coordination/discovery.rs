//! SHELL: finds the leases that the table says are ours and we do not hold yet.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::{
    context::Context,
    error::TableError,
    model::{Conditional, Lease, LeaseKey, TableScan},
};

const CONCURRENT_CALLS: usize = 16;

#[derive(Clone)]
pub(crate) struct Discovery {
    pub(crate) context: Arc<Context>,
    pub(crate) held: watch::Receiver<HashSet<LeaseKey>>,
}

impl Discovery {
    /// Looks repeatedly and sends what it finds into `found`; when that is full, the worker is busy taking leases and
    /// discovery waits. Handles: time to look, a nudge. Cancellation: safe.
    pub(crate) async fn run(self, found: mpsc::Sender<Lease>) {
        loop {
            tokio::select! {
                () = sleep(self.context.settings.discovery_interval) => {}
                () = self.context.nudges.discover.notified() => {}
            }
            let Some(leases) = self.context.reported(self.look().await) else { continue };
            self.context.metrics.discovered(leases.len());
            for lease in leases {
                if found.send(lease).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Gives back leases that name this worker and are not held, in a handoff to the old owner. Scans, as the index may
    /// lag. True: something was given back, or a call failed, so another look may find more.
    pub(crate) async fn give_back(&self) -> bool {
        let table = &self.context.table;
        let Some(TableScan { mut leases, .. }) = self.context.reported(table.scan().await) else { return true };
        let me = Some(&self.context.settings.worker_id);
        leases.retain(|lease| lease.owner.as_ref() == me && !self.held.borrow().contains(&lease.key));
        let give_back = |lease: Lease| async move {
            let written = match &lease.checkpoint_owner {
                Some(holder) => table.assign(&lease, holder).await,
                None => table.release(&lease).await,
            };
            // A conflict: somebody else has done something with it, or what was read was out of date.
            !matches!(self.context.reported(written), Some(Conditional::Conflict(_)))
        };
        let given = stream::iter(leases).map(give_back).buffer_unordered(CONCURRENT_CALLS);
        given.fold(false, |any, one| async move { any || one }).await
    }

    async fn look(&self) -> Result<Vec<Lease>, TableError> {
        let me = &self.context.settings.worker_id;
        let keys = self.context.table.keys_owned_by(me).await?;
        let new: Vec<LeaseKey> = {
            let held = self.held.borrow();
            keys.into_iter().filter(|key| !held.contains(key)).collect()
        };
        let read = |key: LeaseKey| async move { self.context.table.get(&key).await };
        let reads = stream::iter(new).map(read).buffer_unordered(CONCURRENT_CALLS);
        let leases: Vec<_> = reads.collect().await;
        let mut ours = Vec::new();
        for lease in leases {
            // A lease in handoff is not ours until its old owner lets go.
            // One lease that cannot be read must not hide the others.
            let lease = self.context.reported(lease).flatten();
            ours.extend(lease.filter(|lease| lease.owner.as_ref() == Some(me) && !lease.in_handoff()));
        }
        Ok(ours)
    }
}
