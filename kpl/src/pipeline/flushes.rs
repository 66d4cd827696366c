//! Flushes that callers wait for.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Minimum number of flushes at which those that nobody waits for are dropped.
const CROWD: usize = 32;

/// Incomplete flushes, in order: at most twice as many as callers wait for, or [`CROWD`].
pub(super) struct Flushes {
    /// Each with the number of the first record that it does not wait for.
    open: VecDeque<(u64, oneshot::Sender<()>)>,
    crowd: usize,
}

impl Flushes {
    pub(super) fn new() -> Self {
        Self { open: VecDeque::new(), crowd: CROWD }
    }

    /// Keeps `done` until all records below number `next` are resolved.
    pub(super) fn push(&mut self, next: u64, done: oneshot::Sender<()>) {
        if self.open.len() >= self.crowd {
            self.open.retain(|(_, done)| !done.is_closed());
            self.crowd = CROWD.max(2 * self.open.len());
        }
        self.open.push_back((next, done));
    }

    /// All records below number `below` are resolved.
    pub(super) fn complete(&mut self, below: u64) {
        while let Some((_, done)) = self.open.pop_front_if(|(next, _)| *next <= below) {
            let _ = done.send(()); // the caller stopped waiting
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_that_nobody_waits_for_take_no_space() {
        let mut flushes = Flushes::new();
        let (done, mut waited_for) = oneshot::channel();
        flushes.push(1, done);

        (1..1000).for_each(|next| flushes.push(next, oneshot::channel().0));

        assert!(flushes.open.len() <= CROWD, "{} flushes", flushes.open.len());
        flushes.complete(0);
        assert!(waited_for.try_recv().is_err());
        flushes.complete(1);
        assert!(waited_for.try_recv().is_ok());
    }
}
