//! The log of what processors were called with.

use std::collections::{BTreeMap, BTreeSet};

use kcl::{BoxError, Checkpointer, Record, RecordBatch, RecordProcessor, ShardContext, ShardId, StreamId};
use tokio::time::Instant;

use crate::{Log, eventually};

/// One call of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `initialize`.
    Initialize,
    /// `process_records`, with the records' numbers.
    Process(Vec<u64>),
    /// `shard_ended`.
    ShardEnded,
    /// `shutdown_requested`.
    ShutdownRequested,
    /// `lease_lost`.
    LeaseLost,
}

/// Calls of processors, in order.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    log: Log<Entry>,
}

/// A call, with its place and time.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The worker.
    pub worker: String,
    /// The stream.
    pub stream_id: StreamId,
    /// The shard.
    pub shard_id: ShardId,
    /// Partition key and number of each record given.
    pub keys: Vec<(String, u64)>,
    /// The call.
    pub call: Call,
    /// The time of the call.
    pub at: Instant,
}

impl Journal {
    /// A processor that logs its calls and checkpoints after each batch.
    pub fn processor(&self, shard: &ShardContext) -> JournalProcessor {
        JournalProcessor {
            journal: self.clone(),
            worker: shard.worker_id.to_string(),
            stream_id: shard.stream_id.clone(),
            shard_id: shard.shard_id.clone(),
            checkpoint: true,
        }
    }

    /// All calls so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.log.all()
    }

    /// The calls made for one shard.
    pub fn calls(&self, shard_id: &str) -> Vec<Call> {
        let of_shard = |entry: &Entry| entry.shard_id.as_str() == shard_id;
        self.entries().into_iter().filter(of_shard).map(|entry| entry.call).collect()
    }

    /// Number of calls like this one.
    pub fn count(&self, call: &Call) -> usize {
        self.log.count(|entry| entry.call == *call)
    }

    /// Number of calls so far.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// True if no call was made yet.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// Numbers of all records processed, in the order of processing.
    pub fn ids(&self) -> Vec<u64> {
        self.entries().into_iter().flat_map(|entry| entry.keys).map(|(_, id)| id).collect()
    }

    /// Number of different records processed.
    pub fn distinct(&self) -> usize {
        self.ids().into_iter().collect::<BTreeSet<_>>().len()
    }

    /// Shards processed by each worker.
    pub fn shards_by_worker(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut shards = BTreeMap::<String, BTreeSet<String>>::new();
        for entry in self.entries() {
            shards.entry(entry.worker).or_default().insert(entry.shard_id.to_string());
        }
        shards
    }

    /// Partition keys with a record that was processed after a later one.
    pub fn keys_out_of_order(&self) -> BTreeSet<String> {
        let mut last = BTreeMap::new();
        let mut out_of_order = BTreeSet::new();
        for (key, id) in self.entries().into_iter().flat_map(|entry| entry.keys) {
            if last.insert(key.clone(), id).is_some_and(|before| before > id) {
                out_of_order.insert(key);
            }
        }
        out_of_order
    }

    /// Waits until `count` different records are processed, for at most two virtual minutes.
    pub async fn processed(&self, count: usize) {
        eventually(&format!("{count} records are processed"), || self.distinct() >= count).await;
    }
}

/// A processor that logs its calls.
#[derive(Debug)]
pub struct JournalProcessor {
    journal: Journal,
    worker: String,
    stream_id: StreamId,
    shard_id: ShardId,
    /// True to checkpoint after each batch.
    pub checkpoint: bool,
}

impl JournalProcessor {
    fn note(&self, call: Call, keys: Vec<(String, u64)>) {
        let (stream_id, shard_id) = (self.stream_id.clone(), self.shard_id.clone());
        let worker = self.worker.clone();
        self.journal.log.push(Entry { worker, stream_id, shard_id, keys, call, at: Instant::now() });
    }
}

/// The number that a record carries.
pub fn id_of(record: &Record) -> u64 {
    std::str::from_utf8(&record.data).ok().and_then(|text| text.parse().ok()).expect("records carry a number")
}

impl RecordProcessor for JournalProcessor {
    type Error = BoxError;

    async fn initialize(&mut self, _shard: &ShardContext) -> Result<(), BoxError> {
        self.note(Call::Initialize, Vec::new());
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let keys: Vec<_> =
            batch.records.iter().map(|record| (record.partition_key.to_string(), id_of(record))).collect();
        self.note(Call::Process(keys.iter().map(|(_, id)| *id).collect()), keys);
        if self.checkpoint {
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.note(Call::ShardEnded, Vec::new());
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.note(Call::ShutdownRequested, Vec::new());
        checkpointer.checkpoint().await?;
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.note(Call::LeaseLost, Vec::new());
    }
}
