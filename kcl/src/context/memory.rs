//! SHELL: the memory that a worker's shards may hold of what is read and not finished, as
//! [`logic::read::budget`](crate::logic::read::budget) grants it.
//!
//! Whoever gives memory back wakes the shard's own reader, and the two that have waited longest: of those with nothing to
//! process, and of the others. A reader that is granted memory after a wait wakes the next.

use std::{
    collections::BTreeMap,
    mem,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    locked::locked,
    logic::read::{
        answer_size::{AnswerSize, Stored},
        budget::{AccountId, Ask, Budget},
    },
    model::{KinesisRecord, Record},
};

/// Time after which a shard with nothing to process is granted an answer, whatever others hold.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Memory {
    /// Locked for a few lines, a few times for each answer.
    books: Mutex<Books>,
    /// Wakes readers that would read further ahead.
    ahead: Notify,
}

#[derive(Debug)]
struct Books {
    budget: Budget,
    /// Wakes the reader of each shard.
    readers: BTreeMap<AccountId, Arc<Notify>>,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let books = Books { budget: Budget::new(bytes), readers: BTreeMap::new() };
        Self { books: Mutex::new(books), ahead: Notify::new() }
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> u64 {
        self.with(|budget| budget.held())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Budget) -> T) -> T {
        act(&mut locked(&self.books).budget)
    }

    fn wake(&self) {
        let books = locked(&self.books);
        if let Some(first) = books.budget.first().and_then(|first| books.readers.get(&first)) {
            first.notify_one();
        }
        drop(books);
        self.ahead.notify_one();
    }
}

/// Memory of one shard that is read; its share is divided among the others when nothing refers to it any more.
#[derive(Debug)]
pub(crate) struct MemoryAccount {
    memory: Arc<Memory>,
    id: AccountId,
    /// Learnt from the shard's answers; locked for a few lines.
    size: Mutex<AnswerSize>,
    woken: Arc<Notify>,
}

impl MemoryAccount {
    pub(crate) fn open(memory: &Arc<Memory>) -> Arc<Self> {
        let woken = Arc::<Notify>::default();
        let mut books = locked(&memory.books);
        let id = books.budget.open();
        books.readers.insert(id, Arc::clone(&woken));
        drop(books);
        Arc::new(Self { memory: Arc::clone(memory), id, size: Mutex::default(), woken })
    }

    /// Memory for the next answer, if it is to be had now.
    pub(crate) fn try_reserve(self: &Arc<Self>, ask: fn(&AnswerSize) -> Ask) -> Option<Held> {
        self.reserve_by(ask, Budget::take)
    }

    fn reserve_by(
        self: &Arc<Self>,
        ask: fn(&AnswerSize) -> Ask,
        take: fn(&mut Budget, AccountId, Ask) -> Option<u64>,
    ) -> Option<Held> {
        let ask = ask(&locked(&self.size));
        let bytes = self.memory.with(|budget| take(budget, self.id, ask))?;
        Some(Held { account: Arc::clone(self), bytes, stored: Stored::default() })
    }

    /// Waits for memory for the next answer. Cancellation: safe.
    pub(crate) async fn reserve(self: &Arc<Self>, ask: fn(&AnswerSize) -> Ask) -> Held {
        let _waiting = Waiting { account: self };
        let (mut late, mut holds) = (pin!(sleep(PATIENCE)), true);
        loop {
            if let Some(held) = self.try_reserve(ask) {
                return held;
            }
            // Patience begins when there is nothing to process any more.
            if std::mem::replace(&mut holds, self.memory.with(|budget| budget.holds(self.id))) && !holds {
                late.set(sleep(PATIENCE));
            }
            // A signal sent since the attempt is kept, or wakes a reader that wakes this one when it is granted memory.
            tokio::select! {
                () = self.woken.notified() => {}
                () = self.memory.ahead.notified() => {}
                // Whoever holds the rest may wait for this very shard's records.
                () = late.as_mut() => {
                    if let Some(held) = self.reserve_by(ask, Budget::take_late) {
                        return held;
                    }
                    late.set(sleep(PATIENCE));
                }
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.memory.with(|budget| budget.give_back(self.id, bytes));
            self.woken.notify_one();
            self.memory.wake();
        }
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        let mut books = locked(&self.memory.books);
        books.budget.close(self.id);
        books.readers.remove(&self.id);
        drop(books);
        self.memory.wake();
    }
}

/// A reader that waits for memory. Granted or not, the next one may try when this is dropped.
struct Waiting<'a> {
    account: &'a MemoryAccount,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.account.memory.with(|budget| budget.leave(self.account.id));
        self.account.memory.wake();
    }
}

/// Memory of an answer that is read or processed; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    account: Arc<MemoryAccount>,
    bytes: u64,
    stored: Stored,
}

impl Held {
    /// Number of records to ask for.
    pub(crate) fn limit(&self) -> i32 {
        locked(&self.account.size).limit(self.bytes)
    }

    /// Keeps no more than the shard's share, while it is open when the answer comes.
    pub(crate) fn keep_share(&mut self) {
        let kept = self.account.memory.with(|budget| budget.within_share(self.account.id, self.bytes));
        self.settle(kept);
    }

    /// The answer is read.
    pub(crate) fn read(&mut self, records: &[KinesisRecord]) {
        self.stored = Stored::of(records);
        let bytes = locked(&self.account.size).read(self.stored);
        self.settle(bytes);
    }

    /// The user records are taken out of the answer's records, or of a part of them whose frames unfolded to `unfolded` bytes.
    pub(crate) fn taken_out(&mut self, user_records: &[Record], unfolded: usize) {
        let bytes = self.stored.with(user_records, unfolded);
        locked(&self.account.size).taken_out(self.stored, bytes);
        self.settle(bytes);
    }

    fn settle(&mut self, bytes: u64) {
        let before = mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.account.memory.with(|budget| budget.grow(self.account.id, bytes - before));
        } else {
            self.account.give_back(before - bytes);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}
