//! Logs of what happened, for assertions.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Ready, ready},
    sync::{Arc, Mutex, MutexGuard},
};

use kcl::{BoxError, Event, FailedRecords, Record};

use crate::{eventually, id_of};

/// Entries in the order of their arrival, shared by all who hold the log.
#[derive(Debug)]
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Log<T> {
    fn entries(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().expect("no writer panics")
    }

    /// Adds an entry.
    pub fn push(&self, entry: T) {
        self.entries().push(entry);
    }

    /// Changes the newest entry.
    ///
    /// # Panics
    /// There is none.
    pub fn update_last(&self, change: impl FnOnce(&mut T)) {
        change(self.entries().last_mut().expect("there is an entry"));
    }

    /// All entries so far.
    pub fn all(&self) -> Vec<T> {
        self.entries().clone()
    }

    /// Number of entries so far.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// True if there is no entry yet.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Number of entries so far that are like this.
    pub fn count(&self, like: impl Fn(&T) -> bool) -> usize {
        self.entries().iter().filter(|entry| like(entry)).count()
    }

    /// Waits until there are `count` entries, for at most two virtual minutes.
    pub async fn has(&self, count: usize) {
        eventually(&format!("{count} entries are logged"), || self.len() >= count).await;
    }
}

/// Events of workers.
pub type EventLog = Log<Event>;

impl EventLog {
    /// A handler that logs events.
    pub fn handler(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let log = self.clone();
        move |event| log.push(event.clone())
    }
}

/// Records that were processed: partition key and number.
pub type Records = Log<(String, u64)>;

impl Records {
    /// Logs a record.
    pub fn add(&self, record: &Record) {
        self.push((record.partition_key.to_string(), id_of(record)));
    }

    /// A closure for records, which logs them.
    pub fn closure(&self) -> impl Fn(Record) -> Ready<Result<(), BoxError>> + Clone + Send + Sync + 'static {
        let log = self.clone();
        move |record| {
            log.add(&record);
            ready(Ok(()))
        }
    }

    /// A hook for dead letters, which logs their records.
    pub fn dead_letters(&self) -> impl Fn(FailedRecords) -> Ready<Result<(), BoxError>> + Send + Sync + 'static {
        let log = self.clone();
        move |failed| {
            failed.records.iter().for_each(|record| log.add(record));
            ready(Ok(()))
        }
    }

    /// Numbers of all records, in order.
    pub fn ids(&self) -> Vec<u64> {
        self.entries().iter().map(|(_, id)| *id).collect()
    }

    /// Number of different records.
    pub fn distinct(&self) -> usize {
        self.ids().into_iter().collect::<BTreeSet<_>>().len()
    }

    /// Numbers of the records that were logged more than once.
    pub fn twice(&self) -> Vec<u64> {
        let mut counts = BTreeMap::<u64, u32>::new();
        self.ids().into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id).collect()
    }

    /// True if each partition key's records were logged first in the order of their numbers.
    pub fn keys_in_order(&self) -> bool {
        let (mut last, mut known) = (BTreeMap::new(), BTreeSet::new());
        self.entries().iter().filter(|(_, id)| known.insert(*id)).all(|(key, id)| {
            let before = last.insert(key.clone(), *id);
            before.is_none_or(|before| before < *id)
        })
    }

    /// Waits until `count` different records are logged, for at most two virtual minutes.
    pub async fn processed(&self, count: usize) {
        eventually(&format!("{count} records are processed"), || self.distinct() >= count).await;
    }
}
