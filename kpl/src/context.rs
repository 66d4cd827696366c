//! The settings and the state that all pipelines of a producer share.

use std::{
    any::Any,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config, error::BoxError, event::Events, intake::space::Space, kinesis::Kinesis, record::UserRecord,
};

/// The application's hook that encodes data.
pub(crate) type Encode = Arc<dyn Fn(&UserRecord) -> Result<Bytes, BoxError> + Send + Sync>;

/// Settings and state that all pipelines share. It keeps none from ending.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) kinesis: Arc<dyn Kinesis>,
    pub(crate) events: Events,
    pub(crate) encode: Option<Encode>,
    pub(crate) space: Space,
    /// Pipelines end once all records are resolved.
    pub(crate) closing: CancellationToken,
    /// Pipelines end at once.
    pub(crate) abandoning: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Payload of a pipeline's panic. Locked to set and to take it.
    pub(crate) panicked: Mutex<Option<Box<dyn Any + Send>>>,
    /// A pipeline has panicked, whoever took the payload.
    pub(crate) has_panicked: AtomicBool,
}

impl Context {
    pub(crate) fn new(config: Config, kinesis: Arc<dyn Kinesis>, events: Events, encode: Option<Encode>) -> Self {
        let space = Space::new(config.max_outstanding_records, config.max_outstanding_bytes, config.stream_shares);
        let (closing, abandoning) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, panicked) = (TaskTracker::new(), Mutex::new(None));
        let has_panicked = AtomicBool::new(false);
        Self { config, kinesis, events, encode, space, closing, abandoning, tasks, panicked, has_panicked }
    }

    pub(crate) fn close(&self) {
        self.space.close();
        self.closing.cancel();
        self.tasks.close();
    }
}
