//! The intake of one stream: the way into its pipeline, which may not be running.

pub(crate) mod queue;
pub(crate) mod space;

use std::sync::{Arc, Mutex, atomic::AtomicUsize};

use tokio::time::Instant;

use self::{queue::Queue, space::Share};
use crate::{
    config::MAX_RECORD_BYTES,
    health::{CallNotes, StreamHealth, millis},
    locked::locked,
    stream::Stream,
};

/// State that a stream's pipeline and its handles share.
pub(crate) struct Status {
    pub(crate) share: Share,
    /// Maximum bytes of a record; until it is known, that of any stream.
    pub(crate) max_record_bytes: AtomicUsize,
    /// Arrival of the oldest unresolved record. Locked to copy it.
    pub(crate) oldest: Mutex<Option<Instant>>,
    /// Changed with each answer to PutRecords, for a line.
    pub(crate) calls: Mutex<CallNotes>,
}

pub(crate) struct Intake {
    pub(crate) stream: Stream,
    pub(crate) queue: Arc<Queue>,
    pub(crate) status: Arc<Status>,
}

impl Intake {
    pub(crate) fn new(stream: Stream) -> Self {
        let (max_record_bytes, oldest) = (AtomicUsize::new(MAX_RECORD_BYTES), Mutex::new(None));
        let (share, calls) = (Share::new(), Mutex::default());
        let status = Arc::new(Status { share, max_record_bytes, oldest, calls });
        Self { stream, queue: Arc::default(), status }
    }
}

impl Intake {
    /// Health of the stream, and whether it fails.
    pub(crate) fn health(&self, now: Instant) -> (StreamHealth, bool) {
        let (load, oldest, calls) =
            (self.status.share.load(), *locked(&self.status.oldest), locked(&self.status.calls).clone());
        let std_now = now.into_std();
        let health = StreamHealth {
            stream: self.stream.to_string(),
            outstanding_records: load.records,
            outstanding_bytes: load.bytes,
            oldest_record_millis: oldest.map(|arrived| millis(now.saturating_duration_since(arrived))),
            stored_before_millis: calls.stored_before(std_now).map(millis),
            failure: calls.failure(std_now),
        };
        (health, calls.is_failing(std_now))
    }
}

/// The last handle is dropped: no further records.
impl Drop for Intake {
    fn drop(&mut self) {
        self.queue.close();
    }
}
