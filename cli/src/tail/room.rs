//! Memory of answers that are read and not printed, as permits of a semaphore.
//!
//! The first answer shows the size of the stream's records: until then one shard reads, and the others wait.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Permits of all shards together: 8 MiB of answers.
const PERMITS: usize = 16;
const PERMIT_BYTES: usize = 512 * 1_024;

/// Room for answers. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    permits: Arc<Semaphore>,
    /// Size of the largest record of the first answer; None until it has come.
    first: Arc<Mutex<Option<usize>>>,
}

/// The right to read the first answer.
pub(super) type First = OwnedMutexGuard<Option<usize>>;

impl Default for Room {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(PERMITS)), first: Arc::default() }
    }
}

impl Room {
    /// Waits for the first answer of the stream, and returns the size of its largest record; an error is the right to read it.
    pub(super) async fn largest(&self) -> Result<usize, First> {
        let first = Arc::clone(&self.first).lock_owned().await;
        first.ok_or(first)
    }

    /// Waits for room for an answer of `bytes`; one that is larger than all room takes all of it.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, PERMITS);
        // None: closed, which it never is.
        Arc::clone(&self.permits).acquire_many_owned(u32::try_from(permits).unwrap_or(1)).await.ok()
    }
}
