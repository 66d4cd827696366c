//! The takeover of an application of KCL 1.x or 2.x without a worker, and a look at it before.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::sleep;

use crate::{
    context::Context,
    coordination::{
        admission::{open_table, patiently},
        adoption::{self, Former},
        entry,
    },
    error::{ConfigError, WorkerError},
    logic::adoption::Watch,
    model::WorkerId,
    stream::Catalog,
    time::now,
    worker::builder::WorkerBuilder,
};

/// Application of KCL 1.x or 2.x, as a look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldFleet {
    /// Its leases, those of ended shards included.
    pub leases: usize,
    /// Leases of ended shards.
    pub ended: usize,
    /// Leases without a hash key range, which KCL 1.x and early 2.x do not note.
    pub without_range: usize,
    /// Leases that another worker of this library, which ended since, had claimed.
    pub claimed: usize,
    /// Workers that leases name, dead or alive.
    pub owners: Vec<WorkerId>,
    /// Sign of life during the look; `None` is no proof that nobody lives.
    pub sign: Option<String>,
    /// Time without a sign of life after which it is taken over.
    pub wait: Duration,
}

/// Outcome of [`WorkerBuilder::adopt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Adoption {
    /// The application was taken over, with this number of leases.
    Adopted(usize),
    /// There was nothing to take over: no table, no leases, or an application of KCL 3.x.
    Nothing,
}

/// Error of a takeover. The application may still be taken over, or go on with its old workers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptionError {
    /// A setting of the builder is out of its bounds. Nothing was written.
    #[error("the worker's settings are wrong")]
    Config(#[from] ConfigError),
    /// The application must not be taken over, or the stream or the lease table cannot be used.
    #[error("the application is not taken over")]
    Worker(#[from] WorkerError),
}

impl WorkerBuilder {
    /// Looks at an application of KCL 1.x or 2.x for this long. Nothing is written. `None`: there is none, but perhaps one of 3.x.
    ///
    /// Needs `dynamodb:Scan`, `dynamodb:GetItem` and `dynamodb:DescribeTable`.
    ///
    /// # Errors
    /// See [`AdoptionError`]; [`WorkerError::ForeignFleet`] names what must be done first.
    ///
    /// # Cancellation
    /// Safe at any time.
    pub async fn look_at_2x(&self, time: Duration) -> Result<Option<OldFleet>, AdoptionError> {
        let (context, wait) = self.adoption()?;
        open_table(&context).await?;
        let look = || patiently(&context, || adoption::look(&context));
        let Former::Old(first) = look().await? else { return Ok(None) };
        let plain: Vec<_> = first.values().map(|old| &old.lease).collect();
        let owners: BTreeSet<WorkerId> = plain.iter().filter_map(|lease| lease.owner.clone()).collect();
        let mut found = OldFleet {
            leases: plain.len(),
            ended: plain.iter().filter(|lease| lease.is_ended()).count(),
            without_range: plain.iter().filter(|lease| lease.hash_key_range.is_none()).count(),
            claimed: first.values().filter(|old| old.claimed_by.is_some()).count(),
            owners: owners.into_iter().collect(),
            sign: None,
            wait,
        };
        let mut watch = Watch::begin(first, time, now());
        while found.sign.is_none() && !watch.remaining(now()).is_zero() {
            sleep(watch.poll().min(watch.remaining(now()))).await;
            let Former::Old(leases) = look().await? else { return Ok(None) };
            found.sign = watch.look(leases, now());
        }
        Ok(Some(found))
    }

    /// Takes over an application of KCL 1.x or 2.x as a worker [built to](Self::adopt_2x) would, without running one.
    ///
    /// Uses streams, application, lease table, worker id, which the migration state notes, and the hook for events. Needs a worker's
    /// permissions.
    ///
    /// # Errors
    /// See [`AdoptionError`].
    ///
    /// # Cancellation
    /// Dropping the future leaves a table of KCL 2.x, some of whose leases may have lost their owners, or one that is taken over.
    pub async fn adopt(&self) -> Result<Adoption, AdoptionError> {
        let (context, wait) = self.adoption()?;
        let only = match &context.catalog {
            Catalog::Single(stream) => Some(patiently(&context, || stream.wait_until_active()).await?),
            Catalog::Multi(_) => None,
        };
        open_table(&context).await?;
        let Some(leases) = adoption::adopt(&context, wait).await? else { return Ok(Adoption::Nothing) };
        if let Some(stream) = only {
            patiently(&context, || entry::claim(&context, &stream)).await?;
        }
        Ok(Adoption::Adopted(leases))
    }

    /// Context of a takeover, and its wait.
    fn adoption(&self) -> Result<(Context, Duration), AdoptionError> {
        self.validate()?;
        let mut builder = if self.settings.adopt_after.is_some() { self.clone() } else { self.clone().adopt_2x(None) };
        builder.settle();
        let (catalog, table) = (builder.catalog(), builder.table_in_dynamodb(builder.settings.create_table));
        let wait = builder.settings.adopt_after.unwrap_or_default();
        Ok((Context::new(builder.settings, builder.events, catalog, table), wait))
    }
}
