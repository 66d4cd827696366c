//! SHELL: this worker's item in the lease table, by which the leader knows it is alive.
//!
//! It is Java KCL's worker metrics item, with CPU use where it can be measured, and properties that tell runs apart.

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use futures::TryFutureExt as _;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::entry::patiently;
use crate::{
    context::Context,
    cpu::CpuMeter,
    error::WorkerError,
    event::{Event, chain},
    logic::{
        assign::membership::{IdState, judge, may_be_alive},
        usage_rate::UsageWindow,
    },
    model::{ACTIVE_WINDOW, CPU, FAILED, Metric, REPORT_INTERVAL, WorkerItem},
    time::now,
};

/// Pause between looks at the item of another run under this worker's id.
const OUTLAST_POLL: Duration = Duration::from_millis(500);
/// Maximum time without a look whether the item is still this worker's own: the looks of other loops count.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// Time in which another run under this worker's id must show that it is alive.
const PROBATION: Duration = Duration::from_secs(5);
/// Pause between two samples of CPU use.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Values of a metric that a worker keeps in its item. Source: KCL `noOfPersistedMetricsPerWorkerMetrics`.
const KEPT_VALUES: usize = 10;

pub(crate) struct Membership {
    context: Arc<Context>,
    item: WorkerItem,
    meter: Option<CpuMeter>,
    /// Samples since the last report.
    samples: Vec<f64>,
    usage: UsageWindow,
    /// The machine's clock is wrong, and the event was emitted.
    clock_is_wrong: bool,
}

impl Membership {
    /// Enters the fleet: makes sure that no other run has this id, and writes the item. None: `stop` resolved before.
    pub(crate) async fn join(
        context: Arc<Context>,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> Result<Option<Self>, WorkerError> {
        let id = context.settings.worker_id.clone();
        let look = patiently(&context, || context.table.get_worker(&id).err_into());
        let predecessor = tokio::select! {
            () = &mut stop => return Ok(None),
            found = look => found?,
        };
        // This run is the younger one, whatever the clocks say: they may have the same second, or differ.
        let earliest = predecessor.map_or(0, |found| found.started_at_millis.saturating_add(1));
        let item = WorkerItem {
            last_update_seconds: context.clock.seconds(),
            instance: Some(context.instance.to_string()),
            started_at_millis: context.clock.millis().max(earliest),
            id,
            leaving: true,
            metrics: BTreeMap::new(),
            usage: None,
        };
        let mut membership = Self {
            context,
            item,
            meter: CpuMeter::detect(),
            samples: Vec::new(),
            usage: UsageWindow::default(),
            clock_is_wrong: false,
        };
        let Some(before) = membership.announce(&mut stop).await? else { return Ok(None) };
        membership.check_clock();
        if may_be_alive(&membership.item, before.as_ref(), ACTIVE_WINDOW.as_secs())
            && !membership.outlast(&mut stop).await?
        {
            membership.delete().await;
            return Ok(None);
        }
        membership.item.leaving = false;
        Ok(membership.announce(&mut stop).await?.map(|_| membership))
    }

    /// Writes the item, and returns what stood there before; None if `stop` resolved first, and then the item is gone.
    async fn announce(
        &self,
        stop: impl Future<Output = ()> + Unpin,
    ) -> Result<Option<Option<WorkerItem>>, WorkerError> {
        let report = || self.context.table.put_worker(&self.item).err_into();
        tokio::select! {
            () = stop => {
                self.delete().await;
                Ok(None)
            }
            reported = patiently(&self.context, report) => reported.map(Some),
        }
    }

    /// Waits until no other run answers for this id any more. One that is leaving is waited for. False: `stop` resolved.
    async fn outlast(&mut self, mut stop: impl Future<Output = ()> + Unpin) -> Result<bool, WorkerError> {
        let mut end = now() + PROBATION;
        while now() < end {
            tokio::select! {
                () = &mut stop => return Ok(false),
                () = sleep(OUTLAST_POLL) => {}
            }
            match self.check().await? {
                IdState::Free => return Ok(true),
                IdState::Leaving => end = now() + PROBATION,
                _ => {}
            }
        }
        Ok(true)
    }

    /// Reports until cancelled, then once more that it is leaving. Handles: time to report, to sample, to check, looks of
    /// other loops, cancellation. Ends early only if another live worker has this id.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<Option<Self>, WorkerError> {
        self.keep(stop.cancelled()).await?;
        self.item.leaving = true;
        self.report().await;
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
        let mut report_at = now() + REPORT_INTERVAL;
        let (mut sample_at, mut check_at) = (now() + SAMPLE_INTERVAL, now() + CHECK_INTERVAL);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = sleep_until(report_at.into()) => {
                    report_at = now() + REPORT_INTERVAL;
                    self.measure();
                    self.report().await;
                }
                () = sleep_until(sample_at.into()), if self.meter.is_some() => {
                    sample_at = now() + SAMPLE_INTERVAL;
                    if let Some(meter) = &mut self.meter {
                        self.samples.extend(meter.sample().await);
                    }
                }
                _ = own_item.changed() => {
                    let (begun, found) = own_item.borrow_and_update().clone();
                    // What others saw may be out of date, so it is no more than a reason to look.
                    if judge(&self.item, found.as_ref()) != IdState::Ours {
                        self.check().await?;
                    }
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
        let state = judge(&self.item, found.as_ref());
        match state {
            IdState::Ours => {}
            IdState::InUse => return Err(WorkerError::WorkerIdInUse { worker_id: self.item.id.clone() }),
            IdState::Free | IdState::Claim | IdState::Leaving => {
                tracing::info!(worker_id = %self.item.id, ?state, "worker item written again");
                self.report().await;
            }
        }
        Ok(state)
    }

    fn measure(&mut self) {
        if self.meter.is_none() {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few samples")]
        let count = self.samples.len() as f64;
        let average = if count > 0.0 { self.samples.drain(..).sum::<f64>() / count } else { FAILED };
        let cpu = self.item.metrics.entry(CPU.to_owned()).or_insert(Metric { recent: Vec::new(), limit: 100.0 });
        if cpu.recent.len() == KEPT_VALUES {
            cpu.recent.remove(0);
        }
        cpu.recent.push((average * 1e6).round() / 1e6);
    }

    async fn report(&mut self) {
        self.item.last_update_seconds = self.context.clock.seconds();
        let begun = now();
        self.item.usage = self.usage.note(begun, self.context.table.usage()).or(self.item.usage);
        let reported = self.context.table.put_worker(&self.item).await;
        self.context.metrics.reported(reported.is_ok(), now() - begun);
        if self.context.reported(reported).is_some() {
            self.check_clock();
        }
    }

    /// After an answer of the table, which has the time.
    fn check_clock(&mut self) {
        let error = self.context.clock.error_of_machine();
        let was_wrong = std::mem::replace(&mut self.clock_is_wrong, error.is_some());
        if let Some((ahead, behind)) = error.filter(|_| !was_wrong) {
            self.context.events.emit(Event::ClockWrong { ahead, behind });
        }
    }
}
