//! SHELL: finds the leases that the table says are ours and we do not hold yet.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::lease::{Lease, LeaseKey, store::StoreError};

/// Leases read at the same time.
const CONCURRENT_READS: usize = 16;

/// Looks again and again and sends what it finds. Handles: time to look, a nudge, cancellation.
pub(crate) struct Discovery {
    pub(crate) context: Arc<Context>,
    /// The leases held now.
    pub(crate) held: watch::Receiver<HashSet<LeaseKey>>,
    /// Bounded; when full, the worker is busy taking leases and discovery waits.
    pub(crate) found: mpsc::Sender<Lease>,
}

impl Discovery {
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(self.context.settings.discovery_interval) => {}
                () = self.context.nudges.discover.notified() => {}
            }
            match self.look().await {
                Ok(leases) => {
                    self.context.metrics.discovered(leases.len());
                    for lease in leases {
                        if self.found.send(lease).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => self.context.table_failed(&error),
            }
        }
    }

    async fn look(&self) -> Result<Vec<Lease>, StoreError> {
        let me = &self.context.settings.worker_id;
        let keys = self.context.store.keys_owned_by(me).await?;
        let new: Vec<LeaseKey> = {
            let held = self.held.borrow();
            keys.into_iter().filter(|key| !held.contains(key)).collect()
        };
        let read = |key: LeaseKey| async move { self.context.store.get(&key).await };
        let reads = stream::iter(new).map(read).buffer_unordered(CONCURRENT_READS);
        let leases: Vec<_> = reads.collect().await;
        let mut ours = Vec::new();
        for lease in leases {
            // A lease in handoff is not ours until its old owner lets go.
            // One lease that cannot be read must not hide the others.
            let lease = lease.unwrap_or_else(|error| {
                self.context.table_failed(&error);
                None
            });
            ours.extend(lease.filter(|lease| lease.owner.as_ref() == Some(me) && !lease.in_handoff()));
        }
        Ok(ours)
    }
}
