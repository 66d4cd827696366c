//! Slots in which the outcome of a record is left for its [`Delivery`](super::Delivery), in chunks that puts share.
//!
//! tokio's `oneshot`, an allocation of each record's, costs 38 ns more alone (`cargo bench -p kinesis-kpl --bench micro --
//! outcomes`), and with its cache misses a tenth to a fifth of a 100-byte record (docs/performance.md).

use std::{
    mem::replace,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use super::{Outcome, lost};
use crate::locked::locked;

/// Slots of a chunk, which lives until all its outcomes are taken.
const SLOTS: u8 = 32;

#[derive(Debug, Default)]
pub(crate) struct Slots {
    chunk: Option<Arc<Chunk>>,
    /// Number of the chunk's slots that are handed out.
    used: u8,
}

type Chunk = [Mutex<Slot>; SLOTS as usize];

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Open,
    Awaited(Waker),
    Resolved(Outcome),
    /// The outcome is taken, or nobody waits for it.
    Done,
}

#[derive(Debug, Clone)]
struct Side {
    chunk: Arc<Chunk>,
    index: u8,
}

/// Resolves a slot: when dropped, as lost.
#[derive(Debug)]
pub(super) struct Resolver(Option<Side>);

/// Waits for the outcome, until it has it.
#[derive(Debug)]
pub(super) struct Waiter(Option<Side>);

impl Slots {
    /// Both sides of a slot.
    pub(super) fn take(&mut self) -> (Resolver, Waiter) {
        if self.used == SLOTS {
            *self = Self::default();
        }
        let side = Side { chunk: self.chunk.get_or_insert_default().clone(), index: self.used };
        self.used += 1;
        (Resolver(Some(side.clone())), Waiter(Some(side)))
    }
}

impl Side {
    /// Changes the slot, and returns what it was, which is dropped outside of the lock.
    fn change(&self, change: impl FnOnce(&mut Slot) -> Slot) -> Slot {
        change(&mut locked(&self.chunk[usize::from(self.index)]))
    }

    fn resolve(&self, outcome: Outcome) {
        let resolve = |slot: &mut Slot| match slot {
            Slot::Done => Slot::Resolved(outcome),
            _ => replace(slot, Slot::Resolved(outcome)),
        };
        if let Slot::Awaited(waker) = self.change(resolve) {
            waker.wake();
        }
    }
}

impl Resolver {
    pub(super) fn resolve(mut self, outcome: Outcome) {
        if let Some(side) = self.0.take() {
            side.resolve(outcome);
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.0.take().iter().for_each(|side| side.resolve(lost()));
    }
}

impl Waiter {
    /// Panics once the outcome is taken.
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Outcome> {
        let Some(side) = &self.0 else { panic!("a Delivery was polled after it had resolved") };
        let found = side.change(|slot| match slot {
            Slot::Awaited(known) if known.will_wake(waker) => Slot::Open,
            Slot::Resolved(_) => replace(slot, Slot::Done),
            _ => replace(slot, Slot::Awaited(waker.clone())),
        });
        let Slot::Resolved(outcome) = found else { return Poll::Pending };
        self.0 = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.iter().for_each(|side| drop(side.change(|slot| replace(slot, Slot::Done))));
    }
}
