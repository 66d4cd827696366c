//! SHELL: finds the leases that the table says are ours and we do not hold yet.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use crate::{
    context::Context,
    error::TableError,
    locked::locked,
    logic::{
        assign::search::{max_rest, spared_until},
        pace::Pace,
    },
    model::{Conditional, Lease, LeaseKey},
    time::now,
};

const CONCURRENT_CALLS: usize = 16;

/// Findings of a look.
struct Found {
    /// Leases to take.
    leases: Vec<Lease>,
    /// Other leases are about to be handed over to this worker.
    more_to_come: bool,
}

#[derive(Clone)]
pub(crate) struct Discovery {
    pub(crate) context: Arc<Context>,
    pub(crate) held: watch::Receiver<HashSet<LeaseKey>>,
}

impl Discovery {
    /// Looks repeatedly and sends what it finds into `found`; when that is full, the worker is busy taking leases and
    /// discovery waits. Handles: time to look, a nudge. Cancellation: safe.
    pub(crate) async fn run(self, found: mpsc::Sender<Lease>) {
        let (mut pace, mut last) = (Pace::default(), now());
        loop {
            self.wait(&mut pace, last).await;
            let begun = now();
            last = begun;
            let looked = self.context.reported(self.look().await);
            let found_leases = looked.as_ref().map(|found| found.leases.len());
            self.context.metrics.looked(found_leases, now() - begun);
            let Some(Found { leases, more_to_come }) = looked else {
                // Whoever gave leases to this worker has announced it, and does not so again.
                pace.sign();
                continue;
            };
            if more_to_come || !leases.is_empty() {
                pace.sign();
            }
            for lease in leases {
                if found.send(lease).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Waits for the time of the next look, or for a nudge. The last look began at `last`.
    async fn wait(&self, pace: &mut Pace, last: Instant) {
        let (fast, slow) = (self.context.settings.discovery_interval, self.rest());
        let mut at = now() + pace.pause(fast, slow, fastrand::f64());
        let mut rests = pace.rests(slow);
        loop {
            tokio::select! {
                () = sleep_until(at.into()) => match self.spared_until(last).filter(|until| rests && *until > now()) {
                    Some(until) => at = until,
                    None => return,
                },
                () = self.context.nudges.discover.notified() => return pace.sign(),
                // Not at once: a lease that cannot be taken is found again by each look.
                () = self.context.nudges.discover_soon.notified() => {
                    pace.sign();
                    rests = false;
                    at = at.min(now() + fast);
                }
            }
        }
    }

    /// Maximum pause between two looks.
    fn rest(&self) -> Duration {
        let is_announced = self.context.seen.announced.load(Ordering::Relaxed);
        max_rest(self.context.pulse.may(), is_announced, self.context.settings.lease_duration)
    }

    /// Moment until which this worker's own scans, as the leader, spare it a look. None: the last shows a lease to take.
    fn spared_until(&self, last: Instant) -> Option<Instant> {
        let (owned, held) = (locked(&self.context.seen.owned), self.held.borrow());
        let (scanned, keys) = owned.as_ref()?;
        let are_held = keys.iter().all(|key| held.contains(key));
        are_held.then(|| spared_until(last, *scanned, self.context.settings.lease_duration))
    }

    /// Gives back leases that name this worker and are not held, in a handoff to the old owner. True: something was given
    /// back, or a call failed, so another look may find more.
    pub(crate) async fn give_back(&self) -> bool {
        let table = &self.context.table;
        let owned = table.owned_by(&self.context.settings.worker_id).await;
        let Some(mut leases) = self.context.reported(owned) else { return true };
        leases.retain(|lease| !self.held.borrow().contains(&lease.key));
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

    async fn look(&self) -> Result<Found, TableError> {
        let me = &self.context.settings.worker_id;
        let begun = now();
        let keys = self.context.table.keys_owned_by(me).await?;
        self.context.metrics.keys_listed(now() - begun);
        if self.context.pulse.may() {
            self.context.doubts.compare_keys(&keys);
        }
        let new: Vec<LeaseKey> = {
            let held = self.held.borrow();
            keys.into_iter().filter(|key| !held.contains(key)).collect()
        };
        let read = |key: LeaseKey| async move { self.context.table.get(&key).await };
        let reads = stream::iter(new).map(read).buffer_unordered(CONCURRENT_CALLS);
        let begun = now();
        let leases: Vec<_> = reads.collect().await;
        let is_of_other = |lease: &Lease| lease.owner.as_ref() != Some(me);
        let of_others = leases.iter().filter(|lease| matches!(lease, Ok(Some(lease)) if is_of_other(lease))).count();
        let errors = leases.iter().filter(|lease| lease.is_err()).count();
        self.context.metrics.leases_fetched(of_others, errors, now() - begun);
        let mut found = Found { leases: Vec::new(), more_to_come: false };
        for lease in leases {
            // A lease in handoff is not ours until its old owner lets go.
            // One lease that cannot be read must not hide the others; it is looked for again soon.
            let lease = self.context.reported(lease);
            found.more_to_come |= lease.is_none();
            let lease = lease.flatten().filter(|lease| lease.owner.as_ref() == Some(me));
            found.more_to_come |= lease.as_ref().is_some_and(Lease::in_handoff);
            found.leases.extend(lease.filter(|lease| !lease.in_handoff()));
        }
        Ok(found)
    }
}
