//! SHELL: on the leader, creates leases that streams lack, and deletes useless items. Decided by `logic::lineage`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use tokio::{sync::watch, time::timeout_at};
use tokio_util::sync::CancellationToken;

use super::shard_sync::{self, SyncError};
use crate::{
    context::Context,
    error::TableError,
    event::{Event, chain},
    logic::lineage::{audit::Audit, cleanup, former_streams::Missing, lookup::DESCRIPTION_LIFE},
    model::{Conditional, Lease, StreamId, WorkerItem},
    stream::{Catalog, MultiCatalog, Presence, Stream},
    time,
};

/// Workers deleted in one look, so that nothing else waits for many.
const STALE_AT_ONCE: usize = 100;
const CONCURRENT_SYNCS: usize = 8;
/// Maximum wait in one look for Kinesis' answers on former streams; later looks ask for the rest.
const FORMER_STREAMS_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) at: Instant,
    pub(crate) leases: Vec<Lease>,
    pub(crate) stale: Vec<WorkerItem>,
}

/// Tidies the table up while this worker leads, on a task of its own: Kinesis' control plane may take long to answer.
pub(crate) struct Auditor {
    context: Arc<Context>,
    /// None while this worker does not lead.
    sightings: watch::Receiver<Option<Arc<Sighting>>>,
    /// Streams that have all the leases that they need, as far as was found while this worker leads.
    complete: watch::Sender<HashSet<StreamId>>,
    term: Term,
}

#[derive(Default)]
struct Term {
    audits: HashMap<StreamId, Audit>,
    missing: Missing,
    /// Time of the last change of leases. Earlier looks are out of date.
    changed: Option<Instant>,
}

impl Auditor {
    pub(crate) fn new(
        context: Arc<Context>,
        sightings: watch::Receiver<Option<Arc<Sighting>>>,
        complete: watch::Sender<HashSet<StreamId>>,
    ) -> Self {
        Self { context, sightings, complete, term: Term::default() }
    }

    /// Handles: a new sighting, the end of the leadership, cancellation.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let changed = stop.run_until_cancelled(self.sightings.changed()).await;
            let Some(Ok(())) = changed else { return };
            let Some(sighting) = self.sightings.borrow_and_update().clone() else {
                self.term = Term::default();
                self.complete.send_replace(HashSet::new());
                continue;
            };
            if self.term.changed.is_some_and(|changed| sighting.at < changed) {
                continue;
            }
            let mut sightings = self.sightings.clone();
            let leads_no_more = sightings.wait_for(Option::is_none);
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                // Another may lead by now. What was begun is begun: each write stands for itself.
                _ = leads_no_more => false,
                changed = self.look(&sighting) => changed,
            };
            if looked {
                self.term.changed = Some(time::now());
                self.context.nudges.assign.notify_one();
            }
        }
    }

    async fn look(&mut self, sighting: &Sighting) -> bool {
        self.context.reported(self.clean_up(sighting).await);
        self.audit(&sighting.leases).await
    }

    async fn clean_up(&self, sighting: &Sighting) -> Result<(), TableError> {
        for (stream_id, leases) in self.context.catalog.by_stream(&sighting.leases) {
            let keys = cleanup::plan(&leases);
            let mut shards = Vec::new();
            for lease in leases.into_iter().filter(|lease| keys.contains(&lease.key)) {
                // Not if it was reset since the scan.
                if let Conditional::Applied = self.context.table.delete_ended(&lease.key).await? {
                    shards.push(lease.shard_id.clone());
                }
            }
            if !shards.is_empty() {
                self.context.events.emit(Event::LeasesCleanedUp { stream_id, shards });
            }
        }
        for worker in sighting.stale.iter().take(STALE_AT_ONCE) {
            self.context.table.delete_worker(worker).await?;
        }
        Ok(())
    }

    /// Looks at all leases. True: leases were created or deleted.
    async fn audit(&mut self, leases: &[Lease]) -> bool {
        let context = Arc::clone(&self.context);
        let streams = context.catalog.listed(&context.events).await;
        let by_stream = context.catalog.by_stream(leases);
        let mut due: Vec<(&Arc<Stream>, &[&Lease])> = Vec::new();
        self.term.audits.retain(|id, _| streams.iter().any(|stream| stream.id == *id));
        for stream in &streams {
            let leases = by_stream.get(&stream.id).map_or(&[][..], Vec::as_slice);
            let (audit, now) = (self.term.audits.entry(stream.id.clone()).or_default(), time::now());
            if audit.is_due(leases, now) {
                audit.begun(now);
                if let Some(hole) = audit.confirmed_hole() {
                    context.events.emit(Event::HoleFound { stream_id: stream.id.clone(), hole });
                }
                due.push((stream, leases));
            }
        }
        let begun = time::now();
        context.metrics.audit_begun(self.term.audits.values().filter(|audit| audit.has_hole()).count(), due.len());
        let syncs: Vec<_> = due.into_iter().map(|(stream, leases)| sync(&context, stream, leases)).collect();
        let due_syncs = syncs.len();
        let mut synced = stream::iter(syncs).buffer_unordered(CONCURRENT_SYNCS);
        let (mut changed, mut all, mut is_listed) = (false, true, due_syncs == 0);
        while let Some((stream_id, synced)) = synced.next().await {
            all &= synced.is_some();
            is_listed |= synced.is_some();
            if let Some(audit) = self.term.audits.get_mut(stream_id) {
                audit.ended(synced.is_some(), time::now());
            }
            if synced.is_some() {
                self.complete.send_if_modified(|complete| complete.insert(stream_id.clone()));
            }
            changed |= synced == Some(true);
        }
        if is_listed {
            context.vitals.listed();
        }
        context.metrics.audited(all, time::now() - begun);
        let deleted = match &context.catalog {
            Catalog::Single(_) => false,
            Catalog::Multi(multi) => self.delete_former(multi, &by_stream, streams.len()).await,
        };
        changed || deleted
    }

    async fn delete_former(
        &mut self,
        multi: &MultiCatalog,
        by_stream: &BTreeMap<StreamId, Vec<&Lease>>,
        active: usize,
    ) -> bool {
        let now = time::now();
        self.term.missing.observe(by_stream.keys(), &multi.known(), now);
        let missing = self.term.missing.streams();
        self.context.metrics.streams(active, missing.len());
        let mut gone = HashSet::new();
        let gone_id = |stream: Arc<Stream>| async move {
            matches!(stream.confirm(DESCRIPTION_LIFE).await, Ok(Presence::Gone)).then(|| stream.id.clone())
        };
        let asked: Vec<_> = missing.iter().filter_map(|id| multi.former_stream(id)).map(gone_id).collect();
        let mut asked = stream::iter(asked).buffer_unordered(CONCURRENT_SYNCS);
        let deadline = now + FORMER_STREAMS_WAIT;
        while let Ok(Some(found)) = timeout_at(deadline.into(), asked.next()).await {
            gone.extend(found);
        }
        drop(asked);
        let mut deleted = false;
        for stream in self.term.missing.due(&multi.list.former, |stream| gone.contains(stream), now) {
            let leases = by_stream.get(&stream).map_or(&[][..], Vec::as_slice);
            if self.context.reported(self.delete(leases).await).is_some() {
                let shards = leases.iter().map(|lease| lease.shard_id.clone()).collect();
                self.context.metrics.former_stream_deleted(gone.contains(&stream));
                self.context.events.emit(Event::FormerStreamDeleted { stream_id: stream, shards });
            }
            deleted = true;
        }
        deleted
    }

    async fn delete(&self, leases: &[&Lease]) -> Result<(), TableError> {
        for lease in leases {
            self.context.table.delete(&lease.key).await?;
        }
        Ok(())
    }
}

/// True: the table changed. None: it failed.
async fn sync<'a>(context: &Context, stream: &'a Stream, leases: &[&Lease]) -> (&'a StreamId, Option<bool>) {
    let begun = time::now();
    let synced = shard_sync::sync(context, stream, leases).await;
    context.metrics.synced(synced.is_ok(), time::now() - begun);
    let synced = synced.inspect_err(|error| {
        if let SyncError::Write(refused) = error {
            context.note_refusal(refused);
        }
        context.events.emit(Event::ShardSyncFailed { stream_id: stream.id.clone(), error: chain(error) });
    });
    (&stream.id, synced.ok())
}
