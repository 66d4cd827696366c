//! SHELL: on the leader, sees to it that each stream has the leases it needs, and none that are of no use.
//! Decided by [`logic`](crate::logic): `audit`, `shard_sync`, `former_streams`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{
    Context,
    catalog::{Catalog, DESCRIPTION_LIFE, Several},
    shard_sync,
};
use crate::{
    event::{Event, chain},
    kinesis::KinesisErrorKind,
    lease::{Lease, store::StoreError},
    logic::{audit::Audit, former_streams::Missing},
    stream::{Stream, StreamId},
};

/// Streams synced at the same time.
const CONCURRENT_SYNCS: usize = 8;

/// What the leader remembers of the streams.
pub(crate) struct Auditor {
    context: Arc<Context>,
    audits: HashMap<StreamId, Audit>,
    missing: Missing,
    /// When Kinesis was asked for a missing stream last, and whether it is gone.
    gone: HashMap<StreamId, (Instant, bool)>,
}

impl Auditor {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, audits: HashMap::new(), missing: Missing::default(), gone: HashMap::new() }
    }

    /// Forgets what was seen in an earlier term.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(Arc::clone(&self.context));
    }

    /// Looks at all leases. True: leases were created or deleted, so that the table is to be scanned again.
    pub(crate) async fn run(&mut self, leases: &[Lease]) -> bool {
        let context = Arc::clone(&self.context);
        let streams = context.catalog.listed(&context.events).await;
        let by_stream = context.catalog.by_stream(leases);
        let mut due: Vec<(&Arc<Stream>, &[&Lease])> = Vec::new();
        self.audits.retain(|id, _| streams.iter().any(|stream| stream.id == *id));
        for stream in &streams {
            let leases = by_stream.get(&stream.id).map_or(&[][..], Vec::as_slice);
            let (audit, now) = (self.audits.entry(stream.id.clone()).or_default(), Instant::now());
            if audit.is_due(leases, now) {
                audit.begun(now);
                if let Some(hole) = audit.confirmed_hole() {
                    context.events.emit(Event::HoleFound { stream_id: stream.id.clone(), hole });
                }
                due.push((stream, leases));
            }
        }
        context.metrics.audited(self.audits.values().filter(|audit| audit.has_hole()).count(), due.len());
        let syncs: Vec<_> = due.into_iter().map(|(stream, leases)| sync(&context, stream, leases)).collect();
        let synced: Vec<bool> = stream::iter(syncs).buffer_unordered(CONCURRENT_SYNCS).collect().await;
        let changed = synced.contains(&true);
        let deleted = match &context.catalog {
            Catalog::One(_) => false,
            Catalog::Several(several) => self.delete_former(several, &by_stream, streams.len()).await,
        };
        changed || deleted
    }

    async fn delete_former(
        &mut self,
        several: &Several,
        by_stream: &BTreeMap<StreamId, Vec<&Lease>>,
        active: usize,
    ) -> bool {
        let now = Instant::now();
        self.missing.observe(by_stream.keys(), &several.known().await, now);
        let missing = self.missing.streams();
        self.context.metrics.streams(active, missing.len());
        // Only if it matters does Kinesis have to answer for streams that nobody reads.
        for stream in self.missing.due(several.former(), |_| true, now) {
            self.look_for(several, stream, now).await;
        }
        self.gone.retain(|stream, _| missing.contains(stream));
        let is_gone = |stream: &StreamId| self.gone.get(stream).is_some_and(|(_, gone)| *gone);
        let mut deleted = false;
        for stream in self.missing.due(several.former(), is_gone, now) {
            let leases = by_stream.get(&stream).map_or(&[][..], Vec::as_slice);
            match self.delete(leases).await {
                Ok(()) => {
                    let shards = leases.iter().map(|lease| lease.shard_id.clone()).collect();
                    self.context.metrics.former_stream_deleted();
                    self.context.events.emit(Event::FormerStreamDeleted { stream_id: stream, shards });
                }
                Err(error) => self.context.table_failed(&error),
            }
            deleted = true;
        }
        deleted
    }

    /// Asks Kinesis whether the stream still exists, unless that was done a short time ago.
    async fn look_for(&mut self, several: &Several, id: StreamId, now: Instant) {
        if self.gone.get(&id).is_some_and(|(asked, _)| now - *asked < DESCRIPTION_LIFE) {
            return;
        }
        let Some(stream) = several.unlisted(&id, &self.context.events).await else { return };
        let described = stream.kinesis.describe().await;
        let gone = described.is_err_and(|error| error.kind == KinesisErrorKind::NotFound);
        self.gone.insert(id, (now, gone));
    }

    async fn delete(&self, leases: &[&Lease]) -> Result<(), StoreError> {
        for lease in leases {
            self.context.store.delete(&lease.key).await?;
        }
        Ok(())
    }
}

/// True: the table changed.
async fn sync(context: &Context, stream: &Stream, leases: &[&Lease]) -> bool {
    let synced = shard_sync::sync(context, stream, leases).await;
    context.metrics.synced(synced.is_ok());
    synced.unwrap_or_else(|error| {
        context.events.emit(Event::ShardSyncFailed { stream_id: stream.id.clone(), error: chain(&error) });
        false
    })
}
