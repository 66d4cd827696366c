//! A stream that a worker reads.

use std::{fmt, sync::Arc, time::Duration};

use kpl::ShardId;

use crate::{
    error::KinesisError,
    kinesis::{Kinesis, StreamDescription},
    model::{InitialPosition, Lease, LeaseKey, StreamId},
    settings::streams::StreamConfig,
};

pub(crate) use catalog::{Catalog, MultiCatalog};
pub(crate) use identity::{CONFIRMED, Identity, Presence};
pub(crate) use registration::Registration;

pub(crate) mod catalog;
mod identity;
pub(crate) mod listing;
mod registration;

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
        }
    }

    pub(crate) fn of_multi(
        id: StreamId,
        config: &StreamConfig,
        default: InitialPosition,
        kinesis: Arc<dyn Kinesis>,
    ) -> Self {
        Self { key_prefix: Some(id.clone()), id, ..Self::only(config, default, kinesis) }
    }

    pub(crate) async fn describe(&self) -> Result<StreamDescription, KinesisError> {
        self.identity.describe(&*self.kinesis).await
    }

    /// Whether it is still the one that it was, as far as is known.
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

    /// Whether it is still the one that it was, as of `age` ago or later.
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

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}
