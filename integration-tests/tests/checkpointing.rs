//! Checkpoints that nobody waits for, that come late, or whose answers are lost: what they cover and what they do not.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_kinesis::primitives::Blob;
use integration_tests::{APPLICATION, EventLog, Running, STREAM, TestStream, eventually, id_of};
use kcl::{
    BoxError, Checkpoint, CheckpointError, CheckpointEvery, Checkpointer, Deaggregation, ErrorPolicy, Event,
    FleetStatus, Record, RecordBatch, RecordProcessor, ShardContext,
};
use tokio::time::{sleep, timeout};

/// The start position of a processor, and the numbers of the records that it was given.
type Life = (ShardContext, Vec<u64>);

/// The processors of a test, in order.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Life>>>);

impl Log {
    fn starts(&self, shard: &ShardContext) {
        self.0.lock().expect("no writer panics").push((shard.clone(), Vec::new()));
    }

    fn given(&self, batch: &RecordBatch) {
        let mut log = self.0.lock().expect("no writer panics");
        log.last_mut().expect("a processor starts first").1.extend(batch.records.iter().map(id_of));
    }

    fn processors(&self) -> Vec<Life> {
        self.0.lock().expect("no writer panics").clone()
    }

    async fn has_processors(&self, count: usize) {
        eventually(&format!("{count} processors have started"), || self.processors().len() >= count).await;
    }
}

async fn stored(stream: &TestStream) -> Checkpoint {
    let status = FleetStatus::read(&stream.aws, APPLICATION).await.expect("the table is there");
    status.leases[0].checkpoint.clone()
}

/// Fails at its first batch, and comes back to its checkpointer later.
struct Late {
    log: Log,
    outcomes: Arc<Mutex<Vec<Result<(), CheckpointError>>>>,
}

impl RecordProcessor for Late {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.log.starts(shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if self.log.processors().len() > 1 {
            return std::future::pending().await;
        }
        let (prepared, checkpointer) = (checkpointer.prepare(None).await?, checkpointer.clone());
        let (outcomes, last) = (Arc::clone(&self.outcomes), batch.records[0].clone());
        tokio::spawn(async move {
            checkpointer.lease_lost().await;
            sleep(Duration::from_secs(2)).await;
            let late =
                [checkpointer.checkpoint().await, checkpointer.checkpoint_at(&last).await, prepared.commit().await];
            outcomes.lock().expect("no writer panics").extend(late);
        });
        Err("on purpose".into())
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_what_a_kept_checkpointer_of_a_failed_processor_writes() {
    let (stream, log, outcomes) = (TestStream::start(1).await, Log::default(), Arc::default());
    stream.put(0..10).await;
    let worker = Running::start_factory(stream.worker("w1"), {
        let (log, outcomes) = (log.clone(), Arc::clone(&outcomes));
        move |_: &ShardContext| Late { log: log.clone(), outcomes: Arc::clone(&outcomes) }
    });

    let late = || outcomes.lock().expect("no writer panics").len();
    eventually("the late checkpoints are answered", || late() == 3).await;

    let refused = |late: &Result<(), CheckpointError>| matches!(late, Err(CheckpointError::ProcessorFailed));
    let outcomes = outcomes.lock().expect("no writer panics").iter().map(refused).collect::<Vec<_>>();
    assert_eq!(outcomes, [true; 3]);
    assert_eq!(stored(&stream).await, Checkpoint::TrimHorizon);
    worker.kill();
}

/// Leaves its checkpoints to a task that checkpoints every 2 s, and never gets through with record 15.
struct Ticked(Log, Option<tokio::task::JoinHandle<()>>);

impl RecordProcessor for Ticked {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.0.starts(shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.0.given(&batch);
        let checkpointer = checkpointer.clone();
        self.1.get_or_insert_with(|| {
            tokio::spawn(async move {
                loop {
                    sleep(Duration::from_secs(2)).await;
                    let _ = checkpointer.checkpoint().await; // and again
                }
            })
        });
        if batch.records.iter().any(|record| id_of(record) == 15) { Err("on purpose".into()) } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn delivers_a_failed_batch_again_although_a_task_checkpoints_all_the_time() {
    let (stream, log) = (TestStream::start(1).await, Log::default());
    let run = |id: &str| {
        let log = log.clone();
        Running::start_factory(stream.worker(id), move |_: &ShardContext| Ticked(log.clone(), None))
    };
    let worker = run("w1");
    stream.put(0..10).await;
    sleep(Duration::from_secs(15)).await;
    stream.put(10..20).await;
    sleep(Duration::from_secs(30)).await;
    worker.stop().await.expect("worker stops");

    let (before, next) = (log.processors().len(), run("w2"));
    log.has_processors(before + 1).await;
    sleep(Duration::from_secs(3)).await;

    assert_eq!(log.processors()[before].1, (10..20).collect::<Vec<_>>());
    next.kill();
}

/// Waits 2 s for each checkpoint.
struct Impatient {
    log: Log,
    /// Whether a task checkpoints for it.
    delegates: bool,
}

impl RecordProcessor for Impatient {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.log.starts(shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.log.given(&batch);
        let (checkpointer, patience) = (checkpointer.clone(), Duration::from_secs(2));
        let checkpoint = async move { checkpointer.checkpoint().await };
        if self.delegates {
            timeout(patience, tokio::spawn(checkpoint)).await???;
        } else {
            timeout(patience, checkpoint).await??;
        }
        Ok(())
    }
}

async fn skips_nothing<P: RecordProcessor>(make: impl Fn(Log) -> P + Send + Sync + 'static) {
    let (stream, log, events) = (TestStream::start(1).await, Log::default(), EventLog::default());
    let builder = stream.worker("w1").lease_duration(Duration::from_secs(60)).on_event(events.handler());
    let worker = Running::start_factory(builder.on_processor_error(ErrorPolicy::skip_after(1)), {
        let log = log.clone();
        move |_: &ShardContext| make(log.clone())
    });
    log.has_processors(1).await;
    stream.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_secs(5));
    stream.put(0..10).await;
    sleep(Duration::from_secs(40)).await;
    stream.local.faults().clear();
    stream.put(10..20).await;
    let covered = |(_, given): &Life| given.contains(&19);
    eventually("all is processed", || log.processors().iter().any(covered)).await;

    let failed = events.count(|event| matches!(event, Event::ProcessorFailed { .. }));
    assert!(failed > 0, "the application stopped waiting");
    assert_eq!(events.count(|event| matches!(event, Event::RecordsSkipped { .. })), 0);
    worker.kill();
}

#[tokio::test(start_paused = true)]
async fn counts_no_attempt_when_the_application_stops_waiting_for_a_checkpoint() {
    skips_nothing(|log| Impatient { log, delegates: false }).await;
    skips_nothing(|log| Impatient { log, delegates: true }).await;
}

/// Prepares or checkpoints its first batch, waits a second for that, and fails.
struct Unanswered {
    log: Log,
    prepares: bool,
}

impl RecordProcessor for Unanswered {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.log.starts(shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.log.given(&batch);
        if self.log.processors().len() > 1 {
            return Ok(());
        }
        let asked = async {
            match self.prepares {
                true => checkpointer.prepare(Some("state".into())).await.map(|_| ()),
                false => checkpointer.checkpoint().await,
            }
        };
        timeout(Duration::from_secs(1), asked).await??;
        Err("it was answered".into())
    }
}

/// The start and the records of a second processor, when the first one's checkpoint is stored without an answer.
async fn second_processor(prepares: bool, fault: impl Fn(&TestStream)) -> Life {
    let (stream, log) = (TestStream::start(1).await, Log::default());
    let worker = Running::start_factory(stream.worker("w1").lease_duration(Duration::from_secs(60)), {
        let log = log.clone();
        move |_: &ShardContext| Unanswered { log: log.clone(), prepares }
    });
    log.has_processors(1).await;
    fault(&stream);
    stream.put(0..10).await;
    sleep(Duration::from_secs(15)).await;
    stream.local.faults().clear();
    log.has_processors(2).await;
    stream.put(10..20).await;
    eventually("the next batch is given", || log.processors()[1].1.contains(&19)).await;
    worker.kill();
    log.processors().remove(1)
}

fn slow(stream: &TestStream) {
    stream.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_secs(3));
}

fn mute(stream: &TestStream) {
    stream.local.faults().on("dynamodb:UpdateItem").lose_response();
}

#[tokio::test(start_paused = true)]
async fn shows_a_prepared_checkpoint_without_an_answer_to_the_next_processor() {
    for fault in [slow, mute] {
        let (shard, given) = second_processor(true, fault).await;

        let pending = shard.pending.expect("it is stored");
        assert_eq!(pending.state, Some("state".into()));
        assert_eq!((shard.checkpoint, given), (Checkpoint::TrimHorizon, (0..20).collect::<Vec<_>>()));
    }
}

#[tokio::test(start_paused = true)]
async fn starts_the_next_processor_at_a_checkpoint_without_an_answer() {
    for fault in [slow, mute] {
        let (shard, given) = second_processor(false, fault).await;

        assert!(matches!(shard.checkpoint, Checkpoint::At(_)), "{:?}", shard.checkpoint);
        assert_eq!(given, (10..20).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn delivers_an_aggregate_whole_after_a_checkpoint_inside_of_it() {
    let stream = TestStream::start(1).await;
    let mut aggregate = kpl::aggregated::Aggregate::new();
    for id in 0..10 {
        aggregate.push(kpl::UserRecord::new(format!("key-{id}"), id.to_string()));
    }
    let aggregate = aggregate.encode();
    let put = stream.kinesis.put_record().stream_name(STREAM).partition_key("key-0");
    put.data(Blob::new(aggregate.clone())).send().await.expect("put succeeds");
    let bulk = stream.worker("w1").build_for_each(CheckpointEvery::default(), |record| async move {
        if id_of(&record) < 5 { Ok(()) } else { std::future::pending::<Result<(), BoxError>>().await }
    });
    let bulk = bulk.expect("configuration is right").start();
    sleep(Duration::from_secs(15)).await;
    bulk.stop().await.expect("worker stops");
    let Checkpoint::At(inside) = stored(&stream).await else { panic!("a part is processed") };
    assert_eq!(inside.sub_sequence_number, 4);

    for given in [1, 0] {
        let records = Arc::new(Mutex::new(Vec::new()));
        let whole = stream.worker("w1").deaggregation(Deaggregation::Off);
        let whole = whole.build_for_each(CheckpointEvery::default(), {
            let records = Arc::clone(&records);
            move |record: Record| {
                records.lock().expect("no writer panics").push(record.data);
                async { Ok::<(), BoxError>(()) }
            }
        });
        let whole = whole.expect("configuration is right").start();
        sleep(Duration::from_secs(15)).await;
        whole.stop().await.expect("worker stops");

        assert_eq!(*records.lock().expect("no writer panics"), vec![aggregate.clone(); given]);
    }
}
