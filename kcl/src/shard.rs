//! SHELL: one task per lease: take it, wait for the parents, then initialize, fetch, process, end.

use std::{sync::Arc, time::Duration};

use kpl::ShardId;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::debug;

use crate::{
    contained::Contained,
    context::{Context, board::Entry},
    error::BoxError,
    event::{Event, chain},
    keeper::{Keeper, LeaseHandle, LeaseState},
    logic::{
        backoff::Backoff,
        shard::{Numbers, Verdict},
    },
    metrics::shard::ShardRecorder,
    model::{Lease, Record, ShardPhase, StreamShard},
    processor::ProcessorFactory,
    stream::Stream,
    time::now,
};

mod delivered;
mod end;
mod feed;
mod own_checkpoints;
mod run;
#[cfg(test)]
mod tests;

const BACKOFF: Backoff = Backoff::of_millis(1_000, 30_000);
/// Pauses between looks at parents that are not processed yet.
const PARENT_POLL: Backoff = Backoff::of_millis(200, 5_000);
/// Pauses between looks for the stream of a lease, which may not exist any more.
const STREAM_POLL: Backoff = Backoff::of_millis(1_000, 60_000);

/// Reason why a shard's work stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    /// The worker stops, or the lease is wanted elsewhere.
    GiveUp,
    Lost,
}

enum NoEnd {
    Failed(Failure),
    Interrupted(Interrupt),
    /// The processor did not return in time and is dropped.
    Abandoned(Interrupt),
}

struct Failure {
    error: BoxError,
    /// The records that failed, if they did; their data only if they may be given up now.
    records: Option<(Vec<Record>, Verdict)>,
}

impl From<BoxError> for NoEnd {
    fn from(error: BoxError) -> Self {
        Self::Failed(Failure { error, records: None })
    }
}

impl From<Interrupt> for NoEnd {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted(interrupt)
    }
}

pub(crate) struct ShardTask<F> {
    context: Arc<Context>,
    stream: Arc<Stream>,
    factory: Arc<Contained<F>>,
    stop: CancellationToken,
    lease: Lease,
    handle: LeaseHandle,
    fencing_token: u64,
    metrics: Arc<ShardRecorder>,
    /// Numbers of the records that the parents delivered.
    inherited: Numbers,
    _keeper: AbortOnDropHandle<()>,
}

impl<F: ProcessorFactory> ShardTask<F> {
    /// Takes the lease and processes its shard until the shard's end, the lease's loss, or `stop`.
    pub(crate) async fn run(context: Arc<Context>, factory: Arc<Contained<F>>, lease: Lease, stop: CancellationToken) {
        let (shard_id, key) = (lease.shard_id.clone(), lease.key.clone());
        let found = stop.run_until_cancelled(find_stream(&context, lease)).await.flatten();
        let Some((stream, lease)) = found else { return };
        let stream_id = stream.id.clone();
        let Some((keeper, handle)) = Keeper::take(Arc::clone(&context), stream_id.clone(), lease).await else {
            debug!(%shard_id, "lease is not ours after all");
            return;
        };
        let lease = keeper.lease().clone();
        let keeper = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
        let fencing_token = lease.counter;
        let metrics = Arc::new(context.metrics.shard(&lease));
        let (shard, lag) = (StreamShard::new(stream_id, shard_id), metrics.lag.clone());
        context.board.add(key, shard, lease.checkpoint.clone(), lag);
        let mut task = Self {
            context,
            stream,
            factory,
            stop,
            lease,
            handle,
            fencing_token,
            metrics,
            inherited: Numbers::default(),
            _keeper: keeper,
        };
        match task.process().await {
            Ok(()) => {
                task.phase(ShardPhase::Ended);
                task.rest().await;
            }
            Err(Interrupt::GiveUp) => task.give_up().await,
            Err(Interrupt::Lost) => {
                task.context.metrics.lease_lost();
                task.context.events.emit(Event::LeaseLost { shard: task.shard() });
            }
        }
    }

    fn phase(&self, phase: ShardPhase) {
        self.context.board.enter(&self.lease.key, phase);
    }

    fn shard(&self) -> StreamShard {
        StreamShard::new(self.stream.id.clone(), self.lease.shard_id.clone())
    }

    /// Ok: the shard is processed to its end.
    async fn process(&mut self) -> Result<(), Interrupt> {
        if self.lease.is_ended() {
            return Ok(());
        }
        self.context.events.emit(Event::LeaseTaken { shard: self.shard() });
        // Before the wait: what comes during it comes after LATEST.
        let latest_is_new = self.resolve_latest().await?;
        let waited = self.metrics.waited.counted(self.wait_for_parents()).await?;
        self.inherit().await?;
        self.run_processors(latest_is_new && !waited).await
    }

    async fn interrupted(&self) -> Interrupt {
        // Asked before each batch: what was dropped must not be delivered, nor what was taken from a suspended machine.
        self.context.drop_if_overslept();
        if self.handle.is_dropped() {
            return Interrupt::Lost;
        }
        tokio::select! {
            // biased: the loss of the lease must win over a stop, or we would write what is not ours any more.
            biased;
            state = self.handle.no_longer_held() => match state {
                LeaseState::Lost => Interrupt::Lost,
                _ => Interrupt::GiveUp,
            },
            () = self.stop.cancelled() => Interrupt::GiveUp,
            () = self.stream.vanished() => Interrupt::GiveUp,
        }
    }

    /// Waits, unless the work has to stop.
    async fn pause(&self, pause: Duration) -> Result<(), Interrupt> {
        tokio::select! {
            biased;
            interrupt = self.interrupted() => Err(interrupt),
            () = sleep(pause) => Ok(()),
        }
    }

    /// Waits until each parent that has a lease is processed to its end. False: there was nothing to wait for.
    async fn wait_for_parents(&self) -> Result<bool, Interrupt> {
        let mut looks = 0;
        for parent in &self.lease.parents {
            while !self.is_done_with(parent).await {
                self.context.board.change(&self.lease.key, |entry| entry.activity.parents = vec![parent.clone()]);
                looks += 1;
                self.pause(PARENT_POLL.ceiling(looks)).await?;
            }
        }
        Ok(looks > 0)
    }

    async fn is_done_with(&self, parent: &ShardId) -> bool {
        let found = self.context.reported(self.context.table.get(&self.lease.sibling_key(parent)).await);
        found.is_some_and(|lease| lease.is_none_or(|lease| lease.is_ended()))
    }

    /// The shard is done; its lease is kept alive until the leader deletes it, or the worker stops.
    async fn rest(&self) {
        if self.context.settings.purpose.has_leader() && self.interrupted().await == Interrupt::GiveUp {
            self.handle.give_up().await;
        }
    }

    async fn give_up(&self) {
        let shard = self.shard();
        let given_up = timeout(self.context.settings.lease_duration, self.handle.give_up()).await;
        self.context.events.emit(match given_up {
            Ok(true) => Event::LeaseReleased { shard },
            _ => Event::LeaseLost { shard },
        });
    }

    fn note_failures(&self, failures: u32) {
        self.context.board.change(&self.lease.key, |Entry { status, activity, .. }| {
            status.failures = failures;
            activity.failing_since.get_or_insert_with(now);
            // A call that panicked has not said so.
            (activity.busy_since, activity.moved) = (None, now());
        });
    }

    fn report_failure(&self, error: &BoxError, retry_in: Option<Duration>) {
        let (shard, error) = (self.shard(), chain(error.as_ref()));
        self.context.events.emit(Event::ProcessorFailed { shard, error, retry_in });
    }
}

/// Waits until the stream of a lease can be read; None if the lease is not ours any more by then.
async fn find_stream(context: &Context, mut lease: Lease) -> Option<(Arc<Stream>, Lease)> {
    let mut looks = 0;
    loop {
        if let Some(stream) = context.catalog.stream_of(&lease, &context.events).await {
            return Some((stream, lease));
        }
        debug!(key = %lease.key, "stream of the lease cannot be read");
        looks += 1;
        sleep(STREAM_POLL.ceiling(looks)).await;
        if let Some(found) = context.reported(context.table.get(&lease.key).await) {
            lease = found.filter(|found| found.actual_owner() == Some(&context.settings.worker_id))?;
        }
    }
}

impl<F> Drop for ShardTask<F> {
    fn drop(&mut self) {
        self.context.board.remove(&self.lease.key);
    }
}

/// Pause before try number `failures` + 1, jittered.
fn backoff(failures: u32) -> Duration {
    BACKOFF.pause(failures, fastrand::f64())
}
