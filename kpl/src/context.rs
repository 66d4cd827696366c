//! The settings and the state that all pipelines of a producer share.

use std::{
    any::Any,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Aggregation, Config},
    error::BoxError,
    event::Event,
    intake::space::Space,
    kinesis::Kinesis,
    locked::locked,
    record::UserRecord,
    stream::Stream,
};

/// Told of every event.
pub(crate) type OnEvent = Arc<dyn Fn(&Stream, &Event) + Send + Sync>;

/// Makes the data that are sent out of a record.
pub(crate) type Encode = Arc<dyn Fn(&UserRecord) -> Result<Bytes, BoxError> + Send + Sync>;

/// What the pipelines of a producer share. Holds nothing that could keep a pipeline from ending.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) kinesis: Arc<dyn Kinesis>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) encode: Option<Encode>,
    pub(crate) space: Space,
    /// No more records will come: pipelines end when they have resolved what they have.
    pub(crate) closing: CancellationToken,
    /// Pipelines end now.
    pub(crate) abandoning: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// What a pipeline panicked with. Locked to put it in and to take it out.
    pub(crate) panicked: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Context {
    pub(crate) fn new(
        config: Config,
        kinesis: Arc<dyn Kinesis>,
        on_event: Option<OnEvent>,
        encode: Option<Encode>,
    ) -> Self {
        let space = Space::new(config.max_outstanding_records, config.max_outstanding_bytes, config.stream_shares);
        let (closing, abandoning) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, panicked) = (TaskTracker::new(), Mutex::new(None));
        Self { config, kinesis, on_event, encode, space, closing, abandoning, tasks, panicked }
    }

    pub(crate) fn close(&self) {
        self.space.close();
        self.closing.cancel();
        self.tasks.close();
    }

    /// Logs what happened to `stream` and tells the application.
    pub(crate) fn notify(&self, stream: &Stream, event: &Event) {
        match event {
            Event::ShardMapUpdated { open_shards } => tracing::info!(%stream, open_shards, "shard map updated"),
            Event::ShardMapUnavailable { code, message, retry_in } => {
                tracing::warn!(%stream, %code, %message, ?retry_in, "shards cannot be listed, records may go unaggregated");
            }
            Event::StreamNotDescribed { code, message } => {
                tracing::warn!(%stream, %code, %message, "stream cannot be described, taken for one of default settings");
            }
            Event::PartitionKeysIgnored { aggregation } => match aggregation {
                Aggregation::Off => tracing::info!(%stream, "stream ignores partition keys"),
                _ => tracing::warn!(%stream, "stream ignores partition keys, aggregation is off"),
            },
            Event::SettingDefeated { setting, reason } => tracing::warn!(%stream, setting, reason, "setting defeated"),
            Event::CallFailed { kinesis_records, code, message } => {
                tracing::warn!(%stream, kinesis_records, %code, %message, "put records failed");
            }
            Event::EntryFailed { shard_id, user_records, code, message } => {
                let shard_id = shard_id.as_ref().map(tracing::field::display);
                tracing::debug!(%stream, shard_id, user_records, %code, %message, "kinesis record failed");
            }
            Event::WrongShard { predicted, actual, user_records } => {
                tracing::debug!(%stream, %predicted, %actual, user_records, "aggregate stored in another shard");
            }
            Event::RecordsExpired { user_records } => tracing::error!(%stream, user_records, "records expired"),
        }
        if let Some(on_event) = &self.on_event {
            on_event(stream, event);
        }
    }

    /// What a pipeline panicked with, once.
    pub(crate) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        locked(&self.panicked).take()
    }
}
