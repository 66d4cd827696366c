//! SHELL: this worker's item in the lease table, by which the leader knows it is alive.
//!
//! It is Java KCL's worker metrics item, with CPU use where it can be measured, and properties that tell runs apart.

use std::{
    future::{Future, pending},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::TryFutureExt as _;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::entry::patiently;
use crate::{
    context::{Context, pulse::Beginning},
    cpu::CpuMeter,
    error::WorkerError,
    event::{Event, chain},
    logic::{
        assign::membership::{IdState, Refusal, beat_after, is_own_beat, judge, judge_refusal, may_be_alive},
        shard::{RENEWALS, RETRY},
        usage_rate::UsageWindow,
    },
    model::{ACTIVE_WINDOW, Beat, CPU, FAILED, Mark, Metric, REPORT_INTERVAL, Renewals, WorkerItem},
    time::now,
};

/// Pause between looks at the item of another run under this worker's id.
const OUTLAST_POLL: Duration = Duration::from_millis(500);
/// Maximum time without a look whether the item is still this worker's own: the looks of other loops count.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// Time in which another run under this worker's id must show that it is alive.
const PROBATION: Duration = Duration::from_secs(5);
/// Pause between two samples of CPU use, and of the clock that shows whether the machine was suspended.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Window of a metric in a fleet that lives by heartbeats. Source: KCL `workerMetricsReporterFreqInMillis`.
const SLOW_MEASURE: Duration = Duration::from_secs(30);

/// Values of a metric that a worker keeps in its item. Source: KCL `noOfPersistedMetricsPerWorkerMetrics`.
const KEPT_VALUES: usize = 10;

pub(crate) struct Membership {
    context: Arc<Context>,
    item: WorkerItem,
    meter: Option<CpuMeter>,
    /// Samples since the last measurement; at most one a second.
    samples: Vec<f64>,
    measured: Instant,
    usage: UsageWindow,
    /// Begin of the first try of the heartbeat that is under way.
    trying: Option<Beginning>,
    /// The heartbeat after which a mark was seen by looks of other loops, which see it again until the next one.
    marked_after: Option<u64>,
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
            leaving: true,
            beat: (context.settings.renewals == Renewals::Automatic).then_some(0),
            ..WorkerItem::new(id)
        };
        let mut membership = Self {
            context,
            item,
            meter: CpuMeter::detect(),
            samples: Vec::new(),
            measured: now(),
            usage: UsageWindow::default(),
            trying: None,
            marked_after: None,
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
        let samples = self.meter.is_some() || self.item.beat.is_some();
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
                    self.measure();
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
        if let Some(meter) = &mut self.meter {
            self.samples.extend(meter.sample().await);
        }
    }

    /// Pause between two reports, which are heartbeats where those renew leases.
    fn interval(&self) -> Duration {
        if self.context.pulse.may() {
            (self.context.settings.lease_duration / RENEWALS).mul_f64(0.9 + 0.1 * fastrand::f64())
        } else {
            REPORT_INTERVAL
        }
    }

    /// Reports on condition that nobody else has written this worker's item. False: it failed. An error if another live
    /// worker has the id.
    async fn beat(&mut self) -> Result<bool, WorkerError> {
        let Some(last) = self.item.beat else { return Ok(self.report().await) };
        // Once this one is accepted, nothing shows that the last was so long ago.
        self.context.drop_if_overslept();
        let begun = self.context.pulse.begin();
        let first_begun = *self.trying.get_or_insert(begun);
        let next = WorkerItem {
            last_update_seconds: self.context.clock.seconds(),
            beat: Some(last + 1),
            usage: self.usage.note(begun.at(), self.context.table.usage()).or(self.item.usage),
            ..self.item.clone()
        };
        let written = self.context.table.beat(&next, last).await;
        self.context.metrics.reported(matches!(written, Ok(Beat::Confirmed(_))), now() - begun.at());
        match self.context.reported(written) {
            None => return Ok(false),
            Some(Beat::Confirmed(before)) => {
                self.confirm(next, begun);
                if before.is_some_and(|before| before.mark == Some(Mark::Look)) {
                    self.look();
                }
            }
            Some(Beat::Refused(found)) => {
                let found = found.map(|found| *found);
                if is_own_beat(&next, found.as_ref()) {
                    self.confirm(next, first_begun);
                    // It may have removed a mark that nobody has seen.
                    self.look();
                    return Ok(false);
                }
                self.refused(found).await?;
            }
        }
        self.check_clock();
        Ok(true)
    }

    fn confirm(&mut self, written: WorkerItem, begun: Beginning) {
        self.item = written;
        self.trying = None;
        self.context.pulse.beaten(begun);
    }

    /// Looks for leases given and taken.
    fn look(&self) {
        self.context.nudges.discover.notify_one();
        self.context.nudges.verify.notify_one();
    }

    /// The item is not as this run wrote it: its leases may be others' by now. Nothing is lost only if another run under
    /// this id asks who is there, and is answered while the last heartbeat still counts.
    async fn refused(&mut self, found: Option<WorkerItem>) -> Result<IdState, WorkerError> {
        let pulse = &self.context.pulse;
        let refusal = judge_refusal(&self.item, found.as_ref(), pulse.may(), pulse.is_current());
        let Refusal { state, drops_leases } = refusal;
        if drops_leases {
            self.context.pulse.drop_all();
            self.context.events.emit(Event::HeartbeatRefused);
        }
        if state == IdState::InUse {
            return Err(WorkerError::WorkerIdInUse { worker_id: self.item.id.clone() });
        }
        tracing::info!(worker_id = %self.item.id, ?state, "worker item written again");
        self.item.beat = beat_after(&self.item, found.as_ref());
        let begun = self.context.pulse.begin();
        if self.report().await {
            self.trying = None;
            self.context.pulse.beaten(begun);
        }
        self.look();
        Ok(state)
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

    fn measure(&mut self) {
        let is_due = !self.context.pulse.may() || now() - self.measured >= SLOW_MEASURE;
        if self.meter.is_none() || !is_due {
            return;
        }
        self.measured = now();
        #[expect(clippy::cast_precision_loss, reason = "a few samples")]
        let count = self.samples.len() as f64;
        let average = if count > 0.0 { self.samples.drain(..).sum::<f64>() / count } else { FAILED };
        let cpu = self.item.metrics.entry(CPU.to_owned()).or_insert(Metric { recent: Vec::new(), limit: 100.0 });
        if cpu.recent.len() == KEPT_VALUES {
            cpu.recent.remove(0);
        }
        cpu.recent.push((average * 1e6).round() / 1e6);
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
