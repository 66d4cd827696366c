//! Consumers that fail by plan, and the log of what they are given.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use futures::StreamExt as _;
use integration_tests::id_of;
use kcl::{BoxError, Checkpointer, Event, Position, Record, RecordBatch, RecordProcessor, SequenceNumber, ShardStream};
use tokio::time::sleep;

use super::{
    millis,
    plan::{Consumer, Plan, Policy},
};

/// Records that were put, and their fate.
#[derive(Default)]
pub(super) struct Log {
    /// By shard, in order.
    pub(super) put: BTreeMap<String, Vec<(Position, u64)>>,
    /// Kinesis records that were written before under another sequence number.
    pub(super) copies: BTreeSet<SequenceNumber>,
    pub(super) bad: BTreeSet<u64>,
    /// Number of times that each record was processed.
    pub(super) processed: BTreeMap<u64, u32>,
    /// Records that a checkpoint may cover, once they follow without a gap.
    pub(super) acknowledged: BTreeSet<u64>,
    /// In order of the events.
    pub(super) given_up: Vec<u64>,
    pub(super) dead_letters: Vec<u64>,
    /// By processor, what it was given: partition key and position.
    pub(super) tenures: Vec<Vec<(String, Position)>>,
    /// Breaches of the library's promises, noted where a panic would only be one more failure of the application.
    pub(super) breaches: Vec<String>,
}

impl Log {
    pub(super) fn expect(&mut self, kept: bool, what: impl Into<String>) {
        if !kept {
            self.breaches.push(what.into());
        }
    }
}

#[derive(Clone)]
pub(super) struct Shared(pub(super) Arc<(Mutex<Log>, Plan)>);

impl Shared {
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.0.0.lock().expect("nobody panics with the log in hand")
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.0.1
    }

    /// A new processor. Returns its number.
    pub(super) fn begin(&self) -> usize {
        let mut log = self.log();
        log.tenures.push(Vec::new());
        log.tenures.len() - 1
    }

    pub(super) fn given(&self, tenure: usize, record: &Record) {
        self.log().tenures[tenure].push((record.partition_key.to_string(), record.position()));
    }

    /// A record is looked at; an error if it fails.
    pub(super) async fn look_at(&self, id: u64) -> Result<(), BoxError> {
        let pause = self.plan().pause;
        if pause > 0 {
            sleep(millis(0..pause + 1)).await;
        }
        if self.log().bad.contains(&id) {
            return Err(format!("{id} is bad").into());
        }
        if fastrand::f64() < self.plan().unlucky {
            assert!(fastrand::u8(0..10) > 0, "bad luck");
            return Err("bad luck".into());
        }
        Ok(())
    }

    pub(super) fn processed(&self, ids: &[u64]) {
        let mut log = self.log();
        ids.iter().for_each(|id| *log.processed.entry(*id).or_default() += 1);
    }

    pub(super) fn acknowledged(&self, ids: impl IntoIterator<Item = u64>) {
        self.log().acknowledged.extend(ids);
    }

    pub(super) fn take_in(&self, event: &Event) {
        let Event::RecordsSkipped { shard, records, first, last, dead_lettered, .. } = event else { return };
        let mut log = self.log();
        let put = log.put.get(shard.shard_id.as_str()).into_iter().flatten();
        let ids: Vec<u64> = put.filter(|(position, _)| (first..=last).contains(&position)).map(|(_, id)| *id).collect();
        log.expect(ids.len() == *records, format!("{records} skipped by the event, {ids:?} put"));
        let is_dead_letter = self.plan().policy == Policy::DeadLetter;
        log.expect(*dead_lettered == is_dead_letter, format!("{ids:?} dead-lettered: {dead_lettered}"));
        log.given_up.extend(&ids);
        log.acknowledged.extend(ids);
    }
}

/// A processor whose batches fail at bad records.
pub(super) struct Processor {
    pub(super) shared: Shared,
    pub(super) tenure: usize,
    /// Records processed and not acknowledged.
    pub(super) open: Vec<u64>,
}

impl Processor {
    pub(super) fn count(&mut self, done: &mut Vec<u64>) {
        self.shared.processed(done);
        self.open.append(done);
    }

    pub(super) fn acknowledge(&mut self) {
        self.shared.acknowledged(self.open.drain(..));
    }
}

impl RecordProcessor for Processor {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let (size, longest) = (batch.records.len(), self.shared.plan().max_batch_records as usize);
        self.shared.log().expect((1..=longest).contains(&size), format!("a batch of {size}, not 1 to {longest}"));
        batch.records.iter().for_each(|record| self.shared.given(self.tenure, record));
        let automatic = self.shared.plan().consumer == Consumer::Automatic;
        let midway = if automatic { usize::MAX } else { fastrand::usize(0..3 * batch.records.len()) };
        let mut done = Vec::new();
        for (at, record) in batch.records.iter().enumerate() {
            self.shared.look_at(id_of(record)).await?;
            done.push(id_of(record));
            if at == midway {
                self.count(&mut done);
                self.acknowledge();
                checkpointer.checkpoint_at(record).await?;
            }
        }
        self.count(&mut done);
        if automatic {
            self.acknowledge();
        } else if fastrand::bool() {
            self.acknowledge();
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if self.shared.plan().consumer == Consumer::Processor {
            self.acknowledge();
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.shared.log().expect(false, "shard_ended, though no shard is closed");
        Ok(())
    }
}

/// Reads one stream to its end, or drops it.
pub(super) async fn read(shared: Shared, mut stream: ShardStream) {
    let (tenure, checkpointer) = (shared.begin(), stream.checkpointer());
    let mut open = Vec::new();
    while let Some(record) = stream.next().await {
        shared.given(tenure, &record);
        sleep(millis(0..shared.plan().pause + 1)).await;
        shared.processed(&[id_of(&record)]);
        open.push(id_of(&record));
        if fastrand::u8(0..10) == 0 {
            shared.acknowledged(open.drain(..));
            // If it is not stored, the next one may be.
            let _ = checkpointer.checkpoint_at(&record).await;
        }
        if fastrand::f64() < shared.plan().drops {
            return;
        }
    }
    shared.acknowledged(open);
    let _ = checkpointer.checkpoint().await; // gone if nothing is to be stored
}
