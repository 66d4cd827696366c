//! A worker: joins the fleet, runs a task per lease it holds, and leaves in good order.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::{Future, pending},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_types::SdkConfig;
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span};

use crate::{
    contained::{Contained, propagate},
    context::Context,
    coordination::{
        admission, assigner::Assigner, discovery::Discovery, entry, gauges, leader::Leader, membership::Membership,
        migrator, verifier, watchdog,
    },
    error::{TableError, WorkerError},
    event::{Event, Events, chain},
    logic::backoff::Backoff,
    model::{Lease, LeaseKey},
    processor::ProcessorFactory,
    retrieval::fan_out,
    settings::{Settings, streams::StreamSource},
    shard::ShardTask,
    stream::Catalog,
    table::LeaseTable,
};
use builder::WorkerBuilder;

mod build;
pub(crate) mod builder;
pub(crate) mod handle;
#[cfg(feature = "serde")]
mod outside;
pub(crate) mod replay;
pub(crate) mod validate;

/// Found leases that wait to be taken; discovery waits when there are more.
const FOUND: usize = 64;
/// Pause between two looks at the fleet's migration state. Source: KCL's monitors of that item.
const VERSION_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum time to leave the fleet; then the shards are stopped in any case.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses between looks, while a worker stops, for leases given to it in the last moment.
const GIVE_BACK_POLL: Backoff = Backoff::of_millis(1_000, 30_000);
/// Pause between the last looks, when all processors are done.
const GIVE_BACK_PAUSE: Duration = Duration::from_millis(100);
/// Time of a stop beyond that given to processors.
pub(crate) const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Processes shards of a stream together with the other workers of the application.
#[must_use = "a worker does nothing until it is run"]
#[doc(alias = "Scheduler")]
pub struct Worker<F> {
    context: Arc<Context>,
    factory: Arc<Contained<F>>,
}

impl<F> fmt::Debug for Worker<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("settings", &self.context.settings).finish_non_exhaustive()
    }
}

impl Worker<()> {
    /// Starts to build a worker of `application` for `stream`: a name, an ARN, or [`Streams`](crate::Streams). Workers
    /// of one application share the shards; its name is also that of the lease table.
    pub fn builder(aws: &SdkConfig, application: impl Into<String>, stream: impl Into<StreamSource>) -> WorkerBuilder {
        WorkerBuilder::new(aws, application.into(), stream.into().0)
    }
}

impl<F: ProcessorFactory> Worker<F> {
    pub(crate) fn new(settings: Settings, events: Events, catalog: Catalog, table: LeaseTable, factory: F) -> Self {
        let context = Context::new(settings, events, catalog, table);
        Self { context: Arc::new(context), factory: Arc::new(Contained::new(factory)) }
    }

    /// Runs until something makes it impossible to go on; a [replay](WorkerBuilder::replay) until it is done. The end is
    /// logged: an error with its causes, else a line at INFO.
    ///
    /// # Errors
    /// See [`WorkerError`].
    ///
    /// # Cancellation
    /// Dropping the future stops at once; the leases expire and go to other workers, which start from the last
    /// checkpoints. Prefer [`run_until`](Self::run_until).
    pub async fn run(self) -> Result<(), WorkerError> {
        self.run_until(pending()).await
    }

    /// Runs until `stop` resolves, then leaves in good order: processors may checkpoint, then leases are released.
    ///
    /// # Errors
    /// See [`WorkerError`].
    ///
    /// # Cancellation
    /// As for [`run`](Self::run).
    pub async fn run_until(self, stop: impl Future<Output = ()> + Send) -> Result<(), WorkerError> {
        let span = info_span!("kcl.worker", worker_id = %self.context.settings.worker_id);
        let run = async move {
            let ended = Box::pin(self.run_in_span(stop)).await;
            log_end(&ended);
            ended
        };
        run.instrument(span).await
    }

    async fn run_in_span(self, stop: impl Future<Output = ()> + Send) -> Result<(), WorkerError> {
        if !self.context.settings.purpose.has_leader() {
            return replay::run(self.context, self.factory, stop).await;
        }
        tokio::pin!(stop);
        tokio::select! {
            () = &mut stop => return Ok(()),
            entered = entry::enter(&self.context) => {
                self.context.metrics.initialized(entered.is_ok());
                entered?;
            }
        }
        // Not dropped half-way by a stop: who has reported must leave, or the leader gives leases to nobody.
        let Some(membership) = Membership::join(Arc::clone(&self.context), &mut stop).await? else { return Ok(()) };
        self.context.events.emit(Event::Started { worker_id: self.context.settings.worker_id.clone() });
        let context = Arc::clone(&self.context);
        context.vitals.begin(); // the leader's task begins now, and joining was a call
        context.ready.store(true, Ordering::Relaxed);
        let mut running = Running::start(self.context, self.factory, membership);
        let outcome = running.until(stop).await;
        context.ready.store(false, Ordering::Relaxed);
        running.stop().await;
        outcome
    }
}

fn log_end(ended: &Result<(), WorkerError>) {
    match ended {
        Ok(()) => info!("worker ended"),
        Err(failure) => error!(error = chain(failure), "worker ended with an error"),
    }
}

/// Ends with an error when the lease table was deleted, and its content with it. Handles: a call that found no table.
async fn watch_table(context: Arc<Context>) -> Result<Option<Membership>, WorkerError> {
    loop {
        context.nudges.table.notified().await;
        sleep(context.settings.lease_duration).await;
        if let Err(error @ TableError::TableMissing { .. }) = context.table.sample().await {
            return Err(error.into());
        }
    }
}

/// Follows the fleet to one table. Ends with an error if the operator takes it back to KCL 2.x. Handles: time to look.
async fn watch_version(context: Arc<Context>) -> Result<Option<Membership>, WorkerError> {
    loop {
        sleep(VERSION_INTERVAL).await;
        if context.reported(context.table.follow_migration().await) == Some(true) {
            context.events.emit(Event::MigratedToOneTable);
        }
        match admission::check_version(&context).await {
            Err(WorkerError::LeaseTable(error)) => context.table_failed(&error),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
}

struct Running<F> {
    context: Arc<Context>,
    factory: Arc<Contained<F>>,
    /// Stops what brings new leases: membership, discovery, assignment. The leader's lock is released at once, so that
    /// another worker leads and gives our leases away while we release them.
    intake: CancellationToken,
    shards_stop: CancellationToken,
    /// Returns the membership of a worker that is about to leave.
    coordination: JoinSet<Result<Option<Membership>, WorkerError>>,
    discovery: Discovery,
    found: mpsc::Receiver<Lease>,
    shards: JoinSet<()>,
    by_task: HashMap<Id, LeaseKey>,
    held: watch::Sender<HashSet<LeaseKey>>,
}

impl<F: ProcessorFactory> Running<F> {
    fn start(context: Arc<Context>, factory: Arc<Contained<F>>, membership: Membership) -> Self {
        let (found_sender, found) = mpsc::channel(FOUND);
        let (held, held_observer) = watch::channel(HashSet::new());
        context.nudges.discover.notify_one(); // a restarted worker may own leases already
        let intake = CancellationToken::new();
        let (leader, reign, helm) = Leader::new(Arc::clone(&context));
        let migrating = migrator::migrate(Arc::clone(&context), reign.clone(), intake.clone());
        let (assigner, auditor) = Assigner::new(Arc::clone(&context), reign, helm);
        let discovery = Discovery { context: Arc::clone(&context), held: held_observer };
        let mut coordination = JoinSet::new();
        coordination.spawn(membership.run(intake.clone()).in_current_span());
        coordination.spawn(done(leader.run(intake.clone())).in_current_span());
        // These are dropped by a stop wherever they are: what they write late is given back.
        let mut spawn = |task: BoxFuture<'static, Result<Option<Membership>, WorkerError>>| {
            let stopped = intake.clone().run_until_cancelled_owned(task).map(|ended| ended.unwrap_or(Ok(None)));
            coordination.spawn(stopped.in_current_span());
        };
        spawn(Box::pin(done(assigner.run(intake.clone()))));
        spawn(Box::pin(done(auditor.run(intake.clone()))));
        spawn(Box::pin(done(migrating)));
        spawn(Box::pin(done(discovery.clone().run(found_sender))));
        spawn(Box::pin(done(verifier::verify(Arc::clone(&context), intake.clone()))));
        spawn(Box::pin(done(watchdog::watch_shards(Arc::clone(&context), intake.clone()))));
        spawn(Box::pin(done(gauges::set_gauges(Arc::clone(&context), intake.clone()))));
        spawn(Box::pin(done(fan_out::prepare(Arc::clone(&context)))));
        spawn(Box::pin(watch_version(Arc::clone(&context))));
        let watched = Arc::clone(&context);
        spawn(Box::pin(async move { Err(watched.catalog.only_stream_replaced(&watched.settings.table).await) }));
        spawn(Box::pin(watch_table(Arc::clone(&context))));
        let shards_stop = CancellationToken::new();
        let (shards, by_task) = (JoinSet::new(), HashMap::new());
        Self { context, factory, intake, shards_stop, coordination, discovery, found, shards, by_task, held }
    }

    /// Takes found leases, forgets ended ones. Ends when `stop` resolves or the coordination fails.
    async fn until(&mut self, mut stop: impl Future<Output = ()> + Unpin) -> Result<(), WorkerError> {
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                Some(lease) = self.found.recv() => self.take(lease),
                Some(ended) = self.shards.join_next_with_id() => self.forget(ended),
                Some(ended) = self.coordination.join_next() => match ended {
                    Ok(outcome) => { outcome?; }
                    Err(failure) => propagate(failure),
                },
            }
        }
    }

    fn take(&mut self, lease: Lease) {
        if self.held.borrow().contains(&lease.key) {
            return;
        }
        let key = lease.key.clone();
        let span = lease.span();
        let (context, factory) = (Arc::clone(&self.context), Arc::clone(&self.factory));
        let task = ShardTask::run(context, factory, lease, self.shards_stop.clone());
        let id = self.shards.spawn(task.instrument(span)).id();
        self.by_task.insert(id, key.clone());
        self.held.send_if_modified(|held| held.insert(key));
        self.context.metrics.current_leases(self.by_task.len());
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(failure) => failure.id(),
        };
        if let Some(key) = self.by_task.remove(&id) {
            self.held.send_if_modified(|held| held.remove(&key));
            // The table may still say, or say again, that the lease is ours.
            self.context.nudges.discover_soon.notify_one();
            self.context.metrics.current_leases(self.by_task.len());
        }
        if let Err(failure) = ended {
            propagate(failure);
        }
    }

    /// Leaves in good order. First the fleet: a leader that still counted us in would give our leases back to us.
    async fn stop(mut self) {
        self.intake.cancel();
        let mut membership = None;
        if timeout(LEAVE_TIMEOUT, self.leave_fleet(&mut membership)).await.is_err() {
            error!("lease table did not answer in time while leaving the fleet");
        }
        self.shards_stop.cancel();
        match membership {
            Some(membership) => membership.leave(self.stop_shards_and_give_back()).await,
            // Another run may have the id: what it has is not ours to give back.
            None => self.stop_shards().await,
        }
    }

    async fn leave_fleet(&mut self, membership: &mut Option<Membership>) {
        while let Some(ended) = self.coordination.join_next().await {
            match ended {
                Ok(Ok(ended)) => *membership = membership.take().or(ended),
                Ok(Err(failure)) => error!(error = chain(&failure), "another error while leaving the fleet"),
                Err(failure) => propagate(failure),
            }
        }
    }

    /// Also gives back the leases that name us and that no shard's task holds, while processors take their time.
    async fn stop_shards_and_give_back(&mut self) {
        let discovery = self.discovery.clone();
        let give_back = async {
            let mut fruitless = 1;
            loop {
                if !discovery.give_back().await {
                    fruitless += 1;
                }
                sleep(GIVE_BACK_POLL.ceiling(fruitless)).await;
            }
        };
        tokio::select! {
            () = self.stop_shards() => {}
            () = give_back => {}
        }
        let rest = async {
            while discovery.give_back().await {
                sleep(GIVE_BACK_PAUSE).await;
            }
        };
        if timeout(LEAVE_TIMEOUT, rest).await.is_err() {
            error!("leases may be left that name this worker, they will expire");
        }
    }

    async fn stop_shards(&mut self) {
        let patience = self.context.settings.shutdown_grace * 2 + STOP_MARGIN;
        let drained = timeout(patience, async {
            while let Some(ended) = self.shards.join_next_with_id().await {
                self.forget(ended);
            }
        });
        if drained.await.is_err() {
            error!(shards = self.shards.len(), "processors did not stop in time, their leases will expire");
        }
    }
}

async fn done(task: impl Future<Output = ()>) -> Result<Option<Membership>, WorkerError> {
    task.await;
    Ok(None)
}
