//! Error policies, prepared and automatic checkpoints, positions: what is delivered again, and what is not.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use integration_tests::{EventLog, Journal, JournalProcessor, Log, Running, STREAM, World, id_of, settled};
use kcl::{
    BoxError, CheckpointError, CheckpointEvery, Checkpointer, Deaggregation, ErrorPolicy, Event, FailedRecords, FanOut,
    InitialPosition, PendingCheckpoint, RecordBatch, RecordProcessor, Retrieval, ShardContext, WorkerBuilder,
};
use tokio::time::sleep;

/// Fails at every batch with one of these records.
struct Poisoned(JournalProcessor, BTreeSet<u64>);

impl RecordProcessor for Poisoned {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if let Some(poison) = batch.records.iter().find(|record| self.1.contains(&id_of(record))) {
            return Err(format!("record {} is poison", id_of(poison)).into());
        }
        self.0.process_records(batch, checkpointer).await
    }
}

fn run(builder: WorkerBuilder, journal: &Journal, poison: &[u64]) -> Running {
    let poison: BTreeSet<u64> = poison.iter().copied().collect();
    Running::start(builder, journal, move |journal, shard| Poisoned(journal.processor(shard), poison.clone()))
}

fn skipped(events: &EventLog) -> Vec<(usize, bool)> {
    let of = |event: &Event| match event {
        Event::RecordsSkipped { records, dead_lettered, .. } => Some((*records, *dead_lettered)),
        _ => None,
    };
    events.all().iter().filter_map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn isolation_finds_the_poison_and_only_it_goes_to_the_dead_letters() {
    let world = World::start(1).await;
    let letters = Log::default();
    let keep = {
        let letters = letters.clone();
        move |failed: FailedRecords| {
            let letter = (id_of(&failed.records[0]), failed.records.len(), failed.error.to_string(), failed.attempts);
            letters.push(letter);
            async { Ok::<(), BoxError>(()) }
        }
    };
    let policy = ErrorPolicy::dead_letter_after(3, keep).isolate();
    world.put(0..500).await;
    let worker = run(world.worker("w1").on_processor_error(policy), &world.journal, &[77, 300]);
    world.settled().await;
    assert_eq!(world.journal.distinct(), 498, "all but the poison is processed");
    world.put(500..600).await;
    world.journal.processed(598).await;

    let letter = |id: u64| (id, 1, format!("record {id} is poison"), 3);
    assert_eq!(letters.all(), [letter(77), letter(300)]);
    assert_eq!(skipped(&world.events), [(1, true), (1, true)]);
    assert_eq!(world.journal.ids().len(), 598, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_skipped_batch_is_reported_and_what_comes_later_is_processed() {
    let world = World::start(1).await;
    let worker = run(world.worker("w1").on_processor_error(ErrorPolicy::skip_after(2)), &world.journal, &[50]);
    world.put(0..40).await;
    world.journal.processed(40).await;
    world.put(40..60).await;
    world.until("the batch is skipped", || skipped(&world.events) == [(20, false)]).await;
    world.put(60..100).await;
    world.journal.processed(80).await;

    assert_eq!(world.journal.ids(), (0..40).chain(60..100).collect::<Vec<_>>());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn skips_nothing_while_the_dead_letter_hook_fails() {
    let world = World::start(1).await;
    let calls = Arc::new(AtomicU32::new(0));
    let keep = {
        let calls = Arc::clone(&calls);
        move |_failed| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move { if call < 3 { Err::<(), BoxError>("queue is down".into()) } else { Ok(()) } }
        }
    };
    world.put(0..10).await;
    let policy = ErrorPolicy::dead_letter_after(1, keep);
    let worker = run(world.worker("w1").on_processor_error(policy), &world.journal, &[5]);
    world.until("the hook succeeds", || skipped(&world.events) == [(10, true)]).await;

    assert_eq!(calls.load(Ordering::SeqCst), 4);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_shard_stays_stopped_and_the_next_worker_tries_again() {
    let world = World::start(1).await;
    world.put(0..10).await;
    let policy = ErrorPolicy::stop_shard_after(3);
    let worker = run(world.worker("w1").on_processor_error(policy), &world.journal, &[5]);
    let stopped = |event: &Event| matches!(event, Event::ShardStopped { .. });
    world.until("the shard stops", || world.events.count(stopped) == 1).await;

    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.events.count(stopped), 1);
    assert_eq!(world.events.count(|event| matches!(event, Event::ProcessorFailed { .. })), 3);
    worker.stop().await.unwrap();
    let next = world.run("w2");
    world.journal.processed(10).await;
    next.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_fails_is_not_the_fault_of_the_records() {
    let world = World::start(1).await;
    let worker = run(world.worker("w1").on_processor_error(ErrorPolicy::skip_after(1)), &world.journal, &[]);
    world.put(0..10).await;
    world.journal.processed(10).await;

    let throttled = world.local.faults().on("dynamodb:UpdateItem").times(40).throttle();
    world.put(10..20).await;
    world.until("all are refused", || throttled.count() == 40).await;
    world.local.faults().clear();
    world.put(20..30).await;
    world.journal.processed(30).await;

    assert!(skipped(&world.events).is_empty());
    worker.stop().await.unwrap();
}

/// Prepares checkpoints and commits those before record 20 only.
struct TwoPhase(JournalProcessor, Log<Start>);

/// Finding of a processor: the pending checkpoint, and its fencing token.
type Start = (Option<PendingCheckpoint>, u64);

impl RecordProcessor for TwoPhase {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.1.push((shard.pending.clone(), shard.fencing_token));
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.0.checkpoint = false;
        let last = batch.records.last().map(id_of).unwrap_or_default();
        let prepared = checkpointer.prepare(Some(format!("transaction {last}").into())).await?;
        self.0.process_records(batch, checkpointer).await?;
        if last < 20 {
            prepared.commit().await?;
            assert_eq!(checkpointer.prepare(None).await?.position(), None, "it is there already");
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_prepared_checkpoint_reaches_the_next_processor_with_its_state() {
    let world = World::start(1).await;
    let starts = Log::<Start>::default();
    let run = |id: &str| {
        let starts = starts.clone();
        Running::start(world.worker(id), &world.journal, move |journal, shard| {
            TwoPhase(journal.processor(shard), starts.clone())
        })
    };
    let first = run("w1");
    world.put(0..10).await;
    world.journal.processed(10).await;
    world.put(10..30).await;
    world.journal.processed(30).await;
    first.kill();

    let second = run("w2");
    starts.has(2).await;
    let starts = starts.all();
    assert_eq!(starts[0].0, None);
    let pending = starts[1].0.clone().expect("a checkpoint is pending");
    assert_eq!(pending.state.as_deref(), Some("transaction 29".as_bytes()));
    assert!(starts[0].1 < starts[1].1, "the fencing token grows: {starts:?}");
    second.stop().await.unwrap();
}

/// Never checkpoints.
struct Lazy(JournalProcessor);

impl RecordProcessor for Lazy {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.0.checkpoint = false;
        self.0.process_records(batch, checkpointer).await
    }
}

#[tokio::test(start_paused = true)]
async fn loses_nothing_at_latest_when_a_worker_dies_before_a_checkpoint() {
    let world = World::start(2).await;
    world.put(0..100).await;
    sleep(Duration::from_secs(60)).await; // long before the first start
    let run = |id: &str| {
        let builder = world.worker(id).initial_position(InitialPosition::Latest);
        Running::start(builder, &world.journal, |journal, shard| Lazy(journal.processor(shard)))
    };
    let first = run("w1");
    world.settled().await;
    world.put(100..200).await;
    first.kill();
    world.put(200..300).await;
    sleep(Duration::from_secs(30)).await; // until the leases have expired
    let second = run("w2");
    world.put(300..400).await;

    world
        .until("all since the first start is processed", || {
            world.journal.ids().into_iter().collect::<BTreeSet<_>>() == (100..400).collect()
        })
        .await;
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_worker_checkpoints_by_itself_when_asked_to() {
    let world = World::start(2).await;
    let run = |id: &str| {
        let every = CheckpointEvery::new(1_000, Duration::from_secs(3));
        let journal = world.journal.clone();
        let factory = move |shard: &ShardContext| Lazy(journal.processor(shard));
        Running::start_worker(world.worker(id).build_checkpointing(every, factory).unwrap())
    };
    let writes = world.calls("dynamodb:UpdateItem");
    let first = run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;
    sleep(Duration::from_secs(4)).await; // beyond the interval
    assert!(writes.count() < 30, "{}", writes.count());
    first.kill();
    let second = run("w2");
    world.put(100..200).await;
    world.journal.processed(200).await;
    second.stop().await.unwrap();
    let third = run("w3");
    world.put(200..300).await;
    world.journal.processed(300).await;

    assert_eq!(world.journal.ids().len(), 300, "no duplicates");
    third.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drops_keeps_or_leaves_whole_aggregates_of_other_shards() {
    for (deaggregation, delivered, reported) in
        [(Deaggregation::DropForeign, 0, 1), (Deaggregation::KeepForeign, 20, 0), (Deaggregation::Off, 1, 0)]
    {
        let world = World::start(2).await;
        world.put_aggregate(0..20).await;
        let count = Arc::new(AtomicU32::new(0));
        let handler = {
            let count = Arc::clone(&count);
            move |_record| {
                count.fetch_add(1, Ordering::SeqCst);
                async { Ok::<(), BoxError>(()) }
            }
        };
        let builder = world.worker("w1").deaggregation(deaggregation);
        let worker = builder.build_for_each(CheckpointEvery::default(), 1, handler).unwrap().start();
        settled(|| (world.events.len(), count.load(Ordering::SeqCst))).await;

        assert_eq!(count.load(Ordering::SeqCst), delivered, "{deaggregation:?}");
        let foreign = |event: &Event| matches!(event, Event::AggregateOfOtherShard { records: 20, .. });
        assert_eq!(world.events.count(foreign), reported, "{deaggregation:?}");
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn delivers_once_to_a_processor_that_outlasts_iterators_and_sessions() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new())] {
        let world = World::start(1).await;
        let handled = Log::default();
        let handler = {
            let handled = handled.clone();
            move |record: kcl::Record| {
                let handled = handled.clone();
                async move {
                    if id_of(&record) == 10 {
                        sleep(Duration::from_secs(400)).await;
                    }
                    handled.push(id_of(&record));
                    Ok::<(), BoxError>(())
                }
            }
        };
        let builder = world.worker("w1").retrieval(retrieval).prefetch_records(5);
        let worker = builder.build_for_each(CheckpointEvery::default(), 1, handler).unwrap().start();
        for round in 0..3 {
            world.put(round * 10..round * 10 + 10).await;
            sleep(Duration::from_secs(3)).await;
        }
        sleep(Duration::from_secs(400)).await;
        settled(|| handled.len()).await;

        assert_eq!(handled.all(), (0..30).collect::<Vec<_>>());
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_delivered_within_the_smallest_memory_budget() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new())] {
        let world = World::start(4).await;
        world.put(0..3_000).await;
        let builder = world.worker("w1").retrieval(retrieval).memory_budget(1 << 20).max_batch_records(100);
        let worker = world.spawn(builder);

        world.journal.processed(3_000).await;
        world.put(3_000..6_000).await;
        world.journal.processed(6_000).await;

        assert_eq!(world.journal.ids().len(), 6_000, "no duplicates");
        assert_eq!(world.journal.keys_out_of_order(), BTreeSet::new());
        worker.stop().await.unwrap();
    }
}

#[test]
fn settings_out_of_their_bounds_are_refused() {
    let aws = aws_types::SdkConfig::builder().build();
    let builder = || kcl::Worker::builder(&aws, "application", STREAM);
    let refused = |builder: WorkerBuilder| builder.build_shard_streams().unwrap_err().to_string();

    assert_eq!(refused(builder().prefetch_records(0)), "prefetch_records is 0, accepted: at least 1");
    assert_eq!(refused(builder().prefetch_bytes(0)), "prefetch_bytes is 0, accepted: at least 1");
    assert_eq!(refused(builder().memory_budget(1000)), "memory_budget is 1000, accepted: at least 1 MiB");
    assert_eq!(refused(builder().max_batch_records(0)), "max_batch_records is 0, accepted: at least 1");
    let never = builder().on_processor_error(ErrorPolicy::skip_after(0));
    assert_eq!(refused(never), "on_processor_error is 0 attempts, accepted: at least 1");
    let every = CheckpointEvery::new(0, Duration::ZERO);
    let refused = |every, concurrency| {
        let built = builder().build_for_each(every, concurrency, |_record| async { Ok::<(), BoxError>(()) });
        built.unwrap_err().to_string()
    };
    assert_eq!(refused(every, 1), "records of CheckpointEvery is 0, accepted: at least 1");
    assert_eq!(refused(CheckpointEvery::default(), 0), "concurrency is 0, accepted: at least 1");
}

/// Keeps its checkpointer beyond the loss of the lease.
struct Hoarder(JournalProcessor, Log<Checkpointer>);

impl RecordProcessor for Hoarder {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.1.push(checkpointer.clone());
        self.0.checkpoint = false;
        self.0.process_records(batch, checkpointer).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpointer_kept_after_the_lease_is_gone_fails_with_lease_lost() {
    let world = World::start(1).await;
    let kept = Log::<Checkpointer>::default();
    let worker = Running::start(world.worker("w1"), &world.journal, {
        let kept = kept.clone();
        move |journal, shard| Hoarder(journal.processor(shard), kept.clone())
    });
    world.put(0..10).await;
    world.journal.processed(10).await;
    worker.stop().await.unwrap();

    let checkpointer = kept.all().remove(0);
    assert!(matches!(checkpointer.checkpoint().await, Err(CheckpointError::LeaseLost)));
    checkpointer.lease_lost().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_named_and_nothing_is_skipped() {
    let world = World::start(1).await;
    let answer = |records: &[(&str, &str)]| {
        let record = |(number, data): &(&str, &str)| {
            format!(
                r#"{{"SequenceNumber":"{number}","PartitionKey":"a","Data":"{data}","ApproximateArrivalTimestamp":1.0}}"#
            )
        };
        let records: Vec<String> = records.iter().map(record).collect();
        format!(r#"{{"Records":[{}],"NextShardIterator":"next","MillisBehindLatest":0}}"#, records.join(","))
    };
    let reads = || world.local.faults().on("kinesis:GetRecords");
    // Data are the numbers 0, 1 and 2.
    reads().call(1).answer_bare(200, &answer(&[("1", "MA=="), ("x", "MQ=="), ("3", "Mg==")]));
    reads().call(2).answer_bare(200, &answer(&[("1", "MA==")]));
    let stuck = reads().answer_bare(200, &answer(&[("x", "MQ=="), ("3", "Mg==")]));
    let worker = world.worker("w1");
    let worker = world.spawn(worker);

    world.journal.processed(1).await;
    assert_eq!(world.events.count(|event| matches!(event, Event::ReadFailed { .. })), 0, "{:?}", world.events.all());
    let is_named = |event: &Event| matches!(event, Event::ReadFailed { error, .. } if error.contains("\"x\""));
    world.until("the record is named twice", || world.events.count(is_named) > 1).await;

    assert!(stuck.count() > 1, "{}", stuck.count());
    assert_eq!(world.journal.ids(), [0]);
    worker.stop().await.expect("worker stops in good order");
}
