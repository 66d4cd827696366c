//! Who waits for room, first come first served.

use tokio::sync::{Notify, Semaphore};

/// A line. Only its head is told of room, and nobody who comes later is served before it.
#[derive(Debug)]
pub(crate) struct Line {
    /// Held by the head.
    turn: Semaphore,
    freed: Notify,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { turn: Semaphore::new(1), freed: Notify::new() }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.turn.available_permits() > 0
    }

    /// Tries now, and each time when there may be room, until there is something.
    ///
    /// # Cancellation
    /// Dropping the future leaves the line.
    pub(crate) async fn wait<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let _turn = self.turn.acquire().await.expect("nobody closes it");
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            self.freed.notified().await; // also of what was freed since the attempt
        }
    }

    /// There may be room; to be called after it was made.
    pub(crate) fn freed(&self) {
        if !self.is_empty() {
            self.freed.notify_one();
        }
    }
}
