//! Where an outcome is left for its [`Delivery`](super::Delivery). Slots come in chunks, so that a put costs no allocation
//! of its own, and what belongs to records that were put together lies together.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, Waker},
};

use super::Outcome;
use crate::{
    error::{DeliveryError, DeliveryErrorKind, Failure},
    locked::locked,
    record::UserRecord,
};

/// Slots of a chunk. One that is held pins its chunk, of about 1 KiB.
const SLOTS: usize = 32;

/// Hands out slots.
#[derive(Debug)]
pub(crate) struct Slots {
    chunk: Arc<Chunk>,
    /// Those of the chunk that are handed out.
    used: u8,
}

struct Chunk([Mutex<Slot>; SLOTS]);

/// One record's.
#[derive(Debug)]
enum Slot {
    /// Not resolved; with whom to wake.
    Open(Option<Waker>),
    Resolved(Outcome),
    /// The outcome was taken, or nobody waits for it any more.
    Done,
}

/// One side of a slot: there is one to resolve it, and one to wait.
#[derive(Debug)]
struct Side {
    chunk: Arc<Chunk>,
    index: u8,
}

/// Resolves a slot, once: when dropped, as abandoned.
#[derive(Debug)]
pub(crate) struct Resolver(Option<Side>);

/// Waits for a slot.
#[derive(Debug)]
pub(crate) struct Waiter(Side);

impl Slots {
    pub(crate) fn new() -> Self {
        Self { chunk: Chunk::new(), used: 0 }
    }

    /// Both sides of a slot.
    pub(crate) fn take(&mut self) -> (Resolver, Waiter) {
        if usize::from(self.used) == SLOTS {
            *self = Self::new();
        }
        let index = self.used;
        self.used += 1;
        let side = || Side { chunk: self.chunk.clone(), index };
        (Resolver(Some(side())), Waiter(side()))
    }
}

impl Chunk {
    fn new() -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| Mutex::new(Slot::Open(None)))))
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").finish_non_exhaustive()
    }
}

impl Side {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        locked(&self.chunk.0[usize::from(self.index)])
    }
}

impl Resolver {
    pub(crate) fn resolve(mut self, outcome: Outcome) {
        if let Some(side) = self.0.take() {
            side.resolve(outcome);
        }
    }
}

/// Who holds a resolver resolves it. Should it be lost in a panic, nobody waits for ever; the record is lost, though.
impl Drop for Resolver {
    fn drop(&mut self) {
        if let Some(side) = self.0.take() {
            let failure = Failure::unattempted(DeliveryErrorKind::Abandoned);
            side.resolve(Err(DeliveryError::new(failure, UserRecord::new("", ""))));
        }
    }
}

impl Side {
    fn resolve(self, outcome: Outcome) {
        let mut slot = self.slot();
        let before = match &*slot {
            Slot::Open(_) => std::mem::replace(&mut *slot, Slot::Resolved(outcome)),
            _ => return,
        };
        drop(slot);
        if let Slot::Open(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Waiter {
    /// The outcome, once: afterwards the waiter is of no use.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Outcome> {
        let mut slot = self.0.slot();
        match &mut *slot {
            Slot::Open(waiting) => {
                if !waiting.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    *waiting = Some(waker.clone());
                }
                Poll::Pending
            }
            _ => match std::mem::replace(&mut *slot, Slot::Done) {
                Slot::Resolved(outcome) => Poll::Ready(outcome),
                _ => Poll::Pending,
            },
        }
    }

    /// Nobody waits any more; an outcome is dropped as soon as it is there.
    pub(crate) fn abandon(self) {
        let before = std::mem::replace(&mut *self.0.slot(), Slot::Done);
        drop(before); // outside of the lock
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn outcome(number: usize) -> Outcome {
        let failure = Failure::unattempted(DeliveryErrorKind::Expired);
        Err(DeliveryError::new(failure, UserRecord::new("k", number.to_string())))
    }

    fn number(outcome: Outcome) -> usize {
        let data = outcome.expect_err("a failure").into_record().into_data();
        std::str::from_utf8(&data).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn each_outcome_comes_to_its_own_waiter_from_whatever_thread() {
        let mut slots = Slots::new();
        let sides: Vec<_> = (0..1000).map(|_| slots.take()).collect();
        let (resolvers, waiters): (Vec<_>, Vec<_>) = sides.into_iter().unzip();
        let resolving = thread::spawn(move || {
            resolvers.into_iter().enumerate().for_each(|(number, resolver)| resolver.resolve(outcome(number)));
        });
        for (expected, waiter) in waiters.into_iter().enumerate() {
            let found = std::future::poll_fn(|cx| waiter.poll(cx.waker())).await;
            assert_eq!(number(found), expected);
        }
        resolving.join().unwrap();
    }

    #[test]
    fn drops_at_once_outcomes_that_nobody_waits_for() {
        let mut slots = Slots::new();
        let record = |data: &bytes::Bytes| {
            Err(DeliveryError::new(
                Failure::unattempted(DeliveryErrorKind::Expired),
                UserRecord::new("k", data.clone()),
            ))
        };
        for resolved_first in [false, true] {
            let data = bytes::Bytes::from(vec![1; 100]);
            let (resolver, waiter) = slots.take();
            if resolved_first {
                resolver.resolve(record(&data));
                waiter.abandon();
            } else {
                waiter.abandon();
                resolver.resolve(record(&data));
            }
            assert!(data.is_unique(), "no other handle to the data is left");
        }
    }
}
