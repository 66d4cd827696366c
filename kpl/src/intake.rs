//! The way into the pipeline of one stream, whether that is running or not.

pub(crate) mod queue;
pub(crate) mod space;

use std::sync::{Arc, Mutex, atomic::AtomicUsize};

use tokio::time::Instant;

use self::{queue::Queue, space::Share};
use crate::{config::MAX_RECORD_BYTES, locked::locked, stream::Stream};

/// What a stream's pipeline and its handles share.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) share: Share,
    /// Most bytes of a record; the most that any stream takes before it is known.
    pub(crate) max_record_bytes: AtomicUsize,
    /// When the oldest record arrived that is not resolved. Locked to copy it.
    oldest: Mutex<Option<Instant>>,
}

impl Status {
    pub(crate) fn oldest(&self) -> Option<Instant> {
        *locked(&self.oldest)
    }

    pub(crate) fn set_oldest(&self, oldest: Option<Instant>) {
        *locked(&self.oldest) = oldest;
    }
}

/// The way into one stream's pipeline, whether that is running or not.
pub(crate) struct Intake {
    pub(crate) stream: Stream,
    pub(crate) queue: Arc<Queue>,
    pub(crate) status: Arc<Status>,
}

impl Intake {
    pub(crate) fn new(stream: Stream) -> Self {
        let (max_record_bytes, oldest) = (AtomicUsize::new(MAX_RECORD_BYTES), Mutex::new(None));
        let status = Arc::new(Status { share: Share::new(), max_record_bytes, oldest });
        Self { stream, queue: Queue::new(), status }
    }
}

/// All handles are gone: no more records will come.
impl Drop for Intake {
    fn drop(&mut self) {
        self.queue.close();
    }
}
