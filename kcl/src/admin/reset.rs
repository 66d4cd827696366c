//! Resets an application's checkpoints to a position, planned by [`plan_reset`].

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kpl::ShardId;
use tokio::time::sleep;

use crate::{
    clock::PRECISION,
    context::Context,
    coordination::{admission, entry},
    error::{TableError, WorkerError},
    event::Events,
    logic::{
        backoff::Backoff,
        lineage::{Goal, Step, find_hole, new_lease, plan_reset},
    },
    model::{Checkpoint, CheckpointWrite, Conditional, InitialPosition, Lease, Shard, StreamShard},
    stream::{Catalog, LISTING_PAUSE, MAX_LISTINGS, Stream},
    worker::builder::WorkerBuilder,
};

mod request;
mod seek;
mod watch;

pub use request::{Reset, ResetError, ResetReport, ShardReset};

const CONCURRENT_SEEKS: usize = 16;
/// Maximum tries of one write, and the pause between them.
const MAX_TRIES: u32 = 10;
const TRY_PAUSE: Backoff = Backoff::of_millis(500, 500);
/// Time after the reset in which a leader may still delete a lease that it saw ended.
const CLEANUP_RACE: Duration = Duration::from_secs(2);

impl WorkerBuilder {
    /// Sets the checkpoints of the application to a position: of all shards of its streams, or of one shard and those that
    /// follow it. Workers that start afterwards process everything from there on and nothing before it, parents before
    /// children. Shards whose leases were deleted are included, as far as the stream retains them.
    ///
    /// Workers of Java KCL read the result as well: a time becomes the sequence number of the last record before it in
    /// each shard, or TRIM_HORIZON if there is none; LATEST is the time of the reset. Shards that were closed before the
    /// position are marked as ended, pending checkpoints are discarded. A new [epoch](crate::ShardContext::epoch) begins, so that
    /// what a [`TransactionalSink`](crate::TransactionalSink) holds of the time before does not count.
    ///
    /// Stop the fleet first. While a worker shows signs of life, watched for up to 35 s (or the [lease
    /// duration](Self::lease_duration) if longer), the reset is refused, unless [forced](Reset::force): then owners
    /// lose their leases and can no longer checkpoint; their processors may receive records for a moment.
    ///
    /// Uses streams, application, lease table and lease duration. Needs a worker's permissions but for CreateTable and UpdateTable.
    ///
    /// ```no_run
    /// use std::time::{Duration, SystemTime};
    /// use kcl::{BoxError, InitialPosition, Reset, Worker};
    ///
    /// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
    /// let an_hour_ago = InitialPosition::AtTimestamp(SystemTime::now() - Duration::from_secs(3_600));
    /// let report = Worker::builder(&aws, "printer", "StockTradeStream").reset(Reset::to(an_hour_ago)).await?;
    /// for shard in &report.shards {
    ///     println!("{} from {:?} to {}", shard.shard, shard.before, shard.after);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`ResetError`], which says whether anything was changed. A reset may be repeated.
    ///
    /// # Cancellation
    /// Dropping the future may leave some leases reset and others not: repeat the reset before workers start.
    pub async fn reset(&self, reset: Reset) -> Result<ResetReport, ResetError> {
        self.validate()?;
        let mut builder = self.clone();
        builder.everywhere(reset.position);
        let (catalog, table) = (builder.catalog(), builder.table_in_dynamodb(false));
        let context = Context::new(builder.settings, Events::default(), catalog, table);
        Resetting { context, reset, epoch: 0 }.run().await
    }
}

struct Resetting {
    context: Context,
    reset: Reset,
    /// Epoch that it begins.
    epoch: u64,
}

struct Task {
    stream: Arc<Stream>,
    step: Step,
    target: Checkpoint,
}

impl Resetting {
    async fn run(mut self) -> Result<ResetReport, ResetError> {
        let streams = self.streams().await?;
        let now = self.context.clock.now();
        match self.reset.position {
            InitialPosition::AtTimestamp(time) if time > now + PRECISION => return Err(ResetError::InFuture),
            // This clock may be behind by as much.
            InitialPosition::AtTimestamp(time) => sleep(time.duration_since(now).unwrap_or_default()).await,
            // Records written after this moment must be processed.
            InitialPosition::Latest => self.reset.position = InitialPosition::AtTimestamp(now),
            _ => {}
        }
        if !self.reset.force {
            watch::fleet_is_still(&self.context).await?;
        }
        let tasks = self.tasks(&streams).await?;
        // By the time, because of leases that were deleted nobody knows the epoch.
        let last = tasks.iter().filter_map(|task| task.step.lease.as_ref()).map(|lease| lease.epoch).max();
        self.epoch = self.context.clock.millis().max(last.unwrap_or_default() + 1);
        for (done, task) in tasks.iter().enumerate() {
            self.write(task).await.map_err(|failed| failed.after(done))?;
        }
        if self.reset.force {
            sleep(CLEANUP_RACE).await;
            for task in &tasks {
                self.restore(task).await.map_err(|failed| failed.after(tasks.len()))?;
            }
        }
        let shards = tasks.into_iter().map(|Task { stream, step, target }| ShardReset {
            shard: StreamShard::new(stream.id.clone(), step.shard_id),
            before: step.lease.map(|lease| lease.checkpoint),
            after: target,
        });
        Ok(ResetReport { shards: shards.collect() })
    }

    async fn streams(&self) -> Result<Vec<Arc<Stream>>, ResetError> {
        let context = &self.context;
        let mut streams = context.catalog.wait_until_active(&context.events).await?;
        if let Some(only) = &self.reset.stream {
            streams.retain(|stream| [stream.id.as_str(), stream.id.name(), &stream.given].contains(&only.as_str()));
            if streams.is_empty() {
                return Err(ResetError::UnknownStream { stream: only.clone() });
            }
        }
        if streams.len() > 1 && self.reset.shard.is_some() {
            return Err(ResetError::WhichStream);
        }
        context.table.find_layout().await?;
        admission::check_kind(context).await?;
        if let Catalog::Single(stream) = &context.catalog
            && context.table.fleet_version().await?.is_some()
        {
            entry::claim(context, &stream.wait_until_active().await?).await?;
        }
        Ok(streams)
    }

    async fn tasks(&self, streams: &[Arc<Stream>]) -> Result<Vec<Task>, ResetError> {
        let scan = self.context.table.scan().await?;
        if !scan.malformed.is_empty() {
            return Err(ResetError::Unreadable { keys: scan.malformed });
        }
        let by_stream = self.context.catalog.by_stream(&scan.leases);
        let mut tasks = Vec::new();
        for stream in streams {
            let leases = by_stream.get(&stream.id).map_or(&[][..], Vec::as_slice);
            let steps = self.plan(stream, leases).await?;
            let targets = self.targets(stream, &steps).await?;
            let task = |(step, target)| Task { stream: Arc::clone(stream), step, target };
            tasks.extend(steps.into_iter().zip(targets).map(task));
        }
        Ok(tasks)
    }

    async fn plan(&self, stream: &Stream, leases: &[&Lease]) -> Result<Vec<Step>, ResetError> {
        for _ in 0..MAX_LISTINGS {
            // First, so that a shard opened in between follows one of these.
            let holders = stream.list(true).await?;
            let listed = stream.list(false).await?;
            if find_hole(holders.iter().map(|shard| shard.hash_key_range)).is_none() {
                let only = self.reset.shard.as_ref();
                if let Some(only) = only.filter(|only| !listed.iter().any(|shard| shard.id == **only)) {
                    return Err(ResetError::UnknownShard { shard_id: only.clone() });
                }
                let first: HashSet<ShardId> = holders.iter().map(|shard| shard.id.clone()).collect();
                return Ok(plan_reset(&listed, &first, leases, only));
            }
            sleep(LISTING_PAUSE).await;
        }
        Err(ResetError::Resharding)
    }

    async fn targets(&self, stream: &Stream, steps: &[Step]) -> Result<Vec<Checkpoint>, ResetError> {
        let target = |step: &Step| {
            let (kinesis, shard_id) = (Arc::clone(&stream.kinesis), step.shard_id.clone());
            let frames = &self.context.settings.frames;
            let (goal, position) = (step.goal, self.reset.position);
            let target = async move {
                match (goal, position) {
                    (Goal::End, _) => Ok(Checkpoint::ShardEnd),
                    (Goal::Position, InitialPosition::AtTimestamp(time)) => {
                        seek::last_before(&*kinesis, &shard_id, time, frames).await
                    }
                    _ => Ok(Checkpoint::TrimHorizon),
                }
            };
            target.boxed()
        };
        let targets: Vec<_> = steps.iter().map(target).collect();
        let targets = futures::stream::iter(targets).buffered(CONCURRENT_SEEKS).try_collect().await;
        Ok(targets.map_err(|error| WorkerError::of_stream(&stream.given, error))?)
    }

    /// Writes one lease. Unless the reset is forced, the lease must be the one that was planned for.
    async fn write(&self, task: &Task) -> Result<(), Failed> {
        let mut expected = task.step.lease.as_ref().map(|lease| lease.counter);
        let mut failed = None;
        for tries in 1..=MAX_TRIES {
            failed = match self.try_write(task, &mut expected).await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(Failed::Table(error)) if error.may_pass() => Some(Failed::Table(error)),
                Err(failed) => return Err(failed),
            };
            sleep(TRY_PAUSE.pause(tries, fastrand::f64())).await;
        }
        Err(failed.unwrap_or_else(|| Failed::Alive(format!("lease {} changes again and again", task.step.shard_id))))
    }

    /// False: the lease is not the one with the counter `expected`, which is its present counter now.
    async fn try_write(&self, task: &Task, expected: &mut Option<u64>) -> Result<bool, Failed> {
        let Task { stream, step, target } = task;
        let write =
            CheckpointWrite::Reset { checkpoint: target.clone(), children: children(step, target), epoch: self.epoch };
        let table = &self.context.table;
        let found = table.get(&stream.lease_key(&step.shard_id)).await?;
        // Perhaps written by a try whose answer was lost.
        if found.as_ref().is_some_and(|found| write.is_done_in(found)) {
            return Ok(true);
        }
        let counter = found.as_ref().map(|found| found.counter);
        if counter != *expected {
            if !self.reset.force {
                return Err(Failed::Alive(format!("lease {} was written by somebody else", step.shard_id)));
            }
            *expected = counter;
            return Ok(false);
        }
        let written = match (&found, &step.shard) {
            (Some(found), _) => table.checkpoint(found, &write).await?,
            (None, Some(shard)) => table.create(&self.lease(stream, shard, target)).await?,
            // The lease is gone, and so is its shard.
            (None, None) => return Ok(true),
        };
        // A conflict may be with this reset: the SDK tries again when an answer is lost. The next try shows.
        Ok(matches!(written, Conditional::Applied))
    }

    /// A lease in the new epoch.
    fn lease(&self, stream: &Stream, shard: &Shard, target: &Checkpoint) -> Lease {
        Lease { epoch: self.epoch, ..stream.lease(new_lease(shard, target.clone())) }
    }

    /// Creates a lease again that a leader deleted because it had seen it ended.
    async fn restore(&self, task: &Task) -> Result<(), Failed> {
        let Task { stream, step, target } = task;
        let Some(shard) = step.shard.as_ref().filter(|_| step.goal != Goal::End) else { return Ok(()) };
        let lease = self.lease(stream, shard, target);
        if self.context.table.get(&lease.key).await?.is_none() {
            let _ = self.context.table.create(&lease).await?; // a conflict: it is there
        }
        Ok(())
    }
}

/// Children of an ended lease, stored so that it can be deleted when they have progressed.
fn children(step: &Step, target: &Checkpoint) -> Vec<ShardId> {
    let known = step.lease.as_ref().map_or(&[][..], |lease| &lease.children);
    if *target == Checkpoint::ShardEnd && known.is_empty() { step.children.clone() } else { Vec::new() }
}

enum Failed {
    Alive(String),
    Table(TableError),
}

impl From<TableError> for Failed {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}

impl Failed {
    fn after(self, done: usize) -> ResetError {
        match self {
            Self::Alive(sign) if done == 0 => ResetError::WorkersLive { sign },
            Self::Alive(sign) => ResetError::Partial { done, source: sign.into() },
            Self::Table(error) => ResetError::Partial { done, source: error.into() },
        }
    }
}
