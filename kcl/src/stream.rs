//! A stream that a worker reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kpl::ShardId;
use tokio::time::sleep;
use tracing::info;

use crate::{
    error::{KinesisError, WorkerError},
    kinesis::{Kinesis, StreamDescription, retried},
    logic::backoff::Backoff,
    model::{InitialPosition, Lease, LeaseKey, Shard, StreamId, StreamIdentity},
    settings::streams::StreamConfig,
};

pub(crate) use catalog::{Catalog, MultiCatalog};
pub(crate) use identity::{CONFIRMED, Identity, Presence};
pub(crate) use registration::Registration;

pub(crate) mod catalog;
mod identity;
mod registration;

/// Pauses between tries of a listing or description, and the maximum number of retries: about 20 s in all.
const BACKOFF: Backoff = Backoff::of_millis(400, 10_000);
const RETRIES: u32 = 7;
/// Pause between descriptions of a stream that is being created.
const ACTIVE_POLL: Duration = Duration::from_secs(1);
/// Maximum listings that contradict themselves, while a resharding is under way, and the pause between them.
pub(crate) const MAX_LISTINGS: u32 = 30;
pub(crate) const LISTING_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Stream {
    pub(crate) id: StreamId,
    /// The name or ARN that the application gave.
    pub(crate) given: String,
    /// Prefix of its lease keys; None in an application of one stream.
    pub(crate) key_prefix: Option<StreamId>,
    pub(crate) kinesis: Arc<dyn Kinesis>,
    pub(crate) initial_position: InitialPosition,
    /// A consumer that the application registered for enhanced fan-out; None: it is looked up or registered.
    pub(crate) consumer_arn: Option<Arc<str>>,
    pub(crate) registration: Registration,
    pub(crate) identity: Identity,
    /// True once a shard ended without naming the shards that follow it.
    omits_children: AtomicBool,
}

impl Stream {
    pub(crate) fn only(config: &StreamConfig, default: InitialPosition, kinesis: Arc<dyn Kinesis>) -> Self {
        Self {
            id: StreamId::of_single(&config.stream),
            given: config.stream.clone(),
            key_prefix: None,
            kinesis,
            initial_position: config.initial_position.unwrap_or(default),
            consumer_arn: config.consumer_arn.clone(),
            registration: Registration::default(),
            identity: Identity::default(),
            omits_children: AtomicBool::new(false),
        }
    }

    /// Lists shards: all that are retained, or those that hold the initial position.
    pub(crate) async fn list(&self, for_initial_position: bool) -> Result<Vec<Shard>, WorkerError> {
        self.try_list(for_initial_position).await.map_err(|error| WorkerError::of_stream(&self.given, error))
    }

    pub(crate) async fn try_list(&self, for_initial_position: bool) -> Result<Vec<Shard>, KinesisError> {
        let position = for_initial_position.then_some(&self.initial_position);
        retried(BACKOFF, RETRIES, || self.kinesis.list_shards(position)).await
    }

    /// Waits while the stream is being created.
    pub(crate) async fn wait_until_active(&self) -> Result<StreamIdentity, WorkerError> {
        loop {
            let described = retried(BACKOFF, RETRIES, || self.describe()).await;
            let found = described.map_err(|error| WorkerError::of_stream(&self.given, error))?;
            if found.active {
                return Ok(found.identity);
            }
            info!(stream = self.given, "waiting for the stream to become active");
            sleep(ACTIVE_POLL).await;
        }
    }

    pub(crate) async fn describe(&self) -> Result<StreamDescription, KinesisError> {
        self.identity.describe(&*self.kinesis).await
    }

    /// Notes that a shard ended without naming the shards that follow it. True for the first.
    pub(crate) fn omitted_children(&self) -> bool {
        !self.omits_children.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_present(&self) -> bool {
        self.identity.presence() == Presence::Present
    }

    /// Resolves when its shards cannot be read any more. An only stream that is gone is waited for.
    pub(crate) async fn vanished(&self) {
        let is_of_multi = self.key_prefix.is_some();
        let has_vanished = |presence: &Presence| match presence {
            Presence::Present => false,
            Presence::Gone => is_of_multi,
            Presence::Replaced(_) => true,
        };
        self.identity.until(has_vanished).await;
    }

    /// Presence of the stream, as of `age` ago or later.
    pub(crate) async fn confirm(&self, age: Duration) -> Result<Presence, KinesisError> {
        self.identity.confirm(&*self.kinesis, age).await
    }

    pub(crate) fn lease_key(&self, shard_id: &ShardId) -> LeaseKey {
        LeaseKey::of(self.key_prefix.as_ref(), shard_id)
    }

    /// The stream's own form of a lease that was planned by shard id alone.
    pub(crate) fn lease(&self, planned: Lease) -> Lease {
        Lease { key: self.lease_key(&planned.shard_id), stream: self.key_prefix.clone(), ..planned }
    }
}
