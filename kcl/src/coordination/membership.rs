//! SHELL: this worker's item in the lease table, by which the leader knows it is alive.
//!
//! It is Java KCL's worker metrics item, with CPU use where it can be measured, and properties that tell runs apart.

use std::{
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::measurement::Measurement;
use crate::{
    context::{Context, pulse::Beginning},
    error::WorkerError,
    event::{Event, chain},
    logic::{
        assign::membership::{IdState, judge},
        shard::{RENEWALS, RETRY},
        usage_rate::UsageWindow,
    },
    model::{Mark, REPORT_INTERVAL, WorkerItem},
    time::now,
};

mod heartbeat;
mod probation;

/// Maximum time without a look whether the item is still this worker's own: the looks of other loops count.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// Pause between two samples of CPU use, and of the clock that shows whether the machine was suspended.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Membership {
    context: Arc<Context>,
    item: WorkerItem,
    measurement: Measurement,
    usage: UsageWindow,
    /// Begin of the first try of the heartbeat that is under way.
    trying: Option<Beginning>,
    /// The heartbeat after which a mark was seen by looks of other loops, which see it again until the next one.
    marked_after: Option<u64>,
    /// The machine's clock is wrong, and the event was emitted.
    clock_is_wrong: bool,
}

impl Membership {
    /// Reports until cancelled, then once more that it is leaving. Handles: time to report, to sample, to check, looks of
    /// other loops, a heartbeat that is due, cancellation. Ends early only if another live worker has this id.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<Option<Self>, WorkerError> {
        self.keep(stop.cancelled()).await?;
        self.item.leaving = true;
        // If the answer to the one before was lost, the first shows only that.
        if !self.beat().await? {
            self.beat().await?;
        }
        Ok(Some(self))
    }

    /// Leaves the fleet once the worker has stopped; until then the id is taken.
    pub(crate) async fn leave(mut self, stopped: impl Future<Output = ()>) {
        tokio::pin!(stopped);
        tokio::select! {
            () = &mut stopped => self.delete().await,
            // Another run has the id by now.
            _ = self.keep(pending()) => stopped.await,
        }
    }

    async fn keep(&mut self, stop: impl Future<Output = ()>) -> Result<(), WorkerError> {
        tokio::pin!(stop);
        let mut own_item = self.context.seen.own_item.subscribe();
        let mut report_at = now() + self.interval();
        let (mut sample_at, mut check_at) = (now() + SAMPLE_INTERVAL, now() + CHECK_INTERVAL);
        let samples = self.measurement.is_possible() || self.item.beat.is_some();
        loop {
            let due = async {
                tokio::select! {
                    () = sleep_until(report_at.into()) => {}
                    () = self.context.pulse.due.notified() => {}
                }
            };
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = due => {
                    let begun = now();
                    self.measurement.add_to(&mut self.item.metrics, self.context.pulse.may());
                    let pause = if self.beat().await? { self.interval() } else { self.interval() / RETRY };
                    report_at = begun + pause;
                    // An accepted heartbeat shows that the item is ours.
                    check_at = if self.context.pulse.may() { now() + CHECK_INTERVAL } else { check_at };
                }
                () = sleep_until(sample_at.into()), if samples => {
                    sample_at = now() + SAMPLE_INTERVAL;
                    self.sample().await;
                }
                _ = own_item.changed() => {
                    let (begun, found) = own_item.borrow_and_update().clone();
                    self.seen(found.as_ref()).await?;
                    // A long scan may have read it long ago.
                    check_at = check_at.max(begun + CHECK_INTERVAL);
                }
                () = sleep_until(check_at.into()) => {
                    self.check().await?;
                    check_at = now() + CHECK_INTERVAL;
                }
            }
        }
    }

    /// Takes in this worker's item as another loop saw it. It may be out of date, so it is no more than a reason to look.
    async fn seen(&mut self, found: Option<&WorkerItem>) -> Result<(), WorkerError> {
        let mark = found.filter(|found| found.beat == self.item.beat).and_then(|found| found.mark);
        if judge(&self.item, found) != IdState::Ours || mark == Some(Mark::Fenced) {
            self.check().await?;
        } else if mark == Some(Mark::Look) && self.marked_after != self.item.beat {
            // Should another mark come before the next heartbeat, that one shows it.
            self.marked_after = self.item.beat;
            self.look();
        }
        Ok(())
    }

    async fn sample(&mut self) {
        self.context.drop_if_overslept();
        self.measurement.sample().await;
    }

    /// Pause between two reports, which are heartbeats where those renew leases.
    fn interval(&self) -> Duration {
        if self.context.pulse.may() {
            (self.context.settings.lease_duration / RENEWALS).mul_f64(0.9 + 0.1 * fastrand::f64())
        } else {
            REPORT_INTERVAL
        }
    }

    async fn delete(&self) {
        let deleted = async {
            // As it stands there, should the answer to our last report be lost.
            match self.context.table.get_worker(&self.item.id).await? {
                Some(found) if found.instance == self.item.instance => self.context.table.delete_worker(&found).await,
                _ => Ok(false),
            }
        };
        self.context.reported(deleted.await);
    }

    async fn check(&mut self) -> Result<IdState, WorkerError> {
        let found = match self.context.table.get_worker(&self.item.id).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(error = chain(&error), "worker item not read");
                return Ok(IdState::Ours);
            }
        };
        let is_fenced = found.as_ref().is_some_and(WorkerItem::is_fenced);
        let state = judge(&self.item, found.as_ref());
        match state {
            IdState::Ours if !is_fenced => {}
            _ if self.item.beat.is_some() && !self.item.leaving => return self.refused(found).await,
            IdState::Ours => {}
            IdState::InUse => return Err(WorkerError::WorkerIdInUse { worker_id: self.item.id.clone() }),
            IdState::Free | IdState::Claim | IdState::Leaving => {
                tracing::info!(worker_id = %self.item.id, ?state, "worker item written again");
                self.report().await;
            }
        }
        Ok(state)
    }

    /// Writes the item, whatever stands there. False: it failed.
    async fn report(&mut self) -> bool {
        self.item.last_update_seconds = self.context.clock.seconds();
        let begun = now();
        self.item.usage = self.usage.note(begun, self.context.table.usage()).or(self.item.usage);
        let reported = self.context.table.put_worker(&self.item).await;
        self.context.metrics.reported(reported.is_ok(), now() - begun);
        let is_written = self.context.reported(reported).is_some();
        if is_written {
            self.check_clock();
        }
        is_written
    }

    /// Compares the machine's clock with the table's time, which an answer has just brought.
    fn check_clock(&mut self) {
        let error = self.context.clock.error_of_machine();
        let was_wrong = std::mem::replace(&mut self.clock_is_wrong, error.is_some());
        if let Some((ahead, behind)) = error.filter(|_| !was_wrong) {
            self.context.events.emit(Event::ClockWrong { ahead, behind });
        }
    }
}
