//! Shard streams that are dropped, stopped, handed over, or whose lease is lost: nothing that the application was not
//! given, or has confirmed, is skipped, dead-lettered or given twice.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use integration_tests::{Records, SHARD, World, id_of};
use kcl::{BoxError, ErrorPolicy, Event, ShardStream, ShardStreams, Stopper, WorkerBuilder};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

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
    let world = World::start(1).await;
    let builder = world.worker("w1").on_processor_error(ErrorPolicy::skip_after(1));
    let mut shards = builder.build_shard_streams().unwrap();
    world.put(0..10).await;
    let mut shard = next(&mut shards).await;
    let mut given = read(&mut shard, 10).await;
    assert!(timeout(Duration::from_secs(2), shard.next()).await.is_err());
    drop(shard);

    world.put(10..20).await;
    sleep(Duration::from_secs(5)).await; // so that they are two batches
    world.put(20..30).await;
    given.extend(read(&mut next(&mut shards).await, 20).await);

    assert_eq!(given, (0..30).collect::<Vec<_>>());
    assert_eq!(world.events.count(|event| skipped(event) || failed(event)), 0, "{:?}", world.events.all());
}

#[tokio::test(start_paused = true)]
async fn streams_dropped_after_confirmed_records_dead_letter_nothing() {
    let world = World::start(1).await;
    let letters = Records::default();
    let policy = ErrorPolicy::dead_letter_after(1, letters.dead_letters());
    let mut shards = world.worker("w1").on_processor_error(policy).build_shard_streams().unwrap();
    let mut given = Vec::new();
    for round in 0..4 {
        world.put(round * 10..round * 10 + 10).await;
        // The stream is dropped without being asked for more.
        given.extend(read(&mut next(&mut shards).await, 10).await);
    }

    assert_eq!(given, (0..40).collect::<Vec<_>>());
    assert_eq!((letters.len(), world.events.count(failed)), (0, 0), "{:?}", world.events.all());
}

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_with_unconfirmed_records_uses_up_no_attempt() {
    let world = World::start(1).await;
    let builder = world.worker("w1").on_processor_error(ErrorPolicy::skip_after(1));
    let mut shards = builder.build_shard_streams().unwrap();
    world.put(0..10).await;
    for _ in 0..5 {
        let mut shard = next(&mut shards).await;
        assert_eq!(id_of(&shard.next().await.unwrap()), 0);
    }

    assert_eq!(read(&mut next(&mut shards).await, 10).await, (0..10).collect::<Vec<_>>());
    assert_eq!((world.events.count(skipped), world.events.count(failed)), (0, 5), "{:?}", world.events.all());
}

/// Runs a consumer that takes `pause` for each record, and confirms each `every`th and the last.
fn consume(builder: WorkerBuilder, given: &Records, pause: Duration, every: usize) -> (Stopper, JoinHandle<()>) {
    let (shards, given) = (builder.build_shard_streams().expect("settings are right"), given.clone());
    let stopper = shards.stopper();
    let run = shards.map_err(BoxError::from).try_for_each_concurrent(None, move |mut shard| {
        let given = given.clone();
        async move {
            let (checkpointer, mut count) = (shard.checkpointer(), 0);
            while let Some(record) = shard.next().await {
                given.add(&record);
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
    let world = World::start(1).await;
    let given = Records::default();
    world.put(0..2_000).await;
    let (stopper, run) = consume(world.worker("w1"), &given, Duration::from_millis(100), 1);
    world.until("some are given", || given.len() >= 80).await;

    let begun = Instant::now();
    stopper.stop();
    run.await.unwrap();

    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let before = given.len();
    assert!(before < 120, "{before}");
    let (stopper, run) = consume(world.worker("w2"), &given, Duration::from_millis(1), 1);
    world.until("all is given", || given.len() >= 2_000).await;
    assert_eq!(given.twice(), [0; 0]);
    stopper.stop();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handoff_of_a_stream_waits_for_what_was_given_and_gives_nothing_twice() {
    let world = World::start(2).await;
    world.put(0..4_000).await;
    let given = Records::default();
    let pause = Duration::from_millis(50);
    let (first_stop, first) = consume(world.worker("w1"), &given, pause, 20);
    world.until("some are given", || given.len() >= 200).await;
    let (second_stop, second) = consume(world.worker("w2"), &given, pause, 20);
    let handed_over = |event: &Event| matches!(event, Event::LeaseReleased { .. });
    world.until("a shard is handed over", || world.events.count(handed_over) == 1).await;

    world.until("all is given", || given.len() >= 4_000).await;
    assert_eq!((given.len(), given.twice()), (4_000, vec![]));
    first_stop.stop();
    second_stop.stop();
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_ends_its_stream_at_once() {
    let world = World::start(1).await;
    let given = Records::default();
    world.put(0..2_000).await;
    let (stopper, run) = consume(world.worker("w1"), &given, Duration::from_millis(100), 10);
    world.until("some are given", || given.len() >= 80).await;
    world.take_lease_away(SHARD).await;
    let lost = |event: &Event| matches!(event, Event::LeaseLost { .. });
    world.until("the loss is noticed", || world.events.count(lost) == 1).await;

    let before = given.len();
    sleep(Duration::from_secs(2)).await;
    assert!(given.len() <= before + 1, "{} given after the loss", given.len() - before);
    // The worker takes the lease back, and goes on.
    world.until("more are given", || given.len() > before + 100).await;
    stopper.stop();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_stream_that_nobody_takes() {
    let world = World::start(4).await;
    world.put(0..100).await;
    let mut shards = world.worker("w1").build_shard_streams().unwrap();
    let shard = next(&mut shards).await;
    world.settled().await;

    let begun = Instant::now();
    shards.stopper().stop();
    sleep(Duration::from_millis(10)).await;
    drop(shard);
    while let Some(shard) = timeout(Duration::from_secs(60), shards.next()).await.expect("ends") {
        assert_eq!(shard.unwrap().count().await, 0, "taken back");
    }

    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
