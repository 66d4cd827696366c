//! Processors that misbehave, and the log of what they are given.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use integration_tests::id_of;
use kcl::{BoxError, Checkpoint, Checkpointer, RecordBatch, RecordProcessor, SequenceNumber, ShardContext};
use tokio::time::sleep;

/// Records that were put, and their fate.
#[derive(Default)]
pub(crate) struct Log {
    /// By shard, in order.
    pub(crate) put: BTreeMap<String, Vec<(SequenceNumber, u64)>>,
    /// First processing of each record, by a count of such events.
    pub(crate) processed: HashMap<u64, usize>,
    /// First delivery of each record to a processor, by the same count.
    pub(crate) given: HashMap<u64, usize>,
    /// Processors, each with its checkpoint and its records.
    pub(crate) processors: Vec<Given>,
    /// Number of these that were compared with the records put.
    pub(crate) checked: usize,
    /// By shard, the furthest checkpoint of which a processor was told that it is stored.
    pub(crate) stored: HashMap<String, Checkpoint>,
    /// Processors that started before what was stored, which a panic of theirs would not tell.
    pub(crate) forgetful: Vec<String>,
}

pub(crate) struct Shared {
    pub(crate) log: Mutex<Log>,
    /// True if processors misbehave.
    pub(crate) unruly: AtomicBool,
}

impl Shared {
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("nobody panics with the log in hand")
    }
}

/// One processor's checkpoint and records.
pub(crate) struct Given {
    pub(crate) shard: String,
    pub(crate) after: Checkpoint,
    pub(crate) ids: Vec<u64>,
}

/// Writes down what it is given; slow, failing and panicking as long as that is wanted.
pub(crate) struct Unruly {
    shared: Arc<Shared>,
    number: usize,
}

impl Unruly {
    /// `name` is the shard's, among those of all streams.
    pub(crate) fn new(shared: Arc<Shared>, shard: &ShardContext, name: String) -> Self {
        let mut log = shared.log();
        let number = log.processors.len();
        if let Some(stored) = log.stored.get(&name).filter(|stored| **stored > shard.checkpoint) {
            let told = format!("{name} starts after {}, {stored} was stored", shard.checkpoint);
            log.forgetful.push(told);
        }
        log.processors.push(Given { shard: name, after: shard.checkpoint.clone(), ids: Vec::new() });
        drop(log);
        Self { shared, number }
    }

    fn roll(&self, probability: f64) -> bool {
        self.shared.unruly.load(Ordering::Relaxed) && fastrand::f64() < probability
    }

    async fn misbehave(&self) -> Result<(), BoxError> {
        if self.roll(0.2) {
            sleep(Duration::from_millis(fastrand::u64(0..1_500))).await;
        }
        if self.roll(0.02) {
            sleep(Duration::from_millis(fastrand::u64(0..12_000))).await;
        }
        if self.roll(0.06) {
            return Err("said no".into());
        }
        assert!(!self.roll(0.02), "a processor that panics");
        Ok(())
    }
}

impl RecordProcessor for Unruly {
    type Error = BoxError;

    async fn initialize(&mut self, _shard: &ShardContext) -> Result<(), BoxError> {
        if self.roll(0.05) { Err("not today".into()) } else { Ok(()) }
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        {
            let mut log = self.shared.log();
            let now = log.given.len() + log.processed.len();
            for record in &batch.records {
                log.processors[self.number].ids.push(id_of(record));
                log.given.entry(id_of(record)).or_insert(now);
            }
        }
        self.misbehave().await?;
        {
            let mut log = self.shared.log();
            let now = log.given.len() + log.processed.len();
            for record in &batch.records {
                log.processed.entry(id_of(record)).or_insert(now);
            }
        }
        let stored = match fastrand::u8(0..4) {
            0 => return Ok(()),
            1 => checkpointer.checkpoint_at(&batch.records[batch.records.len() / 2]).await,
            2 => match checkpointer.prepare(Some("state".into())).await {
                Ok(prepared) => prepared.commit().await,
                Err(error) => Err(error),
            },
            _ => checkpointer.checkpoint().await,
        };
        if stored.is_ok() {
            let mut log = self.shared.log();
            let shard = log.processors[self.number].shard.clone();
            let furthest = log.stored.entry(shard).or_insert(Checkpoint::AtTimestamp);
            *furthest = checkpointer.last().max(furthest.clone());
        }
        if self.roll(0.5) { Ok(stored?) } else { Ok(()) }
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.misbehave().await
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.misbehave().await?;
        Ok(checkpointer.checkpoint().await?)
    }
}
