//! A stream that a worker reads, and its id as Java KCL writes it.

use std::{fmt, sync::Arc, time::Duration};

use kpl::ShardId;

use self::{
    identity::{Identity, Standing},
    registration::Registration,
};
use crate::{
    error::KinesisError,
    kinesis::{Kinesis, StreamDescription},
    model::{
        lease::{Lease, LeaseKey},
        policies::InitialPosition,
        stream_id::StreamId,
    },
    settings::streams::StreamConfig,
};

pub(crate) mod catalog;
pub(crate) mod identity;
pub(crate) mod listing;
pub(crate) mod registration;

/// What it takes to read one stream.
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    /// The name or ARN that the application gave.
    pub(crate) given: String,
    /// What its lease keys begin with; None in an application of one stream.
    pub(crate) key_prefix: Option<StreamId>,
    pub(crate) kinesis: Arc<dyn Kinesis>,
    pub(crate) initial_position: InitialPosition,
    /// A consumer that the application registered for enhanced fan-out; None: it is looked up or registered.
    pub(crate) consumer_arn: Option<Arc<str>>,
    pub(crate) registration: Registration,
    pub(crate) identity: Identity,
}

impl Stream {
    /// The only stream of its application.
    pub(crate) fn only(config: &StreamConfig, default: InitialPosition, kinesis: Arc<dyn Kinesis>) -> Self {
        Self {
            id: StreamId::of_one(&config.stream),
            given: config.stream.clone(),
            key_prefix: None,
            kinesis,
            initial_position: config.initial_position.unwrap_or(default),
            consumer_arn: config.consumer_arn.clone(),
            registration: Registration::default(),
            identity: Identity::default(),
        }
    }

    /// One of several.
    pub(crate) fn one_of_several(
        id: StreamId,
        config: &StreamConfig,
        default: InitialPosition,
        kinesis: Arc<dyn Kinesis>,
    ) -> Self {
        Self { key_prefix: Some(id.clone()), id, ..Self::only(config, default, kinesis) }
    }

    /// What the service says of the stream now.
    pub(crate) async fn describe(&self) -> Result<StreamDescription, KinesisError> {
        self.identity.describe(&*self.kinesis).await
    }

    /// Whether it is still the one that it was, as far as is known.
    pub(crate) fn is_present(&self) -> bool {
        self.identity.standing() == Standing::Present
    }

    /// Resolves when its shards cannot be read any more: it was deleted and created again, or, if it is one of several, it
    /// was deleted. An only stream that is gone is waited for.
    pub(crate) async fn lost(&self) {
        let is_one_of_several = self.key_prefix.is_some();
        let is_lost = |standing: &Standing| match standing {
            Standing::Present => false,
            Standing::Gone => is_one_of_several,
            Standing::Replaced(_) => true,
        };
        self.identity.until(is_lost).await;
    }

    /// Whether it is still the one that it was, as of `age` ago or later.
    pub(crate) async fn confirm(&self, age: Duration) -> Result<Standing, KinesisError> {
        self.identity.confirm(&*self.kinesis, age).await
    }

    /// Key of the lease for one of the stream's shards.
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
