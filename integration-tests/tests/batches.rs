//! Batches of processors: how large they are, what comes again after a failure and when, and what the worker checkpoints
//! beside the processing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_sdk_kinesis::primitives::Blob;
use integration_tests::{APPLICATION, EventLog, STREAM, TestStream, eventually, id_of};
use kcl::{
    BoxError, Checkpoint, CheckpointEvery, Checkpointer, ErrorPolicy, Event, FailedRecords, FleetStatus, RecordBatch,
    RecordProcessor, ShardContext, WorkerBuilder, WorkerHandle,
};
use tokio::time::{Instant, sleep};

const SHARD: &str = "shardId-000000000000";

/// Batches that processors were given, and when.
type Batches = Arc<Mutex<Vec<(Instant, Vec<u64>)>>>;

/// The processing of a batch, given its numbers.
type Act = Arc<dyn Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync>;

/// Writes batches down; checkpoints if it is to.
struct Scripted {
    batches: Batches,
    act: Act,
    checkpoint: bool,
}

impl RecordProcessor for Scripted {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let ids: Vec<u64> = batch.records.iter().map(id_of).collect();
        self.batches.lock().expect("no writer panics").push((Instant::now(), ids.clone()));
        sleep((self.act)(&ids)?).await;
        if self.checkpoint {
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }
}

fn run(
    builder: WorkerBuilder,
    batches: &Batches,
    checkpoint: bool,
    act: impl Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync + 'static,
) -> WorkerHandle {
    let (batches, act) = (Arc::clone(batches), Arc::new(act) as Act);
    let factory = move |_: &ShardContext| Scripted { batches: Arc::clone(&batches), act: Arc::clone(&act), checkpoint };
    builder.build(factory).expect("settings are right").start()
}

fn fails_at(bad: u64) -> impl Fn(&[u64]) -> Result<Duration, BoxError> + Send + Sync + 'static {
    move |ids| if ids.contains(&bad) { Err(format!("{bad} is bad").into()) } else { Ok(Duration::ZERO) }
}

fn given(batches: &Batches) -> Vec<Vec<u64>> {
    batches.lock().expect("no writer panics").iter().map(|(_, ids)| ids.clone()).collect()
}

async fn put_aggregate(stream: &TestStream, ids: std::ops::Range<u64>) {
    let mut aggregate = kpl::aggregated::Aggregate::new();
    ids.for_each(|id| aggregate.push(kpl::UserRecord::new("key", id.to_string())));
    let data = Blob::new(aggregate.encode());
    stream.kinesis.put_record().stream_name(STREAM).partition_key("key").data(data).send().await.expect("put succeeds");
}

async fn checkpoint(stream: &TestStream) -> Checkpoint {
    let status = FleetStatus::read(&stream.aws, APPLICATION).await.expect("table is there");
    status.leases.into_iter().find(|lease| lease.shard_id.as_str() == SHARD).expect("lease is there").checkpoint
}

#[tokio::test(start_paused = true)]
async fn batches_are_no_larger_than_set_and_cut_within_aggregates() {
    let (stream, batches) = (TestStream::start(1).await, Batches::default());
    put_aggregate(&stream, 0..10).await;
    put_aggregate(&stream, 10..17).await;
    let worker = run(stream.worker("w1").max_batch_records(4), &batches, true, |_| Ok(Duration::ZERO));
    eventually("all is given", || given(&batches).concat().len() == 17).await;

    let cut = |ids: std::ops::Range<u64>| ids.collect::<Vec<_>>();
    assert_eq!(given(&batches), [cut(0..4), cut(4..8), cut(8..12), cut(12..16), cut(16..17)]);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_goes_on_within_an_aggregate_where_the_last_batch_ended() {
    let (stream, batches) = (TestStream::start(1).await, Batches::default());
    put_aggregate(&stream, 0..100).await;
    for round in 1..=3 {
        let builder = stream.worker(&format!("w{round}")).max_batch_records(7);
        // Stopped or killed after three batches: what is checkpointed is not given again.
        let worker = run(builder, &batches, true, |_| Ok(Duration::from_secs(1)));
        eventually("three batches are given", || given(&batches).len() >= 3 * round).await;
        sleep(Duration::from_millis(500)).await;
        worker.stop().await.unwrap();
    }

    let ids = given(&batches).concat();
    assert_eq!(ids, (0..ids.len() as u64).collect::<Vec<_>>());
    assert!(ids.len() < 100);
}

#[tokio::test(start_paused = true)]
async fn under_the_default_policy_a_batch_that_fails_does_not_grow() {
    let (stream, batches) = (TestStream::start(1).await, Batches::default());
    stream.put(0..20).await;
    let worker = run(stream.worker("w1"), &batches, true, fails_at(15));
    for round in 2..60 {
        sleep(Duration::from_secs(1)).await;
        stream.put(round * 10..round * 10 + 10).await;
    }

    let given = given(&batches);
    assert!(given.len() > 4, "{given:?}");
    assert!(given.iter().all(|batch| *batch == given[0]), "{given:?}");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pieces_that_passed_are_checkpointed_and_not_given_with_each_halving() {
    let (stream, batches, events) = (TestStream::start(1).await, Batches::default(), EventLog::default());
    stream.put(0..512).await;
    let builder = stream.worker("w1").on_processor_error(ErrorPolicy::skip_after(1).isolate());
    let builder = builder.checkpoint_every(CheckpointEvery::default()).on_event(events.handler());
    let worker = run(builder, &batches, false, fails_at(511));
    let skipped = |event: &Event| matches!(event, Event::RecordsSkipped { records: 1, .. });
    eventually("the bad one is skipped", || events.count(skipped) == 1).await;

    // Each half fails or passes once.
    let sizes: Vec<usize> = given(&batches).iter().map(Vec::len).collect();
    assert_eq!(sizes, [512, 256, 256, 128, 128, 64, 64, 32, 32, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1]);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_processed_is_checkpointed_while_the_next_batch_is_slow() {
    let (stream, batches) = (TestStream::start(1).await, Batches::default());
    let builder = stream.worker("w1").checkpoint_every(CheckpointEvery::default());
    let slow = |ids: &[u64]| Ok(Duration::from_secs(if ids.contains(&10) { 300 } else { 0 }));
    let worker = run(builder, &batches, false, slow);
    stream.put(0..10).await;
    eventually("the first are given", || given(&batches).len() == 1).await;
    stream.put(10..20).await;
    eventually("the next are given", || given(&batches).len() == 2).await;
    sleep(Duration::from_secs(7)).await;

    assert!(matches!(checkpoint(&stream).await, Checkpoint::At(_)));
    worker.request_stop();
}

/// Prepares each batch, and is slow to commit it.
struct Prepares(Arc<Mutex<Vec<ShardContext>>>);

impl RecordProcessor for Prepares {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.0.lock().expect("no writer panics").push(shard.clone());
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if id_of(&batch.records[0]) < 10 {
            return Ok(());
        }
        let _prepared = checkpointer.prepare(Some("transaction".into())).await?;
        sleep(Duration::from_secs(20)).await;
        Err("fails before the commit".into())
    }
}

#[tokio::test(start_paused = true)]
async fn the_workers_own_checkpoint_ends_no_prepared_one_of_what_is_not_processed() {
    let (stream, shards) = (TestStream::start(1).await, Arc::new(Mutex::new(Vec::new())));
    let every = CheckpointEvery { records: 10_000, interval: Duration::from_secs(5) };
    let factory = {
        let shards = Arc::clone(&shards);
        move |_: &ShardContext| Prepares(Arc::clone(&shards))
    };
    let worker = stream.worker("w1").checkpoint_every(every).build(factory).unwrap().start();
    stream.put(0..10).await;
    sleep(Duration::from_secs(3)).await;
    stream.put(10..20).await;
    eventually("the next processor starts", || shards.lock().expect("no writer panics").len() == 2).await;

    let pending =
        shards.lock().expect("no writer panics")[1].pending.clone().expect("the checkpoint is still prepared");
    assert_eq!(pending.state.as_deref(), Some("transaction".as_bytes()));
    worker.request_stop();
}

#[tokio::test(start_paused = true)]
async fn a_batch_confirmed_before_its_failure_is_not_given_up() {
    let (stream, events, given) = (TestStream::start(1).await, EventLog::default(), Batches::default());
    /// Checkpoints the first `0` records of a batch of ten, then fails once.
    struct Confirms(usize, Batches, Arc<AtomicBool>);
    impl RecordProcessor for Confirms {
        type Error = BoxError;

        async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
            self.1.lock().expect("no writer panics").push((Instant::now(), batch.records.iter().map(id_of).collect()));
            if self.2.swap(true, Ordering::SeqCst) {
                return Ok(checkpointer.checkpoint().await?);
            }
            checkpointer.checkpoint_at(&batch.records[self.0 - 1]).await?;
            Err("fails afterwards".into())
        }
    }
    for confirmed in [10, 6] {
        stream.put(0..10).await;
        let builder = stream.worker("w1").lease_table(format!("table-{confirmed}")).on_event(events.handler());
        let (batches, failed) = (Arc::clone(&given), Arc::default());
        let factory = move |_: &ShardContext| Confirms(confirmed, Arc::clone(&batches), Arc::clone(&failed));
        let worker = builder.on_processor_error(ErrorPolicy::skip_after(1)).build(factory).unwrap().start();
        eventually("fails", || events.count(|event| matches!(event, Event::ProcessorFailed { .. })) > 0).await;
        sleep(Duration::from_secs(10)).await;
        worker.stop().await.unwrap();
        let skipped = |event: &Event| match event {
            Event::RecordsSkipped { records, .. } => Some(*records),
            _ => None,
        };
        let skipped: Vec<usize> = events.all().iter().filter_map(skipped).collect();
        let expected = if confirmed == 10 { vec![] } else { vec![14] };
        assert_eq!(skipped, expected, "{confirmed}: {:?}", given.lock().expect("no writer panics"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_grows_only_while_no_processor_gets_further() {
    let (stream, batches, events) = (TestStream::start(1).await, Batches::default(), EventLog::default());
    let failed = Arc::new(Mutex::new(BTreeMap::new()));
    // Without checkpoints, a failure at each 50th record, the first time that it comes.
    let act = move |ids: &[u64]| {
        let bad = ids
            .iter()
            .find(|id| **id % 50 == 49 && failed.lock().expect("no writer panics").insert(**id, ()).is_none());
        bad.map_or(Ok(Duration::ZERO), |bad| Err(format!("{bad} is new").into()))
    };
    let worker = run(stream.worker("w1").on_event(events.handler()), &batches, false, act);
    for round in 0..60 {
        stream.put(round * 10..round * 10 + 10).await;
        sleep(Duration::from_secs(10)).await;
    }

    let pause = |event: &Event| match event {
        Event::ProcessorFailed { retry_in, .. } => *retry_in,
        _ => None,
    };
    let pauses: Vec<Duration> = events.all().iter().filter_map(pause).collect();
    assert_eq!(pauses.len(), 12);
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)), "{pauses:?}");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_hook_that_fails_says_when_it_is_tried_again() {
    let (stream, batches, events) = (TestStream::start(1).await, Batches::default(), EventLog::default());
    stream.put(0..10).await;
    let policy = ErrorPolicy::dead_letter_after(1, |_| async { Err::<(), BoxError>("queue is down".into()) });
    let builder = stream.worker("w1").on_processor_error(policy).on_event(events.handler());
    let worker = run(builder, &batches, true, fails_at(5));
    sleep(Duration::from_secs(30)).await;

    let hook = |event: &&Event| matches!(event, Event::ProcessorFailed { error, .. } if error == "queue is down");
    let all = events.all();
    let failures: Vec<_> = all.iter().filter(hook).collect();
    assert!(failures.len() > 2);
    let again = |event: &&&Event| matches!(event, Event::ProcessorFailed { retry_in: Some(_), .. });
    assert_eq!(failures.iter().filter(again).count(), failures.len());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_hook_that_succeeds_during_a_stop_is_not_called_again() {
    for automatic in [false, true] {
        let (stream, batches, letters) = (TestStream::start(1).await, Batches::default(), Arc::new(AtomicU32::new(0)));
        stream.put(0..10).await;
        let run = |id: &str| {
            let letters = Arc::clone(&letters);
            let keep = move |_: FailedRecords| {
                letters.fetch_add(1, Ordering::SeqCst);
                async {
                    sleep(Duration::from_secs(5)).await;
                    Ok::<(), BoxError>(())
                }
            };
            let builder =
                stream.worker(id).max_batch_records(1).on_processor_error(ErrorPolicy::dead_letter_after(1, keep));
            let every = CheckpointEvery { records: 10_000, interval: Duration::from_secs(60) };
            let builder = if automatic { builder.checkpoint_every(every) } else { builder };
            self::run(builder, &batches, !automatic, fails_at(5))
        };
        let first = run("w1");
        eventually("the hook is called", || letters.load(Ordering::SeqCst) == 1).await;
        sleep(Duration::from_secs(1)).await;
        first.stop().await.unwrap();

        let second = run("w2");
        sleep(Duration::from_secs(20)).await;
        assert_eq!(letters.load(Ordering::SeqCst), 1);
        assert_eq!(given(&batches).concat(), (0..10).collect::<Vec<_>>());
        second.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_not_covered_before_what_precedes_it() {
    let (stream, batches, events) = (TestStream::start(1).await, Batches::default(), EventLog::default());
    stream.put(0..10).await;
    let policy = ErrorPolicy::skip_after(1);
    let builder = stream.worker("w1").max_batch_records(1).on_processor_error(policy).on_event(events.handler());
    // Nothing is checkpointed, so the next worker must be given what was processed.
    let worker = run(builder, &batches, false, fails_at(5));
    let skipped = |event: &Event| matches!(event, Event::RecordsSkipped { records: 1, .. });
    eventually("the bad one is skipped", || events.count(skipped) == 1).await;
    sleep(Duration::from_secs(5)).await;

    assert_eq!(checkpoint(&stream).await, Checkpoint::TrimHorizon);
    assert_eq!(given(&batches).concat(), (0..6).chain(0..5).chain(6..10).collect::<Vec<_>>());
    worker.stop().await.unwrap();
}
