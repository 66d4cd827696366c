//! Checkpoints that nobody waits for, that come late, or whose answers are lost: what they cover and what they do not.

use std::time::Duration;

use integration_tests::{Log, Running, SHARD, World, id_of, settled};
use kcl::{
    BoxError, Checkpoint, CheckpointError, CheckpointEvery, Checkpointer, Deaggregation, ErrorPolicy, Event, Record,
    RecordBatch, RecordProcessor, ShardContext,
};
use tokio::time::{sleep, timeout};

/// The start position of a processor, and the numbers of the records that it was given.
type Life = (ShardContext, Vec<u64>);

/// The processors of a test, in order.
type Lives = Log<Life>;

/// Logs the start of a processor.
fn starts(log: &Lives, shard: &ShardContext) {
    log.push((shard.clone(), Vec::new()));
}

/// Logs what the newest processor is given.
fn given(log: &Lives, batch: &RecordBatch) {
    log.update_last(|(_, given)| given.extend(batch.records.iter().map(id_of)));
}

/// Fails at its first batch, and comes back to its checkpointer later.
struct Late {
    log: Lives,
    outcomes: Log<bool>,
}

impl RecordProcessor for Late {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        starts(&self.log, shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if self.log.all().len() > 1 {
            return std::future::pending().await;
        }
        let (prepared, checkpointer) = (checkpointer.prepare(None).await?, checkpointer.clone());
        let (outcomes, last) = (self.outcomes.clone(), batch.records[0].clone());
        tokio::spawn(async move {
            checkpointer.lease_lost().await;
            sleep(Duration::from_secs(2)).await;
            let late =
                [checkpointer.checkpoint().await, checkpointer.checkpoint_at(&last).await, prepared.commit().await];
            late.iter().for_each(|late| outcomes.push(matches!(late, Err(CheckpointError::ProcessorFailed))));
        });
        Err("on purpose".into())
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_what_a_kept_checkpointer_of_a_failed_processor_writes() {
    let world = World::start(1).await;
    let (log, outcomes) = (Lives::default(), Log::default());
    world.put(0..10).await;
    let worker = Running::start_factory(world.worker("w1"), {
        let (log, outcomes) = (log.clone(), outcomes.clone());
        move |_: &ShardContext| Late { log: log.clone(), outcomes: outcomes.clone() }
    });

    outcomes.has(3).await;

    assert_eq!(outcomes.all(), [true; 3], "each is refused");
    assert_eq!(world.checkpoint(SHARD).await, Checkpoint::TrimHorizon);
    worker.kill();
}

/// Leaves its checkpoints to a task that checkpoints every 2 s, and never gets through with record 15.
struct Ticked(Lives, Option<tokio::task::JoinHandle<()>>);

impl RecordProcessor for Ticked {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        starts(&self.0, shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        given(&self.0, &batch);
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
    let world = World::start(1).await;
    let log = Lives::default();
    let run = |id: &str| {
        let log = log.clone();
        Running::start_factory(world.worker(id), move |_: &ShardContext| Ticked(log.clone(), None))
    };
    let worker = run("w1");
    world.put(0..10).await;
    let is_stored = async || matches!(world.checkpoint(SHARD).await, Checkpoint::At(_));
    log.has(1).await;
    world.until_holds("the first batch is checkpointed", is_stored).await;
    world.put(10..20).await;
    let failures = || world.events.count(|event| matches!(event, Event::ProcessorFailed { .. }));
    world.until("the second batch fails three times", || failures() >= 3).await;
    worker.stop().await.expect("worker stops");

    let (before, next) = (log.all().len(), run("w2"));
    log.has(before + 1).await;
    world.until("it is given a batch", || !log.all()[before].1.is_empty()).await;

    assert_eq!(log.all()[before].1, (10..20).collect::<Vec<_>>());
    next.kill();
}

/// Waits 2 s for each checkpoint.
struct Impatient {
    log: Lives,
    /// True if a task checkpoints for it.
    delegates: bool,
}

impl RecordProcessor for Impatient {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        starts(&self.log, shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        given(&self.log, &batch);
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

async fn skips_nothing<P: RecordProcessor>(make: impl Fn(Lives) -> P + Send + Sync + 'static) {
    let world = World::start(1).await;
    let log = Lives::default();
    let builder = world.worker("w1").lease_duration(Duration::from_secs(60));
    let worker = Running::start_factory(builder.on_processor_error(ErrorPolicy::skip_after(1)), {
        let log = log.clone();
        move |_: &ShardContext| make(log.clone())
    });
    log.has(1).await;
    world.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_secs(5));
    world.put(0..10).await;
    let failures = || world.events.count(|event| matches!(event, Event::ProcessorFailed { .. }));
    world.until("the application stops waiting", || failures() > 0).await;
    sleep(Duration::from_secs(30)).await; // for further attempts
    world.local.faults().clear();
    world.put(10..20).await;
    let covered = |(_, given): &Life| given.contains(&19);
    world.until("all is processed", || log.all().iter().any(covered)).await;

    assert_eq!(world.events.count(|event| matches!(event, Event::RecordsSkipped { .. })), 0);
    worker.kill();
}

#[tokio::test(start_paused = true)]
async fn counts_no_attempt_when_the_application_stops_waiting_for_a_checkpoint() {
    skips_nothing(|log| Impatient { log, delegates: false }).await;
    skips_nothing(|log| Impatient { log, delegates: true }).await;
}

/// Prepares or checkpoints its first batch, waits a second for that, and fails.
struct Unanswered {
    log: Lives,
    prepares: bool,
}

impl RecordProcessor for Unanswered {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        starts(&self.log, shard);
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        given(&self.log, &batch);
        if self.log.all().len() > 1 {
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
async fn second_processor(prepares: bool, fault: impl Fn(&World)) -> Life {
    let world = World::start(1).await;
    let log = Lives::default();
    let worker = Running::start_factory(world.worker("w1").lease_duration(Duration::from_secs(60)), {
        let log = log.clone();
        move |_: &ShardContext| Unanswered { log: log.clone(), prepares }
    });
    log.has(1).await;
    fault(&world);
    world.put(0..10).await;
    let failed = |event: &Event| matches!(event, Event::ProcessorFailed { .. });
    world.until("the first processor fails", || world.events.count(failed) == 1).await;
    world.local.faults().clear();
    log.has(2).await;
    world.put(10..20).await;
    world.until("the next batch is given", || log.all()[1].1.contains(&19)).await;
    worker.kill();
    log.all().remove(1)
}

fn slow(world: &World) {
    world.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_secs(3));
}

fn mute(world: &World) {
    world.local.faults().on("dynamodb:UpdateItem").lose_response();
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
    let world = World::start(1).await;
    let aggregate = world.put_aggregate(0..10).await;
    let bulk = world.worker("w1").build_for_each(CheckpointEvery::default(), 1, |record| async move {
        if id_of(&record) < 5 { Ok(()) } else { std::future::pending::<Result<(), BoxError>>().await }
    });
    let bulk = bulk.expect("configuration is right").start();
    let inside =
        async || matches!(world.checkpoint(SHARD).await, Checkpoint::At(inside) if inside.sub_sequence_number == 4);
    world
        .until("the shard has a lease", || world.events.count(|event| matches!(event, Event::LeaseTaken { .. })) == 1)
        .await;
    world.until_holds("a part is checkpointed", inside).await;
    bulk.stop().await.expect("worker stops");

    for given in [1, 0] {
        let records = Log::default();
        let whole = world.worker("w1").deaggregation(Deaggregation::Off);
        let whole = whole.build_for_each(CheckpointEvery::default(), 1, {
            let records = records.clone();
            move |record: Record| {
                records.push(record.data);
                async { Ok::<(), BoxError>(()) }
            }
        });
        let whole = whole.expect("configuration is right").start();
        settled(|| (records.len(), world.events.len())).await;
        whole.stop().await.expect("worker stops");

        assert_eq!(records.all(), vec![aggregate.clone(); given]);
    }
}

/// Begins a checkpoint that it never waits for, and then writes one.
struct Begins(Log<bool>);

impl RecordProcessor for Begins {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let mut begun = Box::pin(checkpointer.checkpoint_at(&batch.records[0]));
        assert!(futures::poll!(begun.as_mut()).is_pending(), "the table has not answered yet");
        self.0.push(
            timeout(Duration::from_secs(60), checkpointer.checkpoint()).await.is_ok_and(|written| written.is_ok()),
        );
        drop(begun);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_begun_and_not_polled_holds_up_no_other() {
    let (world, written) = (World::start(1).await, Log::default());
    world.put(0..10).await;
    let worker = Running::start_factory(world.worker("w1"), {
        let written = written.clone();
        move |_: &ShardContext| Begins(written.clone())
    });

    written.has(1).await;

    assert!(written.all()[0]);
    worker.kill();
}
