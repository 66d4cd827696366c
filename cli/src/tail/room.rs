//! Memory of answers that are read and not printed, as permits of a semaphore.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits of all shards together.
const PERMITS: usize = 16;
/// Permits of a read that may return as much as a read can, 10 MiB: two such at a time.
const LARGE_READ: u32 = 8;
/// Bytes of an answer up to which the shard's next one counts as small.
const SMALL_BYTES: usize = 64 * 1024;

/// Room for answers. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PERMITS)))
    }
}

impl Room {
    /// Waits for room for the answer of a shard, which is at its tip and whose last answer had so many bytes.
    pub(crate) async fn take(&self, at_tip: bool, last_bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = if at_tip && last_bytes <= SMALL_BYTES { 1 } else { LARGE_READ };
        // None: closed, which it never is.
        Arc::clone(&self.0).acquire_many_owned(permits).await.ok()
    }
}
