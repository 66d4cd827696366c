//! Shard streams that are dropped, stopped, handed over, or whose lease is lost: nothing that the application was not
//! given, or has confirmed, is skipped, dead-lettered or given twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use integration_tests::{EventLog, TestStream, eventually, id_of};
use kcl::{BoxError, ErrorPolicy, Event, FailedRecords, ShardStream, ShardStreams, Stopper, WorkerBuilder};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const SHARD: &str = "shardId-000000000000";

/// Numbers of records, in the order in which they came.
#[derive(Debug, Clone, Default)]
struct Ids(Arc<Mutex<Vec<u64>>>);

impl Ids {
    fn add(&self, id: u64) {
        self.0.lock().expect("no writer panics").push(id);
    }

    fn all(&self) -> Vec<u64> {
        self.0.lock().expect("no writer panics").clone()
    }

    fn count(&self) -> usize {
        self.0.lock().expect("no writer panics").len()
    }

    /// How many came more than once.
    fn twice(&self) -> usize {
        let mut counts = BTreeMap::<u64, u32>::new();
        self.all().into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
        counts.values().filter(|count| **count > 1).count()
    }
}

fn skipped(event: &Event) -> bool {
    matches!(event, Event::RecordsSkipped { .. })
}

fn failed(event: &Event) -> bool {
    matches!(event, Event::ProcessorFailed { .. })
}

async fn next(shards: &mut ShardStreams) -> ShardStream {
    timeout(Duration::from_secs(60), shards.next())
        .await
        .expect("a stream comes")
        .expect("not the end")
        .expect("worker runs")
}

/// Reads so many records and confirms each.
async fn read(shard: &mut ShardStream, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let record =
            timeout(Duration::from_secs(60), shard.next()).await.expect("a record comes").expect("not the end");
        shard.checkpointer().checkpoint_at(&record).await.expect("lease is held");
        ids.push(id_of(&record));
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_between_batches_is_no_failure_of_the_next_batch() {
    let (stream, events) = (TestStream::start(1).await, EventLog::default());
    let builder = stream.worker("w1").on_processor_error(ErrorPolicy::skip_after(1)).on_event(events.handler());
    let mut shards = builder.into_shard_streams().unwrap();
    stream.put(0..10).await;
    let mut shard = next(&mut shards).await;
    let mut given = read(&mut shard, 10).await;
    assert!(timeout(Duration::from_secs(2), shard.next()).await.is_err());
    drop(shard);

    stream.put(10..20).await;
    sleep(Duration::from_secs(5)).await;
    stream.put(20..30).await;
    given.extend(read(&mut next(&mut shards).await, 20).await);

    assert_eq!(given, (0..30).collect::<Vec<_>>());
    assert_eq!(events.count(|event| skipped(event) || failed(event)), 0, "{:?}", events.all());
}

#[tokio::test(start_paused = true)]
async fn streams_dropped_after_confirmed_records_dead_letter_nothing() {
    let (stream, events, letters) = (TestStream::start(1).await, EventLog::default(), Ids::default());
    let keep = {
        let letters = letters.clone();
        move |failed: FailedRecords| {
            failed.records.iter().for_each(|record| letters.add(id_of(record)));
            async { Ok::<(), BoxError>(()) }
        }
    };
    let policy = ErrorPolicy::dead_letter_after(1, keep);
    let mut shards =
        stream.worker("w1").on_processor_error(policy).on_event(events.handler()).into_shard_streams().unwrap();
    let mut given = Vec::new();
    for round in 0..4 {
        stream.put(round * 10..round * 10 + 10).await;
        // The stream is dropped without being asked for more.
        given.extend(read(&mut next(&mut shards).await, 10).await);
    }

    assert_eq!(given, (0..40).collect::<Vec<_>>());
    assert_eq!((letters.count(), events.count(failed)), (0, 0), "{:?}", events.all());
}

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_with_unconfirmed_records_uses_up_no_attempt() {
    let (stream, events) = (TestStream::start(1).await, EventLog::default());
    let builder = stream.worker("w1").on_processor_error(ErrorPolicy::skip_after(1)).on_event(events.handler());
    let mut shards = builder.into_shard_streams().unwrap();
    stream.put(0..10).await;
    for _ in 0..5 {
        let mut shard = next(&mut shards).await;
        assert_eq!(id_of(&shard.next().await.unwrap()), 0);
    }

    assert_eq!(read(&mut next(&mut shards).await, 10).await, (0..10).collect::<Vec<_>>());
    assert_eq!((events.count(skipped), events.count(failed)), (0, 5), "{:?}", events.all());
}

/// Runs a consumer that takes `pause` for each record, and confirms each `every`th and the last.
fn consume(builder: WorkerBuilder, given: &Ids, pause: Duration, every: usize) -> (Stopper, JoinHandle<()>) {
    let (shards, given) = (builder.into_shard_streams().expect("settings are right"), given.clone());
    let stopper = shards.stopper();
    let run = shards.map_err(BoxError::from).try_for_each_concurrent(None, move |mut shard| {
        let given = given.clone();
        async move {
            let (checkpointer, mut count) = (shard.checkpointer(), 0);
            while let Some(record) = shard.next().await {
                given.add(id_of(&record));
                sleep(pause).await;
                count += 1;
                if count % every == 0 {
                    let _ = checkpointer.checkpoint_at(&record).await;
                }
            }
            let _ = checkpointer.checkpoint().await;
            Ok(())
        }
    });
    (stopper, tokio::spawn(async move { run.await.expect("ends in good order") }))
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_back_what_a_stream_has_not_given() {
    let (stream, given) = (TestStream::start(1).await, Ids::default());
    stream.put(0..2_000).await;
    let (stopper, run) = consume(stream.worker("w1"), &given, Duration::from_millis(100), 1);
    sleep(Duration::from_secs(10)).await;

    let begun = Instant::now();
    stopper.stop();
    run.await.unwrap();

    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let before = given.count();
    assert!(before < 120, "{before}");
    let (stopper, run) = consume(stream.worker("w2"), &given, Duration::from_millis(1), 1);
    eventually("all is given", || given.count() >= 2_000).await;
    assert_eq!(given.twice(), 0);
    stopper.stop();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handoff_of_a_stream_waits_for_what_was_given_and_gives_nothing_twice() {
    let (stream, events) = (TestStream::start(2).await, EventLog::default());
    stream.put(0..4_000).await;
    let given = Ids::default();
    let pause = Duration::from_millis(50);
    let (first_stop, first) = consume(stream.worker("w1").on_event(events.handler()), &given, pause, 20);
    sleep(Duration::from_secs(15)).await;
    let (second_stop, second) = consume(stream.worker("w2"), &given, pause, 20);
    let handed_over = |event: &Event| matches!(event, Event::LeaseReleased { .. });
    sleep(Duration::from_secs(20)).await;

    assert_eq!(events.count(handed_over), 1, "{:?}", events.all());
    eventually("all is given", || given.count() >= 4_000).await;
    assert_eq!((given.count(), given.twice()), (4_000, 0));
    first_stop.stop();
    second_stop.stop();
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_ends_its_stream_at_once() {
    let (stream, events, given) = (TestStream::start(1).await, EventLog::default(), Ids::default());
    stream.put(0..2_000).await;
    let builder = stream.worker("w1").on_event(events.handler());
    let (stopper, run) = consume(builder, &given, Duration::from_millis(100), 10);
    sleep(Duration::from_secs(10)).await;
    stream.take_lease_away(SHARD).await;
    let lost = |event: &Event| matches!(event, Event::LeaseLost { .. });
    eventually("the loss is noticed", || events.count(lost) == 1).await;

    let before = given.count();
    sleep(Duration::from_secs(2)).await;
    assert!(given.count() <= before + 1, "{} given after the loss", given.count() - before);
    // The worker takes the lease back, and goes on.
    sleep(Duration::from_secs(60)).await;
    assert!(given.count() > before + 100);
    stopper.stop();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_stream_that_nobody_takes() {
    let stream = TestStream::start(4).await;
    stream.put(0..100).await;
    let mut shards = stream.worker("w1").into_shard_streams().unwrap();
    let shard = next(&mut shards).await;
    sleep(Duration::from_secs(5)).await;

    let begun = Instant::now();
    shards.stopper().stop();
    sleep(Duration::from_millis(10)).await;
    drop(shard);
    while let Some(shard) = timeout(Duration::from_secs(60), shards.next()).await.expect("ends") {
        assert_eq!(shard.unwrap().count().await, 0, "taken back");
    }

    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
