//! The intake of one stream: the way into its pipeline, which may not be running.

pub(crate) mod queue;
pub(crate) mod space;

use std::sync::{Arc, Mutex, atomic::AtomicUsize};

use tokio::time::Instant;

use self::{queue::Queue, space::Share};
use crate::{config::MAX_RECORD_BYTES, stream::Stream};

/// State that a stream's pipeline and its handles share.
pub(crate) struct Status {
    pub(crate) share: Share,
    /// Maximum bytes of a record; until it is known, that of any stream.
    pub(crate) max_record_bytes: AtomicUsize,
    /// Arrival of the oldest unresolved record. Locked to copy it.
    pub(crate) oldest: Mutex<Option<Instant>>,
}

pub(crate) struct Intake {
    pub(crate) stream: Stream,
    pub(crate) queue: Arc<Queue>,
    pub(crate) status: Arc<Status>,
}

impl Intake {
    pub(crate) fn new(stream: Stream) -> Self {
        let (max_record_bytes, oldest) = (AtomicUsize::new(MAX_RECORD_BYTES), Mutex::new(None));
        let status = Arc::new(Status { share: Share::new(), max_record_bytes, oldest });
        Self { stream, queue: Arc::default(), status }
    }
}

/// The last handle is dropped: no further records.
impl Drop for Intake {
    fn drop(&mut self) {
        self.queue.close();
    }
}
