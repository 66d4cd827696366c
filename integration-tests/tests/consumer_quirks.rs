//! Quirks of the Java consumer that are not copied and have no better place; see `docs/consumer-quirks.md`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use integration_tests::{Call, Journal, JournalProcessor, Running, STREAM, TestStream, eventually, id_of};
use kcl::{BoxError, Checkpointer, Position, Record, RecordBatch, RecordProcessor, ShardContext};
use tokio::time::{Instant, sleep};

/// Checkpoints the last record explicitly, and again when the shard ends.
struct Explicit {
    inner: JournalProcessor,
    last: Option<(Record, Checkpointer)>,
    again: Arc<Mutex<Vec<bool>>>,
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
            self.again.lock().expect("no writer panics").push(stored);
        }
        self.inner.shard_ended().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_last_record_was_checkpointed_twice_ends_all_the_same() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let again = Arc::new(Mutex::new(Vec::new()));
    let make = {
        let again = Arc::clone(&again);
        move |journal: &Journal, shard: &ShardContext| Explicit {
            inner: journal.processor(shard),
            last: None,
            again: Arc::clone(&again),
        }
    };
    let worker = Running::start(stream.worker("w1"), &journal, make);
    stream.put(0..10).await;
    journal.processed(10).await;

    stream.split("shardId-000000000000").await;
    stream.put(10..30).await;
    journal.processed(30).await;

    assert_eq!(*again.lock().expect("no writer panics"), [true]);
    assert_eq!(journal.calls("shardId-000000000000").last(), Some(&Call::ShardEnded));
    worker.stop().await.expect("worker stops");
}

/// Prepares in the middle of what it is given, with state, and notes what it finds.
struct Prepares(Arc<Mutex<Vec<Option<Position>>>>);

impl RecordProcessor for Prepares {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        let pending = shard.pending.as_ref().map(|pending| pending.checkpoint.clone());
        let position = pending.and_then(|checkpoint| match checkpoint {
            kcl::Checkpoint::At(position) => Some(position),
            _ => None,
        });
        self.0.lock().expect("no writer panics").push(position);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let middle = batch.records.iter().find(|record| id_of(record) == 30).ok_or("it is in the aggregate")?;
        let _prepared = checkpointer.prepare_at(middle, Some("state".into())).await?;
        Err("not this time".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_prepared_with_state_inside_an_aggregate_keeps_its_sub_sequence_number() {
    let stream = TestStream::start(1).await;
    let mut aggregate = kpl::aggregated::Aggregate::new();
    for id in 0..60 {
        aggregate.push(kpl::UserRecord::new(format!("key-{id}"), id.to_string()));
    }
    let put = stream.kinesis.put_record().stream_name(STREAM).partition_key("key-0");
    put.data(aws_sdk_kinesis::primitives::Blob::new(aggregate.encode())).send().await.expect("put succeeds");
    let found = Arc::new(Mutex::new(Vec::new()));
    let make = {
        let found = Arc::clone(&found);
        move |_: &ShardContext| Prepares(Arc::clone(&found))
    };

    let worker = Running::start_factory(stream.worker("w1"), make);
    eventually("it starts again", || found.lock().expect("no writer panics").len() >= 2).await;

    let second = found.lock().expect("no writer panics")[1].clone();
    assert_eq!(second.map(|position| position.sub_sequence_number), Some(30));
    worker.kill();
}

/// Takes its time to say goodbye.
struct Slow(Arc<Mutex<Option<Instant>>>);

impl RecordProcessor for Slow {
    type Error = BoxError;

    async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        sleep(Duration::from_secs(20)).await;
        checkpointer.checkpoint().await?;
        *self.0.lock().expect("no writer panics") = Some(Instant::now());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_has_stopped_only_when_its_processors_have() {
    let (stream, done) = (TestStream::start(1).await, Arc::new(Mutex::new(None)));
    stream.put(0..10).await;
    let make = {
        let done = Arc::clone(&done);
        move |_: &ShardContext| Slow(Arc::clone(&done))
    };
    let worker = Running::start_factory(stream.worker("w1"), make);
    sleep(Duration::from_secs(10)).await;

    worker.stop().await.expect("worker stops");

    let done = done.lock().expect("no writer panics").expect("the processor said goodbye");
    assert!(done <= Instant::now());
}
