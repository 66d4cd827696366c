//! Bounds of the records that are accepted and not resolved, over all streams of a producer, and the puts that wait for space.
//!
//! - (A) The bounds hold for all streams together.
//! - (B) While several streams have a pipeline, none that has records takes up more than it leaves free.
//! - (C) Waiting puts are served in order: those of a stream until (B) allows its first, then the first ones of all streams
//!   until there is space. No later put is served before.
//!
//! Order and wake-ups are tokio's `Semaphore` and `Notify`. (B) needs exact counts of what all streams take up and of what one
//! does, under one lock: permits of two semaphores could not be compared and taken in one step, and with those counts beside
//! them cost 9 ns more a record, 1 % of a 100-byte record: `cargo bench -p kinesis-kpl --bench micro -- space`.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{Notify, Semaphore};

use crate::locked::locked;

/// Space for a number of records and for a number of bytes.
pub(crate) struct Space {
    used: Mutex<Used>,
    max: Load,
    has_shares: bool,
    /// Held by the put served next.
    turn: Semaphore,
    /// Notified when a waiting put may succeed.
    freed: Notify,
}

#[derive(Default)]
struct Used {
    load: Load,
    /// Streams that have a pipeline.
    streams: usize,
    closed: bool,
    /// Nothing was taken since [`Space::hurry`] returned [`Hurry::All`].
    hurried: bool,
}

/// Records that are sent at once, because no others can join them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// All were hurried already.
    None,
    /// Those of the stream, which takes up its share.
    Stream,
    /// Those of all streams.
    All,
}

/// Part of the space that one stream takes up.
pub(crate) struct Share {
    /// Changed under the lock of the space, as `bytes`.
    records: AtomicUsize,
    bytes: AtomicUsize,
    /// Held by the put of the stream served next.
    turn: Semaphore,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Share {
    pub(crate) fn new() -> Self {
        Self { records: AtomicUsize::new(0), bytes: AtomicUsize::new(0), turn: Semaphore::new(1) }
    }

    pub(crate) fn load(&self) -> Load {
        Load { records: self.records.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    fn set(&self, load: Load) {
        self.records.store(load.records, Relaxed);
        self.bytes.store(load.bytes, Relaxed);
    }
}

impl Space {
    pub(crate) fn new(max_records: usize, max_bytes: usize, has_shares: bool) -> Self {
        let max = Load { records: max_records, bytes: max_bytes };
        Self { used: Mutex::default(), max, has_shares, turn: Semaphore::new(1), freed: Notify::new() }
    }

    /// Waits for space for a record of `bytes`: calls `attempt`, which calls [`take`](Self::take), until it succeeds, and `hurry`
    /// when the wait begins.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; the next put is served.
    pub(crate) async fn wait<T>(
        &self,
        share: &Share,
        bytes: usize,
        attempt: impl FnMut() -> Option<T>,
        hurry: impl Fn(),
    ) -> T {
        let _first_of_stream = share.turn.acquire().await.expect("nobody closes it");
        self.until(|| self.allows(&locked(&self.used), share, self.load_of(bytes)).then_some(()), &hurry).await;
        let _first_of_all = self.turn.acquire().await.expect("nobody closes it");
        self.until(attempt, hurry).await
    }

    async fn until<T>(&self, mut attempt: impl FnMut() -> Option<T>, hurry: impl Fn()) -> T {
        let mut waits = false;
        loop {
            let freed = self.freed.notified(); // before the attempt: what is freed since is not missed
            if let Some(found) = attempt() {
                return found;
            }
            if !std::mem::replace(&mut waits, true) {
                hurry();
            }
            freed.await;
        }
    }

    /// Takes space if there is enough, the stream may take it, and no put waits for it.
    pub(crate) fn try_take(&self, share: &Share, bytes: usize) -> bool {
        self.try_take_first(share, [bytes].into_iter()) == 1
    }

    /// Takes space for the first records of these `sizes`, one after the other, while that succeeds. Returns how many.
    pub(crate) fn try_take_first(&self, share: &Share, sizes: impl Iterator<Item = usize>) -> usize {
        let free = |turn: &Semaphore| turn.available_permits() > 0;
        if free(&self.turn) && free(&share.turn) { self.take_if(share, sizes, true) } else { 0 }
    }

    pub(crate) fn take(&self, share: &Share, bytes: usize) -> bool {
        self.take_first(share, [bytes].into_iter()) == 1
    }

    /// The same for a put that has waited, and whose first record the stream may take thus.
    pub(crate) fn take_first(&self, share: &Share, sizes: impl Iterator<Item = usize>) -> usize {
        self.take_if(share, sizes, false)
    }

    fn take_if(&self, share: &Share, sizes: impl Iterator<Item = usize>, mut of_share: bool) -> usize {
        let mut used = locked(&self.used);
        let mut taken = 0;
        for bytes in sizes {
            let load = self.load_of(bytes);
            let all = used.load.with(load);
            if used.closed || !self.fits(all) || of_share && !self.allows(&used, share, load) {
                break;
            }
            (used.load, used.hurried) = (all, false);
            share.set(share.load().with(load));
            (taken, of_share) = (taken + 1, true);
        }
        taken
    }

    /// The records that keep one of `bytes` out, which the caller hurries.
    ///
    /// A record is queued under the lock of the queue under which it took space: hurried records are in the queue.
    pub(crate) fn hurry(&self, share: &Share, bytes: usize) -> Hurry {
        let mut used = locked(&self.used);
        if used.hurried {
            return Hurry::None;
        }
        used.hurried = self.allows(&used, share, self.load_of(bytes));
        if used.hurried { Hurry::All } else { Hurry::Stream }
    }

    fn fits(&self, load: Load) -> bool {
        load.records <= self.max.records && load.bytes <= self.max.bytes
    }

    /// Returns whether (B) allows `load` to the stream, whether it fits or not; also once closed.
    fn allows(&self, used: &Used, share: &Share, load: Load) -> bool {
        let own = share.load();
        let any = used.closed || !self.has_shares || used.streams <= 1 || own.records == 0;
        any || self.fits(used.load.with(load).with(own).with(load))
    }

    /// Space that a record of `bytes` takes up, at most all of it.
    pub(crate) fn load_of(&self, bytes: usize) -> Load {
        Load { records: 1, bytes: bytes.min(self.max.bytes) }
    }

    /// Frees the space of resolved records.
    pub(crate) fn give_back(&self, share: &Share, load: Load) {
        if load.records == 0 {
            return;
        }
        let mut used = locked(&self.used);
        used.load = used.load.without(load);
        share.set(share.load().without(load));
        drop(used);
        self.freed.notify_waiters();
    }

    pub(crate) fn used(&self) -> Load {
        locked(&self.used).load
    }

    pub(crate) fn enter(&self) {
        locked(&self.used).streams += 1;
    }

    pub(crate) fn leave(&self) {
        locked(&self.used).streams -= 1;
        self.freed.notify_waiters();
    }

    /// Frees all space of a stream that has ended. Returns it.
    pub(crate) fn vacate(&self, share: &Share) -> Load {
        let left = share.load();
        self.give_back(share, left);
        left
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.used).closed
    }

    /// Refuses further records: waiting puts fail.
    pub(crate) fn close(&self) {
        locked(&self.used).closed = true;
        self.freed.notify_waiters();
    }
}

impl Load {
    pub(crate) fn with(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }

    fn without(self, other: Self) -> Self {
        Self { records: self.records - other.records, bytes: self.bytes - other.bytes }
    }
}

#[cfg(test)]
mod tests;
