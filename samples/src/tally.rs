//! Effects in memory, each exactly once while the process lives: what is counted is as good as its workers' restarts.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kcl::{BoxError, Record, RecordBatch, ShardId, SinkKey, SinkMark, SinkTransaction, TransactionalSink};

/// Result that the records are made into.
pub trait Effects: Default + Send + 'static {
    /// A record, read.
    type Event: Send;

    /// Reads a record.
    ///
    /// # Errors
    /// The record is not of this kind.
    fn read(record: &Record) -> Result<Self::Event, BoxError>;

    /// Adds an event of a shard, in the order of the shard.
    fn add(&mut self, shard_id: &ShardId, event: Self::Event);
}

/// Effects that the sinks of all shards share. Clones are the same.
pub struct Tally<E>(Arc<Mutex<State<E>>>);

#[derive(Default)]
struct State<E> {
    effects: E,
    marks: BTreeMap<SinkKey, SinkMark>,
}

impl<E> fmt::Debug for Tally<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}

impl<E> Clone for Tally<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Effects> Default for Tally<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E: Effects> Tally<E> {
    /// Looks at the effects; the sinks wait meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&mut E) -> T) -> T {
        look(&mut self.state().effects)
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Effects> TransactionalSink for Tally<E> {
    type Error = BoxError;
    type Transaction = TallyTransaction<E>;

    async fn begin(&mut self) -> Result<TallyTransaction<E>, BoxError> {
        Ok(TallyTransaction { tally: self.clone(), read: None, events: Vec::new(), next: None })
    }
}

/// Transaction of a [`Tally`]: takes effect at once, or not at all.
pub struct TallyTransaction<E: Effects> {
    tally: Tally<E>,
    read: Option<(SinkKey, Option<SinkMark>)>,
    events: Vec<E::Event>,
    next: Option<SinkMark>,
}

impl<E: Effects> fmt::Debug for TallyTransaction<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TallyTransaction").field("read", &self.read).field("next", &self.next).finish_non_exhaustive()
    }
}

impl<E: Effects> SinkTransaction for TallyTransaction<E> {
    type Error = BoxError;

    async fn mark(&mut self, key: &SinkKey) -> Result<Option<SinkMark>, BoxError> {
        let found = self.tally.state().marks.get(key).cloned();
        self.read = Some((key.clone(), found.clone()));
        Ok(found)
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<(), BoxError> {
        self.events = batch.records.iter().map(E::read).collect::<Result<_, _>>()?;
        Ok(())
    }

    async fn set_mark(&mut self, _: &SinkKey, mark: &SinkMark) -> Result<(), BoxError> {
        self.next = Some(mark.clone());
        Ok(())
    }

    async fn commit(self) -> Result<(), BoxError> {
        let (key, read) = self.read.ok_or("the mark was not read")?;
        let next = self.next.ok_or("no mark was stored")?;
        let mut state = self.tally.state();
        if state.marks.get(&key) != read.as_ref() {
            return Err("the mark was changed by another transaction".into());
        }
        for event in self.events {
            state.effects.add(&key.shard_id, event);
        }
        state.marks.insert(key, next);
        Ok(())
    }
}
