//! Replays: a part of a stream's past is processed again, beside the live application.
//!
//! A worker on a lease table in memory: no membership, no leader, no DynamoDB. This file chooses the shards to run.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use kpl::ShardId;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error};

use super::{STOP_MARGIN, builder::WorkerBuilder};
use crate::{
    contained::{Contained, propagate},
    context::Context,
    coordination::shard_sync::SyncError,
    error::{KinesisError, WorkerError},
    event::{Event, chain},
    logic::{
        lineage::shard_sync::plan_first,
        purpose::{Purpose, ReplayWindow},
    },
    model::{Lease, LeaseKey, StreamShard},
    processor::ProcessorFactory,
    shard::ShardTask,
    stream::{LISTING_PAUSE, MAX_LISTINGS, Stream},
};

impl WorkerBuilder {
    /// Makes the worker a replay: it processes the records that arrived in the window, by their approximate arrival
    /// times, then [`Worker::run`](crate::Worker::run) returns. All ways to consume and error policies work as ever.
    ///
    /// It touches nothing of the live application: leases and checkpoints are in memory, DynamoDB is not called,
    /// settings of leases and assignment have no effect, except [`max_leases`](Self::max_leases), which bounds the
    /// shards read at the same time. Polling shares the shards' read limits with the live application;
    /// [`Retrieval::FanOut`](crate::Retrieval::FanOut) has its own, as the consumer `<application>-replay` by default,
    /// to be [deregistered](Self::deregister_consumer) afterwards.
    ///
    /// `shard_ended` is called when the shard's part of the window is processed, even if the shard is open. A window
    /// that begins before the retention starts at the oldest record; one that ends in the future is followed until
    /// then. Under fan-out, a shard without later records may take five minutes to be seen as passed.
    ///
    /// A replay that is stopped or killed is not resumed: start another.
    ///
    /// ```no_run
    /// use std::time::{Duration, SystemTime};
    /// use kcl::{BoxError, CheckpointEvery, Worker};
    ///
    /// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
    /// let now = SystemTime::now();
    /// Worker::builder(&aws, "printer", "StockTradeStream")
    ///     .replay(now - Duration::from_secs(7_200)..now - Duration::from_secs(3_600))
    ///     .build_for_each(CheckpointEvery::default(), 1, |record| async move {
    ///         println!("{}", String::from_utf8_lossy(&record.data));
    ///         Ok::<(), BoxError>(())
    ///     })?
    ///     .run()
    ///     .await?; // the hour before the last is processed
    /// # Ok(())
    /// # }
    /// ```
    pub fn replay(mut self, window: Range<SystemTime>) -> Self {
        self.settings.purpose = Purpose::Replay(ReplayWindow { from: window.start, to: window.end });
        self
    }
}

pub(crate) async fn run<F: ProcessorFactory>(
    context: Arc<Context>,
    factory: Arc<Contained<F>>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), WorkerError> {
    tokio::pin!(stop);
    let first = tokio::select! {
        () = &mut stop => return Ok(()),
        first = first_leases(&context) => first?,
    };
    context.events.emit(Event::Started { worker_id: context.settings.worker_id.clone() });
    let (shards_stop, started) = (CancellationToken::new(), HashSet::new());
    let mut replay = Replay { context, factory, first, started, shards: JoinSet::new(), shards_stop };
    let context = Arc::clone(&replay.context);
    context.ready.store(true, Ordering::Relaxed);
    let outcome = tokio::select! {
        // biased: shards that are given up because their stream is another one must not end the replay as incomplete.
        biased;
        () = &mut stop => Ok(()),
        replaced = context.catalog.only_stream_replaced(&context.settings.table) => Err(replaced),
        done = replay.until_done() => return done,
    };
    context.ready.store(false, Ordering::Relaxed);
    replay.stop().await;
    outcome
}

async fn first_leases(context: &Context) -> Result<HashSet<LeaseKey>, WorkerError> {
    let mut keys = HashSet::new();
    for stream in context.catalog.wait_until_active(&context.events).await? {
        for lease in first_leases_of(context, &stream).await? {
            let (owner, epoch) = (Some(context.settings.worker_id.clone()), context.clock.millis());
            let owned = Lease { owner, epoch, ..stream.lease(lease) };
            // The table is new.
            let _ = context.table.create(&owned).await?;
            keys.insert(owned.key);
        }
    }
    Ok(keys)
}

async fn first_leases_of(context: &Context, stream: &Stream) -> Result<Vec<Lease>, WorkerError> {
    let mut listings = 0;
    loop {
        let inconsistent = match plan_first(&stream.list(true).await?, &[], &stream.initial_position) {
            Ok(leases) => return Ok(leases),
            Err(inconsistent) => SyncError::Inconsistent(inconsistent),
        };
        listings += 1;
        if listings == MAX_LISTINGS {
            let error = KinesisError::other("kinesis:ListShards", inconsistent);
            return Err(WorkerError::of_stream(&stream.given, error));
        }
        let (stream_id, error) = (stream.id.clone(), chain(&inconsistent));
        context.events.emit(Event::ShardSyncFailed { stream_id, error });
        sleep(LISTING_PAUSE).await;
    }
}

struct Replay<F> {
    context: Arc<Context>,
    factory: Arc<Contained<F>>,
    /// Leases of the shards that were open at the window's start.
    first: HashSet<LeaseKey>,
    started: HashSet<LeaseKey>,
    shards: JoinSet<()>,
    shards_stop: CancellationToken,
}

impl<F: ProcessorFactory> Replay<F> {
    /// Runs what can be run, until nothing is left.
    async fn until_done(&mut self) -> Result<(), WorkerError> {
        loop {
            let leases = self.context.table.scan().await?.leases;
            let leases: HashMap<LeaseKey, Lease> = leases.into_iter().map(|lease| (lease.key.clone(), lease)).collect();
            let mut runnable: Vec<&Lease> = leases.values().filter(|lease| self.is_runnable(lease, &leases)).collect();
            runnable.sort_by(|a, b| a.key.cmp(&b.key));
            let room = self.context.settings.max_leases.saturating_sub(self.shards.len());
            for lease in runnable.into_iter().take(room) {
                self.start(lease.clone()).await?;
            }
            match self.shards.join_next().await {
                Some(ended) => ended.unwrap_or_else(propagate),
                None => return self.verdict(&leases),
            }
        }
    }

    /// True if all parents are done. A parent without a lease is waited for, unless the shard was open at the window's start.
    fn is_runnable(&self, lease: &Lease, leases: &HashMap<LeaseKey, Lease>) -> bool {
        let is_done = |parent: &ShardId| match leases.get(&lease.sibling_key(parent)) {
            Some(parent) => parent.is_ended(),
            None => self.first.contains(&lease.key),
        };
        !lease.is_ended() && !self.started.contains(&lease.key) && lease.parents.iter().all(is_done)
    }

    async fn start(&mut self, lease: Lease) -> Result<(), WorkerError> {
        let me = &self.context.settings.worker_id;
        if lease.owner.as_ref() != Some(me) {
            // Nobody else writes to this table.
            let _ = self.context.table.assign(&lease, me).await?;
        }
        self.started.insert(lease.key.clone());
        let Some(lease) = self.context.table.get(&lease.key).await? else { return Ok(()) };
        let span = lease.span();
        let (context, factory) = (Arc::clone(&self.context), Arc::clone(&self.factory));
        self.shards.spawn(ShardTask::run(context, factory, lease, self.shards_stop.clone()).instrument(span));
        Ok(())
    }

    /// Fails if a shard that was started did not come to its end.
    fn verdict(&self, leases: &HashMap<LeaseKey, Lease>) -> Result<(), WorkerError> {
        let unfinished = leases.values().filter(|lease| self.started.contains(&lease.key) && !lease.is_ended());
        let ids = |lease: &Lease| StreamShard::new(self.context.catalog.id_of(lease), lease.shard_id.clone());
        let mut shards: Vec<StreamShard> = unfinished.map(ids).collect();
        shards.sort();
        if shards.is_empty() { Ok(()) } else { Err(WorkerError::ReplayIncomplete { shards }) }
    }

    async fn stop(mut self) {
        self.shards_stop.cancel();
        let patience = self.context.settings.shutdown_grace * 2 + STOP_MARGIN;
        let drained = timeout(patience, async {
            while let Some(ended) = self.shards.join_next().await {
                ended.unwrap_or_else(propagate);
            }
        });
        if drained.await.is_err() {
            error!(shards = self.shards.len(), "processors did not stop in time");
        }
    }
}
