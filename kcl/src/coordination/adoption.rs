//! SHELL: takes over an application of KCL 1.x or 2.x whose workers have stopped. Decided by `logic::adoption`.
//!
//! Everything is written under conditions, and the migration state last. Until then the table is one of KCL 2.x, whatever
//! becomes of this worker; the next one begins again.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;

use super::admission::{check_fit, check_version, foreign, patiently};
use crate::{
    context::Context,
    error::{TableError, WorkerError},
    event::Event,
    logic::{
        adoption::{Leases, Watch, change, claimed, completed, find_other_stream, first_change, to_claim},
        lineage::audit::{Completion, complete},
    },
    model::{Addition, Lease, LeaseKey, OldLease, OldTable},
    table::dynamodb::DynamoDbLeaseTable,
    time::now,
};

/// Leases written at a time.
const CONCURRENT_WRITES: usize = 8;
/// Maximum time after the last claim in which a worker of the old fleet that only paused shows itself.
const RECHECK: Duration = Duration::from_secs(5);
/// Minimum time between two events that say what is waited for.
const NOTICE: Duration = Duration::from_secs(60);

/// State of an application before the takeover.
pub(crate) enum Former {
    /// There is no table, or there are no leases in it.
    Nothing,
    /// Its fleet is of KCL 3.x.
    Version3,
    Old(Leases),
}

/// Takes the application over. Returns the number of its leases; None if there was nothing to take over.
pub(crate) async fn adopt(context: &Context, wait: Duration) -> Result<Option<usize>, WorkerError> {
    let Some(table) = context.table.in_dynamodb() else { return Ok(None) };
    Adopting { context, table, wait, noticed: None }.run().await
}

/// Looks at the application. An error if it can be neither joined nor taken over.
pub(crate) async fn look(context: &Context) -> Result<Former, WorkerError> {
    let Some(table) = context.table.in_dynamodb() else { return Ok(Former::Nothing) };
    let found = match Box::pin(table.old_table()).await {
        Err(TableError::TableMissing { .. }) => return Ok(Former::Nothing),
        found => found?,
    };
    // After the scan: a worker of 3.x declares the application before it writes anything else.
    if check_version(context).await? {
        return Ok(Former::Version3);
    }
    let OldTable { leases, foreign: others, malformed } = found;
    if !others.is_empty() {
        let reason = format!(
            "it has items of KCL 3.x ({}) and no migration state, as after half a migration or roll-back: stop all workers, \
             delete these items, and adopt it as one of 2.x",
            others.join(", ")
        );
        return Err(foreign(context, reason));
    }
    if !malformed.is_empty() {
        let reason = format!("its leases {} cannot be read: repair or delete them", malformed.join(", "));
        return Err(foreign(context, reason));
    }
    check_fit(context, leases.iter().map(|old| &old.lease))?;
    match leases.is_empty() {
        true => Ok(Former::Nothing),
        false => Ok(Former::Old(leases.into_iter().map(|old| (old.lease.key.clone(), old)).collect())),
    }
}

struct Adopting<'a> {
    context: &'a Context,
    table: &'a DynamoDbLeaseTable,
    wait: Duration,
    noticed: Option<Instant>,
}

/// End of a try to take the application over.
enum Outcome {
    Adopted(usize),
    /// Another worker declared it to be of KCL 3.x.
    Declared,
    /// Somebody else wrote a lease.
    Stopped(String),
}

impl Adopting<'_> {
    async fn run(mut self) -> Result<Option<usize>, WorkerError> {
        let Former::Old(leases) = self.look().await? else { return Ok(None) };
        let mut watch = Watch::begin(leases, self.wait, now());
        self.notice("the last sign of life of its old workers is not known".to_owned(), &watch);
        loop {
            sleep(watch.poll().min(watch.remaining(now()))).await;
            let Former::Old(leases) = self.look().await? else { return Ok(None) };
            if let Some(sign) = watch.look(leases, now()) {
                if watch.is_hopeless(now()) {
                    let reason = format!("its workers of KCL 1.x or 2.x go on ({sign}): stop them first");
                    return Err(foreign(self.context, reason));
                }
                self.notice(sign, &watch);
            }
            if !watch.remaining(now()).is_zero() {
                continue;
            }
            match self.take_over(watch.leases().clone()).await? {
                Outcome::Adopted(leases) => {
                    self.context.events.emit(Event::Adopted { leases });
                    return Ok(Some(leases));
                }
                Outcome::Declared => return Ok(None),
                Outcome::Stopped(sign) => self.context.events.emit(Event::AdoptionStopped { sign }),
            }
        }
    }

    async fn look(&self) -> Result<Former, WorkerError> {
        patiently(self.context, || look(self.context)).await
    }

    /// Says what is waited for, once in a while.
    fn notice(&mut self, sign: String, watch: &Watch) {
        let now = now();
        if self.noticed.is_none_or(|noticed| now - noticed >= NOTICE) {
            self.noticed = Some(now);
            self.context.events.emit(Event::AdoptionWaits { sign, remaining: watch.remaining(now) });
        }
    }

    async fn take_over(&self, still: Leases) -> Result<Outcome, WorkerError> {
        let lacks = self.lacks(&still).await?;
        patiently(self.context, || self.context.table.prepare().err_into()).await?;
        let mut leases = still.clone();
        let mut to_claim = to_claim(&still).into_iter();
        let first: Vec<&OldLease> = to_claim.by_ref().take(1).collect();
        for group in [first, to_claim.collect()] {
            match self.claim(group).await? {
                Ok(claimed) => leases.extend(claimed),
                Err(sign) => return Ok(Outcome::Stopped(sign)),
            }
        }
        sleep(RECHECK.min(self.wait / 2)).await;
        if let Some(stopped) = self.check(&leases).await? {
            return Ok(stopped);
        }
        match self.complete(&leases, &lacks).await? {
            Ok(completed) => leases = completed,
            Err(sign) => return Ok(Outcome::Stopped(sign)),
        }
        if let Some(stopped) = self.check(&leases).await? {
            return Ok(stopped);
        }
        let (me, now) = (&self.context.settings.worker_id, self.context.clock.millis());
        let declared = patiently(self.context, || self.context.table.declare_v3(me, now).err_into()).await?;
        Ok(if declared { Outcome::Adopted(leases.len()) } else { Outcome::Declared })
    }

    /// Attributes that leases lack, from the listed shards. An error if they are those of another stream.
    async fn lacks(&self, leases: &Leases) -> Result<HashMap<LeaseKey, Addition>, WorkerError> {
        let context = self.context;
        let plain: Vec<Lease> = leases.values().map(|old| old.lease.clone()).collect();
        let by_stream = context.catalog.by_stream(&plain);
        let mut lacks = HashMap::new();
        for stream in context.catalog.listed(&context.events).await {
            let Some(leases) = by_stream.get(&stream.id) else { continue };
            let shards = patiently(context, || stream.list(false)).await?;
            if let Some(reason) = find_other_stream(leases, &shards) {
                return Err(foreign(context, format!("{reason}: its leases are of another stream")));
            }
            let lack = |(key, completion)| match completion {
                Completion::Add(addition) => Some((key, addition)),
                Completion::Garbage => None, // a leader deletes it
            };
            lacks.extend(complete(leases, &shards).into_iter().filter_map(lack));
        }
        Ok(lacks)
    }

    /// The leases as they are claimed, or the first sign of somebody else.
    async fn claim(&self, group: Vec<&OldLease>) -> Result<Result<Leases, String>, WorkerError> {
        let claim = |old: &OldLease| {
            let old = old.clone();
            async move { patiently(self.context, || self.claim_one(&old)).await }
        };
        let claims: Vec<_> = group.into_iter().map(claim).collect();
        self.written(claims).await
    }

    async fn claim_one(&self, old: &OldLease) -> Result<Result<OldLease, String>, WorkerError> {
        let me = &self.context.settings.worker_id;
        let (key, claimed) = (&old.lease.key, claimed(old, me));
        if Box::pin(self.table.claim_old_lease(&old.lease, me)).await? {
            return Ok(Ok(claimed));
        }
        // Perhaps claimed by a try whose answer was lost.
        let found = Box::pin(self.table.get_old_lease(key)).await?;
        Ok(if found.as_ref() == Some(&claimed) { Ok(claimed) } else { Err(change(key, Some(old), found.as_ref())) })
    }

    /// The leases as they are completed, or the first sign of somebody else.
    async fn complete(
        &self,
        leases: &Leases,
        lacks: &HashMap<LeaseKey, Addition>,
    ) -> Result<Result<Leases, String>, WorkerError> {
        let complete = |claimed: &OldLease| {
            let (claimed, lack) = (claimed.clone(), lacks.get(&claimed.lease.key).cloned());
            async move { patiently(self.context, || self.complete_one(&claimed, lack.as_ref())).await }
        };
        let completions: Vec<_> = leases.values().map(complete).collect();
        self.written(completions).await
    }

    async fn complete_one(
        &self,
        claimed: &OldLease,
        lack: Option<&Addition>,
    ) -> Result<Result<OldLease, String>, WorkerError> {
        if Box::pin(self.table.complete_old_lease(&claimed.lease, lack)).await? {
            return Ok(Ok(completed(claimed, lack)));
        }
        let key = &claimed.lease.key;
        let found = Box::pin(self.table.get_old_lease(key)).await?;
        Ok(Err(change(key, Some(claimed), found.as_ref())))
    }

    async fn written(
        &self,
        writes: Vec<impl Future<Output = Result<Result<OldLease, String>, WorkerError>>>,
    ) -> Result<Result<Leases, String>, WorkerError> {
        let mut writes = stream::iter(writes).buffer_unordered(CONCURRENT_WRITES);
        let mut leases = Leases::new();
        while let Some(written) = writes.try_next().await? {
            match written {
                Ok(old) => leases.insert(old.lease.key.clone(), old),
                Err(sign) => return Ok(Err(sign)),
            };
        }
        Ok(Ok(leases))
    }

    /// Compares the table with what it should be.
    async fn check(&self, leases: &Leases) -> Result<Option<Outcome>, WorkerError> {
        Ok(match self.look().await? {
            Former::Old(found) => first_change(leases, &found).map(Outcome::Stopped),
            Former::Version3 => Some(Outcome::Declared),
            Former::Nothing => Some(Outcome::Stopped("all leases were deleted".to_owned())),
        })
    }
}
