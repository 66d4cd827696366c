//! SHELL: the keeper of one lease: renews it, writes its checkpoints, notices its loss or handoff.
//!
//! One task owns the lease, so renewals and checkpoints, which fence each other, never race, and wait for no user code.
//! While the fleet lives by heartbeats the worker's own renews the lease: the keeper writes it only if it is in doubt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Context, doubts::Holding},
    error::CheckpointError,
    event::Event,
    locked::locked,
    logic::{
        backoff::Backoff,
        shard::{RENEWALS, RETRY, Refusal, average_throughput, is_news, judge},
    },
    model::{CheckpointWrite, Conditional, Lease, StreamId, StreamShard},
    time::now,
};
use handle::{Command, Commands};
pub(crate) use handle::{LeaseHandle, LeaseState};

#[cfg(any(test, feature = "test-util"))]
pub(crate) mod detached;
mod handle;
mod transaction;

/// Time after which a changed throughput is written, if no checkpoint writes it.
const THROUGHPUT_INTERVAL: Duration = Duration::from_secs(60);
/// Minimum time that a throughput is measured over, as a part of the renewal interval: less shows the records' gaps.
const MEASURED_PART: f64 = 0.9;
/// Pauses between tries of a checkpoint, and how many follow the first.
const CHECKPOINT_BACKOFF: Backoff = Backoff::of_millis(100, 800);
const CHECKPOINT_RETRIES: u32 = 4;

pub(crate) struct Keeper {
    context: Arc<Context>,
    stream_id: StreamId,
    lease: Lease,
    /// Start of the last successful write, or of a heartbeat that renews: from then on others count the lease's age.
    confirmed: Instant,
    /// Start of the last successful write of the lease itself.
    written: Instant,
    renew_at: Instant,
    /// The round of this worker's renewals that the lease goes with; None before its first.
    round: Option<Instant>,
    /// End of the patience for a known handoff.
    handoff_deadline: Option<Instant>,
    state: watch::Sender<LeaseState>,
    commands: Commands,
    delivered: Arc<AtomicU64>,
    /// Start of the time that `delivered` counts.
    measured: Instant,
    /// Throughput as the table has it.
    stored_throughput: Option<f64>,
    /// That of its handles.
    tenure: CancellationToken,
    holding: Holding,
    /// The last write had no answer: the table may be a step further than `lease`.
    uncertain: bool,
}

impl Keeper {
    /// Takes charge of a lease that the table says is ours. Writes once, to be sure; None if it is not ours.
    pub(crate) async fn take(context: Arc<Context>, stream_id: StreamId, lease: Lease) -> Option<(Self, LeaseHandle)> {
        let (tenure, holding) = (context.pulse.tenure(), context.doubts.hold(lease.key.clone()));
        let (handle, state, commands) = LeaseHandle::new(tenure.clone());
        let (now, delivered) = (now(), Arc::clone(&handle.delivered));
        let lease = Lease { instance: Some(Arc::clone(&context.instance)), ..lease };
        let mut keeper = Self {
            context,
            stream_id,
            lease,
            confirmed: now,
            written: now,
            renew_at: now,
            round: None,
            handoff_deadline: None,
            state,
            commands,
            delivered,
            measured: now,
            stored_throughput: None,
            tenure,
            holding,
            uncertain: false,
        };
        match keeper.write(None).await {
            Ok(()) => {
                keeper.join_round(now);
                Some((keeper, handle))
            }
            Err(CheckpointError::Table(error)) => {
                keeper.context.table_failed(&error);
                None
            }
            Err(_) => None,
        }
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Keeps the lease until it is lost, given up or without handles. Handles: commands, renewal, doubt, expiry, handoff,
    /// the loss of every lease.
    pub(crate) async fn run(mut self) {
        while self.is_held() {
            let expiry = self.expiry();
            let handoff_deadline = self.handoff_deadline.unwrap_or(expiry);
            tokio::select! {
                // biased: a lease that has expired must not be used for a queued checkpoint, and checkpoints that follow
                // each other without pause must not keep a renewal from noticing a handoff.
                biased;
                () = self.tenure.cancelled() => self.lose(),
                () = sleep_until(expiry.into()) => self.lose(),
                () = sleep_until(handoff_deadline.into()), if self.handoff_deadline.is_some() => {
                    self.give_up().await;
                }
                () = sleep_until(self.renew_at.into()) => self.renew_if_needed().await,
                // The index shows one in handoff among its next owner's leases.
                () = self.holding.doubted(), if !self.lease.in_handoff() => self.renew().await,
                command = self.commands.recv() => match command {
                    Some(Command::Checkpoint { write, retired, reply }) => {
                        let _ = reply.send(self.checkpoint(write, &retired).await); // caller stopped waiting
                    }
                    Some(Command::Transact { write, items, retired, reply }) => {
                        let _ = reply.send(self.transact(write, items, &retired).await); // caller stopped waiting
                    }
                    Some(Command::Look(reply)) => {
                        self.settle().await;
                        if self.is_held() {
                            let _ = reply.send(self.lease.clone()); // caller stopped waiting
                        }
                    }
                    Some(Command::GiveUp(reply)) => {
                        let _ = reply.send(self.give_up().await); // caller stopped waiting
                    }
                    None => return,
                },
            }
        }
    }

    fn is_held(&self) -> bool {
        *self.state.borrow() != LeaseState::Lost
    }

    fn lose(&mut self) {
        self.state.send_replace(LeaseState::Lost);
    }

    /// Time from which others may take the lease for abandoned.
    fn expiry(&self) -> Instant {
        self.confirmed + self.context.settings.lease_duration
    }

    fn renewal_interval(&self) -> Duration {
        self.context.settings.lease_duration / RENEWALS
    }

    /// Plans the renewal after the one that began then.
    fn join_round(&mut self, begun: Instant) {
        let interval = self.renewal_interval();
        let round = locked(&self.context.rounds).next(self.round, begun, interval, fastrand::f64());
        self.round = Some(round);
        self.renew_at = round;
    }

    /// Renews the lease unless the worker's heartbeat does. One in handoff is renewed by writes alone.
    async fn renew_if_needed(&mut self) {
        let now = now();
        let beat = self.beat();
        if now - self.measured >= THROUGHPUT_INTERVAL {
            self.measure(now);
        }
        match beat.filter(|_| !is_news(self.stored_throughput, self.lease.throughput_kbps)) {
            Some(beat) => {
                self.confirmed = self.confirmed.max(beat);
                self.join_round(now);
            }
            None => self.renew().await,
        }
    }

    /// Begin of the worker's heartbeat, if that renews the lease.
    fn beat(&self) -> Option<Instant> {
        self.context.pulse.covers(self.written).filter(|_| !self.lease.in_handoff() && !self.uncertain)
    }

    /// Takes in what was delivered, unless so little time has passed since the last measurement that it says nothing.
    fn measure(&mut self, now: Instant) {
        if now - self.measured < self.renewal_interval().mul_f64(MEASURED_PART) {
            return;
        }
        let bytes = self.delivered.swap(0, Ordering::Relaxed);
        self.lease.throughput_kbps = average_throughput(self.lease.throughput_kbps, bytes, now - self.measured);
        self.measured = now;
    }

    async fn renew(&mut self) {
        let begun = now();
        self.measure(begun);
        let context = Arc::clone(&self.context);
        let renewing = context.metrics.renewing();
        let written = self.write(None).await;
        let (success, took) = (written.is_ok(), now() - begun);
        // The lease of an ended shard is deleted in the end: nothing failed then.
        let is_deleted = self.lease.is_ended() && matches!(written, Err(CheckpointError::LeaseLost));
        if !is_deleted {
            renewing.ended(success, took);
            context.metrics.renewed(success, took);
        }
        match written {
            Ok(()) => {
                self.confirmed = begun;
                self.written = begun;
                self.join_round(begun);
            }
            Err(CheckpointError::Table(error)) => {
                self.context.table_failed(&error);
                self.renew_at = now() + self.renewal_interval() / RETRY;
            }
            Err(_) => self.lose(),
        }
    }

    /// Finds out what became of a write whose answer was lost.
    async fn settle(&mut self) {
        while self.uncertain && self.is_held() {
            self.renew().await;
            if self.uncertain {
                sleep_until(self.renew_at.min(self.expiry()).into()).await;
            }
        }
    }

    async fn checkpoint(&mut self, write: CheckpointWrite, retired: &CancellationToken) -> Result<(), CheckpointError> {
        // The table may be further than the processor knows, by a checkpoint whose answer was lost.
        if write.is_done_in(&self.lease) && !retired.is_cancelled() {
            return Ok(());
        }
        self.measure(now());
        let (begun, result) = self.persist(&write, retired).await;
        match &result {
            Ok(()) => self.stored(&write, begun),
            Err(CheckpointError::LeaseLost) => self.lose(),
            Err(_) => {}
        }
        result
    }

    /// Takes in a checkpoint that is stored, by a write that began then.
    fn stored(&mut self, write: &CheckpointWrite, begun: Instant) {
        // Not if the table turned out to be further: a checkpoint never moves back.
        if !write.is_done_in(&self.lease) {
            write.apply(&mut self.lease);
        }
        // A heartbeat too, but no substitute for a renewal: only that notices a handoff.
        self.confirmed = begun;
    }

    /// Writes a checkpoint, and again after a failure that may pass. Also returns when the last try began.
    async fn persist(
        &mut self,
        write: &CheckpointWrite,
        retired: &CancellationToken,
    ) -> (Instant, Result<(), CheckpointError>) {
        let mut failures = 0;
        loop {
            let begun = now();
            if retired.is_cancelled() {
                return (begun, Err(CheckpointError::ProcessorFailed));
            }
            match self.write(Some(write)).await {
                Err(CheckpointError::Table(error)) if error.may_pass() && failures < CHECKPOINT_RETRIES => {
                    failures += 1;
                    self.context.table_failed(&error);
                    let pause = CHECKPOINT_BACKOFF.pause(failures, fastrand::f64());
                    sleep_until((begun + pause).min(self.expiry()).into()).await;
                }
                result => return (begun, result),
            }
        }
    }

    /// Writes a renewal (None) or a checkpoint. If the answer is lost, the next write shows what became of it.
    async fn write(&mut self, write: Option<&CheckpointWrite>) -> Result<(), CheckpointError> {
        let written = self.try_write(write).await;
        self.note_write(written.is_ok(), matches!(written, Err(CheckpointError::Table(_))));
        written
    }

    fn note_write(&mut self, is_written: bool, is_uncertain: bool) {
        self.uncertain = is_uncertain;
        if is_written {
            self.stored_throughput = self.lease.throughput_kbps;
        }
        self.holding.note(self.lease.counter);
    }

    /// Writes, and again with what a refusal taught us.
    async fn try_write(&mut self, write: Option<&CheckpointWrite>) -> Result<(), CheckpointError> {
        // One round for the write, one after learning of a handoff, one after an own write whose answer was lost.
        for _ in 0..3 {
            let attempt = async {
                match write {
                    Some(write) => self.context.table.checkpoint(&self.lease, write).await,
                    None => {
                        let _turn = self.context.renewals.acquire().await; // it is never closed
                        self.context.table.renew(&self.lease).await
                    }
                }
            };
            // The lease must not be written after its expiry, when another worker may count on its silence.
            let outcome = timeout_at(self.expiry().into(), attempt).await.map_err(|_| CheckpointError::LeaseLost)?;
            match outcome.map_err(CheckpointError::Table)? {
                Conditional::Applied => {
                    self.lease.counter += 1;
                    return Ok(());
                }
                Conditional::Conflict(found) => {
                    let found = match found {
                        Some(found) => Some(*found),
                        None => self.context.table.get(&self.lease.key).await.map_err(CheckpointError::Table)?,
                    };
                    if self.learn(found.map(Box::new), write)? {
                        return Ok(());
                    }
                }
            }
        }
        Err(CheckpointError::LeaseLost)
    }

    /// Takes in the item that refused our write. True: the write had taken place after all.
    fn learn(&mut self, found: Option<Box<Lease>>, write: Option<&CheckpointWrite>) -> Result<bool, CheckpointError> {
        let (found, own_write) = match judge(&self.context.settings.worker_id, &self.lease, found) {
            Refusal::Lost => return Err(CheckpointError::LeaseLost),
            Refusal::OwnWrite(found) => (found, true),
            Refusal::Handoff(found) => (found, false),
        };
        // Beyond it: another checkpoint whose answer was lost. A checkpoint never moves back.
        let done = own_write && write.is_none_or(|write| write.is_done_in(&found));
        let handoff_is_news = found.in_handoff() && !self.lease.in_handoff();
        // A handoff may have begun before our first write: then the next one makes the lease ours.
        self.lease = Lease { instance: self.lease.instance.take(), ..*found };
        if handoff_is_news {
            self.handoff_deadline = Some(now() + self.context.settings.handoff_timeout);
            self.state.send_replace(LeaseState::HandoffRequested);
            let shard = StreamShard::new(self.stream_id.clone(), self.lease.shard_id.clone());
            self.context.events.emit(Event::HandoffRequested { shard });
        }
        Ok(done)
    }

    /// Ends our ownership: to the new owner that the item names, or to nobody. False: others ended it, or it expired.
    async fn give_up(&mut self) -> bool {
        let mut unanswered = false;
        let given_up = loop {
            let next = self.lease.owner.clone().filter(|_| self.lease.in_handoff());
            let attempt = match &next {
                Some(next) => timeout_at(self.expiry().into(), self.context.table.assign(&self.lease, next)).await,
                None => timeout_at(self.expiry().into(), self.context.table.release(&self.lease)).await,
            };
            match attempt {
                Ok(Ok(Conditional::Applied)) => break true,
                Ok(Ok(Conditional::Conflict(found))) => {
                    let is_done = found.as_ref().is_some_and(|found| found.actual_owner() == next.as_ref());
                    match judge(&self.context.settings.worker_id, &self.lease, found) {
                        // The leader began a handoff that we did not know of.
                        Refusal::OwnWrite(found) | Refusal::Handoff(found) => self.lease = *found,
                        Refusal::Lost => break unanswered && is_done,
                    }
                }
                Ok(Err(error)) => {
                    self.context.table_failed(&error);
                    unanswered = true;
                    if !error.may_pass() {
                        break false;
                    }
                    sleep_until((now() + self.renewal_interval() / RETRY).min(self.expiry()).into()).await;
                }
                Err(_) => break false,
            }
        };
        self.lose();
        given_up
    }
}
