//! Quirks of the Java consumer that are not copied and have no better place; see `docs/consumer-quirks.md`.

use std::time::Duration;

use integration_tests::{Call, Journal, JournalProcessor, Log, Running, SHARD, World, id_of};
use kcl::{BoxError, Checkpointer, Position, Record, RecordBatch, RecordProcessor, ShardContext};
use tokio::time::{Instant, sleep};

/// Checkpoints the last record explicitly, and again when the shard ends.
struct Explicit {
    inner: JournalProcessor,
    last: Option<(Record, Checkpointer)>,
    again: Log<bool>,
}

impl RecordProcessor for Explicit {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let last = batch.records.last().cloned().ok_or("batches are not empty")?;
        self.inner.checkpoint = false;
        self.inner.process_records(batch, checkpointer).await?;
        checkpointer.checkpoint_at(&last).await?;
        self.last = Some((last, checkpointer.clone()));
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        if let Some((record, checkpointer)) = &self.last {
            let stored = checkpointer.checkpoint_at(record).await.is_ok();
            self.again.push(stored);
        }
        self.inner.shard_ended().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_last_record_was_checkpointed_twice_ends_all_the_same() {
    let world = World::start(1).await;
    let again = Log::<bool>::default();
    let make = {
        let again = again.clone();
        move |journal: &Journal, shard: &ShardContext| Explicit {
            inner: journal.processor(shard),
            last: None,
            again: again.clone(),
        }
    };
    let worker = Running::start(world.worker("w1"), &world.journal, make);
    world.put(0..10).await;
    world.journal.processed(10).await;

    world.split(SHARD).await;
    world.put(10..30).await;
    world.journal.processed(30).await;

    assert_eq!(again.all(), [true]);
    assert_eq!(world.journal.calls(SHARD).last(), Some(&Call::ShardEnded));
    worker.stop().await.expect("worker stops");
}

/// Prepares in the middle of what it is given, with state, and notes what it finds.
struct Prepares(Log<Option<Position>>);

impl RecordProcessor for Prepares {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        let pending = shard.pending.as_ref().map(|pending| pending.checkpoint.clone());
        let position = pending.and_then(|checkpoint| match checkpoint {
            kcl::Checkpoint::At(position) => Some(position),
            _ => None,
        });
        self.0.push(position);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let middle = batch.records.iter().find(|record| id_of(record) == 30).ok_or("it is in the aggregate")?;
        let _prepared = checkpointer.prepare_at(middle, Some("state".into())).await?;
        Err("not this time".into())
    }
}

#[tokio::test(start_paused = true)]
async fn keeps_the_sub_sequence_number_of_a_checkpoint_prepared_with_state() {
    let world = World::start(1).await;
    world.put_aggregate(0..60).await;
    let found = Log::default();
    let make = {
        let found = found.clone();
        move |_: &ShardContext| Prepares(found.clone())
    };

    let worker = Running::start_factory(world.worker("w1"), make);
    found.has(2).await;

    let second: Option<Position> = found.all().remove(1);
    assert_eq!(second.map(|position| position.sub_sequence_number), Some(30));
    worker.kill();
}

/// Takes its time to say goodbye.
struct Slow(Log<Instant>);

impl RecordProcessor for Slow {
    type Error = BoxError;

    async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        sleep(Duration::from_secs(20)).await;
        checkpointer.checkpoint().await?;
        self.0.push(Instant::now());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_has_stopped_only_when_its_processors_have() {
    let world = World::start(1).await;
    let done = Log::default();
    world.put(0..10).await;
    let make = {
        let done = done.clone();
        move |_: &ShardContext| Slow(done.clone())
    };
    let worker = Running::start_factory(world.worker("w1"), make);
    world.settled().await;

    let begun = Instant::now();
    worker.stop().await.expect("worker stops");

    assert_eq!(done.len(), 1, "the processor said goodbye");
    assert!(begun.elapsed() >= Duration::from_secs(20), "{:?}", begun.elapsed());
}
